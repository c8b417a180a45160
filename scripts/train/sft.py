"""Supervised fine-tuning of a LoRA or QLoRA adapter, with the loss on the response only (TRL's SFTTrainer)."""

from trl import SFTConfig, SFTTrainer

from bezoar import models, training
from bezoar.script import run


def main(argv: list[str] | None = None) -> None:
    args, (stage, seed) = training.flags(__doc__).start(argv)
    columns = ("prompt", "completion")
    trainer = SFTTrainer(
        model=training.starting_model(args.base, args.adapter, stage),
        args=SFTConfig(**training.settings(stage, seed, args.work), completion_only_loss=True, packing=stage.packing),
        train_dataset=training.examples(args.mix / "train.jsonl", columns),
        eval_dataset=training.examples(args.mix / "eval.jsonl", columns),
        processing_class=models.load_tokenizer(args.base),
        peft_config=training.lora(stage),
    )
    training.run(trainer, args, stage, seed)


if __name__ == "__main__":
    run(main)
