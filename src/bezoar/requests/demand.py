"""The requests that a job would send, as far as they are known before it runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from bezoar.blocks import Sampling


@dataclass(frozen=True)
class Demand:
    """The most that one job requests.

    Attributes:
        calls: Requests without repeats; None if that isn't known before the job's inputs exist.
        prompt_tokens: Of one prompt, estimated.
        sampling: How an answer is drawn.
    """

    calls: int | None
    prompt_tokens: int
    sampling: Sampling


class Known(Protocol):
    """What is known before a job runs."""

    shards: int

    def rows(self, source: str) -> int | None:
        """Rows of a source: those that exist, or those that the recipe takes."""
        ...

    def seeds(self, scheme: str) -> int | None:
        """Rows that a scheme starts from: of its source, or the most that another scheme may have."""
        ...

    def lines(self, paths: Iterable[str]) -> int | None:
        """Rows of the files, if they exist and are up to date."""
        ...

    def tokens(self, path: str) -> int:
        """Tokens of a text file, estimated."""
        ...

    def candidates(self, scheme: str) -> int | None:
        """The most rows that one shard of a scheme writes."""
        ...

    def longest_answer(self, scheme: str) -> int:
        """The most tokens of an answer of a scheme's teacher."""
        ...

    def questions(self, answers: str) -> int | None:
        """Questions of a block of answers."""
        ...

    def turns(self, answers: str) -> int | None:
        """Turns of all questions of a block of answers."""
        ...

    def most_tokens(self, answers: str) -> int:
        """The most tokens of an answer of a block of answers."""
        ...
