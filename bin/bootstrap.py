"""Makes and mends `.venv`: `bootstrap.py run` for nightcrew, `bootstrap.py test` for its tests too.

Started by `bin/setup` when `.venv` is missing, was made elsewhere, or is older than what it was made from.
Runs with any Python from 3.11 on and the standard library alone. Whatever kills it, the next run finishes the
job: a stamp says that all is done, a marker that something was begun.
Progress goes to stderr.
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
MADE_FROM = ("pyproject.toml", "constraints.txt")
EXIT_UNAVAILABLE = 69


class SetupError(Exception):
    """The environment cannot be made; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program of the system that the crew uses, with the least version that serves."""

    command: str
    package: str
    least: tuple[int, int]
    required: bool
    without: str


GIT = Program("git", "git", (2, 38), required=True, without="")
TMUX = Program("tmux", "tmux", (3, 2), required=False, without="the crew runs without windows to watch it in")
BUBBLEWRAP = Program(
    "bwrap", "bubblewrap", (0, 4), required=False, without="the crew refuses to run commands, unless --unsafe"
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
        say("set-up interrupted; the next run goes on with it")
        return 130
    except OSError as error:
        say(f"cannot set up {ROOT / '.venv'}: {error}")
        return 73
    return 0


def say(text: str) -> None:
    print(f"nightcrew: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[int]:
    """Holds a lock on this very file, so that no lock file is left about; yields its descriptor."""
    descriptor = os.open(__file__, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another set-up is at work in this checkout; waiting for it")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def digest(root: Path) -> str:
    """Of what the environment is made from: an older date alone (a touch) rebuilds nothing."""
    return hashlib.sha256(b"\0".join((root / name).read_bytes() for name in MADE_FROM)).hexdigest()


def is_current(root: Path, kind: str) -> bool:
    """True if the environment of `kind` was finished here, from these very files, and its Python runs."""
    try:
        written = _stamp(root, kind).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return written == _stamp_text(root) and _runs(root / ".venv") and (root / ".venv/bin/nightcrew").exists()


def make(root: Path, kind: str, lock: int) -> None:
    """Makes or mends `.venv`, then installs into it. The stamps are its last act."""
    venv = root / ".venv"
    if is_usable(venv):
        _update(root, kind, lock)
    else:
        say(f"making .venv with Python {sys.version.split()[0]}; this happens once and may take a minute")
        _clear(venv)
        venv.mkdir()
        _marker(venv).touch()
        _make_venv(venv, lock)
        _install(root, kind, lock)
    # bin/test installs all that nightcrew needs as well.
    for done in {kind, "run"}:
        _write_whole(_stamp(root, done), _stamp_text(root))
    _marker(venv).unlink()
    say("ready")


def _update(root: Path, kind: str, lock: int) -> None:
    say("bringing .venv up to date")
    for other in ("run", "test"):
        if not is_current(root, other):
            _stamp(root, other).unlink(missing_ok=True)
    _marker(root / ".venv").touch()
    try:
        _install(root, kind, lock)
    except SetupError:
        # pip leaves things as they were when it fails; only a kill leaves a ruin, and with it the marker.
        _marker(root / ".venv").unlink()
        raise


def is_usable(venv: Path) -> bool:
    """False for what a killed set-up left, what was moved or copied here, and what has lost its Python."""
    if venv.is_symlink() or _marker(venv).exists() or not _runs(venv):
        return False
    for stamp in venv.glob("nightcrew-*.stamp"):
        if stamp.read_text(encoding="utf-8", errors="replace").split("\n")[0] != str(venv.parent):
            return False
    scripts = [path for path in (venv / "bin").glob("pip*") if path.is_file()]
    return bool(scripts) and all(str(venv).encode() in path.read_bytes()[:1000] for path in scripts)


def _runs(venv: Path) -> bool:
    """True if the environment has a Python that starts, is new enough and has pip."""
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
    # Debian and Ubuntu leave ensurepip out of python3, without which venv makes nothing.
    if importlib.util.find_spec("ensurepip") is None:
        package = f"python3.{sys.version_info.minor}-venv"
        if not (can_install() and _apt_install([package])):
            raise SetupError(f"this Python has no ensurepip. Get it by: {install_command([package])}")
    _run([sys.executable, "-I", "-m", "venv", str(venv)], lock, "Python made no virtual environment")


def _install(root: Path, kind: str, lock: int) -> None:
    target = ".[test]" if kind == "test" else "."
    pip = [str(root / ".venv/bin/python"), "-I", "-m", "pip", "install", "--quiet", "--no-input"]
    _run(
        [*pip, "--constraint", "constraints.txt", "--editable", target],
        lock,
        "pip could not install the packages",
    )


def _run(command: Sequence[str], lock: int, failure: str) -> None:
    """Runs to the end, its output kept back; only of a failure the tail is shown.

    The child inherits the lock: if this process is killed, the next set-up waits until the child is gone too.
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
    """The user's own, without what would lead pip or Python elsewhere.

    pip splits the constraints at spaces, so they are named from the checkout; they hold for the build too.
    """
    misleading = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in misleading}
    constraints = {"PIP_CONSTRAINT": "constraints.txt", "PIP_BUILD_CONSTRAINT": "constraints.txt"}
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "PIP_USER": "0"}
    if not (Path.home() / ".rustup").exists():
        # pip asks `rustc` for its version, and rustup's stand-in for it leaves a folder in HOME.
        kept.setdefault("RUSTUP_HOME", str(Path(__file__).resolve().parent.parent / ".venv/no-rustup"))
    return kept | constraints | quiet


def check_programs() -> None:
    """Installs git, tmux and bubblewrap where it may, else names the command. Raises SetupError for git."""
    wanted = [GIT, TMUX] + ([BUBBLEWRAP] if sys.platform == "linux" else [])
    lacking = [program for program in wanted if not is_present(program)]
    if lacking and can_install():
        say(f"installing {', '.join(program.package for program in lacking)}")
        _apt_install([program.package for program in lacking])
        lacking = [program for program in lacking if not is_present(program)]
    for program in lacking:
        least = ".".join(map(str, program.least))
        text = (
            f"{program.package} {least} or newer is missing. Get it by: {install_command([program.package])}"
        )
        if program.required:
            raise SetupError(text)
        say(f"{text} (without it {program.without})")


def is_present(program: Program) -> bool:
    """True if the program runs and says a version that is new enough."""
    flag = "-V" if program.command == "tmux" else "--version"
    try:
        ended = subprocess.run(
            [program.command, flag], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = parse_version(ended.stdout)
    return ended.returncode == 0 and version is not None and version >= program.least


def parse_version(text: str) -> tuple[int, int] | None:
    """The first two numbers of `git version 2.39.5`, `tmux 3.3a`, `tmux next-3.5`, `bubblewrap 0.8.0`."""
    found = re.search(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def can_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install_command(packages: Sequence[str]) -> str:
    """What a person types on this system to get `packages`."""
    managers = {
        "brew": "brew install",
        "apt-get": "apt-get install",
        "dnf": "dnf install",
        "pacman": "pacman -S",
        "apk": "apk add",
        "zypper": "zypper install",
    }
    # Debian's way is the answer where no manager is seen: it is by far the likeliest.
    usual = "brew" if sys.platform == "darwin" else "apt-get"
    manager = next((name for name in managers if shutil.which(name)), usual)
    prefix = "" if manager == "brew" or os.geteuid() == 0 else "sudo "
    return f"{prefix}{managers[manager]} {' '.join(packages)}"


def _apt_install(packages: Sequence[str]) -> bool:
    """True if apt-get installed them. The package lists are fetched only if it fails without."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    patient = ["-o", "DPkg::Lock::Timeout=120", "-qq", "-y"]
    install = ["apt-get", *patient, "install", "--no-install-recommends", *packages]
    for command in (install, ["apt-get", *patient, "update"], install):
        ended = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if command is install and ended.returncode == 0:
            return True
    say(f"apt-get could not: {ended.stderr.decode(errors='replace').strip()[-500:]}")
    return False


def _stamp(root: Path, kind: str) -> Path:
    return root / ".venv" / f"nightcrew-{kind}.stamp"


def _marker(venv: Path) -> Path:
    return venv / "nightcrew-setup.begun"


def _stamp_text(root: Path) -> str:
    """The folder it was made in, which the launchers compare, and the digest of what it was made from."""
    return f"{root}\n{digest(root)}\n"


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
