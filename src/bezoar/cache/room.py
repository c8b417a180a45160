"""The room of a job: what it may do, closed by Landlock where the kernel has it.

It needs neither root nor a container. Every node of a cluster decides for itself. What a room allows is in
bezoar.cache.rights, how a refusal is explained in bezoar.cache.refusals.
"""

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bezoar.cache import CacheError, landlock
from bezoar.cache.job import FOLDER
from bezoar.cache.landlock import NOTHING, Right
from bezoar.errors import problem
from bezoar.text import show

VARIABLE = "BEZOAR_ISOLATION"


class Mode(StrEnum):
    """How closely a job is held to its declaration."""

    ENFORCE = "enforce"
    OBSERVE = "observe"
    OFF = "off"


def mode() -> Mode:
    """The mode on this machine: the one in BEZOAR_ISOLATION, by default `enforce` where the kernel has Landlock.

    Raises:
        CacheError: The variable has no such mode, or `enforce` is impossible here.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return Mode.ENFORCE if landlock.abi() else Mode.OBSERVE
    if wanted not in list(Mode):
        raise CacheError(problem(f"{VARIABLE}: no such mode", found=wanted, expected=", ".join(Mode)))
    if wanted == Mode.ENFORCE and not landlock.abi():
        raise CacheError(
            problem(
                f"{VARIABLE}=enforce is impossible on {os.uname().nodename}",
                found="a system without Landlock",
                expected="Linux 5.13 or newer with Landlock",
                hint=f"unset {VARIABLE}: jobs are then observed here",
            )
        )
    return Mode(wanted)


def _tell(mode: Mode) -> None:
    """Say once in a run and on a machine that jobs are only observed, unless a person has asked for that."""
    if mode == Mode.OBSERVE and not os.environ.get(VARIABLE):
        with suppress(OSError), open(f"{FOLDER}/observed-{os.uname().nodename}", "x"):
            show("this system has no Landlock: jobs are observed, and not held to their declarations", file=sys.stderr)


@dataclass
class Room:
    """What a job may do; its folders exist.

    Attributes:
        rights: By real path, what is allowed there and below.
        tcp: Whether it may connect.
        environment: All its variables.
        folder: The job's own folder.
        made: Files and folders that were made for the job to write to; empty ones are removed when it has ended.
        shared: What it uses to reach others, such as stored answers and downloads; no result depends on it.
        local: Whether its processes may connect to each other, by ports that the system gives out.
    """

    rights: dict[str, Right]
    tcp: bool
    environment: dict[str, str]
    folder: str
    made: list[str] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    local: bool = False

    def allow(self, path: str, right: Right) -> None:
        """Allow something at a path and below."""
        real = os.path.realpath(path)
        self.rights[real] = self.rights.get(real, NOTHING) | right

    def at(self, path: str) -> Right:
        """What is allowed at a path."""
        real, found = os.path.realpath(path), NOTHING
        while True:
            found |= self.rights.get(real, NOTHING)
            if real == "/":
                return found
            real = os.path.dirname(real)

    def restriction(self) -> Callable[[], None] | None:
        """A function that a child calls after the fork, which closes the room around it; None if nothing is enforced.

        Raises:
            CacheError: The mode is unknown or impossible, or the kernel refuses the rules.
        """
        wanted = mode()
        _tell(wanted)
        return enter(self) if wanted == Mode.ENFORCE else None

    def leave(self, *, succeeded: bool) -> None:
        """Remove what was made for the job and not used, and after a success its own folder."""
        for path in self.made:
            with suppress(OSError):  # it isn't empty, or the job has renamed it
                if os.path.islink(path):
                    os.unlink(path)
                elif os.path.isdir(path):
                    os.rmdir(path)
                elif not os.path.getsize(path):
                    os.unlink(path)
        if succeeded:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for path in (f"{self.folder}/tmp", f"{self.folder}/cache", self.folder):
            with suppress(OSError):
                os.rmdir(path)
        if os.path.exists(self.folder):
            show(f"its temporary files stay in {os.path.relpath(self.folder)}", file=sys.stderr)


def given_out() -> range:
    """The TCP ports that the system gives to those who ask for any."""
    try:
        first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return range(0)
    return range(first, last + 1)


def enter(room: Room) -> Callable[[], None]:
    """A function that a child calls after the fork (`preexec_fn`), which closes the room with Landlock.

    Raises:
        CacheError: The kernel has Landlock, but refuses the rules.
    """
    try:
        return landlock.restriction(room.rights, tcp=room.tcp, ports=given_out() if room.local else ())
    except OSError as error:
        raise CacheError(
            problem(
                "a job can't be isolated",
                found=error,
                expected="a kernel that takes Landlock's rules",
                hint=f"{VARIABLE}=observe runs jobs without them",
            )
        ) from error
