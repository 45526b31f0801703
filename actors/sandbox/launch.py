"""Starting one command and being able to end all of it: with bubblewrap, or without any sandbox."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from actors.sandbox import cgroup, confine
from actors.sandbox.backends import landlock, seatbelt
from actors.sandbox.backends.bubblewrap import view_arguments
from actors.sandbox.backends.seccomp import socket_filter
from actors.sandbox.errors import SandboxFailed
from actors.sandbox.policy import Sandbox, View
from actors.sandbox.record import note
from actors.sandbox.usage import UsageMeter

_SETUP_TIMEOUT_S = 20.0
MARK = "NIGHTCREW_COMMAND"
_NICENESS = 5
_URGENT_NICENESS = -20
_OOM_SCORE = 500
_LAUNCHER_END_S = 15.0


def readable(descriptors: list[int], timeout_s: float) -> list[int]:
    """Those with something to read or at their end. Not select(), which fails on descriptors past 1023."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(max(0.0, timeout_s) * 1000)]


@dataclass(slots=True)
class Launched:
    """A running command: the read end of its output, and the process that all of its processes descend from.

    `go_fd` is the read end of the pipe by which a sandbox that is set up was told to begin. `hold_fd` is for
    Landlock the write end of that pipe: its launcher ends everything when nobody holds it. `scratch` is the
    command's private folder there.
    """

    process: subprocess.Popen[bytes]
    output_fd: int
    root_pid: int
    root_pidfd: int | None
    meter: UsageMeter
    mark: str | None = None
    go_fd: int | None = None
    group: Path | None = None
    hold_fd: int | None = None
    scratch: Path | None = None
    _closed: bool = field(default=False)

    def kill(self) -> None:
        """End everything that belongs to it, now. Harmless when it is over."""
        if self.root_pidfd is not None:
            # The first process of the process namespace: the kernel ends all others with it, atomically.
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.root_pidfd, signal.SIGKILL)
            # It must get a processor to do so: in a fork bomb it would wait in line while the bomb goes on.
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self.root_pid, _URGENT_NICENESS)
        if self.hold_fd is not None:
            self._let_go()
            return
        if self.mark is not None:
            _kill_marked(self.process.pid, self.mark)
        self.process.kill()

    def _let_go(self) -> None:
        """Its launcher stops and ends all descendants; a killed one would set them free."""
        if self.hold_fd is not None:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self.process.pid, _URGENT_NICENESS)
            os.close(self.hold_fd)
            self.hold_fd = None

    def _finish_launcher(self, mark: str) -> None:
        try:
            code = self.process.wait(timeout=_LAUNCHER_END_S if self.hold_fd is None else None)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self._let_go()
        if code < 0:
            # Killed, which commands can do below version 6: what it had to reap is found by its mark.
            end_unconfined(mark)
        if self.scratch is not None:
            landlock.remove_scratch(self.scratch)

    def finish(self, deadline_s: float = 30.0) -> int:
        """Wait until nothing of it is left; gives the launcher's own exit code. Raises SandboxFailed."""
        if self.mark is not None and self.scratch is not None:
            self._finish_launcher(self.mark)
        elif self.mark is not None:
            _kill_marked(self.process.pid, self.mark)
        try:
            code = self.process.wait(timeout=deadline_s)
        except subprocess.TimeoutExpired as error:
            # Seen with processes that wait for a dead disk: nothing but the machine can end them.
            raise SandboxFailed(
                f"The command's process {self.process.pid} can't be ended by SIGKILL."
            ) from error
        if self.root_pidfd is not None:
            readable([self.root_pidfd], deadline_s)
        if self.group is not None:
            cgroup.remove(self.group)
        return code

    def never_began(self) -> bool:
        """After the end: whether the launcher gave up before the command; it then left our go unread."""
        return self.go_fd is not None and os.read(self.go_fd, 1) != b""

    def close(self) -> None:
        """Give back the descriptors; idempotent."""
        if self._closed:
            return
        self._closed = True
        for descriptor in (self.output_fd, self.root_pidfd, self.go_fd, self.hold_fd):
            if descriptor is not None:
                os.close(descriptor)


def launch(sandbox: Sandbox, words: list[str], view: View, status_fd: int | None, mark: str) -> Launched:
    """Start `words` in the sandbox. `status_fd` takes the exit record's facts. Raises SandboxFailed."""
    if sandbox.launcher is None:
        return _launch_unconfined(sandbox, words, view, status_fd, mark)
    if sandbox.mode == "landlock":
        return _launch_landlock(sandbox, words, view, status_fd, mark)
    if sandbox.mode == "seatbelt":
        words = seatbelt.command(sandbox, words, view)
        return _launch_unconfined(sandbox, words, view, status_fd, mark)
    return _launch_bubblewrap(sandbox, words, view, status_fd)


def _launch_bubblewrap(sandbox: Sandbox, words: list[str], view: View, status_fd: int | None) -> Launched:
    with ExitStack() as setup, ExitStack() as inherited, ExitStack() as kept:
        output_read, output_write = _pipe(kept, inherited)
        info_read, info_write = _pipe(setup, inherited)
        go_read, go_write = _pipe(kept, setup)
        given = {"--info-fd": info_write, "--block-fd": go_read}
        if status_fd is not None:
            given["--json-status-fd"] = status_fd
        rules = socket_filter(unix_sockets=sandbox.policy.unix_sockets and not sandbox.policy.network)
        if rules is not None:
            given["--seccomp"] = _filled_pipe(rules, inherited)
        options = [word for name, number in given.items() for word in (name, str(number))]
        arguments = [*sandbox.arguments, *view_arguments(sandbox, view), *options]
        command = [str(sandbox.launcher), *arguments, *words]
        with cgroup.bounded(_tasks(sandbox)) as group:
            if group is not None:
                kept.callback(cgroup.remove, group)
            process = _popen(command, output_write, list(given.values()), dict(sandbox.environment), "/")
        kept.callback(_end, process)
        # While we hold them too, the ends of output and of a failed setup would never be seen.
        inherited.close()
        pid = _first_pid(info_read, output_read)
        try:
            pidfd = os.pidfd_open(pid)
            kept.callback(os.close, pidfd)
            _limit(pid, sandbox)
        except ProcessLookupError as error:
            # It still sets up the sandbox while we limit it. If that failed, bubblewrap knows why, not we.
            raise SandboxFailed(
                f"bubblewrap could not set up the sandbox: {_last_words(process, output_read)}"
            ) from error
        except PermissionError as error:
            raise SandboxFailed(
                f"The limits of the sandbox's first process {pid} could not be set: {error}"
            ) from error
        if group is not None:
            cgroup.join(group, pid)
        if status_fd is not None:
            # Before it may run: a record without this line belongs to a command that never did.
            note(status_fd, {"started": time.time()})
        os.write(go_write, b"g")
        # All went well: what was to be undone is now the caller's.
        kept.pop_all()
        meter = UsageMeter(pid, namespaced=True)
        return Launched(process, output_read, pid, pidfd, meter, go_fd=go_read, group=group)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """A pipe whose ends are closed with these stacks."""
    read_end, write_end = os.pipe()
    reader.callback(os.close, read_end)
    writer.callback(os.close, write_end)
    return read_end, write_end


def _filled_pipe(content: bytes, reader: ExitStack) -> int:
    with ExitStack() as writer:
        read_end, write_end = _pipe(reader, writer)
        os.write(write_end, content)
    return read_end


def _popen(
    words: list[str], output: int, inherited: list[int], environment: dict[str, str], folder: str
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=inherited,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxFailed(f"The command could not be started in {folder}: {error}") from error


def _first_pid(info_fd: int, output_fd: int) -> int:
    """The pid (as seen here) of the sandbox's first process. It waits for our go before the command."""
    text, deadline = b"", time.monotonic() + _SETUP_TIMEOUT_S
    while (left := deadline - time.monotonic()) > 0 and readable([info_fd], left):
        chunk = os.read(info_fd, 4096)
        text += chunk
        if not chunk:
            break
    try:
        return int(json.loads(text)["child-pid"])
    except (ValueError, KeyError, TypeError):
        said = _said(output_fd) or "no message"
        raise SandboxFailed(f"bubblewrap could not set up the sandbox: {said}") from None


def _said(output_fd: int) -> str:
    """What is in the pipe now; empty if nothing is."""
    said = os.read(output_fd, 4096) if readable([output_fd], 0) else b""
    return said.decode("utf-8", "replace").strip()


def _last_words(process: subprocess.Popen[bytes], output_fd: int) -> str:
    """What a launcher that gave up has said. It has ended on return: until then it may have more to say."""
    try:
        code = process.wait(timeout=_SETUP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    return _said(output_fd) or f"no message, exit code {code}"


def _limit(pid: int, sandbox: Sandbox) -> None:
    """Limits of the command-to-be, inherited by all it starts. Raises ProcessLookupError, PermissionError."""
    # Root is not bound by this one, hence the control group, and the watcher where there is none.
    _lower(pid, resource.RLIMIT_NPROC, _tasks(sandbox))
    _lower(pid, resource.RLIMIT_FSIZE, sandbox.policy.max_file_bytes)
    _lower(pid, resource.RLIMIT_CORE, 0)
    os.setpriority(os.PRIO_PROCESS, pid, _NICENESS)
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(_OOM_SCORE))


def _tasks(sandbox: Sandbox) -> int:
    """Threads count for the kernel's limits, but not in the policy's."""
    return sandbox.policy.max_processes * 4


def _lower(pid: int, kind: int, limit: int) -> None:
    _, hard = resource.prlimit(pid, kind)
    value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.prlimit(pid, kind, (value, value))


def _launch_unconfined(
    sandbox: Sandbox, words: list[str], view: View, status_fd: int | None, mark: str
) -> Launched:
    environment = {**dict(sandbox.environment), MARK: mark}
    if status_fd is not None:
        note(status_fd, {"started": time.time()})
    with ExitStack() as inherited, ExitStack() as kept:
        output_read, output_write = _pipe(kept, inherited)
        process = _popen(words, output_write, [], environment, str(view.worktree or "/"))
        kept.pop_all()
    return Launched(process, output_read, process.pid, None, UsageMeter(process.pid, namespaced=False), mark)


def _launch_landlock(
    sandbox: Sandbox, words: list[str], view: View, status_fd: int | None, mark: str
) -> Launched:
    with ExitStack() as inherited, ExitStack() as setup, ExitStack() as kept:
        output_read, output_write = _pipe(kept, inherited)
        info_read, info_write = _pipe(setup, inherited)
        go_read, go_write = _pipe(inherited, kept)
        scratch = landlock.make_scratch()
        kept.callback(landlock.remove_scratch, scratch)
        fds = {"info_fd": info_write, "go_fd": go_read, "status_fd": status_fd}
        settings = {"niceness": _NICENESS, "oom_score": _OOM_SCORE}
        try:
            orders = landlock.orders(sandbox, words, view, scratch, (MARK, mark), {**fds, **settings})
        except (OSError, ValueError) as error:
            raise SandboxFailed(f"The sandbox could not be set up: {error}") from error
        orders_fd = _filled_memory(orders, inherited)
        given = [number for number in (*fds.values(), orders_fd) if number is not None]
        command = [str(sandbox.launcher), "-I", "-S", _script(), str(orders_fd)]
        environment = {"PATH": "/usr/bin:/bin", MARK: mark}
        with cgroup.bounded(_tasks(sandbox)) as group:
            if group is not None:
                kept.callback(cgroup.remove, group)
            process = _popen(command, output_write, given, environment, "/")
        kept.callback(_end, process)
        inherited.close()
        if group is not None:
            cgroup.join(group, process.pid)
        _await_ready(info_read, output_read)
        if status_fd is not None:
            note(status_fd, {"started": time.time()})
        try:
            os.write(go_write, b"g")
        except BrokenPipeError as error:
            # All who could read it were killed after they were ready. The command has not begun.
            raise SandboxFailed(
                f"Landlock's launcher ended before the command: {_last_words(process, output_read)}"
            ) from error
        kept.pop_all()
    meter = UsageMeter(process.pid, namespaced=False)
    return Launched(
        process, output_read, process.pid, None, meter, mark, group=group, hold_fd=go_write, scratch=scratch
    )


def _script() -> str:
    """Compiled, where our own import has left it so: a script is compiled anew at every start."""
    compiled = confine.__spec__.cached if confine.__spec__ is not None else None
    return compiled if compiled is not None and Path(compiled).exists() else confine.__file__


def _filled_memory(content: bytes, stack: ExitStack) -> int:
    """Not a pipe: the orders may be larger than one holds, and nobody reads yet."""
    descriptor = os.memfd_create("orders")
    stack.callback(os.close, descriptor)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _await_ready(info_fd: int, output_fd: int) -> None:
    ready = readable([info_fd], _SETUP_TIMEOUT_S)
    said = os.read(info_fd, 4096) if ready else b"it did not answer in time"
    if said != b"ready":
        text = said.decode("utf-8", "replace").strip() or _said(output_fd) or "no message"
        raise SandboxFailed(f"Landlock could not set up the sandbox: {text}")


def _kill_marked(group: int, mark: str) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    end_unconfined(mark)


def end_unconfined(mark: str) -> None:
    """End what carries the mark of an unconfined command: daemons that left group and tree inherit it."""
    # Twice at least: what was just being forked is seen in the next round.
    for _ in range(10):
        victims = [p for p in psutil.process_iter() if _carries(p, mark)]
        for victim in victims:
            with suppress(psutil.Error):
                victim.kill()
        if not victims:
            return


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark
    except (psutil.Error, OSError):
        return False
