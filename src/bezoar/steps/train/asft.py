"""Aligned supervised fine-tuning (Wang et al. 2024, arXiv:2409.10571): absolute odds of each answer."""

from typing import Any, Literal

from pydantic import Field

from bezoar.steps.train.pair import ScoredPairBlock
from bezoar.steps.train.stage import Paths


class Asft(ScoredPairBlock):
    """Supervised fine-tuning on chosen answers, with a loss on the odds of each answer; without a reference."""

    method: Literal["asft"]
    learning_rate: float = Field(5e-6, gt=0, description="Peak; fallback: as DPO.")
    weight: float = Field(1.0, gt=0, description="Weight of the odds, lambda; fallback.")


def trainer_of(paths: Paths, stage: Asft, seed: int) -> Any:
    """The trainer for a stage."""
    from functools import partial

    from bezoar.steps.train import pairs, preference

    return pairs.trainer(paths, stage, seed, partial(preference.asft, weight=stage.weight))
