"""Supervised fine-tuning of a LoRA or QLoRA adapter, with the loss on the response only (TRL's SFTTrainer)."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from bezoar.steps.train.stage import Paths, StageBlock


class Sft(StageBlock):
    """Supervised fine-tuning with the loss on the response only."""

    mix_format: ClassVar[Literal["prompt_completion", "preference"]] = "prompt_completion"

    method: Literal["sft"] = "sft"
    packing: bool = Field(
        False, description="Whole rows one after the other in a sequence of max_length, without padding."
    )


def trainer_of(paths: Paths, stage: Sft, seed: int) -> Any:
    """TRL's trainer for a stage."""
    from trl import SFTConfig, SFTTrainer

    from bezoar.steps import models
    from bezoar.steps.train import training

    columns = ("prompt", "completion")
    return SFTTrainer(
        model=training.starting_model(paths.base, paths.adapter, stage),
        args=SFTConfig(**training.settings(stage, seed, paths.work), completion_only_loss=True, packing=stage.packing),
        train_dataset=training.examples(paths.mix / "train.jsonl", columns),
        eval_dataset=training.examples(paths.mix / "eval.jsonl", columns),
        processing_class=models.load_tokenizer(paths.base),
        peft_config=training.lora(stage),
    )
