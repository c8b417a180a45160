"""What is checked before a stage trains: its number format, its attention and its memory, against the device."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch

from bezoar.errors import InputError, problem
from bezoar.logs import logger
from bezoar.steps.train import devices, memory

if TYPE_CHECKING:
    from bezoar.steps.train.stage import Paths, StageBlock


def check(paths: Paths, stage: StageBlock) -> None:
    """Checks before anything is loaded.

    Raises:
        InputError: The device can't compute in the stage's number format, its attention isn't installed, or the
            weights with their gradients and optimizer are larger than its memory.
    """
    name, on_gpu = paths.out.name, torch.cuda.is_available()
    if refused := unfit(stage, on_gpu=on_gpu, bfloat16=on_gpu and torch.cuda.is_bf16_supported(False)):
        raise InputError(problem(f"stages.{name}: {refused[0]}", found=refused[1], expected=refused[2]))
    _fits(paths, stage, 8)


def unfit(stage: StageBlock, *, on_gpu: bool, bfloat16: bool) -> tuple[str, str, str] | None:
    """What a device can't do for a stage: what, what was found, and what is expected; None if it can.

    Args:
        stage: The stage.
        on_gpu: Whether it trains on a GPU.
        bfloat16: Whether the GPU computes in bfloat16 without emulation.
    """
    if on_gpu and stage.compute_dtype == "bfloat16" and not bfloat16:
        expected = "compute_dtype: float16, which has loss scaling, or float32"
        return "this GPU doesn't compute in bfloat16", "compute_dtype: bfloat16", expected
    if not on_gpu and stage.compute_dtype == "float16":
        what = "float16 is trained with loss scaling, which needs a GPU"
        return what, "compute_dtype: float16 on a CPU", "compute_dtype: float32 or bfloat16"
    if not on_gpu and stage.distributed == "fsdp2" and devices.world() > 1:
        return "fsdp2 shares the weights of GPUs", "processes on a CPU", "GPUs, or distributed: ddp"
    if stage.attention != "flash_attention_2":
        return None
    if not on_gpu or find_spec("flash_attn") is None:
        found = "no package flash-attn" if on_gpu else "no GPU"
        return "flash_attention_2 can't be used here", found, "a GPU and the package flash-attn, or attention: sdpa"
    if stage.compute_dtype == "float32":
        what = "flash_attention_2 computes in half precision"
        return what, "compute_dtype: float32", "bfloat16 or float16, or attention: sdpa"
    return None


def check_memory(trainer: Any, paths: Paths, stage: StageBlock) -> None:
    """Log the memory of the longest rows, and refuse a stage that can't have it."""
    found = [memory.longest(one) for one in (trainer.train_dataset, trainer.eval_dataset)]
    _fits(paths, stage, min(stage.max_length, max(found) + stage.drawn_tokens()), say=True)


def _fits(paths: Paths, stage: StageBlock, length: int, *, say: bool = False) -> None:
    if (shape := memory.shape_of(paths.base)) is None:
        return
    on_gpu, world = torch.cuda.is_available(), devices.world()
    rows, _ = devices.split(stage, world)
    needed = memory.estimate(shape, stage, rows=rows, length=length, devices=world, autocast=on_gpu)
    if say:
        logger.info(f"train {paths.out.name}: at most {length:,} tokens a row need about {needed} on each device")
    if on_gpu:
        available, device = torch.cuda.get_device_properties(devices.local()).total_memory, torch.cuda.get_device_name()
    else:
        available, device = memory.main_memory() // world, "this machine"
    memory.check(paths.out.name, needed, available, device)
