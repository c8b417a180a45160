"""Self-play preference optimisation (Wu et al. 2024, arXiv:2405.00675): the squared loss of one of its rounds."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from bezoar.steps.train.pair import PairBlock
from bezoar.steps.train.stage import Paths


class Sppo(PairBlock):
    """Preference optimisation towards win rates: how often an answer beats others of the same model."""

    reference: ClassVar[bool] = True
    hint: ClassVar[str] = "name the columns with win rates in the source's `columns`, or win_rates: hard"

    method: Literal["sppo"]
    learning_rate: float = Field(
        5e-7, gt=0, description="Peak. Default: Wu et al. 2024, for all weights of a 7B model."
    )
    beta: float = Field(
        0.001,
        gt=0,
        description="Pull towards the reference model, per nat: 1 / eta. Default: Wu et al. 2024. It isn't DPO's "
        "scale: with 0.1, log ratios are pulled to 5 nats, with 0.001 to 500.",
    )
    win_rates: Literal["rows", "hard"] = Field(
        "rows",
        description="rows takes win_rate_chosen and win_rate_rejected of each row, which must have them. hard takes 1 "
        "and 0 for all rows.",
    )

    def needs(self) -> tuple[str, ...]:
        """Columns that each row of its mix needs besides those of `mix_format`."""
        return ("win_rate_chosen", "win_rate_rejected") if self.win_rates == "rows" else ()

    def columns(self) -> tuple[str, ...]:
        """The columns of a mix's rows that reach its trainer."""
        return (*super().columns(), *self.needs())


def trainer_of(paths: Paths, stage: Sppo, seed: int) -> Any:
    """The trainer for a stage."""
    from dataclasses import replace

    from bezoar.steps.train import pairs, preference

    def loss(chosen: preference.Answers, rejected: preference.Answers) -> preference.Tensor:
        if stage.win_rates == "hard":
            chosen = replace(chosen, win_rate=chosen.total.new_ones(len(chosen.total)))
            rejected = replace(rejected, win_rate=rejected.total.new_zeros(len(rejected.total)))
        return preference.sppo(chosen, rejected, beta=stage.beta)

    return pairs.trainer(paths, stage, seed, loss)
