"""Whether a judge can be trusted, by its ratings of answers that no model wrote.

A judge passes if the 95 % interval of each control's mean ends at or below a ceiling. The models' scores don't matter:
a judge that rates a spoof 4.8 fails even if each model has more, and a weak model says nothing about the judge.
docs/recipe.md has the rule's error rates. Why controls: Zheng et al. 2024 (arXiv:2410.07137).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from bezoar.blocks import NamedBlock
from bezoar.errors import BezoarError, problem
from bezoar.files import write_json
from bezoar.logs import logger
from bezoar.steps.data.rows import QuestionRow, read_rows
from bezoar.steps.evaluate import mtbench
from bezoar.steps.evaluate.mtbench import VerdictRow
from bezoar.steps.evaluate.stats import Estimate, stratified_mean

CEILINGS = {"empty": 1.5, "filler": 3.0, "spoof": 3.0, "shuffled": 3.0}  # on a scale from 1 to 10
DRAWS = 2000  # of an interval


class Method(NamedTuple):
    """How an evaluation's method scores: what the gate needs of it.

    Attributes:
        row: Type of its verdicts, which have `status`, `score`, `judge_id` and `answer_empty`.
        scale: Lowest and highest score.
        cells: Scores (questions, turns) of verdicts, as `mtbench.cells`.
        questions: Reads a file of questions.
        readable: A judgment that can be read, in words.
    """

    row: type[Any]
    scale: tuple[float, float]
    cells: Callable[..., Any]
    questions: Callable[[Path], list[QuestionRow]]
    readable: str

    def ceiling(self, control: str) -> float:
        """The highest score that a control's interval may reach: the same share of every scale."""
        low, high = self.scale
        return low + (CEILINGS[control] - 1) / 9 * (high - low)


MTBENCH = Method(
    VerdictRow, mtbench.SCALE, mtbench.cells, mtbench.read_questions, "judgments that end with a rating such as [[5]]"
)


def control_score(
    control: str, verdicts: list[Any], questions: list[QuestionRow], seed: int, method: Method = MTBENCH
) -> Estimate | None:
    """The score of a control's answers; None if no judgment has a readable rating.

    A missing rating counts as the highest, since a judge that doesn't answer detects nothing. Empty answers are the
    exception: a judge is right to say that there is nothing to rate. The highest rating of the control bounds the
    interval, since with a few equal ratings only, no pilot could pass otherwise.
    """
    if all(row.score is None for row in verdicts):
        return None
    low, high = method.scale
    cells = method.cells(verdicts, questions, strict=False, missing=np.nan if control == "empty" else high)
    bounds = (low, float(np.nanmax(cells)))
    return stratified_mean(cells, [question.category for question in questions], DRAWS, seed, bounds)


def failures(
    controls: Mapping[str, list[Any]], questions: list[QuestionRow], seed: int, method: Method = MTBENCH
) -> dict[str, str]:
    """Controls that the judge fails, by the artifact's name, each with the reason.

    If it rates other controls and no empty answer, it passes: it is right that there is nothing to rate.
    """
    failed = {}
    silent = unreadable(controls)
    for name, verdicts in controls.items():
        control = name.removeprefix(mtbench.CONTROL)
        score, ceiling = control_score(control, verdicts, questions, seed, method), method.ceiling(control)
        if score is None:
            if control != "empty" or silent:
                failed[name] = f"no readable rating, {dict(sorted(Counter(row.status for row in verdicts).items()))}"
        elif (high := score.mean if score.high is None else score.high) > ceiling:
            end = "" if score.high is None else f", upper end of its 95 % interval {high:.2f}"
            failed[name] = f"mean {score.mean:.2f}{end}, ceiling {round(ceiling, 4)}"
    return failed


def unreadable(verdicts: Mapping[str, list[Any]]) -> bool:
    """Whether a judge gave no readable rating at all: there is no score then, and nothing is known of the judge."""
    return all(row.score is None for rows in verdicts.values() for row in rows)


def no_score(verdicts: Mapping[str, list[Any]]) -> str:
    """Why there is no score, with the number of judgments by status."""
    statuses = Counter(row.status for rows in verdicts.values() for row in rows)
    counts = ", ".join(f"{count:,} {status}" for status, count in sorted(statuses.items()))
    return f"the judge gave no readable rating: {counts or 'no judgment'}"


def refusal(controls: Mapping[str, list[Any]], failed: Mapping[str, str], method: Method = MTBENCH) -> str:
    """Why no table is written: the judge gave no readable rating, or rewarded a control."""
    if unreadable(controls):
        statuses = Counter(row.status for verdicts in controls.values() for row in verdicts)
        return problem(
            "the judge gave no readable rating",
            found=dict(sorted(statuses.items())),
            expected=method.readable,
            hint="look at the judgments; a small model may not be able to judge, the harness needs no judge",
        )
    found = "; ".join(f"{name}: {reason}" for name, reason in sorted(failed.items()))
    return problem(
        "the judge is compromised: it gives good ratings to answers that no model wrote",
        found=found,
        expected="every control's interval ends at or below its ceiling",
        hint="look at the judgments; allow_compromised continues, with a mark in the table",
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
