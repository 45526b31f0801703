"""Landlock's launcher, run as a script for each command: `python -I -S confine.py FD`.

1. Read the instructions, one marshalled document, from descriptor FD (`backends.landlock.instructions`).
2. Become the reaper of everything that the command will start (PR_SET_CHILD_SUBREAPER).
3. Fork the command's first process. It confines itself, reports "ready", waits for the start byte, executes.
4. When the command ends, or the agent closes its end of the start pipe, kill all descendants.
5. Exit with the command's exit code (128 + signal number).

Imports little of the standard library, because it starts for every command: json, typing and contextlib would
add 10 ms.
"""

from __future__ import annotations

import ctypes
import errno
import marshal
import os
import resource
import select
import signal
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_SET_NO_NEW_PRIVS, _SET_SECCOMP, _SET_CHILD_SUBREAPER = 38, 22, 36
_DROP_FROM_BOUND, _AMBIENT, _AMBIENT_CLEAR = 24, 47, 4
_SECCOMP_FILTER = 2
_CAPABILITIES_V3 = 0x20080522
# The rights that apply to files. The kernel refuses a rule for a file that has any other right.
_FILE_RIGHTS = 0x1 | 0x2 | 0x4 | 1 << 14 | 1 << 15
_NOT_RUN, _NOT_FOUND = 126, 127


class suppress:  # noqa: N801 - named like the one of contextlib, whose import is too slow
    """Leave the block at an error of these kinds, without raising it."""

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._kinds)


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return libc


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _system_call(libc: ctypes.CDLL, what: str, number: int, *arguments: Any) -> int:
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(int(libc.syscall(ctypes.c_long(number), *words)), what)


def _control(libc: ctypes.CDLL, what: str, option: int, *arguments: Any) -> int:
    words = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    words += [ctypes.c_ulong(0)] * (4 - len(words))
    return _checked(int(libc.prctl(option, *words)), what)


def _restrict(libc: ctypes.CDLL, ruleset: dict[str, Any], rules: list[list[Any]]) -> None:
    """Apply the rule set to this process, irrevocably. `ruleset` has `fs`, `net`, `scoped` and `bytes`."""
    fields = struct.pack("=QQQ", ruleset["fs"], ruleset["net"], ruleset["scoped"])[: ruleset["bytes"]]
    rules_fd = _system_call(
        libc, "landlock_create_ruleset", _CREATE_RULESET, ctypes.c_char_p(fields), len(fields), 0
    )
    for path, rights, required in rules:
        try:
            # Do not follow a symbolic link at the end: a command may have made it.
            found = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            if required:
                raise
            continue
        mode = os.fstat(found).st_mode & 0o170000
        allowed = rights if mode == 0o040000 else rights & _FILE_RIGHTS
        if mode != 0o120000 and allowed:
            rule = struct.pack("=Qi", allowed, found)
            what = f"landlock_add_rule for {path}"
            _system_call(libc, what, _ADD_RULE, rules_fd, _PATH_BENEATH, ctypes.c_char_p(rule), 0)
        os.close(found)
    _system_call(libc, "landlock_restrict_self", _RESTRICT_SELF, rules_fd, 0)
    os.close(rules_fd)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """As root, drop all capabilities, so that programs executed as root gain none either."""
    if os.getuid() != 0:
        return
    for capability in range(64):
        try:
            _control(libc, "PR_CAPBSET_DROP", _DROP_FROM_BOUND, capability)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break
    with suppress(OSError):
        _control(libc, "PR_CAP_AMBIENT", _AMBIENT, _AMBIENT_CLEAR)
    header, none = struct.pack("=Ii", _CAPABILITIES_V3, 0), bytes(24)
    _checked(int(libc.capset(ctypes.c_char_p(header), ctypes.c_char_p(none))), "capset")


def _filter_calls(libc: ctypes.CDLL, program: bytes) -> None:
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of 8-byte instructions, then their address.
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    _control(libc, "seccomp", _SET_SECCOMP, _SECCOMP_FILTER, ctypes.c_char_p(head))


def _lower_limit(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (value, value))


def _confine(instructions: dict[str, Any]) -> None:
    libc = _libc()
    os.setsid()
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
        # Python ignores the first two signals, and a program that it executes would inherit that.
        signal.signal(number, signal.SIG_DFL)
    for kind, limit in instructions["limits"]:
        _lower_limit(kind, limit)
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(instructions["oom_score"]))
    os.chdir(instructions["folder"])
    _control(libc, "PR_SET_NO_NEW_PRIVS", _SET_NO_NEW_PRIVS, 1)
    _restrict(libc, instructions["ruleset"], instructions["rules"])
    _drop_capabilities(libc)
    _filter_calls(libc, bytes.fromhex(instructions["seccomp"]))


def _run_command(instructions: dict[str, Any]) -> None:
    """In the forked child: confine it, wait for the start byte, execute. Never returns."""
    try:
        _confine(instructions)
        os.write(instructions["info_fd"], b"ready")
    except Exception as error:  # noqa: BLE001 - whatever it is, the agent at the other end raises it
        os.write(instructions["info_fd"], f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
        os._exit(_NOT_RUN)
    words = instructions["words"]
    try:
        if os.read(instructions["start_fd"], 1) == b"g":
            os.execvpe(words[0], words, instructions["environment"])
    except OSError as error:
        os.write(2, f"{words[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
        os._exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_RUN)
    finally:
        os._exit(_NOT_RUN)


def _reap(child: int) -> int | None:
    """Reap all children that have ended; returns the status of `child` if it is among them."""
    status = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            status = ended[1] if ended[0] == child else status
    return status


def _wait(child: int, wake_fd: int, start_fd: int) -> int | None:
    """The status of the command's first process; None if the agent closes the start pipe first."""
    poll = select.poll()
    poll.register(wake_fd, select.POLLIN)
    # Request no event, because the child reads the start byte. A hang-up of the pipe is always reported.
    poll.register(start_fd, 0)
    while True:
        status = _reap(child)
        if status is not None:
            return status
        ready = dict(poll.poll())
        if start_fd in ready:
            return None
        with suppress(BlockingIOError):
            os.read(wake_fd, 4096)


def _descendants() -> set[int]:
    """The process ids of all living descendants of this process."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - importing pathlib would double the start-up time
        if name.isdigit():
            with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    parents[int(name)] = int(fields[1])
    found, new = set[int](), {os.getpid()}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new and pid not in found}
        found |= new
    return found


def _kill_descendants() -> None:
    """Kill all processes that the command started. We are their reaper, so none can leave our process tree."""
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        stopped = set[int]()
        # Stop all of them first, until no new one appears: a fork bomb forks as fast as it is killed.
        while fresh := _descendants() - stopped:
            for pid in fresh:
                with suppress(OSError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= fresh
        for pid in stopped:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)


def main(document_fd: int) -> int:
    """Run the command of the instructions to its end; returns its exit code."""
    with open(document_fd, "rb") as file:
        instructions: dict[str, Any] = marshal.load(file)
    for descriptor in (instructions["info_fd"], instructions["start_fd"], instructions["status_fd"]):
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
    libc = _libc()
    _control(libc, "PR_SET_CHILD_SUBREAPER", _SET_CHILD_SUBREAPER, 1)
    wake_fd, wake_write = os.pipe()
    os.set_blocking(wake_fd, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = os.fork()
    if child == 0:
        os.nice(instructions["niceness"])
        _run_command(instructions)
    os.close(instructions["info_fd"])
    null = os.open(os.devnull, os.O_RDWR)
    # If this process also kept the output open, the agent would never see its end.
    os.dup2(null, 1)
    os.dup2(null, 2)
    status = _wait(child, wake_fd, instructions["start_fd"])
    code = 137 if status is None else os.waitstatus_to_exitcode(status)
    code = 128 - code if code < 0 else code
    if status is not None and instructions["status_fd"] is not None:
        os.write(instructions["status_fd"], b'{"exit-code": %d}\n' % code)
    _kill_descendants()
    return code


if __name__ == "__main__":
    # Not sys.exit(): the interpreter's clean-up costs time and is not needed.
    os._exit(main(int(sys.argv[1])))
