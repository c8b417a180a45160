"""A judge's gradings of single answers: rows, scores by question and turn, and failures."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bezoar.errors import InputError, problem
from bezoar.steps import prompts
from bezoar.steps.data.accounting import text_of
from bezoar.steps.data.rows import AnswerRow, QuestionRow, Row, read_rows, row_id
from bezoar.steps.evaluate.mtbench import CONTROL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ENDINGS = {"stop": "ok", "length": "truncated", "refusal": "refused"}  # any other way to end is an error
ROLES = ("User", "Assistant")


class GradeRow(Row):
    """A judge's grading of one answer, or of one answer by one item of a checklist."""

    model: str
    judge_id: str
    question_id: int
    turn: int = Field(ge=1)
    part: int = Field(ge=0, description="Number of the repeat, or of the item.")
    status: str = Field(description="ok, unparsed, refused, truncated, no_logprobs or error.")
    score: float | None
    model_returned: str
    answer_empty: bool
    answer_has_delimiter: bool
    answer_has_rating: bool


@dataclass(frozen=True)
class Graded:
    """An answer that is graded.

    Attributes:
        question: Its question.
        turn: From 1 on.
        answers: The model's answers up to this turn.
        single_turn: Whether every turn was asked by itself, and so is shown by itself.
    """

    question: QuestionRow
    turn: int
    answers: list[str]
    single_turn: bool = False

    @property
    def answer(self) -> str:
        """The answer itself."""
        return self.answers[self.turn - 1]

    @property
    def turns(self) -> tuple[str, ...]:
        """User and assistant turns before the answer, user first and last."""
        if self.single_turn:
            return (self.question.turns[self.turn - 1],)
        return dialogue(self.question, self.turn, self.answers)

    @property
    def key(self) -> str:
        """Names it within a job."""
        return f"{self.question.question_id}:{self.turn}"


def dialogue(question: QuestionRow, turn: int, answers: list[str]) -> tuple[str, ...]:
    """The texts before the answer to a turn."""
    pairs = zip(question.turns[: turn - 1], answers[: turn - 1], strict=True)
    return (*(text for pair in pairs for text in pair), question.turns[turn - 1])


def told(turns: tuple[str, ...]) -> str:
    """A dialogue as text; a single turn is itself."""
    if len(turns) == 1:
        return turns[0]
    return "\n\n".join(f"{ROLES[place % 2]}: {text}" for place, text in enumerate(turns))


def graded_answers(questions: list[QuestionRow], path: Path, *, single_turn: bool) -> list[Graded]:
    """Every answer of a model, by question and turn; `single_turn`: each is shown without the turns before it.

    Raises:
        ValueError: A turn of a question has no answer.
    """
    answers = {row.question_id: row.choices[0].turns for row in read_rows(path, AnswerRow)}
    found = []
    for question in questions:
        said = answers.get(question.question_id, [])
        if len(said) != len(question.turns):
            what = f"{path}: question {question.question_id} lacks an answer"
            raise InputError(problem(what, found=f"{len(said)} answers", expected=f"{len(question.turns)}, one a turn"))
        found += [Graded(question, turn + 1, said, single_turn) for turn in range(len(said))]
    return found


def cells(
    rows: Iterable[GradeRow],
    questions: list[QuestionRow],
    *,
    strict: bool,
    missing: float = math.nan,
    lowest: float = 1.0,
) -> NDArray[np.float64]:
    """Scores (questions, turns) of one model: means over repeats or items; NaN without a score, or without a turn.

    Args:
        rows: The judge's gradings of the model.
        questions: The questions, in the order of the cells.
        strict: An empty answer has the lowest score; otherwise the judge's, or none.
        missing: The score of each grading without one; NaN leaves it out.
        lowest: The lowest score.

    Raises:
        ValueError: A grading is there twice, or is of an unknown question.
    """
    import numpy as np  # not needed when a recipe is read

    place = {question.question_id: number for number, question in enumerate(questions)}
    seen: set[tuple[int, int, int]] = set()
    scores: dict[tuple[int, int], list[float]] = defaultdict(list)
    for row in rows:
        key = (row.question_id, row.turn, row.part)
        if key in seen or row.question_id not in place or row.turn > len(questions[place[row.question_id]].turns):
            raise ValueError(f"question {row.question_id}, turn {row.turn}: graded twice, or not of this evaluation")
        seen.add(key)
        score = lowest if strict and row.answer_empty else missing if row.score is None else row.score
        if not np.isnan(score):
            scores[place[row.question_id], row.turn - 1].append(score)
    table = np.full((len(questions), max(len(question.turns) for question in questions)), np.nan)
    for where, given in scores.items():
        table[where] = np.mean(given)
    return table


def needed(rows: Iterable[GradeRow]) -> list[GradeRow]:
    """The gradings that need a score: an empty answer has the lowest one whatever the judge says."""
    return [row for row in rows if not row.answer_empty]


def check_failed(rows: list[GradeRow], asked: int, max_failed_share: float) -> None:
    """Check that every grading is there, and that few enough lack a score; about controls the gate decides.

    Raises:
        ValueError: Gradings got lost, or more than `max_failed_share` have no score.
    """
    if len(rows) != asked:
        raise ValueError(f"gradings got lost: {len(rows)} of {asked}")
    failed = Counter(row.status for row in needed(rows) if row.score is None and not row.model.startswith(CONTROL))
    if failed.total() > max_failed_share * asked:
        raise InputError(
            problem(
                "the judge failed too often",
                found=f"{failed.total():,} of {asked:,} gradings without a score: {text_of(failed)}",
                expected=f"at most a share of {max_failed_share}",
            )
        )


def check_gate(path: Path | None, judge_id: str) -> None:
    """Raise ValueError if another judge graded the controls."""
    if path is None:
        return
    found = json.loads(path.read_text(encoding="utf-8"))["judge"]
    if found != judge_id:
        raise InputError(problem(f"{path}: another judge graded the controls", found=found, expected=judge_id))


def identity(protocol: str, parser: int, **parts: Any) -> str:
    """A judge's id: it changes with everything that can change a grading of the same answer."""
    return row_id(json.dumps([protocol, parser, parts], sort_keys=True))


def delimiter(template: str, slot: str) -> str:
    """The first line of a template after an answer that isn't a slot: it shows a judge where the answer ends."""
    after = prompts.SLOT.sub("", template.partition(f"{{{slot}}}")[2])
    return next((line.strip() for line in after.split("\n") if line.strip()), "")


def flags(answer: str, delimiters: Iterable[str], holds_rating: Callable[[str], bool]) -> Mapping[str, bool]:
    """What a row says of the answer itself."""
    return {
        "answer_empty": not answer.strip(),
        "answer_has_delimiter": any(one and one in answer for one in delimiters),
        "answer_has_rating": holds_rating(answer),
    }
