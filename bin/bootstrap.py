"""Create or repair `.venv`: `bootstrap.py run` for Nightcrew, `bootstrap.py test` for Nightcrew and its tests.

`bin/setup` starts it when `.venv` is missing, was created in another folder, or is older than its source files.
It needs Python 3.11 or newer and only the standard library. If set-up is killed, the next run completes it: a
stamp file records a completed set-up, a marker file an unfinished one. Progress is printed to stderr.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE_FILES = ("pyproject.toml", "constraints.txt")
EXIT_UNAVAILABLE = 69


class SetupError(Exception):
    """The environment cannot be created; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """A system program that the crew uses, with its minimum version. `without`: the effect if it is missing."""

    command: str
    package: str
    minimum: tuple[int, int]
    required: bool
    without: str


GIT = Program("git", "git", (2, 38), required=True, without="")
TMUX = Program("tmux", "tmux", (3, 2), required=False, without="the crew runs without windows")
BUBBLEWRAP = Program(
    "bwrap", "bubblewrap", (0, 4), required=False, without="the crew does not start, except with --unsafe"
)


def main(arguments: Sequence[str]) -> int:
    kind = arguments[0] if arguments else "run"
    try:
        with _one_at_a_time() as lock:
            if is_current(ROOT, kind):
                _stamp(ROOT, kind).touch()
                return 0
            check_programs()
            make(ROOT, kind, lock)
    except SetupError as error:
        say(str(error))
        return EXIT_UNAVAILABLE
    except KeyboardInterrupt:
        say("set-up interrupted; the next run continues it")
        return 130
    except OSError as error:
        say(f"cannot set up {ROOT / '.venv'}: {error}")
        return 73
    return 0


def say(text: str) -> None:
    print(f"nightcrew: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[int]:
    """Hold a lock on this source file, so that no separate lock file is needed; yields the descriptor."""
    descriptor = os.open(__file__, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting: another set-up is running in this checkout")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def digest(root: Path) -> str:
    """Return a hash of the files that determine the environment. Modification times do not affect it."""
    return hashlib.sha256(b"\0".join((root / name).read_bytes() for name in SOURCE_FILES)).hexdigest()


def is_current(root: Path, kind: str) -> bool:
    """Return whether `kind` was completely installed in this folder from the current files and Python runs."""
    try:
        written = _stamp(root, kind).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return written == _stamp_text(root) and _runs(root / ".venv") and (root / ".venv/bin/nightcrew").exists()


def make(root: Path, kind: str, lock: int) -> None:
    """Create or repair `.venv`, then install into it. The stamps are written last."""
    venv = root / ".venv"
    if is_usable(venv):
        _update(root, kind, lock)
    else:
        say(f"creating .venv with Python {sys.version.split()[0]}; this is done once and may take a minute")
        _clear(venv)
        venv.mkdir()
        _marker(venv).touch()
        _make_venv(venv, lock)
        _install(root, kind, lock)
    # The test environment includes everything that Nightcrew needs.
    for done in {kind, "run"}:
        _write_whole(_stamp(root, done), _stamp_text(root))
    _marker(venv).unlink()
    say("ready")


def _update(root: Path, kind: str, lock: int) -> None:
    say("updating .venv")
    for other in ("run", "test"):
        if not is_current(root, other):
            _stamp(root, other).unlink(missing_ok=True)
    _marker(root / ".venv").touch()
    try:
        _install(root, kind, lock)
    except SetupError:
        # A failed pip install changes nothing. Only an interrupted one leaves a broken environment, and then
        # the marker file remains.
        _marker(root / ".venv").unlink()
        raise


def is_usable(venv: Path) -> bool:
    """Return whether the environment can be updated in place.

    True if set-up was completed, the environment was created in this folder, and its Python runs.
    """
    if venv.is_symlink() or _marker(venv).exists() or not _runs(venv):
        return False
    for stamp in venv.glob("nightcrew-*.stamp"):
        if stamp.read_text(encoding="utf-8", errors="replace").split("\n")[0] != str(venv.parent):
            return False
    scripts = [path for path in (venv / "bin").glob("pip*") if path.is_file()]
    return bool(scripts) and all(str(venv).encode() in path.read_bytes()[:1000] for path in scripts)


def _runs(venv: Path) -> bool:
    """Return whether the environment has a Python that starts, is new enough and has pip."""
    test = "import sys, importlib.util as u; sys.exit(sys.version_info < (3, 11) or not u.find_spec('pip'))"
    try:
        ended = subprocess.run([venv / "bin/python", "-I", "-c", test], capture_output=True, check=False)
    except OSError:
        return False
    return ended.returncode == 0


def _clear(venv: Path) -> None:
    if venv.is_symlink() or venv.is_file():
        venv.unlink()
    elif venv.exists():
        shutil.rmtree(venv)


def _make_venv(venv: Path, lock: int) -> None:
    # Debian and Ubuntu package ensurepip separately; `venv` fails without it.
    if importlib.util.find_spec("ensurepip") is None:
        package = f"python3.{sys.version_info.minor}-venv"
        if not (can_install() and _apt_install([package])):
            raise SetupError(f"this Python lacks ensurepip; install it with: {install_command([package])}")
    _run([sys.executable, "-I", "-m", "venv", str(venv)], lock, "Python could not create the environment")


def _install(root: Path, kind: str, lock: int) -> None:
    target = ".[test]" if kind == "test" else "."
    pip = [str(root / ".venv/bin/python"), "-I", "-m", "pip", "install", "--quiet", "--no-input"]
    _run(
        [*pip, "--constraint", "constraints.txt", "--editable", target],
        lock,
        "pip could not install the packages",
    )


def _run(command: Sequence[str], lock: int, failure: str) -> None:
    """Run the command to completion. Raises SetupError with the last lines of its output if it fails.

    The child inherits the lock, so if this process is killed, the next set-up waits until the child has exited.
    """
    with tempfile.TemporaryFile() as output:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[lock],
            check=False,
        )
        if ended.returncode == 0:
            return
        output.seek(0)
        tail = output.read().decode(errors="replace").strip().splitlines()[-25:]
    raise SetupError("\n".join([f"{failure} (exit {ended.returncode}):", *(f"  {line}" for line in tail)]))


def _environment() -> dict[str, str]:
    """The user's environment variables, without those that redirect pip or Python.

    pip splits PIP_CONSTRAINT at spaces, so the path is relative to the checkout. The constraints also apply to the
    build environment.
    """
    misleading = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in misleading}
    constraints = {"PIP_CONSTRAINT": "constraints.txt", "PIP_BUILD_CONSTRAINT": "constraints.txt"}
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_USER": "0"}
    if not (Path.home() / ".rustup").exists():
        # pip runs `rustc --version`; rustup's proxy for it would create a folder in HOME.
        kept.setdefault("RUSTUP_HOME", str(Path(__file__).resolve().parent.parent / ".venv/no-rustup"))
    return kept | constraints | quiet


def check_programs() -> None:
    """Install missing git, tmux and bubblewrap if permitted (root with apt-get), else print the install command.

    Raises SetupError if git is missing.
    """
    wanted = [GIT, TMUX] + ([BUBBLEWRAP] if sys.platform == "linux" else [])
    missing = [program for program in wanted if not is_present(program)]
    if missing and can_install():
        say(f"installing {', '.join(program.package for program in missing)}")
        _apt_install([program.package for program in missing])
        missing = [program for program in missing if not is_present(program)]
    for program in missing:
        minimum = ".".join(map(str, program.minimum))
        command = install_command([program.package])
        text = f"{program.package} {minimum} or newer is missing. Install it with: {command}"
        if program.required:
            raise SetupError(text)
        say(f"{text} (without it {program.without})")


def is_present(program: Program) -> bool:
    """Return whether the program runs and reports a version that is new enough."""
    flag = "-V" if program.command == "tmux" else "--version"
    try:
        ended = subprocess.run(
            [program.command, flag], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = parse_version(ended.stdout)
    return ended.returncode == 0 and version is not None and version >= program.minimum


def parse_version(text: str) -> tuple[int, int] | None:
    """The first two numbers of `git version 2.39.5`, `tmux 3.3a`, `tmux next-3.5`, `bubblewrap 0.8.0`."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def can_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install_command(packages: Sequence[str]) -> str:
    """The command with which the user installs `packages` on this system."""
    managers = {
        "brew": "brew install",
        "apt-get": "apt-get install",
        "dnf": "dnf install",
        "pacman": "pacman -S",
        "apk": "apk add",
        "zypper": "zypper install",
    }
    # If no package manager is found, suggest apt-get, which is the most common.
    usual = "brew" if sys.platform == "darwin" else "apt-get"
    manager = next((name for name in managers if shutil.which(name)), usual)
    prefix = "" if manager == "brew" or os.geteuid() == 0 else "sudo "
    return f"{prefix}{managers[manager]} {' '.join(packages)}"


def _apt_install(packages: Sequence[str]) -> bool:
    """Return whether apt-get installed the packages. Runs `apt-get update` only if the first attempt fails."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    patient = ["-o", "DPkg::Lock::Timeout=120", "-qq", "-y"]
    install = ["apt-get", *patient, "install", "--no-install-recommends", *packages]
    for command in (install, ["apt-get", *patient, "update"], install):
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if command is install and ended.returncode == 0:
            return True
    say(f"apt-get failed: {ended.stderr.decode(errors='replace').strip()[-500:]}")
    return False


def _stamp(root: Path, kind: str) -> Path:
    return root / ".venv" / f"nightcrew-{kind}.stamp"


def _marker(venv: Path) -> Path:
    return venv / "nightcrew-setup.begun"


def _stamp_text(root: Path) -> str:
    """The checkout's folder, which the launchers compare, and the hash of the source files."""
    return f"{root}\n{digest(root)}\n"


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
