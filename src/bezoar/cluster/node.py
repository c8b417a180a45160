"""What SLURM runs on a node: a command whose jobs save their state before the time limit and continue in a later job.

`python -m bezoar.cluster.node COMMAND [ARGUMENT ...]`, where the command is Snakemake's for a job or a group of them.

SIGUSR1 is the notice that the time limit is near (`sbatch --signal=B:USR1@SECONDS`). Scripts that catch SIGTERM can be
stopped without loss, so they get it then; Snakemake starts nothing more. When all of them have ended and work is left,
this job goes back to the queue. Scripts that don't catch SIGTERM continue until they are done or SLURM's limit ends
them. When SLURM itself sends SIGTERM to stop a job, the same scripts get it; SLURM then decides about the job.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType

from bezoar.text import show

ON_NODE = "BEZOAR_ON_NODE"  # set where this module runs a command
GROUP = "--local-groupid"  # Snakemake's flag for a group of jobs
RESTARTS = "SLURM_RESTART_COUNT"  # set by SLURM, missing at first
MOST_RESTARTS = 50  # a job that needs more makes no progress
PROCESSES = Path("/proc")


def main(command: list[str]) -> int:
    """Run the command to its end; returns its exit status, or 128 plus the signal's number."""
    stopped: list[int] = []
    near: list[bool] = []

    def notice(number: int, frame: FrameType | None) -> None:
        near.append(number == signal.SIGUSR1)
        stopped.extend(stoppable())
        waiting = started if stopped or GROUP in command else []  # a job that can't be stopped may still succeed
        for process in (*waiting, *stopped):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)

    started: list[int] = []
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, notice)
    with subprocess.Popen(command, env={**os.environ, ON_NODE: "1"}) as process:
        started.append(process.pid)
        status = process.wait()
        started.clear()
    while executions():  # a signal may end the shells between Snakemake and them; saving a state takes time
        time.sleep(0.1)
    if status and any(near) and (stopped or GROUP in command):
        requeue()
    return status if status >= 0 else 128 - status


def executions() -> set[int]:
    """Numbers of the `bezoar exec` processes of this session."""
    session = os.getsid(0)
    return {number for number, words in _processes() if _executes(words) and _session(number) == session}


def stoppable() -> Iterator[int]:
    """Numbers of the scripts under `bezoar exec`, in this session, that catch SIGTERM."""
    above = executions()
    for number, _ in _processes():
        with suppress(OSError):  # it has ended
            lines = (PROCESSES / str(number) / "status").read_text(errors="replace").splitlines()
            found = dict(line.split(":", 1) for line in lines if ":" in line)
            if int(found["PPid"]) in above and int(found["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1:
                yield number


def _processes() -> Iterator[tuple[int, list[bytes]]]:
    for path in PROCESSES.iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                yield int(path.name), (path / "cmdline").read_bytes().split(b"\0")


def _executes(words: list[bytes]) -> bool:
    """Whether a command line is Python's for `bezoar exec`, as the shell line of a rule starts it."""
    return any(os.path.basename(word) == b"bezoar" for word in words[:2]) and b"exec" in words[1:3]


def _session(process: int) -> int:
    with suppress(ProcessLookupError):
        return os.getsid(process)
    return 0


def requeue() -> None:
    """Put this job back into the queue; SLURM then ends what runs of it."""
    job, before = os.environ.get("SLURM_JOB_ID", ""), int(os.environ.get(RESTARTS, "0"))
    if before >= MOST_RESTARTS:
        show(f"job {job} was requeued {before} times and isn't done; it isn't requeued again", file=sys.stderr)
        return
    show(f"job {job}: its time is up and its state is saved; it goes back to the queue", file=sys.stderr)
    if subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0:
        time.sleep(60)  # SLURM ends this process meanwhile; if it exits itself, the job counts as failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
