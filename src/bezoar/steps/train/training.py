"""What all methods share: trainer settings, resuming, and writing what was trained."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bezoar import logs
from bezoar.errors import InputError, problem
from bezoar.files import artifact, digest, empty, readable, rounded, write_json
from bezoar.jsonl import read_json_lines
from bezoar.logs import logger
from bezoar.steps import models
from bezoar.steps.train import conversations, curves, devices, preflight
from bezoar.steps.train.tuning import save, sharded, sharing, weights_of

if TYPE_CHECKING:
    from bezoar.steps.train.pair import PairBlock
    from bezoar.steps.train.stage import Paths, StageBlock  # which runs this

# TRL and PEFT ask models for it by this name; the warning says nothing to who trains.
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)

OPTIMIZER = {False: "optimizer.pt", True: "optimizer.bin"}  # by whether devices share the weights
# transformers warns of the old name where it has the new one
CHECKPOINTING = (
    "activation_checkpointing" if hasattr(TrainingArguments, "activation_checkpointing") else "gradient_checkpointing"
)
PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes")


def examples(path: Path, columns: tuple[str, ...]) -> Dataset:
    """The columns of messages of a mix's file."""
    return Dataset.from_list([{name: row[name] for name in columns} for _, row in read_json_lines(path)])


def pairs(path: Path, stage: PairBlock) -> Dataset:
    """The columns of a mix's file that a stage trains on.

    Raises:
        InputError: A row lacks one, or no pair is left.
    """
    columns, found = stage.columns(), []
    for number, row in stage.rows(path):
        if missing := [name for name in columns if name not in row]:
            what, expected = f"{path}:{number}: stages.{stage.name} needs {', '.join(missing)}", ", ".join(columns)
            raise InputError(problem(what, found=", ".join(row), expected=expected, hint=stage.hint))
        found.append({name: row[name] for name in columns})
    if not found:
        what = f"{path}: no pair for stages.{stage.name}"
        raise InputError(problem(what, found=stage.left_out(path), expected="pairs with different scores"))
    return Dataset.from_list(found)


def tokenised(path: Path, tokenizer: Any, *, every_turn: bool) -> Dataset:
    """The tokens of a mix's file, and which of them are trained."""
    ids, masks = [], []
    for (tokens,) in conversations.read(path, tokenizer, every_turn=every_turn):
        ids.append(np.array(tokens.ids, dtype=np.int32))
        masks.append(np.array(tokens.mask, dtype=np.int8))
    return Dataset.from_dict({"input_ids": ids, "completion_mask": masks})


def settings(stage: StageBlock, seed: int, work: Path) -> dict[str, Any]:
    """Keyword arguments for TRL's config classes; the rest are TRL's defaults."""
    on_gpu = torch.cuda.is_available()
    rows, passes = devices.split(stage, devices.world())
    return {
        "output_dir": str(work),
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": stage.lr_scheduler,
        "warmup_steps": stage.warmup,
        "num_train_epochs": stage.epochs,
        "per_device_train_batch_size": rows,
        "per_device_eval_batch_size": stage.batch_size,
        "gradient_accumulation_steps": passes,
        "max_length": stage.max_length,
        "optim": stage.optimizer,
        "adam_beta2": stage.beta2,
        "weight_decay": stage.weight_decay,
        "max_grad_norm": stage.max_grad_norm,
        CHECKPOINTING: stage.gradient_checkpointing,
        "train_sampling_strategy": "group_by_length" if stage.group_by_length else "random",
        "bf16": stage.compute_dtype == "bfloat16" and (on_gpu or stage.tuning == "full"),
        "fp16": on_gpu and stage.compute_dtype == "float16",  # with loss scaling
        "use_cpu": not on_gpu,
        "dataloader_pin_memory": on_gpu,
        "seed": seed,
        "data_seed": seed,
        **curves.settings(stage),
        **sharing(stage),
        "ddp_find_unused_parameters": False,  # looking for them costs time, and there are none
        "report_to": "none",
        "disable_tqdm": not logs.on_terminal(),
    }


class LogCallback(TrainerCallback):
    """Log lines in place of a progress bar."""

    def __init__(self, name: str, figure: str = "loss") -> None:
        self.figure = figure
        self.name, self.started, self.first, self.spoken = name, 0.0, 0, 0.0
        self.counted: tuple[float, float] | None = None  # when, and the tokens so far

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.started = self.spoken = time.monotonic()
        self.first = state.global_step
        logger.info(f"train {self.name}: from step {state.global_step:,} to {state.max_steps:,}")

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        now = time.monotonic()
        if self.figure not in (logs or {}):
            return
        self.counted = self.counted or (now, float(logs.get("num_tokens", 0)))
        if now - self.spoken < 5:
            return
        self.spoken = now
        left = (now - self.started) / max(1, state.global_step - self.first) * (state.max_steps - state.global_step)
        unit = " nats" * (self.figure == "loss")
        logger.info(
            f"train {self.name}: step {state.global_step:,} of {state.max_steps:,}, "
            f"{self.figure} {float(logs[self.figure]):.3f}{unit}, {self._speed(now, logs)}{left / 60:.1f} min left"
        )

    def _speed(self, now: float, logs: Any) -> str:
        """Tokens per second since the last line, where the trainer counts them."""
        assert self.counted
        (then, before), tokens = self.counted, float(logs.get("num_tokens", 0))
        if tokens <= before or now <= then:
            return ""
        self.counted = (now, tokens)
        return f"{(tokens - before) / (now - then):,.0f} tokens/s, "


class GracefulStop(TrainerCallback):
    """On SIGTERM, saves the state at the next logged step and ends training; several processes agree on the step.

    Other steps won't do: a resumed run couldn't average the loss over the steps before its saved state.
    """

    def __init__(self, work: Path) -> None:
        self.requested, self.file = False, work / devices.STOP
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % args.logging_steps == 0:
            self.requested = devices.agreed(self.requested or (devices.launched() and self.file.exists()))
            if self.requested:
                control.should_save = control.should_training_stop = True


def run(trainer: Trainer, paths: Paths, stage: StageBlock, seed: int) -> None:
    """Train, from the newest complete state if there is one, and write what was trained with its history.

    Raises:
        SystemExit: SIGTERM ended training before the last step; the state is saved.
        InputError: The device has too little memory for the longest rows.
    """
    ending = GracefulStop(paths.work)
    trainer.add_callback(ending)
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:  # TRL casts QLoRA adapters to bfloat16; a resumed run would continue in float32
            parameter.data = parameter.data.float()
    if stage.lisa:
        from bezoar.steps.train.lisa import LayerSampling  # apart: a change there reruns no other stage

        trainer.add_callback(LayerSampling(trainer.model, stage, seed))
    curves.attach(trainer, paths.work, stage)
    trainer.remove_callback(PrinterCallback)  # raw figures beside the log lines
    if trainer.is_world_process_zero() and not logs.on_terminal():
        trainer.add_callback(LogCallback(paths.out.name, stage.figure))
    preflight.check_memory(trainer, paths, stage)
    report = rows_of(trainer, paths, stage)
    with trainer.accelerator.main_process_first():
        state = saved_state(paths.work, identity_of(paths, stage, seed), stage)
    trainer.args.eval_on_start = state is None
    trainer.train(resume_from_checkpoint=str(state) if state else None)
    if ending.requested and trainer.state.global_step < trainer.state.max_steps:
        logger.warning(f"train {paths.out.name}: ended by SIGTERM; step {trainer.state.global_step:,} is saved")
        sys.exit(128 + signal.SIGTERM)
    scores = curves.finish(trainer, paths.out.name, stage)
    weights = whole_weights(trainer)
    if not trainer.is_world_process_zero():
        return
    with artifact(paths.out) as out:
        save(trainer.model, out, stage, weights)
        models.load_tokenizer(paths.base).save_pretrained(out)  # with the chat template of training
        write_json(out / curves.FILE, curves.curve(trainer.state.log_history))
        write_json(out / "rows.json", report)
        readable(out)
    shutil.rmtree(paths.work, ignore_errors=True)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in scores.items() if isinstance(value, float))
    logger.info(f"train {paths.out.name}: {trainer.state.global_step:,} steps; on held-out rows {shown}")


def whole_weights(trainer: Trainer) -> dict[str, torch.Tensor] | None:
    """All weights, gathered from the devices that share them; None where each device has all of them."""
    if not trainer.is_fsdp_enabled:
        return None
    found: dict[str, torch.Tensor] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return found


def identity_of(paths: Paths, stage: StageBlock, seed: int) -> dict[str, Any]:
    """What a saved state depends on."""
    given = [paths.base, paths.mix / "train.jsonl", paths.mix / "eval.jsonl"]
    given += [one for one in (paths.adapter, paths.guide) if one]
    return {
        "stage": stage.model_dump(),
        "seed": seed,
        "processes": devices.world(),
        "inputs": [digest(path) for path in given],
        "packages": {name: version(name) for name in PACKAGES},
    }


def rows_of(trainer: Trainer, paths: Paths, stage: StageBlock) -> dict[str, dict[str, Any]]:
    """Numbers and shares of rows, and of those that are cut or dropped because they are too long."""
    ends = models.end_tokens(trainer.model, trainer.processing_class)
    report: dict[str, dict[str, Any]] = {}
    for name in ("train", "eval"):
        path = paths.mix / f"{name}.jsonl"
        counts = stage.count(path, trainer.processing_class, ends)
        for reason, number in stage.left_out(path).items():
            if number:
                logger.warning(f"train {paths.out.name}: {number:,} rows to {name} are left out: {reason}")
        shares = {f"{what}_share": counts[what] / max(1, counts["rows"]) for what in ("cut", "dropped")}
        report[name] = {**counts, **rounded(shares)}
        text = ", ".join(f"{counts[what]:,} {what} ({shares[f'{what}_share']:.1%})" for what in ("cut", "dropped"))
        logger.info(
            f"train {paths.out.name}: {counts['rows']:,} rows to {name}, {text} by max_length {stage.max_length:,}"
        )
    return report


def saved_state(work: Path, identity: dict[str, Any], stage: StageBlock) -> Path | None:
    """The newest complete state in the work folder. States of a different run are removed.

    A state that was being written when its run was killed lacks a file and is skipped: resuming without the optimizer's
    part would silently change the result.
    """
    marker = work / "identity.json"
    text = json.dumps(identity, sort_keys=True)
    if not marker.exists() or marker.read_text(encoding="utf-8") != text:
        empty(work)
        marker.write_text(text, encoding="utf-8")
        return None
    states = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    for state in states:
        if _is_whole(state, stage):
            logger.info(f"resume from {state}")
            return state
    return None


def _is_whole(state: Path, stage: StageBlock) -> bool:
    if not all((state / name).exists() for name in state_files(stage)):
        return False
    try:
        json.loads((state / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(weights_of(state, stage))


def state_files(stage: StageBlock) -> list[str]:
    """The files of a saved state beside the trained weights."""
    world = devices.world()
    randomness = [f"rng_state_{number}.pth" for number in range(world)] if world > 1 else ["rng_state.pth"]
    scaler = ["scaler.pt"] if stage.compute_dtype == "float16" else []
    return ["trainer_state.json", OPTIMIZER[sharded(stage)], "scheduler.pt", *randomness, *scaler]
