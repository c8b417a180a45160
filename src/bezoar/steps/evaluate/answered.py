"""Answers of checkpoints to the same questions, with what judges said of each."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import Field

from bezoar.errors import InputError, problem
from bezoar.steps.data.lines import Line, Read, lines

Turn = tuple[int, int]  # question and number of its turn, from 1 on


@dataclass(frozen=True)
class Asked:
    """A block of `answers`, and the evaluations of its answers.

    Attributes:
        answers: The block's name.
        source: Source of the questions.
        checkpoints: In the order of the evaluations.
        judged: Name and method of each evaluation that has a judge.
    """

    answers: str
    source: str
    checkpoints: tuple[str, ...]
    judged: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Judgment:
    """What a judge said of an answer.

    Attributes:
        evaluation: The judge's evaluation.
        part: Which of several judgments: a repeat, a game, or an item of a checklist; empty if it is the only one.
        status: ok, unparsed, refused, truncated, no_logprobs or error.
        score: On the evaluation's scale; None without a readable one.
        text: The judge's words; empty if it gave none.
    """

    evaluation: str
    part: str
    status: str
    score: float | None
    text: str


@dataclass(frozen=True)
class Answer:
    """A checkpoint's answer to one turn.

    Attributes:
        ending: Why it ends: `stop`, `length` if the token limit cut it; empty if it isn't known.
        judgments: By evaluation, in their order.
    """

    text: str
    ending: str
    judgments: tuple[Judgment, ...]

    def score(self, evaluation: str) -> float | None:
        """The mean of an evaluation's scores of the answer; None without any."""
        scores = [one.score for one in self.judgments if one.evaluation == evaluation and one.score is not None]
        return math.fsum(scores) / len(scores) if scores else None


@dataclass(frozen=True)
class Question:
    """A question with the answers of checkpoints to all of its turns."""

    number: int
    category: str
    turns: tuple[str, ...]
    answers: dict[str, tuple[Answer, ...]]


class _Question(Line):
    question_id: int
    category: str
    turns: list[str]


class _Choice(Line):
    turns: list[str]


class _Answer(Line):
    question_id: int
    choices: list[_Choice] = Field(min_length=1)


class _Of(Line):
    """Something of an answer."""

    question_id: int
    turn: int

    @property
    def place(self) -> Turn:
        return self.question_id, self.turn


class _Ending(_Of):
    finish_reason: str


class _Verdict(_Of):
    sample_index: int
    status: str
    score: float | None


class _Judged(_Of):
    judgment: str


class _Grading(_Of):
    part: int
    status: str
    score: float | None


class _Feedback(_Of):
    part: int
    text: str


class _Item(_Of):
    item: int
    text: str


class _Game(_Verdict):
    game: int


class _Games(_Of):
    g1_judgment: str
    g2_judgment: str


Judgments = dict[Turn, list[Judgment]]


def questions_of(asked: Asked, read: Read) -> Iterator[Question]:
    """The questions of a block by number, with the answers and judgments that are there.

    Raises:
        InputError: A line isn't in its form, or two files aren't of one build.
    """
    found = {name: _answers(asked, name, read) for name in asked.checkpoints}
    found = {name: answers for name, answers in found.items() if answers}
    rows = lines(_Question, f"data/source/{asked.source}/rows.jsonl", read) or []
    for row in sorted(rows, key=lambda row: row.question_id):
        answers = {name: one[row.question_id] for name, one in found.items() if row.question_id in one}
        if answers:
            yield Question(row.question_id, row.category, tuple(row.turns), answers)


def _answers(asked: Asked, checkpoint: str, read: Read) -> dict[int, tuple[Answer, ...]]:
    """A checkpoint's answers by question."""
    folder = f"data/answers/{asked.answers}/{checkpoint}"
    rows = lines(_Answer, f"{folder}/answers.jsonl", read) or []
    endings = {one.place: one.finish_reason for one in lines(_Ending, f"{folder}/turns.jsonl", read) or []}
    judged = [METHODS[method](name, checkpoint, read) for name, method in asked.judged if method in METHODS]
    return {
        row.question_id: tuple(
            Answer(
                text,
                endings.get(place := (row.question_id, turn), ""),
                tuple(judgment for one in judged for judgment in one.get(place, [])),
            )
            for turn, text in enumerate(row.choices[0].turns, start=1)
        )
        for row in rows
    }


def _mtbench(evaluation: str, checkpoint: str, read: Read) -> Judgments:
    """Ratings: each line of one file has one in the other, repeats in their order."""
    folder = f"data/judgments/{evaluation}/{checkpoint}"
    verdicts = lines(_Verdict, f"{folder}/verdicts.jsonl", read) or []
    said = lines(_Judged, f"{folder}/judgments.jsonl", read)
    _check_same(folder, verdicts, said)
    several = any(one.sample_index for one in verdicts)
    made: Judgments = defaultdict(list)
    for number, one in enumerate(verdicts):
        part = f"repeat {one.sample_index + 1}" if several else ""
        made[one.place].append(Judgment(evaluation, part, one.status, one.score, said[number].judgment if said else ""))
    return made


def _rubric(evaluation: str, checkpoint: str, read: Read) -> Judgments:
    """Gradings by repeat."""
    folder = f"data/gradings/{evaluation}/{checkpoint}"
    gradings = lines(_Grading, f"{folder}/gradings.jsonl", read) or []
    feedback = lines(_Feedback, f"{folder}/feedback.jsonl", read) or []
    said = {(one.place, one.part): one.text for one in feedback}
    several = any(one.part for one in gradings)
    made: Judgments = defaultdict(list)
    for one in gradings:
        part = f"repeat {one.part + 1}" if several else ""
        made[one.place].append(Judgment(evaluation, part, one.status, one.score, said.get((one.place, one.part), "")))
    return made


def _checklist(evaluation: str, checkpoint: str, read: Read) -> Judgments:
    """Checks by item; their judge gives probabilities and no words."""
    items = lines(_Item, f"data/checklists/{evaluation}/items.jsonl", read) or []
    texts = {(one.place, one.item): one.text for one in items}
    made: Judgments = defaultdict(list)
    for one in lines(_Grading, f"data/checks/{evaluation}/{checkpoint}/checks.jsonl", read) or []:
        part = texts.get((one.place, one.part), f"item {one.part + 1}")
        made[one.place].append(Judgment(evaluation, part, one.status, one.score, ""))
    return made


def _pairwise(evaluation: str, checkpoint: str, read: Read) -> Judgments:
    """Points of games against the baseline, which has the first seat in the first one."""
    folder = f"data/comparisons/{evaluation}/{checkpoint}"
    verdicts = lines(_Game, f"{folder}/verdicts.jsonl", read) or []
    repeats: dict[Turn, int] = defaultdict(int)
    said: dict[tuple[Turn, int, int], str] = {}
    for one in lines(_Games, f"{folder}/judgments.jsonl", read) or []:
        said |= {(one.place, repeats[one.place], game): text for game, text in _by_game(one)}
        repeats[one.place] += 1
    several = any(one.sample_index for one in verdicts)
    made: Judgments = defaultdict(list)
    for game in verdicts:
        seat = "baseline first" if game.game == 1 else "baseline second"
        part = f"{seat}, repeat {game.sample_index + 1}" if several else seat
        text = said.get((game.place, game.sample_index, game.game), "")
        made[game.place].append(Judgment(evaluation, part, game.status, game.score, text))
    return made


def _by_game(one: _Games) -> tuple[tuple[int, str], ...]:
    return (1, one.g1_judgment), (2, one.g2_judgment)


def _check_same(folder: str, verdicts: Sequence[_Of], said: Sequence[_Of] | None) -> None:
    """Check that the two files of a folder are on the same answers in the same order."""
    if said is not None and [one.place for one in verdicts] != [one.place for one in said]:
        what = f"{folder}: verdicts.jsonl and judgments.jsonl aren't of one build"
        found = f"{len(verdicts):,} and {len(said):,} lines, or another order"
        raise InputError(problem(what, found=found, expected="the same answers in both", hint="build it again"))


METHODS: dict[str, Callable[[str, str, Read], Judgments]] = {
    "mtbench": _mtbench,
    "rubric": _rubric,
    "checklist": _checklist,
    "pairwise": _pairwise,
}
