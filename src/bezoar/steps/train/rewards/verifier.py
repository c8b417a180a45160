"""The embedded world's rules as a reward; useless outside of that world."""

from typing import Literal

from bezoar.steps.train.rewards.reward import RewardBlock

BEST = 10  # the world's ratings are 1 to 10


class Verifier(RewardBlock):
    """The rating of the embedded world's rules; useless outside of that world."""

    kind: Literal["verifier"]
    version: Literal[1] = 1

    def score(self, turns: list[str], answer: str, reference: str) -> float:
        """The rating of 1 to 10, as 0 to 1; the row's completion isn't looked at."""
        from bezoar import world  # only a stage that is rewarded by it depends on the world

        return (world.grade(turns, answer).rating - 1) / (BEST - 1)
