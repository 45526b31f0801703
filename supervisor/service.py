"""The crew as a service of the user, which starts again after a reboot and after a crash of the supervisor.

| system | file                                     | by                |
|--------|------------------------------------------|-------------------|
| Linux  | ~/.config/systemd/user/nightcrew.service | systemctl --user  |
| macOS  | ~/Library/LaunchAgents/<label>.plist     | launchctl         |

Each home has a service of its own. The service of the default home is called `nightcrew`; other names contain
the name of the home.

KillMode=mixed: systemd signals the supervisor only, then kills what is left. `control-group` would signal the
agents too early, and `process` would leave them running.
"""

from __future__ import annotations

import hashlib
import os
import plistlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from actors.home import Home
from store.errors import NightcrewError
from store.shared.replace import replace_file

TIMEOUT_S = 60.0
# Exit codes after which systemd must not start the crew again: an ordered end, and an invalid configuration.
NO_RESTART_CODES = "0 78"
# Started through env, because systemd accepts no quotes or dollars in the path of the program.
_UNIT = """\
# Written by `nightcrew service install`; `nightcrew service uninstall` removes it.
[Unit]
Description=Nightcrew, a crew of coding agents ({home})
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=/usr/bin/env {command}
{environment}
Restart=always
RestartSec=2
RestartPreventExitStatus={no_restart_codes}
KillMode=mixed
TimeoutStopSec=90

[Install]
WantedBy=default.target
"""
_KEPT_VARIABLES = re.compile(r"PATH|LANG|LC_\w+|OLLAMA_HOST|NIGHTCREW_(?!HOME$|CONFIG$|PYTHON$)\w+")

System = Literal["systemd", "launchd"]


class ServiceUnsupported(NightcrewError):
    """This system has neither systemd nor launchd."""


@dataclass(frozen=True, slots=True)
class Service:
    """The service of one home: its file, and the commands that register it with the system."""

    system: System
    name: str
    path: Path
    text: str

    @property
    def is_installed(self) -> bool:
        return self.path.exists()

    @property
    def is_current(self) -> bool:
        """Whether the file has exactly the text that `install` would write now."""
        return self.is_installed and self.path.read_text() == self.text

    def enable_commands(self, *, start: bool) -> list[list[str]]:
        if self.system == "launchd":
            return [["launchctl", "bootstrap", f"gui/{os.getuid()}", str(self.path)]]
        enable = ["systemctl", "--user", "enable", *(["--now"] if start else []), self.name]
        return [["systemctl", "--user", "daemon-reload"], enable]

    def disable_commands(self) -> list[list[str]]:
        if self.system == "launchd":
            return [["launchctl", "bootout", f"gui/{os.getuid()}/{self.name}"]]
        return [["systemctl", "--user", "disable", self.name]]

    def write(self) -> bool:
        """Write the file; False if it was current already."""
        if self.is_current:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self.path, self.text)
        return True

    def remove(self) -> bool:
        """Remove the file; False if there was none."""
        found = self.is_installed
        self.path.unlink(missing_ok=True)
        return found


def service_of(home: Home, usual_home: Path, environment: Mapping[str, str], root: Path) -> Service:
    """The service of `home`, run by the checkout at `root` with the variables of `environment` that it needs.

    `usual_home` is the default home. Raises `ServiceUnsupported`.
    """
    system = _system()
    user = Path(environment.get("HOME") or Path.home())
    name = _name(home, usual_home)
    words = _command(home, environment, root)
    kept = {key: value for key, value in environment.items() if _KEPT_VARIABLES.fullmatch(key) and value}
    if system == "launchd":
        label = f"nightcrew.{name}" if name != "nightcrew" else name
        path = user / "Library" / "LaunchAgents" / f"{label}.plist"
        return Service(system, label, path, plist_text(label, home, words, kept))
    config = Path(environment.get("XDG_CONFIG_HOME") or user / ".config")
    unit = f"{name}.service"
    return Service(system, unit, config / "systemd" / "user" / unit, unit_text(home, words, kept))


def _system() -> System:
    if sys.platform == "darwin":
        return "launchd"
    if sys.platform == "linux":
        return "systemd"
    raise ServiceUnsupported(
        f"services are not supported on {sys.platform}; configure your service manager to run "
        "`nightcrew up --foreground`"
    )


def _name(home: Home, usual_home: Path) -> str:
    if home.path == usual_home:
        return "nightcrew"
    slug = re.sub(r"[^a-z0-9]+", "-", home.path.name.lower()).strip("-") or "home"
    return f"nightcrew-{slug}-{hashlib.sha256(os.fsencode(home.path)).hexdigest()[:6]}"


def _command(home: Home, environment: Mapping[str, str], root: Path) -> list[str]:
    launcher = root / "bin" / "nightcrew"
    words = [str(launcher)] if launcher.exists() else [sys.executable, "-m", "supervisor.cli"]
    words += ["up", "--foreground", "--home", str(home.path)]
    if chosen := environment.get("NIGHTCREW_CONFIG"):
        words += ["--config", str(Path(chosen).expanduser().absolute())]
    return words


def unit_text(home: Home, words: Sequence[str], environment: Mapping[str, str]) -> str:
    """The systemd unit."""
    lines = [f"Environment={_quoted(f'{key}={value}')}" for key, value in sorted(environment.items())]
    # systemd expands variables in commands only.
    command = " ".join(_quoted(word).replace("$", "$$") for word in words)
    return _UNIT.format(
        home=str(home.path).replace("%", "%%").replace("\n", " "),
        command=command,
        environment="\n".join(lines),
        no_restart_codes=NO_RESTART_CODES,
    )


def _quoted(word: str) -> str:
    """The word quoted for systemd: see systemd.syntax(7), and systemd.unit(5) about specifiers."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{escaped}"'


def plist_text(label: str, home: Home, words: Sequence[str], environment: Mapping[str, str]) -> str:
    """The launchd agent. Never run on a Mac so far."""
    stderr = str(home.logs / "supervisor.stderr")
    return plistlib.dumps(
        {
            "Label": label,
            "ProgramArguments": list(words),
            "EnvironmentVariables": dict(environment),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 5,
            "ExitTimeOut": 90,
            "StandardErrorPath": stderr,
            "StandardOutPath": stderr,
        }
    ).decode()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command of the service manager returned. `code` is None if it is missing or timed out."""

    code: int | None
    text: str


def call(words: Sequence[str]) -> Answer:
    """Run one command of the service manager."""
    if shutil.which(words[0]) is None:
        return Answer(None, f"{words[0]} is not installed")
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return Answer(None, f"{words[0]} did not answer within {TIMEOUT_S:.0f} s")
    return Answer(done.returncode, (done.stdout + done.stderr).strip())


def run_all(commands: Sequence[Sequence[str]]) -> str | None:
    """Run the commands in order until one fails; returns the reason, or None if all succeeded."""
    for words in commands:
        answer = call(words)
        if answer.code != 0:
            return f"{' '.join(words)}: {answer.text or f'exit status {answer.code}'}"
    return None


def is_enabled(service: Service) -> bool | None:
    """Whether it starts with the machine; None if unknown."""
    if service.system == "launchd":
        return _yes_or_no(call(["launchctl", "print", f"gui/{os.getuid()}/{service.name}"]))
    return _yes_or_no(call(["systemctl", "--user", "is-enabled", service.name]))


def is_active(service: Service) -> bool | None:
    """Whether it runs now; None if unknown."""
    if service.system == "launchd":
        answer = call(["launchctl", "print", f"gui/{os.getuid()}/{service.name}"])
        return "state = running" in answer.text if answer.code == 0 else _yes_or_no(answer)
    return _yes_or_no(call(["systemctl", "--user", "is-active", service.name]))


def _yes_or_no(answer: Answer) -> bool | None:
    if answer.code is None or "bus" in answer.text:
        return None
    return answer.code == 0


def lingers() -> bool | None:
    """Linux: whether the user's services run while the user is not logged in; None if unknown."""
    answer = call(["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"])
    return answer.text == "yes" if answer.code == 0 else None
