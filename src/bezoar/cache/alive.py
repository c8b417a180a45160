"""Who is at work in this folder: a lock that no killed run can leave behind."""

import fcntl
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TextIO

ALIVE = Path(".snakemake/alive")


def forget_killed_runs() -> TextIO:
    """Clear Snakemake's lock of this folder away if the run that took it was killed.

    Every run, and every command of a rule, holds a shared lock on one file until it ends, however it ends. Who gets
    that file for itself is alone, and Snakemake's lock is then a dead run's. Returns the file, to be kept open.
    """
    ALIVE.parent.mkdir(exist_ok=True)
    file = ALIVE.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(ALIVE.parent / "locks", ignore_errors=True)
        fcntl.flock(file, fcntl.LOCK_SH)
    except BlockingIOError:  # another run, or a killed run's command, is alive: Snakemake's own lock refuses
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:
        pass  # a file system without locks: a killed run then needs `snakemake --unlock`
    return file


def hold() -> TextIO | None:
    """Take part in the shared lock; the file is to be kept open. None if no run was started here."""
    if not ALIVE.exists():
        return None
    file = ALIVE.open()
    with suppress(OSError):  # a file system without locks
        fcntl.flock(file, fcntl.LOCK_SH)
    return file
