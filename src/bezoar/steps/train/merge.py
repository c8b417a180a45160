"""Make a checkpoint that any transformers program opens: merge an adapter into its base weights."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from bezoar.blocks import Dtype, NamedBlock
from bezoar.files import artifact
from bezoar.logs import logger


class Merging(NamedBlock):
    """The keys of a stage that merging depends on."""

    section: ClassVar[str] = "stages"

    tuning: Literal["lora", "full"] = "lora"
    quantization: Literal["none", "nf4"]
    compute_dtype: Dtype
    merge_into: Literal["as_trained", "original"]
    merged_dtype: Dtype


def base_weights_of(block: Merging) -> dict[str, Any]:
    """How to load the base weights for a merge: as in training, or as they are on disk.

    float32 represents every published number format exactly, so `original` keeps the bits of unchanged weights if
    `merged_dtype` can represent them, too.
    """
    if block.merge_into == "original":
        return {"dtype": "float32", "nf4": False}
    return {"dtype": block.compute_dtype, "nf4": block.quantization == "nf4"}


def check_merged(base: Path, block: Merging) -> None:
    """Warn if `original` can't keep the bits of the weights on disk because `merged_dtype` rounds them."""
    from bezoar.steps import models

    rounded = models.rounded_by(base, block.merged_dtype) if block.merge_into == "original" else set()
    if rounded:
        logger.warning(
            f"merge_into: original, but merged_dtype: {block.merged_dtype} rounds weights of {base} in "
            f"{', '.join(sorted(rounded))}: weights without an adapter change, too"
        )


def merge(base: Path, adapter: Path, block: Merging, out_folder: Path) -> None:
    """Write a stage's checkpoint. Trained weights are only rounded; an adapter is merged into its base weights."""
    from bezoar.steps import models
    from bezoar.steps.train import shards

    full = block.tuning == "full"
    if not full:
        check_merged(base, block)
    with artifact(out_folder) as out:
        weights, added = (adapter, None) if full else (base, adapter)
        loading = {"dtype": "float32", "nf4": False} if full else base_weights_of(block)
        try:
            count = shards.write(weights, added, out, **loading, merged_dtype=block.merged_dtype)
            models.save_tokenizer(base, out)
        except shards.Unfit as reason:
            logger.warning(f"merge {out_folder.name}: the whole model is held in memory, since {reason}")
            model = models.load(weights, "float32") if full else models.merge(base, adapter, **loading)
            models.save(model, models.load_tokenizer(base), out, block.merged_dtype)
            count = model.num_parameters()
        models.save_generation_config(out)
    logger.info(f"merge {out_folder.name}: {count:,} parameters in {block.merged_dtype}")
