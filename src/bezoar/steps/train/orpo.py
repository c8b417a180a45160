"""Odds ratio preference optimisation (Hong et al. 2024, arXiv:2403.07691): fine-tuning and preference in one stage."""

from typing import Any, Literal

from pydantic import Field

from bezoar.steps.train.pair import ScoredPairBlock
from bezoar.steps.train.stage import Paths


class Orpo(ScoredPairBlock):
    """Supervised fine-tuning on chosen answers, with a penalty for the odds of rejected ones; without a reference."""

    method: Literal["orpo"]
    learning_rate: float = Field(
        8e-6, gt=0, description="Peak. Default: Hong et al. 2024, for all weights of a 7B model."
    )
    weight: float = Field(0.1, gt=0, description="Weight of the odds ratio, lambda. Default: Hong et al. 2024.")


def trainer_of(paths: Paths, stage: Orpo, seed: int) -> Any:
    """The trainer for a stage."""
    from functools import partial

    from bezoar.steps.train import pairs, preference

    return pairs.trainer(paths, stage, seed, partial(preference.orpo, weight=stage.weight))
