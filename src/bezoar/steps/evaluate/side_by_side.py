"""Answers of checkpoints side by side, for people to read: no judge, and so no score."""

from typing import Literal

from bezoar.steps.evaluate.evaluation import AnsweredEval


class SideBySide(AnsweredEval):
    """Answers to questions side by side, without a judge and without a score."""

    method: Literal["answers"]

    def stage_names(self) -> list[str]:
        """Answers of each checkpoint, and the report."""
        return [f"report_answers-{self.name}", *(f"answers-{self.name}-{one}" for one in self.checkpoints)]
