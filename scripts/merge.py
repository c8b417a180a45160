"""Add an adapter to the weights that it was trained on; out comes a checkpoint that any transformers program opens."""

from pathlib import Path
from typing import Any

from bezoar import models
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.params.train import Dpo, Sft
from bezoar.script import Flags, run


def foundation_of(stage: Sft | Dpo) -> dict[str, Any]:
    """How the weights that an adapter is added to are loaded: as in training, or as they are on disk.

    float32 holds every published number format exactly, so that `original` keeps the bits of what no adapter changes,
    if `merged` holds that format, too.
    """
    if stage.merge_into == "original":
        return {"precision": "float32", "nf4": False}
    return {"precision": stage.compute, "nf4": stage.quantization == "nf4"}


def check_merged(base: Path, stage: Sft | Dpo) -> None:
    """Warn if `original` can't keep the bits of the weights on disk, since `merged` rounds them."""
    rounded = models.rounded_by(base, stage.merged) if stage.merge_into == "original" else set()
    if rounded:
        logger.warning(
            f"merge_into: original, but merged: {stage.merged} rounds weights that {base} has as "
            f"{', '.join(sorted(rounded))}: those that the adapter leaves alone change, too"
        )


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="stages.<name>")
    flags.path("base", "model directory that the adapter lies on")
    flags.path("adapter", "adapter of the stage")
    flags.folder("out", "folder to write the checkpoint to")
    args, (stage,) = flags.start(argv)
    check_merged(args.base, stage)
    model = models.merge(args.base, args.adapter, **foundation_of(stage))
    with artifact(args.out) as out:
        models.save(model, models.load_tokenizer(args.base), out, stage.merged)
    logger.info(f"merge {args.out.name}: {model.num_parameters():,} parameters in {stage.merged}")


if __name__ == "__main__":
    run(main)
