"""The crew as a service of the user's own: it is back after a reboot, and after the supervisor is killed.

| system | file                                     | by                |
|--------|------------------------------------------|-------------------|
| Linux  | ~/.config/systemd/user/nightcrew.service | systemctl --user  |
| macOS  | ~/Library/LaunchAgents/<label>.plist     | launchctl         |

Another home than the usual one has a service of its own, with the home's name in it.

Of systemd's ways to end a service, `control-group` would signal agents behind the supervisor's back, and
`process` would leave them behind: `mixed` asks the supervisor alone, and ends what is left after it.
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

PATIENCE_S = 60.0
# By way of env, because systemd takes no quotes or dollars in the path of the program itself.
# Exit statuses that starting again would only repeat: an ordered end, and a bad configuration.
STAYS_DOWN = "0 78"
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
RestartPreventExitStatus={stays_down}
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
    """One home's service: the file it is to have, and the commands that make the system know it."""

    system: System
    name: str
    path: Path
    text: str

    @property
    def is_installed(self) -> bool:
        return self.path.exists()

    @property
    def is_current(self) -> bool:
        """Whether the file is exactly what `install` would write now."""
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
        """Write the file; False if it was as it should be."""
        if self.is_current:
            return False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.partial")
        partial.write_text(self.text)
        partial.chmod(0o600)
        partial.replace(self.path)
        return True

    def remove(self) -> bool:
        """Remove the file; False if there was none."""
        found = self.is_installed
        self.path.unlink(missing_ok=True)
        return found


def service_of(home: Home, usual_home: Path, environment: Mapping[str, str], root: Path) -> Service:
    """The service of `home`, run by the checkout at `root`. `environment` is what the crew is to have.

    Raises `ServiceUnsupported`.
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
        f"no service manager of {sys.platform} is known here; have yours run `nightcrew up --foreground`"
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
    # Only in a command is a dollar a variable.
    command = " ".join(_quoted(word).replace("$", "$$") for word in words)
    return _UNIT.format(
        home=str(home.path).replace("%", "%%").replace("\n", " "),
        command=command,
        environment="\n".join(lines),
        stays_down=STAYS_DOWN,
    )


def _quoted(word: str) -> str:
    """A word as systemd reads it back: see systemd.syntax(7), and systemd.unit(5) on specifiers."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("%", "%%")
    return f'"{escaped}"'


def plist_text(label: str, home: Home, words: Sequence[str], environment: Mapping[str, str]) -> str:
    """The launchd agent. Not tried on a Mac yet."""
    said = str(home.logs / "supervisor.stderr")
    return plistlib.dumps(
        {
            "Label": label,
            "ProgramArguments": list(words),
            "EnvironmentVariables": dict(environment),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 5,
            "ExitTimeOut": 90,
            "StandardErrorPath": said,
            "StandardOutPath": said,
        }
    ).decode()


@dataclass(frozen=True, slots=True)
class Said:
    """What a service manager's command answered; `code` None if it is not there or took too long."""

    code: int | None
    text: str


def ask(words: Sequence[str]) -> Said:
    """Run one command of the service manager."""
    if shutil.which(words[0]) is None:
        return Said(None, f"there is no {words[0]} here")
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return Said(None, f"{words[0]} did not answer within {PATIENCE_S:.0f} s")
    return Said(done.returncode, (done.stdout + done.stderr).strip())


def run_all(commands: Sequence[Sequence[str]]) -> str | None:
    """Run them in order; why it stopped, None if all went well."""
    for words in commands:
        said = ask(words)
        if said.code != 0:
            return f"{' '.join(words)}: {said.text or f'exit status {said.code}'}"
    return None


def is_enabled(service: Service) -> bool | None:
    """Whether it starts with the machine; None if nobody can tell."""
    if service.system == "launchd":
        return _yes_or_no(ask(["launchctl", "print", f"gui/{os.getuid()}/{service.name}"]))
    return _yes_or_no(ask(["systemctl", "--user", "is-enabled", service.name]))


def is_active(service: Service) -> bool | None:
    """Whether it runs now; None if nobody can tell."""
    if service.system == "launchd":
        said = ask(["launchctl", "print", f"gui/{os.getuid()}/{service.name}"])
        return "state = running" in said.text if said.code == 0 else _yes_or_no(said)
    return _yes_or_no(ask(["systemctl", "--user", "is-active", service.name]))


def _yes_or_no(said: Said) -> bool | None:
    if said.code is None or "bus" in said.text:
        return None
    return said.code == 0


def lingers() -> bool | None:
    """Linux: whether the user's services run without a login; None if nobody can tell."""
    said = ask(["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"])
    return said.text == "yes" if said.code == 0 else None
