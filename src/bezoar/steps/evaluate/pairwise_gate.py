"""Whether a judge of pairs can be trusted, by its games of answers that no model wrote against the baseline's.

A judge passes if the 95 % interval of each control's win rate ends at or below a ceiling, and if the baseline against
itself may win half of the games. No other model's games matter. The baseline's do: where it says nothing useful, a
control may win fairly, so it should be a checkpoint that answers. docs/evaluations.md has the rule's error rates.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from bezoar.errors import BezoarError, InputError, problem
from bezoar.files import write_json
from bezoar.logs import logger
from bezoar.steps.data.rows import QuestionRow, read_rows
from bezoar.steps.evaluate.gate import DRAWS, Gate
from bezoar.steps.evaluate.mtbench import CONTROL
from bezoar.steps.evaluate.pairwise import GameRow
from bezoar.steps.evaluate.questions import read_questions
from bezoar.steps.evaluate.standings import points_of, win_rate
from bezoar.steps.evaluate.stats import Estimate

CEILINGS = {"empty": 0.1, "filler": 0.25, "spoof": 0.25}  # of win rates; `self` has 0.5
SELF = "self"


def control_score(control: str, rows: list[GameRow], questions: Sequence[QuestionRow], seed: int) -> Estimate | None:
    """A control's win rate by the judge's words; None if no verdict is readable.

    A missing verdict counts as a game that the control wins, since a judge that doesn't answer detects nothing. Empty
    answers are the exception: a judge is right to say that there is nothing to compare. The best question of the
    control bounds the interval, since a pilot's few equal games couldn't pass otherwise.
    """
    if all(row.score is None for row in rows):
        return None
    missing = None if control in ("empty", SELF) else 1.0
    points = points_of(rows, questions, strict=False, missing=missing)
    there = points[1] > 0
    highest = 1.0 if control == SELF else float((points[0][there] / points[1][there]).max())
    return win_rate(points, [question.category for question in questions], DRAWS, seed, (0.0, highest))


def failures(controls: Mapping[str, list[GameRow]], questions: Sequence[QuestionRow], seed: int) -> dict[str, str]:
    """Controls that the judge fails, by the artifact's name, each with the reason.

    If it compares other controls and no empty answer, it passes: it is right that there is nothing to compare.
    """
    failed = {}
    silent = unreadable(controls)
    for name, rows in controls.items():
        control = name.removeprefix(CONTROL)
        score = control_score(control, rows, questions, seed)
        if score is None:
            if control != "empty" or silent:
                failed[name] = f"no readable verdict, {dict(sorted(Counter(row.status for row in rows).items()))}"
            continue
        low, high = (score.mean if end is None else end for end in (score.low, score.high))
        interval = f"win rate {score.mean:.2f}, 95 % interval {low:.2f} to {high:.2f}"
        if control == SELF and not low <= 0.5 <= high:
            failed[name] = f"{interval}, without 0.5"
        elif control != SELF and high > CEILINGS[control]:
            failed[name] = f"{interval}, ceiling {CEILINGS[control]}"
    return failed


def unreadable(verdicts: Mapping[str, list[GameRow]]) -> bool:
    """Whether a judge gave no readable verdict at all: there is no score then, and nothing is known of the judge."""
    return all(row.score is None for rows in verdicts.values() for row in rows)


def refusal(controls: Mapping[str, list[GameRow]], failed: Mapping[str, str]) -> str:
    """Why no table is written: the judge gave no readable verdict, or rewarded a control."""
    if unreadable(controls):
        statuses = Counter(row.status for rows in controls.values() for row in rows)
        return problem(
            "the judge gave no readable verdict",
            found=dict(sorted(statuses.items())),
            expected="judgments that end with a verdict of the scale, such as [[A>B]]",
            hint="look at the judgments; a small model may not be able to judge, the harness needs no judge",
        )
    return problem(
        "the judge is compromised: answers that no model wrote win too many games",
        found="; ".join(f"{name}: {reason}" for name, reason in sorted(failed.items())),
        expected="every control's interval ends at or below its ceiling, and the baseline wins half against itself",
        hint="look at the judgments; if the baseline's answers are no better, take another baseline; "
        "allow_compromised continues, with a mark in the table",
    )


def one_judge(verdicts: Mapping[str, list[GameRow]]) -> str:
    """The id of the one judge of all verdicts; raises InputError if there are several."""
    judges = {row.judge_id for rows in verdicts.values() for row in rows}
    if len(judges) != 1:
        raise InputError(problem("several judges compared the models", found=sorted(judges), expected="one judge"))
    return judges.pop()


def write_gate(verdicts: list[Path], questions_path: Path, block: Gate, seed: int, out: Path) -> None:
    """Write the judge's id, and whether it is compromised.

    Args:
        verdicts: verdicts.jsonl of each control, in a folder with its name.
        questions_path: The file of the questions.
        block: The evaluation.
        seed: Seed of the intervals.
        out: File to write to.

    Raises:
        BezoarError: The judge is compromised, and `allow_compromised` isn't set.
    """
    questions = read_questions(questions_path)
    controls = {path.parent.name: list(read_rows(path, GameRow)) for path in verdicts}
    failed = failures(controls, questions, seed)
    if failed:
        message = refusal(controls, failed)
        if not block.allow_compromised:
            raise BezoarError(message)
        logger.warning(message)
    compromised = bool(failed) and not unreadable(controls)
    write_json(out, {"judge": one_judge(controls), "compromised": compromised})  # models don't depend on more
    logger.info(f"gate {out.stem}: {len(controls) - len(failed)} of {len(controls)} controls passed")
