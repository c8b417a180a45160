"""The base classes of methods that train on pairs of answers, a chosen and a rejected one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from bezoar.errors import InputError, problem
from bezoar.steps.train.stage import StageBlock

PLACE = "{score}"
SCORES = ("score_chosen", "score_rejected")


class PairBlock(StageBlock):
    """The base class of methods that train on pairs."""

    mix_format: ClassVar[Literal["prompt_completion", "preference"]] = "preference"
    sequences: ClassVar[int] = 2

    def columns(self) -> tuple[str, ...]:
        """The columns of a mix's rows that reach its trainer."""
        return ("prompt", "chosen", "rejected")

    def rows(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows of a mix's file, each with its line; without a third answer, if none is trained on."""
        third = {"gold"} - {*self.columns()}
        return ((number, {key: row[key] for key in row if key not in third}) for number, row in super().rows(path))


class ScoredPairBlock(PairBlock):
    """The base class of methods that can also train on pairs under the scores of their answers.

    Each pair is trained twice: under the score of its chosen answer as it is, and under that of its rejected answer
    with both swapped, since that one fits its own score better. So what is good about rejected answers isn't unlearned.
    Pairs with equal scores have no order then, and are left out.

    Source: Zhang et al. 2024 (arXiv:2410.08067), section 4.
    """

    hint: ClassVar[str] = "name the columns with scores in the source's `columns`, or remove reward_system"

    reward_system: str | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="System text with {score}: each pair is trained twice, under the score of its chosen answer, and "
        "swapped under that of its rejected one (Zhang et al. 2024, arXiv:2410.08067). The rows need score_chosen and "
        "score_rejected. Null trains pairs as they are.",
    )

    @field_validator("reward_system")
    @classmethod
    def _has_place(cls, text: str | None) -> str | None:
        if text is not None and PLACE not in text:
            raise PydanticCustomError("place", "a text with {place}", {"place": PLACE})
        return text

    def needs(self) -> tuple[str, ...]:
        """Columns that each row of its mix needs besides those of `mix_format`."""
        return () if self.reward_system is None else SCORES

    def rows(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """The rows of a mix's file; with `reward_system`, two for each, under the scores of its answers.

        Raises:
            InputError: A row has no scores.
        """
        for number, row in super().rows(path):
            if self.reward_system is None:
                yield number, row
                continue
            chosen, rejected = self._scores(row, f"{path}:{number}")
            if chosen == rejected:
                continue
            yield number, row | {"prompt": _under(row["prompt"], self.reward_system, chosen)}
            swapped = {"chosen": row["rejected"], "rejected": row["chosen"]}
            yield number, row | swapped | {"prompt": _under(row["prompt"], self.reward_system, rejected)}

    def left_out(self, path: Path) -> dict[str, int]:
        """Counts of the rows of a mix's file that aren't trained on, by reason."""
        if self.reward_system is None:
            return {}
        found = (self._scores(row, f"{path}:{number}") for number, row in super().rows(path))
        return {"equal_scores": sum(chosen == rejected for chosen, rejected in found)}

    def _scores(self, row: dict[str, Any], place: str) -> tuple[float, float]:
        if not all(name in row for name in SCORES):
            what, expected = f"{place}: reward_system needs the scores of both answers", " and ".join(SCORES)
            raise InputError(problem(what, found=", ".join(row), expected=expected, hint=self.hint))
        return float(row[SCORES[0]]), float(row[SCORES[1]])


def _under(prompt: list[dict[str, str]], text: str, score: float) -> list[dict[str, str]]:
    """A prompt under the system text with a score, after a system text of its own."""
    own, rest = (prompt[:1], prompt[1:]) if prompt[0]["role"] == "system" else ([], prompt)
    texts = [*(one["content"] for one in own if one["content"]), text.replace(PLACE, f"{score:g}")]
    return [{"role": "system", "content": "\n\n".join(texts)}, *rest]
