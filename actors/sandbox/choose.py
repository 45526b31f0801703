"""Turn a policy into a sandbox that works on this machine, or raise an error that names the remedy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from actors.sandbox.backends import bubblewrap, landlock, seatbelt
from actors.sandbox.backends.seccomp import landlock_filter
from actors.sandbox.environment import (
    PRIVATE_HOME,
    base_python,
    command_environment,
    joined_path,
    search_path,
)
from actors.sandbox.errors import SandboxUnavailable
from actors.sandbox.policy import Sandbox, SandboxPolicy, View

_PROBE_TIMEOUT_S = 10.0
_APPARMOR_PROFILE = (
    r"abi <abi/4.0>,\ninclude <tunables/global>\n"
    r"profile bwrap /usr/bin/bwrap flags=(unconfined) {\n  userns,\n}\n"
)
_INSTALL = (
    "Install it: `sudo apt install bubblewrap` (Debian, Ubuntu), `sudo dnf install bubblewrap` (Fedora), "
    "`sudo pacman -S bubblewrap` (Arch)."
)
_UNSAFE_HINT = "`--unsafe` runs commands without a sandbox, with all permissions of your user account."


def choose(
    policy: SandboxPolicy,
    *,
    unsafe: bool = False,
    probe: bool = True,
    environ: Mapping[str, str] | None = None,
) -> Sandbox:
    """The sandbox for a policy. Raises SandboxUnavailable with the remedy.

    bubblewrap if it works here, else Landlock if the kernel's version suffices; sandbox-exec on macOS.

    - `unsafe`: the user passed `--unsafe` or set `[sandbox] mode = "off"`, so run commands without a sandbox.
    - `probe=False` skips the trial run (about 10 ms), for processes whose supervisor has already done it. The
      trial still runs if it decides between bubblewrap and Landlock.
    - `environ`: the host's environment variables.
    """
    host = dict(os.environ if environ is None else environ)
    home = Path(host.get("HOME") or Path.home())
    if unsafe:
        return _unconfined(policy, host, home)
    if policy.mode == "unsafe":
        raise SandboxUnavailable(
            "A sandbox policy with mode 'unsafe' also requires `--unsafe` or `[sandbox] mode = \"off\"`. "
            f"{_UNSAFE_HINT}"
        )
    _check(policy, home)
    if sys.platform == "darwin" and policy.mode in ("auto", "seatbelt"):
        return _seatbelt(policy, host, home)
    if policy.mode == "seatbelt":
        raise SandboxUnavailable(f"Sandbox mode 'seatbelt' needs macOS; this is {sys.platform}.")
    if policy.mode == "landlock":
        return _landlock(policy, host, home)
    problem = landlock_problem(policy)
    try:
        return _bubblewrap(policy, host, home, probe=probe or (policy.mode == "auto" and problem is None))
    except SandboxUnavailable as unavailable:
        if policy.mode == "bubblewrap":
            raise
        if problem is None:
            return _landlock(policy, host, home)
        raise SandboxUnavailable(f"{unavailable} Landlock cannot replace it: {problem}") from unavailable


def landlock_problem(policy: SandboxPolicy) -> str | None:
    """Why Landlock cannot apply this policy on this machine, with the remedy; None if it can."""
    if not sys.platform.startswith("linux"):
        return f"it requires Linux; this is {sys.platform}."
    found = landlock.version()
    if found == 0:
        return (
            "this kernel lacks it (Linux 6.2 is required), it is disabled (boot with `lsm=landlock,...`), "
            "or the container forbids it."
        )
    if found < landlock.LEAST_VERSION:
        return f"this kernel has version {found} of it; {landlock.LEAST_VERSION} (Linux 6.2) is needed."
    if landlock_filter(network=policy.network) is None:
        return "the system call numbers of this processor are unknown, so sockets cannot be refused."
    if policy.unix_sockets:
        return "it cannot tell a command's own Unix sockets from the host's; turn `unix_sockets` off."
    return None


def _landlock(policy: SandboxPolicy, host: Mapping[str, str], home: Path) -> Sandbox:
    problem = landlock_problem(policy)
    if problem is not None:
        raise SandboxUnavailable(f"Landlock cannot confine commands: {problem} {_UNSAFE_HINT}")
    landlock.remove_stale_scratches()
    covered, toolchains = _covered_and_readable(policy, home)
    grants = landlock.fixed_grants(covered, toolchains, network=policy.network)
    environment = _environment(policy, host)
    shell = _shell("/usr/bin:/bin:/usr/local/bin")
    found = landlock.version()
    return Sandbox(policy, base_python(), grants, covered, toolchains, environment, shell, "landlock", found)


def _seatbelt(policy: SandboxPolicy, host: Mapping[str, str], home: Path) -> Sandbox:
    launcher = shutil.which(seatbelt.LAUNCHER)
    if launcher is None:
        raise SandboxUnavailable(f"{seatbelt.LAUNCHER} was not found on this Mac. {_UNSAFE_HINT}")
    covered, toolchains = _covered_and_readable(policy, home)
    environment, shell = _environment(policy, host), _shell("/bin:/usr/bin")
    return Sandbox(policy, launcher, (), covered, toolchains, environment, shell, "seatbelt")


def _covered_and_readable(policy: SandboxPolicy, home: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What to hide and what to show where nothing can be mounted: the policy's mounts count at their sources."""
    hidden = [mount.target for mount in policy.mounts if mount.kind == "hidden"]
    shown = [mount.source for mount in policy.mounts if mount.kind in ("read_only", "writable")]
    toolchains = [str(path) for path in bubblewrap.toolchains(policy)]
    covered = (*bubblewrap.covered_paths(policy, home), *hidden)
    return tuple(dict.fromkeys(covered)), tuple(dict.fromkeys([*toolchains, *shown]))


def _environment(policy: SandboxPolicy, host: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    toolchains = [path.expanduser() for path in policy.read_only_paths]
    if policy.search_path:
        path = joined_path(policy.search_path, toolchains)
    else:
        prefixes = [prefix / "bin" for prefix in bubblewrap.interpreter_prefixes()]
        path = search_path(host.get("PATH", ""), toolchains, prefixes)
    environment = command_environment(host, policy.environment, path, PRIVATE_HOME)
    return tuple((environment | dict(policy.variables)).items())


def _bubblewrap(policy: SandboxPolicy, host: Mapping[str, str], home: Path, *, probe: bool) -> Sandbox:
    launcher = _find_launcher(host)
    version = _version(launcher)
    sandbox = Sandbox(
        policy=policy,
        launcher=launcher,
        arguments=bubblewrap.fixed_arguments(policy, version),
        covered=bubblewrap.covered_paths(policy, home),
        toolchains=tuple(str(path) for path in bubblewrap.toolchains(policy)),
        environment=_environment(policy, host),
        shell=_shell("/usr/bin:/bin:/usr/local/bin"),
    )
    if probe:
        _try_out(sandbox)
    return sandbox


def _unconfined(policy: SandboxPolicy, host: Mapping[str, str], home: Path) -> Sandbox:
    # The real HOME: nothing is hidden anyway, and toolchains are found there.
    path = joined_path(policy.search_path, ()) if policy.search_path else host.get("PATH", os.defpath)
    environment = command_environment(host, policy.environment, path, str(home)) | dict(policy.variables)
    shell = _shell(path)
    environment["TMPDIR"] = host.get("TMPDIR", "/tmp")
    return Sandbox(policy, None, (), (), (), tuple(environment.items()), shell, "unsafe")


def _check(policy: SandboxPolicy, home: Path) -> None:
    for path in policy.read_only_paths:
        real = path.expanduser().resolve()
        if home.resolve().is_relative_to(real) or str(real) in ("/tmp", "/run", "/home", "/proc", "/dev"):
            raise SandboxUnavailable(
                f"The sandbox's read-only path {path} would show commands everything in it, including the "
                "secrets of your home or sockets. Name the toolchains below it instead."
            )
    if policy.network and policy.unix_sockets:
        raise SandboxUnavailable(
            "The sandbox cannot allow `network` and `unix_sockets` together: commands would reach the host's "
            "abstract sockets. Turn one of them off."
        )


def _find_launcher(host: Mapping[str, str]) -> str:
    if not sys.platform.startswith("linux"):
        raise SandboxUnavailable(f"No sandbox is available for {sys.platform}. {_UNSAFE_HINT}")
    launcher = shutil.which("bwrap", path=host.get("PATH")) or shutil.which(
        "bwrap", path="/usr/bin:/usr/local/bin"
    )
    if launcher is None:
        raise SandboxUnavailable(
            f"bubblewrap is not installed, so commands cannot be confined. {_INSTALL} {_UNSAFE_HINT}"
        )
    return launcher


def _version(launcher: str) -> tuple[int, int]:
    answer = _run([launcher, "--version"])
    found = re.search(r"(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _try_out(sandbox: Sandbox) -> None:
    """Run an empty command with all the real arguments. Raises SandboxUnavailable."""
    nothing = bubblewrap.view_arguments(sandbox, View(None))
    assert sandbox.launcher is not None
    answer = _run([sandbox.launcher, *sandbox.arguments, *nothing, sandbox.shell, "-c", ":"])
    if answer.returncode != 0:
        raise SandboxUnavailable(_explain(answer.stderr.strip() or f"exit code {answer.returncode}"))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(f"bubblewrap could not be started: {error}. {_INSTALL}") from error


def _setting(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _explain(message: str) -> str:
    """bubblewrap's own error message, and the remedy for the kernel settings that are known to forbid it."""
    said = f"bubblewrap cannot create a sandbox on this machine: {message}."
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            f"{said} An AppArmor setting of Ubuntu forbids it. Allow bubblewrap with a profile: `printf "
            f"'{_APPARMOR_PROFILE}' | sudo tee /etc/apparmor.d/bwrap && sudo systemctl reload apparmor`, or "
            f"all programs: `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`. {_UNSAFE_HINT}"
        )
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return (
            f"{said} Allow user namespaces: `sudo sysctl kernel.unprivileged_userns_clone=1`. {_UNSAFE_HINT}"
        )
    if _setting("/proc/sys/user/max_user_namespaces") == "0":
        return f"{said} Allow user namespaces: `sudo sysctl user.max_user_namespaces=10000`. {_UNSAFE_HINT}"
    options = " ".join(f"--security-opt {name}=unconfined" for name in ("seccomp", "apparmor", "systempaths"))
    return (
        f"{said} In a container, start it with user namespaces allowed (Docker: `{options}`). {_UNSAFE_HINT}"
    )


def _shell(path: str) -> str:
    return shutil.which("bash", path=path) or "/bin/sh"
