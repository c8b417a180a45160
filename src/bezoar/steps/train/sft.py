"""Supervised fine-tuning of a LoRA or QLoRA adapter, with the loss on answers only (TRL's SFTTrainer)."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from bezoar.steps.train.stage import Paths, StageBlock


class Sft(StageBlock):
    """Supervised fine-tuning with the loss on answers only."""

    mix_format: ClassVar[Literal["prompt_completion", "preference"]] = "prompt_completion"

    method: Literal["sft"] = "sft"
    loss_on: Literal["all", "last"] = Field(
        "all",
        description="Train all turns of the assistant, or the last one of each dialogue. A template that rewrites "
        "earlier turns allows `last` only.",
    )
    packing: bool = Field(
        False,
        description="Whole rows one after the other in sequences of max_length, without padding; no row sees another.",
    )

    def trains_every_turn(self) -> bool:
        """Whether the assistant's earlier turns are trained, not only the last one."""
        return self.loss_on == "all"


def trainer_of(paths: Paths, stage: Sft, seed: int) -> Any:
    """TRL's trainer for a stage."""
    from trl import SFTConfig, SFTTrainer

    from bezoar.steps import models
    from bezoar.steps.train import packing, training, tuning

    tokenizer = models.load_tokenizer(paths.base)
    train, held = (
        training.tokenised(paths.mix / f"{name}.jsonl", tokenizer, every_turn=stage.trains_every_turn())
        for name in ("train", "eval")
    )
    model = tuning.starting_model(paths.base, paths.adapter, stage)
    if stage.packing:
        packing.check(model, stage)
    return SFTTrainer(
        model=model,
        args=SFTConfig(**training.settings(stage, seed, paths.work), completion_only_loss=True, packing=stage.packing),
        train_dataset=train,
        eval_dataset=held,
        processing_class=tokenizer,
        peft_config=tuning.lora(stage),
    )
