"""Jobs of the method `checklist`: items for every turn of every question, and a judge's checks of a model's answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from bezoar.blocks import NamedBlock, Sampling
from bezoar.errors import InputError, problem
from bezoar.files import artifact, digest, sha256
from bezoar.logs import logger
from bezoar.requests.base import Backend, Completion, Request, Subject, ask
from bezoar.requests.blocks import BackendBlock
from bezoar.steps import prompts
from bezoar.steps.backends.local import LocalBackend
from bezoar.steps.data.rows import QuestionRow, read_rows, write_rows
from bezoar.steps.evaluate import checklist, grades
from bezoar.steps.evaluate.checklist import CheckRow, ItemRow
from bezoar.steps.evaluate.grades import Graded
from bezoar.steps.evaluate.questions import read_questions


class Authoring(NamedBlock):
    """The keys of an evaluation that its items depend on."""

    section: ClassVar[str] = "evals"

    author_sampling: Sampling
    max_items: int
    max_attempts: int


class Checking(NamedBlock):
    """The keys of an evaluation that checks depend on."""

    section: ClassVar[str] = "evals"

    max_failed_share: float


def author_request(
    question: QuestionRow, turn: int, block: Authoring, template: str, attempt: int, *, single_turn: bool = False
) -> Request:
    """The request for the items of a turn; the author sees what the user says, and no answer."""
    said = question.turns[turn - 1 if single_turn else 0 : turn]
    shown = "\n\n".join(f"User: {text}" for text in said) if len(said) > 1 else said[0]
    user = prompts.fill(template, dialogue=shown, max_items=str(block.max_items))
    key = f"checklist:{question.question_id}:{turn}:{attempt}"
    request = ask(key, user, block.author_sampling, sample=str(attempt))
    alternating = tuple(text for place, one in enumerate(said) for text in ((one,) if not place else ("", one)))
    subject = Subject(alternating, "", form="items")
    return replace(request, subject=subject, schema=checklist.items_schema(block.max_items))


def authored(
    questions: list[QuestionRow], author: Backend, block: Authoring, template: str, *, single_turn: bool
) -> list[ItemRow]:
    """The items of every turn, by itself or after those before it; an answer that can't be read is drawn again.

    Raises:
        ValueError: A turn has no items after all attempts.
    """
    asked = [(question, turn + 1) for question in questions for turn in range(len(question.turns))]
    found: dict[int, list[ItemRow]] = {}
    answers: dict[int, Completion] = {}
    waiting = list(range(len(asked)))
    for attempt in range(block.max_attempts):
        requests = [
            author_request(*asked[place], block, template, attempt, single_turn=single_turn) for place in waiting
        ]
        answers |= zip(waiting, author.complete(requests, "checklists"), strict=True)
        for place in waiting:
            texts = None if answers[place].fault else checklist.read_items(answers[place].text, block.max_items)
            if texts:
                found[place] = _item_rows(*asked[place], texts, answers[place].model)
        waiting = [place for place in waiting if place not in found]
    if waiting:
        raise InputError(_no_items(asked[waiting[0]], answers[waiting[0]], len(waiting), len(asked)))
    return [row for place in range(len(asked)) for row in found[place]]


def _item_rows(question: QuestionRow, turn: int, texts: list[str], author: str) -> list[ItemRow]:
    number = question.question_id
    return [ItemRow(question_id=number, turn=turn, item=n, text=text, author=author) for n, text in enumerate(texts)]


def _no_items(asked: tuple[QuestionRow, int], answer: Completion, missing: int, wanted: int) -> str:
    question, turn = asked
    return problem(
        f"{missing:,} of {wanted:,} turns have no checklist, such as question {question.question_id}, turn {turn}",
        found=answer.error or answer.fault or f"{answer.text[:200]!r}",
        expected='a JSON object {"items": [...]} with at least one item, and no more than `max_items`',
    )


def write_checklists(
    questions_path: Path, prompt_file: Path, author: Backend, block: Authoring, out_folder: Path, *, single_turn: bool
) -> None:
    """Write items.jsonl: a checklist for each turn of each question."""
    questions = read_questions(questions_path)
    template = prompts.load(prompt_file, checklist.NEEDS)["author"]
    rows = authored(questions, author, block, template, single_turn=single_turn)
    with artifact(out_folder) as out:
        write_rows(out / "items.jsonl", rows)
    logger.info(f"checklists of {out_folder.name}: {len(rows):,} items for {len(questions):,} questions")


@dataclass(frozen=True)
class Inputs:
    """The inputs of a job that checks a model's answers.

    Attributes:
        answers: answers.jsonl of the model.
        questions: rows.jsonl of the questions.
        items: items.jsonl of the checklists.
        prompts: The prompt file.
        judge: Model directory of a local judge; None for another one.
        gate: The judge's gate; None for a control.
    """

    answers: Path
    questions: Path
    items: Path
    prompts: Path
    judge: Path | None
    gate: Path | None


@dataclass(frozen=True)
class Check:
    """One item for one answer."""

    graded: Graded
    item: ItemRow

    def request(self, template: str, seed: int) -> Request:
        """The request: its answer is one token."""
        texts = {"dialogue": grades.told(self.graded.turns), "response": self.graded.answer, "item": self.item.text}
        key = f"check:{self.graded.key}:{self.item.item}"
        user = prompts.fill(template, **texts, fence=prompts.fence(seed, key, *texts.values()))
        subject = Subject(self.graded.turns, self.graded.answer, form="item", item=self.item.text)
        request = ask(key, user, checklist.ONE_TOKEN)
        return replace(request, subject=subject, top_logprobs=checklist.TOP)


def checks_of(answers: list[Graded], items: list[ItemRow]) -> list[Check]:
    """Every item of every answer.

    Raises:
        ValueError: An answer has no item.
    """
    by_turn: dict[tuple[int, int], list[ItemRow]] = {}
    for item in items:
        by_turn.setdefault((item.question_id, item.turn), []).append(item)
    places = [(one.question.question_id, one.turn) for one in answers]
    without = [place for place in places if place not in by_turn]
    if without:
        what = "question {}, turn {} has no checklist".format(*without[0])
        raise InputError(problem(what, found=f"{len(without):,} turns without items", expected="items for every turn"))
    return [Check(one, item) for one, place in zip(answers, places, strict=True) for item in by_turn[place]]


def row_of(check: Check, answer: Completion, model: str, judge_id: str, end: str) -> CheckRow:
    """A check as a row."""
    status = grades.ENDINGS.get(answer.finish_reason, "error")
    if status in ("ok", "truncated") and answer.alternatives:
        status = "ok"  # one token is all that was asked for
    elif status == "ok":
        status = "no_logprobs"
    yes, mass = checklist.probability(answer.alternatives) if status == "ok" else (None, None)
    if status == "ok" and yes is None:
        status = "unparsed"
    return CheckRow(
        model=model,
        judge_id=judge_id,
        question_id=check.item.question_id,
        turn=check.item.turn,
        part=check.item.item,
        status=status,
        yes=None if yes is None else round(yes, 4),
        mass=None if mass is None else round(mass, 4),
        score=None if yes is None else round(checklist.on_scale(yes), 4),
        model_returned=answer.model,
        **grades.flags(check.graded.answer, [end], checklist.holds_verdict),
    )


def judge_id_of(inputs: Inputs, backend: BackendBlock, seed: int, system: str | None) -> str:
    """The identity of the judge, with the items that it checks.

    Args:
        inputs: Of its job.
        backend: Its block.
        seed: Of the fences in its prompts.
        system: The recipe's system text, which the prompts of a local judge begin with.
    """
    return grades.identity(
        checklist.PROTOCOL,
        checklist.PARSER,
        backend=backend.identity(),
        weights=digest(inputs.judge) if inputs.judge else None,
        prompts=sha256(inputs.prompts),
        items=sha256(inputs.items),
        seed=seed,
        system=system if isinstance(backend, LocalBackend) else None,
    )


def write_checks(
    inputs: Inputs,
    block: Checking,
    backend: BackendBlock,
    judge: Backend,
    out_folder: Path,
    *,
    seed: int,
    system: str | None,
    single_turn: bool,
) -> None:
    """Check all answers of a model, which has the name of the output folder; seed and system as in `judge_id_of`.

    With single_turn, the judge sees each turn without those before it.

    Raises:
        ValueError: The gate is another judge's, an answer or an item is missing, or too few checks have a score.
    """
    model, judge_id = out_folder.name, judge_id_of(inputs, backend, seed, system)
    grades.check_gate(inputs.gate, judge_id)
    template = prompts.load(inputs.prompts, checklist.NEEDS)["judge"]
    answers = grades.graded_answers(read_questions(inputs.questions), inputs.answers, single_turn=single_turn)
    checks = checks_of(answers, list(read_rows(inputs.items, ItemRow)))
    said = judge.complete([check.request(template, seed) for check in checks], "checks")
    end = grades.delimiter(template, "response")
    rows = [row_of(check, one, model, judge_id, end) for check, one in zip(checks, said, strict=True)]
    grades.check_failed(list(rows), len(checks), block.max_failed_share)
    with artifact(out_folder) as out:
        write_rows(out / "checks.jsonl", rows)
    read = sum(row.score is not None for row in rows)
    logger.info(f"checks of {model}: {read:,} of {len(rows):,} items have a score")
