"""macOS: a profile for sandbox-exec. UNTESTED: written from the profile language's description, never run.

The self-test at start-up decides whether it works; `status` and `doctor` say "untested" too. It is weaker than
bubblewrap: without a process namespace daemons are found by their mark, commands see the names and sizes of
files and the other processes, and limits are those of `ulimit`. In a profile later rules override earlier ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from actors.sandbox.git_paths import git_paths
from actors.sandbox.policy import Sandbox, View

LAUNCHER = "sandbox-exec"
_SCRATCH = "/private/tmp/nightcrew-command."
_READABLE = ("/usr", "/bin", "/sbin", "/opt", "/System", "/Library", "/private/etc", "/private/var/db")
_DEVICES = ("null", "zero", "random", "urandom", "tty", "dtracehelper")


def command(sandbox: Sandbox, words: list[str], view: View) -> list[str]:
    """The command line that runs `words` confined, with limits on file size and core dumps."""
    blocks = sandbox.policy.max_file_bytes // 512
    prepare = (
        f"ulimit -c 0; ulimit -f {blocks}; TMPDIR=$(mktemp -d {_SCRATCH}XXXXXX) || exit 126; "
        'HOME=$TMPDIR; export HOME; trap \'rm -rf "$TMPDIR"\' EXIT; "$@"'
    )
    limited = ["/bin/sh", "-c", prepare, "sh", *words]
    return [str(sandbox.launcher), "-p", profile(sandbox, view), *limited]


def profile(sandbox: Sandbox, view: View) -> str:
    """The text of the profile for one command."""
    lines = [
        "(version 1)",
        "(deny default)",
        "(allow process-fork process-exec sysctl-read file-read-metadata)",
        "(allow signal (target same-sandbox))",
        '(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))',
        _rule("allow file-read*", [*_READABLE, *sandbox.toolchains]),
        '(allow file-read* (literal "/"))',
        _rule("allow file-read* file-write* file-ioctl", [f"/dev/{name}" for name in _DEVICES]),
        _rule("deny file-read* file-write*", sandbox.covered),
        _rule("allow file-read* file-write*", [_SCRATCH], prefix=True),
    ]
    writable = [mount.source for mount in sandbox.policy.mounts if mount.kind == "writable"]
    lines.append(_rule("allow file-read* file-write*", writable))
    if sandbox.policy.network:
        lines.append("(allow network-outbound network-inbound (local ip) (remote ip))")
        lines.append('(allow network-outbound (literal "/private/var/run/mDNSResponder"))')
    if view.worktree is not None:
        worktree = view.worktree.resolve()
        rights = "allow file-read* file-write*" if view.writable else "allow file-read*"
        protected = [str(path) for path in git_paths(worktree)]
        lines.append(_rule(rights, [str(worktree)]))
        lines.append(_rule("allow file-read*", protected))
        lines.append(_rule("deny file-write*", [str(worktree / ".git"), *protected]))
    kept = [str(path.resolve()) for path in view.read_only]
    lines += [_rule("allow file-read*", kept), _rule("deny file-write*", kept)]
    return "\n".join(line for line in lines if line)


def _rule(action: str, paths: Iterable[str], *, prefix: bool = False) -> str:
    kind = "prefix" if prefix else "subpath"
    filters = " ".join(f"({kind} {_quoted(path)})" for path in dict.fromkeys(paths))
    return f"({action} {filters})" if filters else ""


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
