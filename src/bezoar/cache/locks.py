"""Who is at work in this folder: a lock that no killed run can leave behind."""

import fcntl
import hashlib
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from bezoar.cluster.node import ON_NODE
from bezoar.text import show

ALIVE = Path(".snakemake/alive")
AT_WORK = Path(".snakemake/bezoar-at-work")  # a lock for each output


def forget_killed_runs() -> TextIO:
    """Clear Snakemake's lock of this folder away if the run that took it was killed.

    Every run, and every command of a rule, holds a shared lock on one file until it ends, however it ends. Who gets
    that file for itself is alone, and Snakemake's lock is then a dead run's. Returns the file, to be kept open.
    """
    try:
        ALIVE.parent.mkdir(exist_ok=True)
        file = ALIVE.open("a+")  # for reading too: NFS gives shared locks to readers only
    except OSError:  # a folder that can't be written: no run can start there, and questions need no lock
        return open(os.devnull, encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(ALIVE.parent / "locks", ignore_errors=True)
        fcntl.flock(file, fcntl.LOCK_SH)
    except BlockingIOError:  # another run, or a killed run's command, is alive: Snakemake's own lock refuses
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:
        pass  # a file system without locks: a killed run then needs `snakemake --unlock`
    return file


def hold(output: str) -> list[TextIO]:
    """Take part in the shared lock, and wait until nobody else makes an output; the files are to be kept open.

    A killed run's job may still be at work: on this machine, or on a node of a cluster, where SLURM looks after it and
    it doesn't keep a new run from starting.
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
        _wait_for(file, output)
    return held


def is_free(output: str) -> bool:
    """Whether nobody is at work on an output."""
    try:
        with _lock_of(output).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # never made here, or a file system without locks
        return True
    return True


def _lock_of(output: str) -> Path:
    return AT_WORK / hashlib.md5(output.encode(), usedforsecurity=False).hexdigest()


def _wait_for(file: TextIO, output: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        show(f"{output} is being made by a job of an earlier run: waiting for it", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)
