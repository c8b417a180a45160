"""What SLURM runs on a node: a command that is told in time to save its state, and goes back to the queue then.

`python -m bezoar.cluster.node COMMAND [ARGUMENT ...]`

SIGUSR1 is the notice that the time limit is near (`sbatch --signal=B:USR1@SECONDS`): whatever `bezoar exec` runs here
gets SIGTERM, and when all has ended the job is queued again, unless it ended well. SIGTERM, which SLURM sends before it
stops a job for a reason of its own, is passed on in the same way; SLURM decides then what becomes of the job.
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

ON_NODE = "BEZOAR_ON_NODE"  # set where this module runs a command
RESTARTS = "SLURM_RESTART_COUNT"  # SLURM's, missing at first
MOST_RESTARTS = 50  # a job that needs more doesn't get on
PROCESSES = Path("/proc")


def main(command: list[str]) -> int:
    """Run the command to its end; its exit status, or 128 and the signal's number."""
    noticed: list[int] = []
    started: list[subprocess.Popen[bytes]] = []

    def notice(number: int, frame: FrameType | None) -> None:
        noticed.append(number)
        for process in (*(one.pid for one in started), *executions()):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, notice)
    with subprocess.Popen(command, env={**os.environ, ON_NODE: "1"}) as process:
        started.append(process)
        status = process.wait()
    while list(executions()):  # Snakemake gives a job up when its shell is gone; what it saves needs some seconds more
        time.sleep(0.1)
    if status and signal.SIGUSR1 in noticed:
        requeue()
    return status if status >= 0 else 128 - status


def executions() -> Iterator[int]:
    """Numbers of the `bezoar exec` processes of this session."""
    session = os.getsid(0)
    for path in PROCESSES.iterdir():
        if path.name.isdigit():
            with suppress(OSError):  # it has ended
                words = (path / "cmdline").read_bytes().split(b"\0")
                if os.getsid(int(path.name)) == session and _executes(words):
                    yield int(path.name)


def _executes(words: list[bytes]) -> bool:
    """Whether a command line is Python's for `bezoar exec`, as the shell line of a rule starts it."""
    return any(os.path.basename(word) == b"bezoar" for word in words[:2]) and b"exec" in words[1:3]


def requeue() -> None:
    """Put this job back into the queue; SLURM then ends what runs of it."""
    job, before = os.environ.get("SLURM_JOB_ID", ""), int(os.environ.get(RESTARTS, "0"))
    if before >= MOST_RESTARTS:
        print(f"job {job} was queued again {before} times and isn't done: it isn't once more", file=sys.stderr)
        return
    print(f"job {job}: its time is up, and its state is saved; it goes back to the queue", file=sys.stderr, flush=True)
    if subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0:
        time.sleep(60)  # SLURM ends this process meanwhile; an exit status of its own would count as a failed job


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
