"""Pipes and other descriptors for a child process, each closed by the ExitStack that it is given to."""

from __future__ import annotations

import os
import select
from contextlib import ExitStack


def readable(descriptors: list[int], timeout_s: float) -> list[int]:
    """Those descriptors with data to read or at their end.

    Uses poll(): select() fails on descriptors above 1023.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(max(0.0, timeout_s) * 1000)]


def make_pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """A new pipe: `reader` closes its read end, `writer` its write end."""
    read_end, write_end = os.pipe()
    reader.callback(os.close, read_end)
    writer.callback(os.close, write_end)
    return read_end, write_end


def filled_pipe(content: bytes, reader: ExitStack) -> int:
    """The read end of a pipe that holds `content`, which must fit into the pipe's buffer."""
    with ExitStack() as writer:
        read_end, write_end = make_pipe(reader, writer)
        os.write(write_end, content)
    return read_end


def filled_memory_file(content: bytes, stack: ExitStack) -> int:
    """A descriptor of a file in memory that holds `content`, which may be larger than a pipe's buffer."""
    descriptor = os.memfd_create("nightcrew")
    stack.callback(os.close, descriptor)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def pending_text(output_fd: int) -> str:
    """The text that a pipe holds now; empty if it holds none."""
    data = os.read(output_fd, 4096) if readable([output_fd], 0) else b""
    return data.decode("utf-8", "replace").strip()
