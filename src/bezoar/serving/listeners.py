"""The processes that listen on a port of this machine, by Linux's /proc."""

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

TABLES = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
LISTENS = "0A"  # a socket's state, in those tables
PROCESSES = Path("/proc")


def known() -> bool:
    """Whether this machine has these tables."""
    return TABLES[0].exists()


def listeners(port: int) -> dict[int, int]:
    """The sockets that listen on a port at any address: the user of each by its number."""
    found = {}
    for table in TABLES:
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        for words in map(str.split, lines):
            if int(words[1].rpartition(":")[2], 16) == port and words[3] == LISTENS:
                found[int(words[9])] = int(words[7])
    return found


def owned(url: str, pid: int) -> bool:
    """Whether only a process and its children listen at an address; always true for another machine's address.

    A server that was killed leaves its address behind, and any program of this machine can then listen there. A job
    that can't see other processes' files only checks that the process lives, and that this user listens.
    """
    try:
        found = urlsplit(url)
        host, port = found.hostname or "", found.port or 0
    except ValueError:
        return False
    if not known() or not _of_this_machine(host):
        return True
    listening = listeners(port)
    if not _shows_files(pid):
        return bool(listening) and _user(pid) == os.getuid() and set(listening.values()) == {os.getuid()}
    return bool(listening) and listening.keys() <= sockets(family(pid))


def _shows_files(pid: int) -> bool:
    """Whether this process may see what another one has open; under Landlock (bezoar.cache.room) it may not."""
    folder = PROCESSES / str(pid) / "fd"
    try:
        for descriptor in os.listdir(folder):
            os.readlink(folder / descriptor)
    except PermissionError:
        return False
    except OSError:  # it has ended, or closes a file just now
        pass
    return True


def _user(pid: int) -> int | None:
    """The user of a process; None if it has ended."""
    with suppress(OSError):
        return os.stat(PROCESSES / str(pid)).st_uid
    return None


def _of_this_machine(host: str) -> bool:
    """Whether a host's name or address is this machine's: a socket can be bound to it."""
    with suppress(OSError, UnicodeError):
        for kind, _, _, _, address in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
            with suppress(OSError), socket.socket(kind, socket.SOCK_STREAM) as one:
                one.bind(address)
                return True
    return False


def family(pid: int) -> set[int]:
    """A process, its children, direct or not, and the processes of its session."""
    parents, found = {}, {pid}
    for one in _numbers(PROCESSES):
        with suppress(OSError):
            _, parent, _, session = (PROCESSES / str(one) / "stat").read_text().rpartition(")")[2].split()[:4]
            parents[one] = int(parent)
            if int(session) == pid:
                found.add(one)
    grown = True
    while grown:
        more = {one for one, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return found


def sockets(pids: Iterable[int]) -> set[int]:
    """The numbers of all sockets that processes have open."""
    found = set()
    for pid in pids:
        folder = PROCESSES / str(pid) / "fd"
        for descriptor in _numbers(folder):
            with suppress(OSError):
                kind, _, number = os.readlink(folder / str(descriptor)).partition(":[")
                if kind == "socket":
                    found.add(int(number.rstrip("]")))
    return found


def _numbers(folder: Path) -> list[int]:
    """The names in a folder that are numbers; none if it can't be read."""
    with suppress(OSError):
        return [int(name) for name in os.listdir(folder) if name.isdigit()]
    return []
