"""Exact match: 1 for an answer with the text of the row's completion, else 0."""

import unicodedata
from typing import Literal

from pydantic import Field

from bezoar.steps.train.rewards.reward import RewardBlock


class ExactMatch(RewardBlock):
    """1 for an answer that is the row's completion, up to white space; else 0."""

    kind: Literal["exact_match"]
    version: Literal[1] = 1
    ignore_case: bool = Field(True, description="Whether capital and small letters are the same.")
    ignore_punctuation: bool = Field(False, description="Whether punctuation counts as a space.")

    def score(self, turns: list[str], answer: str, reference: str) -> float:
        """1 for a match, else 0."""
        return float(self.normalised(answer) == self.normalised(reference))

    def normalised(self, text: str) -> str:
        """What is compared: Unicode's compatibility form (NFKC), with one space between words."""
        text = unicodedata.normalize("NFKC", text)
        if self.ignore_case:
            text = text.casefold()
        if self.ignore_punctuation:
            text = "".join(" " if unicodedata.category(one).startswith("P") else one for one in text)
        return " ".join(text.split())
