"""One job, several devices: which of them a job takes, how they share a batch, and the processes that use them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from bezoar.errors import InputError, problem
from bezoar.logs import LAUNCHED, logger

if TYPE_CHECKING:
    from bezoar.steps.train.stage import StageBlock

VISIBLE = "CUDA_VISIBLE_DEVICES"
PAUSE = 1.0  # seconds between looks for free devices
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}  # all processes are on this machine
STOP = "stop"  # a file in the work folder: the processes are to save their state and end


def launched() -> bool:
    """Whether this is one of several processes that train together."""
    return LAUNCHED in os.environ


def world() -> int:
    """The number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local() -> int:
    """This process's number among them."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def split(stage: StageBlock, count: int) -> tuple[int, int]:
    """Rows of a forward pass on one of some devices, and forward passes of a step: a step has the same rows on all.

    Raises:
        InputError: The rows of a step can't be split evenly.
    """
    rows = stage.batch_size * stage.gradient_accumulation_steps
    if rows % count:
        raise InputError(
            problem(
                f"stages.{stage.name}: the rows of a step can't be split evenly among {count} devices",
                found=f"batch_size {stage.batch_size} x gradient_accumulation_steps "
                f"{stage.gradient_accumulation_steps} = {rows} rows",
                expected=f"a multiple of {count}",
                hint=f"gpus: {max(one for one in range(1, count) if rows % one == 0)} for this stage, in `resources`, "
                "or another batch_size",
            )
        )
    share = rows // count
    batch = next(size for size in range(min(stage.batch_size, share), 0, -1) if share % size == 0)
    return batch, share // batch


class Reserved:
    """Devices that this process holds until it ends: each has a name in the kernel's abstract namespace of sockets.

    No file is left behind, and a killed process holds nothing.
    """

    def __init__(self) -> None:
        self.held: list[socket.socket] = []

    def take(self, devices: Sequence[str], count: int) -> list[str]:
        """So many free devices, which are held from now on; none if fewer are free."""
        taken: dict[str, socket.socket] = {}
        for device in devices:
            mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            try:
                mark.bind(f"\0bezoar-device-{device}")
                taken[device] = mark
            except OSError:
                mark.close()
            if len(taken) == count:
                self.held.extend(taken.values())
                return list(taken)
        for mark in taken.values():
            mark.close()
        return []


_reserved = Reserved()


def agreed(asked: bool) -> bool:
    """Whether any of the processes was asked; all of them have to call it."""
    if world() == 1:
        return asked
    import torch

    answer = torch.tensor(int(asked), device=f"cuda:{local()}" if torch.cuda.is_available() else "cpu")
    torch.distributed.all_reduce(answer, torch.distributed.ReduceOp.MAX)
    return bool(answer.item())


def chosen(visible: Sequence[str], wanted: int, reserved: Reserved, *, scheduled: bool = False) -> list[str]:
    """Devices for a job that was given some: free ones, for which it waits, or those that SLURM has chosen.

    Args:
        visible: Devices that this process sees.
        wanted: Devices that the job was given; 0 uses one if there is one, which it shares.
        reserved: What this process holds.
        scheduled: Whether SLURM chooses devices for jobs: equal names may then be different devices.

    Raises:
        InputError: It sees fewer than it was given.
    """
    if wanted == 0 or (scheduled and len(visible) == wanted):
        return list(visible[: wanted or 1])
    if len(visible) < wanted:
        raise InputError(
            problem(
                f"the job was given {wanted} GPUs, and this process sees fewer",
                found=f"{len(visible)} visible",
                expected=f"{wanted} GPUs",
                hint="fewer `gpus` in `resources`",
            )
        )
    told = False
    while not (found := reserved.take(visible, wanted)):
        if not told:
            logger.info(f"waiting for {wanted} free GPUs; `snakemake --resources gpu={len(visible)}` counts them")
        told = True
        time.sleep(PAUSE)
    return found


def pin(wanted: int) -> int:
    """Let this process and its children see the job's devices only; the number of processes that train.

    On a machine without a GPU, a job that was given several has as many processes on the CPU.
    """
    import torch

    count = torch.cuda.device_count()  # doesn't start CUDA, which reads the variable then
    if count == 0:
        return max(1, wanted)
    names = [one for one in os.environ.get(VISIBLE, "").split(",") if one]
    found = chosen(
        names or [str(number) for number in range(count)], wanted, _reserved, scheduled="SLURM_JOB_ID" in os.environ
    )
    os.environ[VISIBLE] = ",".join(found)
    return len(found)


def launch(count: int, work: Path) -> int:
    """Run this script again in processes that train together; the exit status.

    SIGTERM asks them to save their state and end: through a file, so that they do it at the same step.
    """
    work.mkdir(parents=True, exist_ok=True)
    (work / STOP).unlink(missing_ok=True)
    asked: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    signal.signal(signal.SIGTERM, stop)
    logger.info(f"training in {count} processes")
    with subprocess.Popen(command(count), env=os.environ | LOOPBACK | {LAUNCHED: "1"}) as process:
        while True:
            with suppress(subprocess.TimeoutExpired):
                status = process.wait(timeout=1)
                return 128 + signal.SIGTERM if asked and status else status
            if asked:
                (work / STOP).touch()  # again: a run that starts from the beginning empties the folder


def command(count: int) -> list[str]:
    """The command line of processes that train together on this machine."""
    options = ["--multi_gpu", "--num_machines", "1", "--num_processes", str(count), "--main_process_port", str(_port())]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]  # the trainer's settings decide
    return [sys.executable, "-m", "accelerate.commands.launch", *options, *sys.argv]


def _port() -> int:
    """A free port of those that the system gives out."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
