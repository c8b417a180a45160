"""Simple preference optimisation (Meng et al. 2024, arXiv:2405.14734): mean log-probabilities, without a reference."""

from typing import Any, Literal

from pydantic import Field

from bezoar.steps.train.pair import ScoredPairBlock
from bezoar.steps.train.stage import Paths


class Simpo(ScoredPairBlock):
    """Preference optimisation of the mean log-probability of a token, without a reference."""

    method: Literal["simpo"]
    learning_rate: float = Field(
        1e-6,
        gt=0,
        description="Peak. Default: Meng et al. 2024's code for all weights of a 7B model, which warns of 1e-5.",
    )
    beta: float = Field(2.0, gt=0, description="Scale of the reward. Default: Meng et al. 2024.")
    gamma_ratio: float = Field(
        0.5,
        ge=0,
        description="Margin by which the chosen answer has to be better, in units of `beta`: nats per token. Default: "
        "Meng et al. 2024, who try up to 2.",
    )
    sft_weight: float = Field(
        0.0, ge=0, description="Weight of the plain loss on the chosen answer beside it; 0 for none."
    )


def trainer_of(paths: Paths, stage: Simpo, seed: int) -> Any:
    """The trainer for a stage."""
    from bezoar.steps.train import pairs, preference

    def loss(chosen: preference.Answers, rejected: preference.Answers) -> preference.Tensor:
        own = preference.simpo(chosen, rejected, beta=stage.beta, gamma_ratio=stage.gamma_ratio)
        return own - stage.sft_weight * chosen.mean

    return pairs.trainer(paths, stage, seed, loss)
