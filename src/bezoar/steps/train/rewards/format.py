"""Format: 1 for an answer that a regular expression matches from its first to its last character, else 0.

The expression is RE2's: its time grows with the answer's length and never faster, so no answer can hold up training,
and none needs a time limit, which would make the reward depend on the machine. RE2 has no look-around and no
references to groups.
"""

from typing import Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from bezoar.steps.train.rewards.reward import RewardBlock


class Format(RewardBlock):
    """1 for an answer that a regular expression matches as a whole, else 0."""

    kind: Literal["format"]
    version: Literal[1] = 1
    pattern: str = Field(
        min_length=1,
        max_length=2000,
        description="RE2's syntax: no look-around, no references to groups. `(?s)` at its start lets a dot match a "
        "line break.",
    )

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            found(pattern, "")
        except ValueError as error:
            reason = str(error).removeprefix("Invalid regular expression: ").replace("{", "(").replace("}", ")")
            raise PydanticCustomError("pattern", f"a regular expression of RE2: {reason}") from error
        return pattern

    def score(self, turns: list[str], answer: str, reference: str) -> float:
        """1 for a match of the whole answer, white space around it apart; else 0."""
        return float(found(rf"\A(?:{self.pattern})\z", answer.strip()))


def found(pattern: str, text: str) -> bool:
    """Whether an expression matches somewhere in a text; raises ValueError if it isn't one of RE2."""
    import pyarrow
    from pyarrow import compute

    return bool(compute.match_substring_regex(pyarrow.array([text]), pattern=pattern)[0].as_py())
