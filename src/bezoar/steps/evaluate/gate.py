"""Whether a judge can be trusted, by its verdicts on answers that no model wrote.

A judge passes if the 95 % interval of each control's mean ends at or below a ceiling. The models' scores don't matter:
a judge that rates a spoof 4.8 fails even if each model has more, and a weak model says nothing about the judge.
docs/explanation/scores.md has the rule's error rates. Why controls: Zheng et al. 2024 (arXiv:2410.07137).
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bezoar.blocks import NamedBlock
from bezoar.errors import BezoarError, problem
from bezoar.files import write_json
from bezoar.logs import logger
from bezoar.steps.data.rows import QuestionRow, read_rows
from bezoar.steps.evaluate import ceilings, mtbench
from bezoar.steps.evaluate.mtbench import VerdictRow
from bezoar.steps.evaluate.stats import Estimate, stratified_mean

DRAWS = 2000  # of an interval


@dataclass(frozen=True)
class Method(ABC):
    """How an evaluation's method judges: what the gate needs of it.

    Attributes:
        verdict: What a judge gives, in a word.
        fault: What a judge does that fails, in words.
        passes: When a judge passes, in words.
        hint: What to do about a judge that fails.
        row: Type of its verdicts, which have `status`, `score` and `judge_id`.
        questions: Reads a file of questions.
        readable: A judgment that can be read, in words.
    """

    verdict: ClassVar[str]
    fault: ClassVar[str]
    passes: ClassVar[str]
    hint: ClassVar[str]

    row: type[Any]
    questions: Callable[[Path], list[QuestionRow]]
    readable: str

    @abstractmethod
    def reason(self, control: str, verdicts: list[Any], questions: list[QuestionRow], seed: int) -> str | None:
        """Why a judge fails a control of which it gave some verdicts; None if it passes."""


@dataclass(frozen=True)
class Rating(Method):
    """A method in which a judge rates every answer by itself.

    Attributes:
        scale: Lowest and highest score.
        cells: Scores (questions, turns) of verdicts, as `mtbench.cells`.
    """

    verdict: ClassVar[str] = "rating"
    fault: ClassVar[str] = "it gives good ratings to answers that no model wrote"
    passes: ClassVar[str] = "every control's interval ends at or below its ceiling"
    hint: ClassVar[str] = "look at the judgments; allow_compromised continues, with a mark in the table"

    scale: tuple[float, float]
    cells: Callable[..., Any]

    def ceiling(self, control: str) -> float:
        """The highest score that a control's interval may reach."""
        return ceilings.on_scale(control, self.scale)

    def score(self, control: str, verdicts: list[Any], questions: list[QuestionRow], seed: int) -> Estimate:
        """The score of a control's answers, of which one has a rating.

        A missing rating counts as the highest, since a judge that doesn't answer detects nothing. Empty answers are the
        exception: a judge is right to say that there is nothing to rate. The highest rating of the control bounds the
        interval, since with a few equal ratings only, no pilot could pass otherwise.
        """
        low, high = self.scale
        cells = self.cells(verdicts, questions, strict=False, missing=np.nan if control == "empty" else high)
        bounds = (low, float(np.nanmax(cells)))
        return stratified_mean(cells, [question.category for question in questions], DRAWS, seed, bounds)

    def reason(self, control: str, verdicts: list[Any], questions: list[QuestionRow], seed: int) -> str | None:
        """That its interval ends above its ceiling."""
        score, ceiling = self.score(control, verdicts, questions, seed), self.ceiling(control)
        high = score.mean if score.high is None else score.high
        if high <= ceiling:
            return None
        end = "" if score.high is None else f", upper end of its 95 % interval {high:.2f}"
        return f"mean {score.mean:.2f}{end}, ceiling {round(ceiling, 4)}"


MTBENCH = Rating(
    row=VerdictRow,
    questions=mtbench.read_questions,
    readable="judgments that end with a rating such as [[5]]",
    scale=mtbench.SCALE,
    cells=mtbench.cells,
)


def failures(
    controls: Mapping[str, list[Any]], questions: list[QuestionRow], seed: int, method: Method = MTBENCH
) -> dict[str, str]:
    """Controls that the judge fails, by the artifact's name, each with the reason.

    If it judges other controls and no empty answer, it passes: it is right that there is nothing to judge.
    """
    failed: dict[str, str | None] = {}
    for name, verdicts in controls.items():
        control = name.removeprefix(mtbench.CONTROL)
        if not unreadable({name: verdicts}):
            failed[name] = method.reason(control, verdicts, questions, seed)
        elif control != "empty" or unreadable(controls):
            failed[name] = f"no readable {method.verdict}, {statuses_of({name: verdicts})}"
    return {name: why for name, why in failed.items() if why is not None}


def unreadable(verdicts: Mapping[str, list[Any]]) -> bool:
    """Whether a judge gave no readable verdict at all: there is no score then, and nothing is known of the judge."""
    return all(row.score is None for rows in verdicts.values() for row in rows)


def statuses_of(verdicts: Mapping[str, list[Any]]) -> dict[str, int]:
    """The number of judgments by status."""
    return dict(sorted(Counter(row.status for rows in verdicts.values() for row in rows).items()))


def no_score(verdicts: Mapping[str, list[Any]], method: type[Method] = Rating) -> str:
    """Why there is no score, with the number of judgments by status."""
    counts = ", ".join(f"{count:,} {status}" for status, count in statuses_of(verdicts).items())
    return f"the judge gave no readable {method.verdict}: {counts or 'no judgment'}"


def refusal(controls: Mapping[str, list[Any]], failed: Mapping[str, str], method: Method = MTBENCH) -> str:
    """Why no table is written: the judge gave no readable verdict, or rewarded a control."""
    if unreadable(controls):
        return problem(
            f"the judge gave no readable {method.verdict}",
            found=statuses_of(controls),
            expected=method.readable,
            hint="look at the judgments; a small model may not be able to judge, the harness needs no judge",
        )
    return problem(
        f"the judge is compromised: {method.fault}",
        found="; ".join(f"{name}: {reason}" for name, reason in sorted(failed.items())),
        expected=method.passes,
        hint=method.hint,
    )


class Gate(NamedBlock):
    """The keys of an evaluation that the gate depends on."""

    section: ClassVar[str] = "evals"

    allow_compromised: bool


def write_gate(
    verdicts: list[Path], questions_path: Path, block: Gate, seed: int, out: Path, method: Method = MTBENCH
) -> None:
    """Write the judge's id, and whether it is compromised.

    Args:
        verdicts: verdicts.jsonl of each control, in a folder with its name.
        questions_path: The file of the questions.
        block: The evaluation.
        seed: Seed of the intervals.
        out: File to write to.
        method: The evaluation's.

    Raises:
        BezoarError: The judge is compromised, and `allow_compromised` isn't set.
    """
    questions = method.questions(questions_path)
    controls = {path.parent.name: list(read_rows(path, method.row)) for path in verdicts}
    failed = failures(controls, questions, seed, method)
    compromised = bool(failed) and not unreadable(controls)
    if failed:
        message = refusal(controls, failed, method)
        if not block.allow_compromised:
            raise BezoarError(message)
        logger.warning(message)
    judge = mtbench.one_judge(controls)
    write_json(out, {"judge": judge, "compromised": compromised})  # no ratings: models don't depend on them
    logger.info(f"gate {out.stem}: {len(controls) - len(failed)} of {len(controls)} controls passed")
