"""Answers of checkpoints side by side, with what judges said of each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bezoar.page.block import Page
from bezoar.page.files import JUDGED, files
from bezoar.page.html import Section, json_data, render, words
from bezoar.page.inputs import Artifact, Inputs
from bezoar.page.sampling import Sample
from bezoar.page.texts import text_of
from bezoar.steps.evaluate.answered import Answer, Asked, Question, questions_of

EACH = 40  # most questions of a category
BUDGET = 1_200_000  # bytes of all questions


def section(inputs: Inputs) -> Section | None:
    """The browser; None for a recipe whose checkpoints answer no questions."""
    asked = asked_of(inputs.page)
    artifacts: dict[str, Artifact] = {}
    sets = [_set(one, _reader(inputs, artifacts), BUDGET // len(asked)) for one in asked]
    sets = [one for one in sets if one["questions"]]
    if not sets:
        return None
    body = render(
        "answers.html.j2",
        sets=sets,
        each=EACH,
        artifacts=[one for _, one in sorted(artifacts.items()) if one.size],
        data=json_data("answers-data", {"sets": sets}),
    )
    return Section("answers", "Answers side by side", body)


def asked_of(page: Page) -> list[Asked]:
    """Each block of answers with its evaluations."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for one in page.evals.values():
        if one.answers and one.questions:
            found.setdefault((one.answers, one.questions), {}).update(dict.fromkeys(one.checkpoints))
    return [
        Asked(
            answers,
            source,
            tuple(checkpoints),
            tuple((name, one.method) for name, one in page.evals.items() if _judges(one.method, one.answers, answers)),
        )
        for (answers, source), checkpoints in found.items()
    ]


def _judges(method: str, block: str | None, answers: str) -> bool:
    return block == answers and method in JUDGED


def _reader(inputs: Inputs, artifacts: dict[str, Artifact]) -> Callable[[str], bytes | None]:
    """Reads files that the page is made from and that are there, and keeps which ones."""
    declared = set(files(inputs.page))

    def read(path: str) -> bytes | None:
        if path not in declared or not Path(path).is_file():
            return None
        artifacts[path] = inputs.artifact(path)
        return Path(path).read_bytes()

    return read


def _set(asked: Asked, read: Callable[[str], bytes | None], budget: int) -> dict[str, Any]:
    """A block's questions, as many as the budget allows."""
    sample: Sample[Question] = Sample(EACH)
    for one in questions_of(asked, read):
        sample.add((one.category,), str(one.number), "", one)
    found = sample.take(budget, lambda _, one: shown(one))
    questions = sorted((one for rows in found.values() for one in rows), key=lambda one: one["number"])
    return {
        "name": asked.answers,
        "checkpoints": asked.checkpoints,
        "counts": [[words(category), count] for (category,), count in sorted(sample.counts.items())],
        "total": sample.counts.total(),
        "cut": sample.size() - len(questions),
        "questions": questions,
    }


def shown(question: Question) -> dict[str, Any]:
    """A question as the page has it."""
    return {
        "number": question.number,
        "category": words(question.category),
        "turns": [text_of(turn) for turn in question.turns],
        "answers": {name: [_answer(one) for one in turns] for name, turns in question.answers.items()},
    }


def _answer(answer: Answer) -> dict[str, Any]:
    judgments = [
        {
            "eval": one.evaluation,
            "part": text_of(one.part).text,
            "status": words(one.status),
            "score": one.score,
            "text": text_of(one.text),
        }
        for one in answer.judgments
    ]
    return {"text": text_of(answer.text), "ending": words(answer.ending), "judgments": judgments}
