"""Locks of runs and outputs in this folder; a killed run leaves none behind."""

import fcntl
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

from bezoar.cache import CacheError
from bezoar.cluster.node import ON_NODE
from bezoar.errors import problem
from bezoar.text import show

ALIVE = Path(".snakemake/alive")
AT_WORK = Path(".snakemake/bezoar-at-work")  # a lock for each output
DVC = Path(".dvc/tmp/lock")  # held by DVC's commands, but not while `dvc repro` runs a stage


def forget_killed_runs() -> TextIO:
    """Remove Snakemake's lock of this folder if its run was killed.

    Every run, and every command of a rule, holds a shared lock on one file until it ends, however it ends. If an
    exclusive lock succeeds, no run is alive, and Snakemake's lock is a dead run's. Returns the file, to be kept open.
    """
    try:
        ALIVE.parent.mkdir(exist_ok=True)
        file = ALIVE.open("a+")  # also for reading: NFS gives shared locks to readers only
    except OSError:  # a read-only folder: no run can start there, and queries need no lock
        return open(os.devnull, encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(ALIVE.parent / "locks", ignore_errors=True)
        fcntl.flock(file, fcntl.LOCK_SH)
    except BlockingIOError:  # another run, or a killed run's command, is alive: Snakemake's own lock stops this run
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:
        pass  # a file system without locks: a killed run then needs `snakemake --unlock`
    return file


def hold(output: str, who: str = "a job of an earlier run") -> list[TextIO]:
    """Take the shared lock, and wait until no other process makes an output; the files have to be kept open.

    A killed run's job may still run: on this machine, or on a node of a cluster, where SLURM manages it and it doesn't
    stop a new run from starting.

    Args:
        output: The output, or another name of what processes must not do at the same time.
        who: Who may have it, for the message.
    """
    held: list[TextIO] = []
    if not ALIVE.exists():
        return held  # no run was started here
    with suppress(OSError):  # a file system without locks
        if ON_NODE not in os.environ:
            held.append(ALIVE.open())
            fcntl.flock(held[0], fcntl.LOCK_SH)
        AT_WORK.mkdir(exist_ok=True)
        file = _lock_of(output).open("w")
        held.append(file)
        _wait_for(file, output, who)
    return held


def wait(output: str) -> None:
    """Wait until no other process makes an output."""
    for file in hold(output):
        file.close()


def hold_if_free(output: str) -> TextIO | None:
    """The lock of an output that no process makes, to be kept open; None if one does, or nothing can be locked."""
    try:
        file = _lock_of(output).open("w")
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def is_free(output: str) -> bool:
    """Whether no process makes an output."""
    return _is_free(_lock_of(output))


def _is_free(lock: Path) -> bool:
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # never made here, or a file system without locks
        return True
    return True


def is_held(path: str) -> bool:
    """Whether a process holds the lock of a file."""
    return not _is_free(Path(path))


@contextmanager
def no_run() -> Iterator[None]:
    """Keep runs of this folder, and DVC's commands, from starting.

    Raises:
        CacheError: A run, a job of one, or a command of DVC is alive.
    """
    with ExitStack() as held:
        ALIVE.parent.mkdir(exist_ok=True)
        for path in (ALIVE, DVC):
            with suppress(OSError):  # DVC was never used here, or a file system without locks
                file = held.enter_context(path.open("a+"))
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    who = "a run, or a command of one" if path == ALIVE else "a command of DVC"
                    raise _busy(who) from error
        if not all(map(_is_free, AT_WORK.iterdir() if AT_WORK.is_dir() else ())):
            raise _busy("a job of an earlier run")
        yield


def _busy(found: str) -> CacheError:
    hint = "wait until it has ended, or stop it; on a cluster see `squeue` and `scancel`"
    return CacheError(problem("something is at work in this folder", found=found, expected="nothing", hint=hint))


def _lock_of(output: str) -> Path:
    return AT_WORK / hashlib.md5(output.encode(), usedforsecurity=False).hexdigest()


def _wait_for(file: TextIO, output: str, who: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        show(f"{output} is being made by {who}: waiting for it", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)
