"""Landlock, Linux's file and network rules for a process without privileges: three system calls, by ctypes.

A ruleset *handles* rights: what it handles is refused, unless a rule allows it below a path. It handles only what the
kernel knows (its ABI), so a newer right is never an error on an older kernel. Once a process has restricted itself, it
and its children stay restricted.

Source: the kernel's Documentation/userspace-api/landlock.rst; values of include/uapi/linux/landlock.h.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from enum import IntFlag
from functools import cache
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # equal on all architectures
VERSION, PATH_BENEATH, NET_PORT = 1, 1, 2  # a flag of the first call, and types of rules
CONNECT_TCP = 2  # binding a port isn't handled: nothing comes in that way
SET_NO_NEW_PRIVILEGES = 38


class Right(IntFlag):
    """What may be done below a path; the order is the kernel's."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


NOTHING = Right(0)
EVERYTHING = Right((1 << 16) - 1)
READ = Right.EXECUTE | Right.READ_FILE | Right.READ_DIR
OF_FILES = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV
_SINCE = {2: Right.REFER, 3: Right.TRUNCATE, 5: Right.IOCTL_DEV}  # by the ABI that brought the right
_NETWORK_SINCE = 4
_libc = ctypes.CDLL(None, use_errno=True)


@cache
def abi() -> int:
    """The version of Landlock that the kernel has; 0 if it has none or doesn't use it."""
    if not os.path.isdir("/proc/self"):  # another system, where the numbers mean other calls
        return 0
    return max(0, int(_libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION)))


def handled(version: int) -> Right:
    """The rights that a version knows."""
    return EVERYTHING & ~sum((right for since, right in _SINCE.items() if since > version), NOTHING)


def limits_tcp() -> bool:
    """Whether the kernel can refuse TCP connections."""
    return abi() >= _NETWORK_SINCE


def restriction(rights: Mapping[str, Right], *, tcp: bool, ports: Iterable[int] = ()) -> Callable[[], None]:
    """A function by which a child restricts itself before it starts a program; it may run after a fork.

    Args:
        rights: By path, what is allowed there and below. A path that doesn't exist is left out.
        tcp: Whether connections are allowed.
        ports: TCP ports that it may connect to in any case, on any machine: the kernel knows no addresses.

    Raises:
        OSError: The kernel refuses the rules.
    """
    known = handled(abi())
    network = CONNECT_TCP if limits_tcp() and not tcp else 0
    attributes = struct.pack("=QQ", known, network)[: 16 if abi() >= _NETWORK_SINCE else 8]
    ruleset = _call(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    for path, allowed in rights.items():
        with suppress(FileNotFoundError, PermissionError, NotADirectoryError):  # out of the job's reach anyway
            _allow(ruleset, path, allowed & known)
    for port in ports if network else ():
        _call(ADD_RULE, ruleset, NET_PORT, struct.pack("=QQ", CONNECT_TCP, port), 0)

    def restrict() -> None:
        if _libc.prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or _libc.syscall(RESTRICT_SELF, ruleset, 0):
            raise OSError(ctypes.get_errno(), "Landlock refuses the restriction")

    return restrict


def _allow(ruleset: int, path: str, allowed: Right) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not Path(f"/proc/self/fd/{descriptor}").is_dir():
            allowed &= OF_FILES
        if allowed:
            _call(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", allowed, descriptor), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {errno.errorcode.get(code, code)}")
    return result
