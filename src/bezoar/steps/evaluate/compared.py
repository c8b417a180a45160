"""The base class of evaluations that compare checkpoints with each other."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from bezoar.problems import Problem, unknown
from bezoar.steps.evaluate.evaluation import CheckpointName, EvalBlock


class ComparedEval(EvalBlock):
    """An evaluation whose report has paired differences of its checkpoints."""

    compare_to: list[CheckpointName] = Field(
        [],
        description="Checkpoints of this evaluation that all others are compared with. Each is compared with the first "
        "one and with the one before it anyway. More comparisons make each of them less likely to be significant.",
    )

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """Checkpoints to compare with that aren't evaluated."""
        yield from super().problems(recipe)
        for position, name in enumerate(self.compare_to):
            if name not in self.checkpoints:
                yield unknown(("compare_to", position), "no checkpoint of this evaluation", name, self.checkpoints)
