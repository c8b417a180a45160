"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv:2402.01306) by TRL's KTOTrainer: answers without a pair.

Each pair of a mix gives two examples, a good and a bad one, in one order for all epochs, which is a draw of the seed:
TRL reads them one after the other, since it estimates how far the model has moved from mismatched answers of a batch.
"""

import random
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bezoar.errors import InputError, problem
from bezoar.jsonl import read_json_lines
from bezoar.steps.train.pair import PairBlock
from bezoar.steps.train.stage import Paths

LEAST = 2  # examples of a forward pass: with one, its own answer would be the mismatched one


class Kto(PairBlock):
    """Preference optimisation of single answers, good or bad, against how far the model has moved on average."""

    sequences: ClassVar[int] = 1
    reference: ClassVar[bool] = True

    method: Literal["kto"]
    learning_rate: float = Field(1e-6, gt=0, description="Peak. Default: TRL.")
    beta: float = Field(
        0.1, gt=0, description="Pull towards the reference model, per nat. Default: Ethayarajh et al. 2024."
    )
    desirable_weight: float = Field(1.0, gt=0, description="Weight of good answers. Default: TRL.")
    undesirable_weight: float = Field(1.0, gt=0, description="Weight of bad answers. Default: TRL.")

    @model_validator(mode="after")
    def _in_batches(self) -> Self:
        """Refuse what would change the mismatched answers of a forward pass."""
        if self.batch_size < LEAST:
            expected = "a batch_size of {least} or more with method kto, which compares the answers of a forward pass"
            raise PydanticCustomError("batch", expected, {"least": LEAST})
        if self.group_by_length:
            raise PydanticCustomError("order", "group_by_length: false with method kto, which keeps one order")
        return self


def examples(path: Path, seed: int) -> list[dict[str, Any]]:
    """Two examples of each pair of a mix's file, in an order that the seed draws."""
    found = [
        {"prompt": row["prompt"], "completion": row[name], "label": name == "chosen"}
        for _, row in read_json_lines(path)
        for name in ("chosen", "rejected")
    ]
    random.Random(seed).shuffle(found)
    return found


def trainer_of(paths: Paths, stage: Kto, seed: int) -> Any:
    """TRL's trainer for a stage.

    Raises:
        InputError: Its devices have one example each in a forward pass.
    """
    from datasets import Dataset
    from trl import KTOConfig, KTOTrainer

    from bezoar.steps import models
    from bezoar.steps.train import training, tuning

    settings = training.settings(stage, seed, paths.work) | {"train_sampling_strategy": "sequential"}
    if (rows := settings["per_device_train_batch_size"]) < LEAST:
        expected = f"{LEAST} or more, since answers of a forward pass are compared"
        what = f"stages.{stage.name}: too few examples of a forward pass on one device"
        raise InputError(problem(what, found=rows, expected=expected, hint="a larger batch_size, or fewer GPUs"))
    train, held = (Dataset.from_list(examples(paths.mix / f"{name}.jsonl", seed)) for name in ("train", "eval"))
    return KTOTrainer(
        model=tuning.starting_model(paths.base, paths.adapter, stage),
        ref_model=tuning.reference(paths.base, paths.adapter, stage),
        args=KTOConfig(
            **settings,
            beta=stage.beta,
            desirable_weight=stage.desirable_weight,
            undesirable_weight=stage.undesirable_weight,
        ),
        train_dataset=train,
        eval_dataset=held,
        processing_class=models.load_tokenizer(paths.base),
        peft_config=tuning.lora(stage),
    )
