"""Packing: rows one after the other in a sequence, each of which attends to itself only.

TRL gives the model position ids that start at 0 in each row and no attention mask. transformers makes a block-diagonal
mask from that for `sdpa` and `eager`, and FlashAttention takes the rows' lengths. Not every model does: some have no
positions, or carry a state from token to token. So two packed rows are run through the model before training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from bezoar.errors import InputError, problem

if TYPE_CHECKING:
    from bezoar.steps.train.stage import StageBlock

LENGTH = 8  # tokens of each of the two rows
NEARLY = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}  # of the largest logit, by rounding


def check(model: Any, stage: StageBlock) -> None:
    """Refuse a model that sees the row before in a packed sequence.

    Raises:
        InputError: It does.
    """
    found = difference(model)
    nearly = NEARLY[next(iter(model.parameters())).dtype if stage.quantization == "none" else torch.bfloat16]
    if found is not None and found <= nearly:
        return
    how = "it takes no position ids" if found is None else f"its answers change by {found:.1%} of the largest logit"
    raise InputError(
        problem(
            f"stages.{stage.name}: rows of a packed sequence would see each other in this model",
            found=f"{model.config.model_type} with attention: {stage.attention}, {how}",
            expected="a model and an attention that keep packed rows apart",
            hint="packing: false, or another attention",
        )
    )


@torch.no_grad()
def difference(model: Any) -> float | None:
    """How much a row's logits change when it follows another, relative to the largest; None without position ids."""
    generator, training = torch.Generator().manual_seed(0), model.training
    ids = torch.randint(0, model.config.get_text_config().vocab_size, (1, 2 * LENGTH), generator=generator)
    ids, positions = ids.to(model.device), torch.arange(LENGTH, device=model.device)[None]
    model.eval()
    try:
        alone = model(input_ids=ids[:, LENGTH:], position_ids=positions, use_cache=False).logits.float()
        both = model(input_ids=ids, position_ids=positions.repeat(1, 2), use_cache=False).logits.float()
    except TypeError:
        return None
    finally:
        model.train(training)
    return float((both[:, LENGTH:] - alone).abs().max() / alone.abs().max())
