"""Supervised fine-tuning of a LoRA or QLoRA adapter, with the loss on the response only (TRL's SFTTrainer)."""

import argparse

from trl import SFTConfig, SFTTrainer

from bezoar import models, training
from bezoar.params.train import Sft
from bezoar.script import run


def trainer_of(args: argparse.Namespace, stage: Sft, seed: int) -> SFTTrainer:
    """TRL's trainer for a stage, with the paths of the script's flags."""
    columns = ("prompt", "completion")
    return SFTTrainer(
        model=training.starting_model(args.base, args.adapter, stage),
        args=SFTConfig(**training.settings(stage, seed, args.work), completion_only_loss=True, packing=stage.packing),
        train_dataset=training.examples(args.mix / "train.jsonl", columns),
        eval_dataset=training.examples(args.mix / "eval.jsonl", columns),
        processing_class=models.load_tokenizer(args.base),
        peft_config=training.lora(stage),
    )


def main(argv: list[str] | None = None) -> None:
    args, (stage, seed) = training.flags(__doc__).start(argv)
    training.run(trainer_of(args, stage, seed), args, stage, seed)


if __name__ == "__main__":
    run(main)
