"""Answers of checkpoints side by side, for people to read: no judge, and so no score."""

from typing import Any, Literal

from bezoar.steps.evaluate.evaluation import AnsweredEval, Scores


class SideBySide(AnsweredEval):
    """Answers to questions side by side, without a judge and without a score."""

    method: Literal["answers"]

    def scores_of(self, checkpoint: str, report: Any) -> Scores:
        """Counts, since nobody rates the answers."""
        one = report["checkpoints"][checkpoint]
        counts = f"{one['answers']} answers, {one['empty']} empty, {one['cut']} cut by the token limit"
        return Scores(f"{counts}, {one['words_per_answer']} words per answer; {report['no_score']}.")

    def stage_names(self) -> list[str]:
        """Answers of each checkpoint, and the report."""
        return [f"report_answers-{self.name}", *super().stage_names()]
