"""The one way in which rules start their command."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TextIO

NO_BARS = {"TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONHASHSEED": "0",  # no order of a set may reach an artifact
    "TOKENIZERS_PARALLELISM": "false",
}


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


def execute(outputs: list[str], command: list[str]) -> int:
    """Run a command that makes the outputs, and return its exit status.

    The command's environment has telemetry off. SIGTERM is passed on, so that the command can end in order. A
    command that ends well without its outputs counts as failed.
    """
    environment = {**ENVIRONMENT, **({} if sys.stderr.isatty() else NO_BARS), **os.environ}
    alive = ALIVE.open() if ALIVE.exists() else None
    if alive:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(alive, fcntl.LOCK_SH)
    started: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in started:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, lambda number, frame: None)  # a terminal sends it to the command as well
    with subprocess.Popen(command, env=environment) as process:
        started.append(process)
        status = process.wait()
    if status != 0:
        return status if status > 0 else 128 - status  # killed by a signal: as a shell reports it
    missing = [output for output in outputs if not Path(output).exists()]
    if missing:
        print(f"the command ended well, but made no {', '.join(missing)}: {' '.join(command)}", file=sys.stderr)
        return 1
    return 0
