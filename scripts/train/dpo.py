"""Direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290) by TRL's DPOTrainer.

The reference is the model that the adapter lies on, with the adapter switched off. A share of the plain loss on the
chosen response may be added (Pang et al. 2024, arXiv:2404.19733, equation 1), which keeps small models from collapsing.
"""

import argparse

from trl import DPOConfig, DPOTrainer

from bezoar import models, training
from bezoar.params.train import Dpo
from bezoar.script import run


def losses(stage: Dpo) -> dict[str, list[str] | list[float]]:
    """TRL's names and weights of the losses."""
    names: list[str] = [stage.loss]
    if stage.sft_weight == 0:
        return {"loss_type": names}
    return {"loss_type": [*names, "sft"], "loss_weights": [1.0, stage.sft_weight]}


def trainer_of(args: argparse.Namespace, stage: Dpo, seed: int) -> DPOTrainer:
    """TRL's trainer for a stage, with the paths of the script's flags."""
    columns = ("prompt", "chosen", "rejected")
    config = DPOConfig(
        **training.settings(stage, seed, args.work),
        **losses(stage),
        beta=stage.beta,
        label_smoothing=stage.label_smoothing,
    )
    return DPOTrainer(
        model=training.starting_model(args.base, args.adapter, stage),
        args=config,
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
