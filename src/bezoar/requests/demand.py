"""What a job would ask of a model, as far as it is known before it runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from bezoar.blocks import Sampling


@dataclass(frozen=True)
class Demand:
    """What one job asks at most.

    Attributes:
        calls: Requests, repeats apart; None if that isn't known before the job's inputs are there.
        prompt_tokens: Of one prompt, by guess.
        sampling: How an answer is drawn.
    """

    calls: int | None
    prompt_tokens: int
    sampling: Sampling


class Known(Protocol):
    """What is known before a job runs."""

    shards: int

    def rows(self, source: str) -> int | None:
        """Rows of a source: as many as are there, or as the recipe takes."""
        ...

    def lines(self, paths: Iterable[str]) -> int | None:
        """Rows of the files, if they are there and stay."""
        ...

    def tokens(self, path: str) -> int:
        """Tokens of a text file, by guess."""
        ...

    def candidates(self, scheme: str) -> int | None:
        """Rows that one shard of a scheme writes at most."""
        ...

    def longest_answer(self, scheme: str) -> int:
        """Tokens of an answer of a scheme's teacher at most."""
        ...
