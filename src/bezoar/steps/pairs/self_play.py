"""Self-play pairs: the seed's own answer is better than the model's (SPIN, Chen et al. 2024, arXiv:2401.01335)."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field

from bezoar.steps.data.rows import GeneratedRow
from bezoar.steps.generate.scheme import SchemeName
from bezoar.steps.generate.seeds import PromptRow
from bezoar.steps.pairs.block import Answer, Candidate, PairsBlock

NO_ANSWER = "seed without an answer"


class SelfPlay(PairsBlock):
    """The seed's answer against the model's (SPIN, Chen et al. 2024, arXiv:2401.01335, equation 4.7)."""

    gives: ClassVar[tuple[str, ...]] = ()
    by_row: ClassVar[bool] = True

    method: Literal["self_play"]
    of: SchemeName = Field(description="Scheme of method `sample` with the model's answers; its seeds have the better.")

    def starts_from(self) -> list[tuple[str, str]]:
        """The scheme."""
        return [("schemes", self.of)]


def candidates_of(rows: Iterable[GeneratedRow], seeds: dict[str, PromptRow]) -> list[Candidate]:
    """A candidate for each of the model's answers.

    Args:
        rows: The model's answers.
        seeds: The prompts that it answered, by id.
    """
    found = []
    for row in rows:
        seed = seeds[row.parent_ids[0]]
        chosen, rejected = Answer(seed.id, seed.response or ""), Answer(row.id, row.response)
        fault = "" if seed.response else NO_ANSWER
        found.append(Candidate(row.root_id, row.system, row.instruction, chosen, rejected, fault))
    return found
