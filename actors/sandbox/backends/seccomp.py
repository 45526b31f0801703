"""seccomp filters of system calls, as classic BPF programs, for `bwrap --seccomp` and Landlock's launcher.

They refuse the sockets that namespaces do not confine: Unix sockets with a path (no network namespace confines
them), VSOCK (no namespace does) and io_uring (its sockets bypass filters). Datagram socket pairs are refused
because either end can later send to any Unix address.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from dataclasses import dataclass

_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_EQUAL, _JUMP_AT_LEAST = 0x15, 0x35
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
# Offsets in struct seccomp_data; the low halves of 64-bit arguments on little-endian machines.
_NUMBER, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
_X32_BIT = 0x40000000
_AF_NETLINK = 16

_Instruction = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class _Machine:
    audit_arch: int
    socket: int
    socketpair: int
    denied: tuple[int, ...]  # add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd
    # For Landlock, which has no namespaces: shmget, shmat, semget, msgget, mq_open; then unshare and setns.
    shared: tuple[int, ...]


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, 53, (248, 249, 250, 321, 298, 323), (29, 30, 64, 68, 240, 272, 308)),
    "aarch64": _Machine(
        0xC00000B7, 198, 199, (217, 218, 219, 280, 241, 282), (194, 196, 190, 186, 180, 97, 268)
    ),
}
_IO_URING_SETUP = 425


def _refuse(code: int) -> _Instruction:
    return (_RETURN, 0, 0, _ERRNO | code)


def _on_syscall(number: int, block: list[_Instruction]) -> list[_Instruction]:
    """Run `block`, which must end in a return, if the accumulator holds this system call's number."""
    return [(_JUMP_EQUAL, 0, len(block), number), *block]


def socket_filter(*, unix_sockets: bool, machine: str | None = None) -> bytes | None:
    """bubblewrap's filter; None if the system-call numbers of this processor are unknown."""
    numbers = _MACHINES.get(machine or platform.machine())
    families = [int(socket.AF_INET), int(socket.AF_INET6), _AF_NETLINK]
    if unix_sockets:
        families.append(int(socket.AF_UNIX))
    return None if numbers is None else _program(numbers, families, numbers.denied, unix_sockets)


def landlock_filter(*, network: bool, machine: str | None = None) -> bytes | None:
    """Landlock's filter, which also refuses IPC and, without `network`, all sockets; None as above.

    Landlock's own rules for TCP are not enough: UDP, TCP Fast Open and multipath TCP bypass them.
    """
    numbers = _MACHINES.get(machine or platform.machine())
    families = [int(socket.AF_INET), int(socket.AF_INET6), _AF_NETLINK] if network else []
    return None if numbers is None else _program(numbers, families, numbers.denied + numbers.shared, False)


def _program(numbers: _Machine, families: list[int], denied: tuple[int, ...], unix_sockets: bool) -> bytes:
    allow: _Instruction = (_RETURN, 0, 0, _ALLOW)
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        # Refuse all 32-bit and x32 calls: they have other numbers, and socketcall().
        (_JUMP_EQUAL, 1, 0, numbers.audit_arch),
        _refuse(errno.ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_AT_LEAST, 0, 1, _X32_BIT),
        _refuse(errno.ENOSYS),
    ]
    program += _on_syscall(_IO_URING_SETUP, [_refuse(errno.ENOSYS)])
    for number in denied:
        program += _on_syscall(number, [_refuse(errno.EPERM)])
    by_family: list[_Instruction] = [(_LOAD, 0, 0, _ARG0)]
    for family in families:
        by_family += [(_JUMP_EQUAL, 0, 1, family), allow]
    program += _on_syscall(numbers.socket, [*by_family, _refuse(errno.EAFNOSUPPORT)])
    if not unix_sockets:
        pair: list[_Instruction] = [
            (_LOAD, 0, 0, _ARG1),
            (_AND, 0, 0, 0xF),
            (_JUMP_EQUAL, 0, 1, int(socket.SOCK_DGRAM)),
            _refuse(errno.EPERM),
            allow,
        ]
        program += _on_syscall(numbers.socketpair, pair)
    program.append(allow)
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
