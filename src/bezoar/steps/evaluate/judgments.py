"""A judge's ratings of a model's MT-Bench answers, in FastChat's schema and as our own verdicts."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bezoar.blocks import NamedBlock, Sampling
from bezoar.errors import InputError, problem
from bezoar.files import artifact, digest, sha256
from bezoar.logs import logger
from bezoar.requests.base import Backend, Completion, Request, Subject
from bezoar.requests.blocks import BackendBlock
from bezoar.steps.data.accounting import text_of
from bezoar.steps.data.rows import AnswerRow, JudgePromptRow, QuestionRow, read_rows, write_rows
from bezoar.steps.evaluate import fastchat as fastchat_rule
from bezoar.steps.evaluate import fencing, grades, mtbench
from bezoar.steps.evaluate.questions import by_itself, check_answers, references_to

ENDINGS = {
    "stop": "ok",
    "length": "truncated",
    "refusal": "refused",
    "error": "error",
    "thinking": "error",
    "other": "error",
}


class Judging(NamedBlock):
    """The keys of an evaluation that judgments depend on."""

    section: ClassVar[str] = "evals"

    judge_sampling: Sampling
    max_attempts: int
    repeats: int
    reference_categories: list[str]
    max_failed_share: float
    protocol: str


@dataclass(frozen=True)
class Inputs:
    """The inputs of a job.

    Attributes:
        answers: answers.jsonl of the model.
        questions: rows.jsonl of the questions.
        references: rows.jsonl of the reference answers.
        judge_prompts: rows.jsonl of the judge prompts.
        judge: Model directory of a local judge; None for another one.
        gate: The judge's gate; None for a control.
    """

    answers: Path
    questions: Path
    references: Path
    judge_prompts: Path
    judge: Path | None
    gate: Path | None


@dataclass(frozen=True)
class Item:
    """One grading of one answer.

    Attributes:
        question: As the judge sees it: with the graded turn alone if every turn was asked by itself.
        answers: To the turns that the judge sees, and perhaps to later ones.
        turn: From 1 on, of the whole question.
    """

    question: QuestionRow
    answers: list[str]
    turn: int
    sample_index: int
    may_quote: bool  # a text that the judge reads contains a rating
    prompt_name: str
    system: str
    user: str

    @property
    def answer(self) -> str:
        """The graded answer."""
        return self.answers[min(self.turn, len(self.question.turns)) - 1]

    def request(self, block: Judging, attempt: int) -> Request:
        """The request."""
        turns = grades.dialogue(self.question, min(self.turn, len(self.question.turns)), self.answers)
        key = f"{self.question.question_id}:{self.turn}:{self.sample_index}:{attempt}"
        messages = (("system", self.system), ("user", self.user))
        subject = Subject(turns, self.answer)
        return Request(key, messages, block.judge_sampling, subject, sample=f"{self.sample_index}.{attempt}")


def items_of(
    questions: list[QuestionRow],
    answers: dict[int, list[str]],
    prompts: mtbench.JudgePrompts,
    references: dict[int, list[str]],
    block: Judging,
    seed: int,
    *,
    single_turn: bool = False,
) -> list[Item]:
    """Every grading of every answer, for both turns.

    Args:
        questions: The questions, of two turns.
        answers: The model's answers by question.
        prompts: Judge prompts.
        references: Reference answers by question.
        block: The evaluation.
        seed: Makes the fences of the fenced protocol.
        single_turn: Whether every turn was asked by itself, and so is shown by itself.

    Raises:
        ValueError: A question has no answer, or lacks the reference answer that its category needs.
    """
    items = []
    for question in questions:
        number = question.question_id
        check_answers(question, answers)
        reference = references_to(question, references) if question.category in block.reference_categories else None
        for turn in mtbench.TURNS:
            asked, said, place = question, [answers[number], reference or []], turn
            if single_turn:
                asked, said, place = *by_itself(question, turn, *said), 1
            read = [text for texts in (asked.turns, *said) for text in texts[:place]]
            may_quote = mtbench.holds_rating(read)
            for sample in range(block.repeats):
                mark = fencing.mark_of(seed, f"{number}:{turn}:{sample}", read)
                fence = mark if block.protocol == fencing.PROTOCOL else None
                prompt = _prompt(prompts, asked, said[0], place, said[1], fence)
                items.append(Item(asked, said[0], turn, sample, may_quote, *prompt))
    return items


def _prompt(
    prompts: mtbench.JudgePrompts,
    question: QuestionRow,
    answers: list[str],
    turn: int,
    reference: list[str] | None,
    fence: str | None,
) -> tuple[str, str, str]:
    """Name, system text and user text of a prompt, with the answers between two lines of a fence if there is one."""
    if fence is None:
        return prompts.prompt_of(question, answers, turn, reference)
    name, system, user = prompts.prompt_of(question, fencing.fenced(answers, fence), turn, reference)
    return name, system, fencing.notice(fence) + user


def graded(items: list[Item], judge: Backend, block: Judging) -> list[tuple[Item, Completion]]:
    """The judge's answer to each item; an answer that is cut or has no rating is drawn again."""
    settled: dict[int, Completion] = {}
    waiting = list(range(len(items)))
    for attempt in range(block.max_attempts):
        requests = [items[place].request(block, attempt) for place in waiting]
        settled |= zip(waiting, judge.complete(requests, "judge answers"), strict=True)
        waiting = [place for place in waiting if _ask_again(items[place], settled[place])]
    return [(item, settled[place]) for place, item in enumerate(items)]


def _ask_again(item: Item, answer: Completion) -> bool:
    """Whether another draw may have a rating; the backend has already repeated refused ones."""
    if answer.finish_reason == "length":
        return True  # a rating at the cut may be part of a quotation
    return answer.fault is None and mtbench.rating(answer.text, may_quote=item.may_quote)[0] is None


def rows_of(
    item: Item, answer: Completion, model: str, judge_id: str, delimiters: set[str]
) -> tuple[dict[str, Any], mtbench.VerdictRow]:
    """A judgment as FastChat's row, and as ours."""
    text = item.answer
    score, flag = mtbench.rating(answer.text, may_quote=item.may_quote)
    status = ENDINGS[answer.finish_reason]
    if status == "ok" and score is None:
        status = "unparsed"
    score = score if status == "ok" else None
    fastchat = {
        "question_id": item.question.question_id,
        "model": model,
        "judge": [answer.model, item.prompt_name],
        "user_prompt": item.user,
        "judgment": answer.text,
        "score": -1 if score is None else score,
        "turn": item.turn,
        "tstamp": 0.0,
    }
    verdict = mtbench.VerdictRow(
        model=model,
        judge_id=judge_id,
        question_id=item.question.question_id,
        turn=item.turn,
        sample_index=item.sample_index,
        status=status,
        parse_flag=flag,
        score=score,
        score_fastchat=fastchat_rule.rating(answer.text),
        model_returned=answer.model,
        answer_empty=not text.strip(),
        answer_has_delimiter=any(delimiter in text for delimiter in delimiters),
        answer_has_rating=mtbench.BRACKETED.search(text) is not None,
    )
    return fastchat, verdict


def check_failed(verdicts: list[mtbench.VerdictRow], asked: int, max_failed_share: float) -> None:
    """Check that every answer was judged as often as wanted, and that few enough ratings are missing.

    An empty answer needs no rating: it scores 1. A control needs none either: the gate decides about missing ratings.

    Raises:
        ValueError: Judgments got lost, or more than `max_failed_share` have no rating.
    """
    needed = [one for one in verdicts if not one.answer_empty and not one.model.startswith(mtbench.CONTROL)]
    failed = Counter(one.status for one in needed if one.score is None)
    if len(verdicts) != asked:
        raise ValueError(f"judgments got lost: {len(verdicts)} of {asked}")
    if failed.total() > max_failed_share * asked:
        raise InputError(
            problem(
                "the judge failed too often",
                found=f"{failed.total():,} of {asked:,} judgments without a rating: {text_of(failed)}",
                expected=f"at most a share of {max_failed_share}",
            )
        )


def check_gate(path: Path, judge_id: str) -> None:
    """Raise ValueError if another judge graded the controls."""
    found = json.loads(path.read_text(encoding="utf-8"))["judge"]
    if found != judge_id:
        raise InputError(problem(f"{path}: another judge graded the controls", found=found, expected=judge_id))


def judge_id_of(inputs: Inputs, block: Judging, backend: BackendBlock, seed: int) -> str:
    """The identity of the judge; the seed is that of the fences, if it is asked with some."""
    return mtbench.judge_id(
        backend=backend.identity(),
        weights=digest(inputs.judge) if inputs.judge else None,
        sampling=block.judge_sampling.model_dump(),
        attempts=block.max_attempts,
        reference_categories=block.reference_categories,
        prompts_sha256=sha256(inputs.judge_prompts),
        references_sha256=sha256(inputs.references),
        protocol=block.protocol,
        seed=seed if block.protocol == fencing.PROTOCOL else None,
    )


def write_judgments(
    inputs: Inputs,
    block: Judging,
    backend: BackendBlock,
    judge: Backend,
    out_folder: Path,
    seed: int,
    *,
    single_turn: bool,
) -> None:
    """Grade all answers of a model, which has the name of the output folder; seed and single_turn as in `items_of`.

    Raises:
        ValueError: The gate is another judge's, an answer or reference is missing, or too few ratings are readable.
    """
    model = out_folder.name
    questions = mtbench.read_questions(inputs.questions)
    answers = {row.question_id: row.choices[0].turns for row in read_rows(inputs.answers, AnswerRow)}
    prompts = mtbench.JudgePrompts.of(read_rows(inputs.judge_prompts, JudgePromptRow))
    references = mtbench.references(read_rows(inputs.references, AnswerRow))
    judge_id = judge_id_of(inputs, block, backend, seed)
    if inputs.gate:
        check_gate(inputs.gate, judge_id)
    found = graded(
        items_of(questions, answers, prompts, references, block, seed, single_turn=single_turn), judge, block
    )
    delimiters = prompts.delimiters()
    rows = [rows_of(item, answer, model, judge_id, delimiters) for item, answer in found]
    wanted = len(questions) * len(mtbench.TURNS) * block.repeats
    check_failed([verdict for _, verdict in rows], wanted, block.max_failed_share)
    with artifact(out_folder) as out:
        write_rows(out / "judgments.jsonl", [fastchat for fastchat, _ in rows])
        write_rows(out / "verdicts.jsonl", [verdict for _, verdict in rows])
    read = sum(verdict.score is not None for _, verdict in rows)
    logger.info(f"judgments of {model}: {read} of {len(rows)} ratings are readable")
