"""Rows at random, and those with the longest answers: controls for any measure that costs more.

`longest` is the baseline of Zhao et al. 2024 (arXiv:2402.04833). We differ: length is counted in characters, where the
paper counts tokens, so that no model is needed.
"""

from typing import ClassVar, Literal

from pydantic import Field

from bezoar.steps.data.pool import Pool
from bezoar.steps.select.selection import Choice, Ranked, SelectionBlock, answered, best_first


class Ordered(SelectionBlock):
    """Rows at random, or those with the longest answers."""

    script: ClassVar[str] = "ordered"

    method: Literal["random", "longest"] = Field(
        description="`random` draws by a hash of seed and id, so a smaller selection is a subset of a larger one; "
        "`longest` takes the rows whose answer, the last turn, has the most characters."
    )


def chosen(block: Ordered, pool: Pool) -> Choice:
    """The rows that are first at random, or by the length of their answers; equal lengths in random order."""
    choice = Choice(block.rows)
    if block.method == "random":
        order = [Ranked(number) for number in pool.drawn(0)]
    else:
        order = best_first([Ranked(number, float(len(answer))) for number, _, answer in answered(pool, choice)])
    for row in order:
        choice.offer(row)
    return choice
