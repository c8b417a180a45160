"""Triple preference optimisation (Saeidi et al. 2024, arXiv:2405.16681): a gold answer beside the pair."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bezoar.steps.train.pair import PairBlock
from bezoar.steps.train.stage import Paths


class Tpo(PairBlock):
    """Preference optimisation without a reference, with the plain loss on a third answer, the best one."""

    sequences: ClassVar[int] = 3
    hint: ClassVar[str] = "name the column with the best answers `gold` in the source's `columns`"

    method: Literal["tpo"]
    learning_rate: float = Field(5e-7, gt=0, description="Peak. Default: TRL.")
    loss: Literal["sigmoid", "tpo-l"] = Field(
        "sigmoid",
        description="TRL's name. sigmoid compares log-probabilities of whole answers, tpo-l those of tokens, as SimPO.",
    )
    beta: float = Field(0.01, gt=0, description="Scale of the reward, per nat. Default: TRL.")
    gamma: float = Field(
        0.0, ge=0, description="Margin by which the chosen answer has to be better, in nats, with loss tpo-l. TRL: 0.5."
    )
    gold_weight: float = Field(
        1.0, gt=0, description="Weight of the plain loss on the gold answer, alpha. Default: TRL."
    )

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.loss == "sigmoid" and self.gamma:
            raise PydanticCustomError("gamma", "gamma: 0.0 with loss sigmoid, which ignores it, or loss: tpo-l")
        return self

    def needs(self) -> tuple[str, ...]:
        """Columns that each row of its mix needs besides those of `mix_format`."""
        return ("gold",)

    def columns(self) -> tuple[str, ...]:
        """The columns of a mix's rows that reach its trainer."""
        return (*super().columns(), *self.needs())


def trainer_of(paths: Paths, stage: Tpo, seed: int) -> Any:
    """The trainer for a stage."""
    from functools import partial

    from bezoar.steps.train import pairs, preference

    known: dict[str, Any] = {"beta": stage.beta, "gold_weight": stage.gold_weight}
    if stage.loss == "sigmoid":
        return pairs.trainer(paths, stage, seed, partial(preference.tpo, **known))
    return pairs.trainer(paths, stage, seed, partial(preference.tpo_l, gamma=stage.gamma, **known))
