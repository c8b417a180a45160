"""Agreement of judges that rated the same answers, each in an evaluation of its own.

An answer that either judge left without a rating is counted apart, and so are empty answers, on which judges agree for
nothing. Intervals are for other questions: all checkpoints' answers to a question, in both turns, are drawn together.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import Field

from bezoar.blocks import Name, Reference
from bezoar.problems import Problem, unknown
from bezoar.steps.evaluate.evaluation import EvalBlock, Scores

RatedName = Annotated[Name, Reference(("evals",), "no evaluation whose judge rates answers", trait="rates")]


class Agreement(EvalBlock):
    """How far judges agree on the same answers: ratings of several evaluations side by side."""

    method: Literal["agreement"]
    evals: list[RatedName] = Field(min_length=2, description="Evaluations of the same answers by different judges.")
    bootstrap_samples: int = Field(2000, ge=100, description="Bootstrap samples of an interval.")

    def stage_names(self) -> list[str]:
        """The report."""
        return [f"report_agreement-{self.name}"]

    def pairs(self) -> list[tuple[str, str]]:
        """Each pair of evaluations."""
        return list(combinations(self.evals, 2))

    def scores_of(self, checkpoint: str, report: Any) -> Scores:
        """The checkpoint's average by each judge, and how far the judges agree on all checkpoints."""
        head = ("evaluation", "judge", "average")
        rows = []
        for name, one in report["averages"][checkpoint].items():
            judge = ", ".join(report["judges"][name]["models_returned"])
            rows.append((f"`{name}`", judge, "no score" if one is None else f"{one['mean']:.2f}"))
        found = []
        for pair in report["pairs"]:
            kappa = pair["weighted_kappa"]
            what = "no variance" if kappa is None else f"weighted kappa {kappa['mean']:.2f}"
            found.append(f"{' and '.join(pair['evals'])}: {what}")
        return Scores(f"judges side by side; {'; '.join(found)}.", head, tuple(rows))

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """Evaluations of other answers, by another method, or without one of the checkpoints."""
        known = [(place, recipe.evals[name]) for place, name in enumerate(self.evals) if name in recipe.evals]
        known = [(place, one) for place, one in known if one.rates]
        for place, one in known:
            if one.name in self.evals[:place]:
                yield Problem(("evals", place), "an evaluation is named twice", one.name, "each once")
            if one.answers != known[0][1].answers:
                expected = f"answers: {known[0][1].answers}, as in evals.{known[0][1].name}"
                yield Problem(("evals", place), "its judge rates other answers", f"answers: {one.answers}", expected)
            if one.method != known[0][1].method:
                expected = f"method: {known[0][1].method}, as in evals.{known[0][1].name}"
                yield Problem(
                    ("evals", place), f"evals.{one.name} rates on another scale", f"method: {one.method}", expected
                )
            for position, checkpoint in enumerate(self.checkpoints):
                if checkpoint not in one.checkpoints:
                    what = f"evals.{one.name} doesn't rate this checkpoint"
                    yield unknown(("checkpoints", position), what, checkpoint, one.checkpoints)
