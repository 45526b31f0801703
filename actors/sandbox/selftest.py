"""Tests the sandbox: a program inside tries every known escape, and we check from outside which ones worked."""

from __future__ import annotations

import json
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from actors.sandbox.backends import landlock
from actors.sandbox.environment import FIXED, INHERITED, base_python
from actors.sandbox.errors import SandboxFailed
from actors.sandbox.launch.marks import MARK_VARIABLE
from actors.sandbox.policy import Sandbox
from actors.sandbox.run import run_command

_TIMEOUT_S = 20.0
_WRITES = frozenset({"write_home", "write_outside", "write_system"})

# Runs inside the sandbox. Reads its targets as JSON from argv[1] and prints what it could do.
_PROBE = r"""
import json, os, socket, sys, time
t = json.loads(sys.argv[1])
seen = {}
def attempt(name, act):
    try:
        seen[name] = {"done": True, "detail": str(act())[:200]}
    except Exception as error:
        seen[name] = {"done": False, "detail": type(error).__name__ + ": " + str(error)[:200]}
def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(2)
        s.connect(address)
        s.sendall(b"out")
    return address
def write(path):
    with open(path, "w") as f:
        f.write("out")
    return path
def survive():
    if os.fork():
        return "forked"
    os.setsid()
    if os.fork():
        os._exit(0)
    import signal
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 1), os.dup2(null, 2)
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)", t["token"]])
attempt("write_worktree", lambda: write("part/inside"))
attempt("read_home", lambda: open(t["canary"]).read(40))
attempt("write_home", lambda: write(t["home_target"]))
attempt("write_outside", lambda: write(t["outside_target"]))
attempt("write_system", lambda: write("/usr/" + t["token"]))
attempt("write_git", lambda: write(".git/config"))
attempt("swap_git", lambda: os.rename(".git", ".git-old"))
attempt("see_socket", lambda: os.stat(t["socket"]).st_ino)
attempt("unix_socket", lambda: connect(socket.AF_UNIX, t["socket"]))
attempt("abstract_socket", lambda: connect(socket.AF_UNIX, "\0" + t["token"]))
if t["tmux"]:
    attempt("tmux", lambda: connect(socket.AF_UNIX, t["tmux"]))
attempt("localhost_tcp", lambda: connect(socket.AF_INET, ("127.0.0.1", t["port"])))
# Only opened: as root a command that writes here could take over the machine.
attempt("kernel_settings", lambda: os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)))
if t["pid"] > 20:  # below, the namespace has processes of its own with the same ids
    attempt("see_processes", lambda: open("/proc/%d/cmdline" % t["pid"]).read())
    attempt("signal_processes", lambda: os.kill(t["pid"], 0))
attempt("survivor", survive)
print(json.dumps({"seen": seen, "environment": sorted(os.environ)}))
"""


@dataclass(frozen=True, slots=True)
class Probe:
    """One escape attempt. `blocked`: whether it failed. `required`: whether it must be blocked."""

    name: str
    blocked: bool
    required: bool
    detail: str


@dataclass(frozen=True, slots=True)
class SelfTestReport:
    """The result. `holds` is True only if commands run at all and every required probe was blocked."""

    mode: str
    at: str
    duration_ms: float
    holds: bool
    probes: tuple[Probe, ...]
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values, for the store, `status --json` and the morning report."""
        return {**asdict(self), "probes": [asdict(probe) for probe in self.probes]}

    @property
    def summary(self) -> str:
        """One line for people."""
        if self.error is not None:
            return f"sandbox self-test failed: {self.error}"
        open_ones = [probe.name for probe in self.probes if not probe.blocked]
        held = f"{len(self.probes) - len(open_ones)} of {len(self.probes)} escape attempts blocked"
        mode = "seatbelt (untested: nobody has run it on macOS yet)" if self.mode == "seatbelt" else self.mode
        return f"{mode}: {held}" + (f", open: {', '.join(open_ones)}" if open_ones else "")


def self_test(
    sandbox: Sandbox, *, home: Path | None = None, tmux_socket: Path | None = None
) -> SelfTestReport:
    """Try every known escape and report which are blocked. Takes less than a second; deletes its own files.

    `home` (default: the user's) gets a file that the program tries to read. `tmux_socket` is the crew's; the
    program tries to connect to it if it exists.
    """
    started = time.monotonic()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        probes, error = _observe(sandbox, home or Path.home(), tmux_socket), None
    except (OSError, SandboxFailed, ValueError, KeyError) as failure:
        probes, error = (), f"{type(failure).__name__}: {failure}"
    holds = error is None and all(probe.blocked for probe in probes if probe.required)
    duration_ms = round((time.monotonic() - started) * 1000, 1)
    return SelfTestReport(sandbox.mode, at, duration_ms, holds and sandbox.confines, probes, error)


@dataclass(frozen=True, slots=True)
class _Targets:
    """What the program inside tries to reach, on the host. `token` is unique to this self-test."""

    token: str
    canary: Path
    outside: Path
    socket: str
    port: int
    tmux: str

    def writes(self) -> dict[str, Path]:
        """The files that the program tries to write, by the name of the probe."""
        return {
            "write_home": self.canary.parent / f".{self.token}-written",
            "write_outside": self.outside / "written",
            "write_system": Path("/usr") / self.token,
        }

    def as_json(self) -> str:
        """The targets as the program reads them."""
        writes = self.writes()
        return json.dumps(
            {
                "token": self.token,
                "canary": str(self.canary),
                "home_target": str(writes["write_home"]),
                "outside_target": str(writes["write_outside"]),
                "socket": self.socket,
                "port": self.port,
                "tmux": self.tmux,
                "pid": os.getpid(),
            }
        )


def _observe(sandbox: Sandbox, home: Path, tmux_socket: Path | None) -> tuple[Probe, ...]:
    token = f"nightcrew-{secrets.token_hex(8)}"
    with ExitStack() as stack:
        worktree = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nightcrew-selftest-")))
        outside = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nightcrew-selftest-")))
        _fill_worktree(worktree)
        canary = stack.enter_context(_canary(home, outside, token))
        listener = stack.enter_context(_listener(socket.AF_UNIX, str(outside / "socket")))
        stack.enter_context(_listener(socket.AF_UNIX, f"\0{token}"))
        tcp = stack.enter_context(_listener(socket.AF_INET, ("127.0.0.1", 0)))
        tmux = str(tmux_socket) if tmux_socket is not None and tmux_socket.exists() else ""
        targets = _Targets(token, canary, outside, listener.getsockname(), tcp.getsockname()[1], tmux)
        words = [base_python(), "-I", "-S", "-c", _PROBE, targets.as_json()]
        result = run_command(sandbox, words, worktree=worktree, timeout_s=_TIMEOUT_S, shown_chars=100_000)
        survivors = _kill_survivors(token)
        # What counts is what reached the host: the sandbox's private home and /tmp are writable.
        written = {name for name, path in targets.writes().items() if path.exists()}
        for path in targets.writes().values():
            with suppress(OSError):
                path.unlink()
        if not (worktree / "part/inside").is_file():
            raise ValueError(
                f"the test program did not run (exit code {result.exit_code}): {result.output.strip()[-500:]}"
            )
    return _judge(sandbox, json.loads(result.output), survivors, written)


def _fill_worktree(worktree: Path) -> None:
    for part in (".git/objects", ".git/refs"):
        (worktree / part).mkdir(parents=True)
    (worktree / ".git/HEAD").write_text("ref: refs/heads/main\n")
    # The program writes into this folder, because under Landlock it cannot write into the top folder.
    (worktree / "part").mkdir()


def _known_open(sandbox: Sandbox) -> set[str]:
    """The escapes that the policy itself allows or that this kind of sandbox is known not to block."""
    known = {"localhost_tcp"} if sandbox.policy.network else set()
    if sandbox.mode in ("landlock", "seatbelt"):
        known |= landlock.KNOWN_OPEN
    if sandbox.mode == "landlock" and sandbox.landlock_version < landlock.SIGNALS_VERSION:
        known.add("signal_processes")
    return known


def _judge(sandbox: Sandbox, answer: dict[str, Any], survivors: int, written: set[str]) -> tuple[Probe, ...]:
    """The probes, from the program's answer and from what was found on the host after its end.

    `survivors`: how many of its processes were still running. `written`: the writes that reached the host.
    """
    seen: dict[str, dict[str, Any]] = answer["seen"]
    del seen["write_worktree"]
    survivor = seen.pop("survivor")
    for name in _WRITES & set(seen):
        seen[name]["done"] = name in written
    reachable = _known_open(sandbox)
    probes = [
        Probe(name, not fact["done"], name not in reachable, fact["detail"]) for name, fact in seen.items()
    ]
    probes.append(
        Probe("survivor", survivors == 0, True, f"{survivor['detail']}, {survivors} running after its end")
    )
    leaked = sorted(set(answer["environment"]) - _allowed_variables(sandbox))
    probes.append(
        Probe("environment", not leaked, True, f"not on the allow-list: {', '.join(leaked) or 'none'}")
    )
    return tuple(probes)


def _allowed_variables(sandbox: Sandbox) -> set[str]:
    ours = {*INHERITED, *FIXED, *sandbox.policy.environment, *landlock.CACHE_NAMES, "PATH", "HOME", "TMPDIR"}
    set_by_shell_or_launcher = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE", MARK_VARIABLE}
    return ours | set_by_shell_or_launcher


@contextmanager
def _canary(home: Path, fallback: Path, token: str) -> Iterator[Path]:
    """A file in the user's home that no command may read; in `fallback` if the home is not writable."""
    path = home / f".{token}"
    try:
        path.touch(mode=0o600, exist_ok=False)
    except OSError:
        path = fallback / f".{token}"
    try:
        path.write_text("a secret")
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _listener(family: int, address: str | tuple[str, int]) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen()
        yield listener


def _kill_survivors(token: str) -> int:
    """Kill the program's processes that are still running; returns how many there were."""
    alive = 0
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if token in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                alive += 1
                process.kill()
    return alive
