"""Add an adapter to the weights that it was trained on; out comes a checkpoint that any transformers program opens."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from bezoar.blocks import Dtype, NamedBlock
from bezoar.files import artifact
from bezoar.logs import logger


class Merging(NamedBlock):
    """What merging takes of a stage."""

    section: ClassVar[str] = "stages"

    quantization: Literal["none", "nf4"]
    compute_dtype: Dtype
    merge_into: Literal["as_trained", "original"]
    merged_dtype: Dtype


def base_weights_of(block: Merging) -> dict[str, Any]:
    """How the weights that an adapter is added to are loaded: as in training, or as they are on disk.

    float32 holds every published number format exactly, so that `original` keeps the bits of what no adapter changes,
    if `merged_dtype` holds that format, too.
    """
    if block.merge_into == "original":
        return {"dtype": "float32", "nf4": False}
    return {"dtype": block.compute_dtype, "nf4": block.quantization == "nf4"}


def check_merged(base: Path, block: Merging) -> None:
    """Warn if `original` can't keep the bits of the weights on disk, since `merged_dtype` rounds them."""
    from bezoar.steps import models

    rounded = models.rounded_by(base, block.merged_dtype) if block.merge_into == "original" else set()
    if rounded:
        logger.warning(
            f"merge_into: original, but merged_dtype: {block.merged_dtype} rounds weights that {base} has as "
            f"{', '.join(sorted(rounded))}: those that the adapter leaves alone change, too"
        )


def merge(base: Path, adapter: Path, block: Merging, out_folder: Path) -> None:
    """Write the checkpoint of a stage."""
    from bezoar.steps import models

    check_merged(base, block)
    model = models.merge(base, adapter, **base_weights_of(block))
    with artifact(out_folder) as out:
        models.save(model, models.load_tokenizer(base), out, block.merged_dtype)
    logger.info(f"merge {out_folder.name}: {model.num_parameters():,} parameters in {block.merged_dtype}")
