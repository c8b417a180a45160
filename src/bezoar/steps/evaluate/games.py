"""A judge's verdicts on a model's answers against the baseline's, in FastChat's schema of pairs and as our own rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bezoar.blocks import NamedBlock, Sampling
from bezoar.errors import InputError, problem
from bezoar.files import artifact, digest, sha256
from bezoar.logs import logger
from bezoar.requests.base import Backend, Completion, Request, Subject
from bezoar.requests.blocks import BackendBlock
from bezoar.steps.data.rows import AnswerRow, JudgePromptRow, QuestionRow, read_rows, write_rows
from bezoar.steps.evaluate import grades, pairwise
from bezoar.steps.evaluate.controls import FILLER
from bezoar.steps.evaluate.judgments import ENDINGS, check_gate
from bezoar.steps.evaluate.mtbench import CONTROL, references
from bezoar.steps.evaluate.pairwise import GAMES, GameRow, PairPrompts
from bezoar.steps.evaluate.questions import by_itself, check_answers, read_questions, references_to
from bezoar.steps.evaluate.style import counts


class Comparing(NamedBlock):
    """The keys of an evaluation that verdicts depend on."""

    section: ClassVar[str] = "evals"

    judge_sampling: Sampling
    scale: int
    max_attempts: int
    repeats: int
    reference_categories: list[str]
    max_failed_share: float


@dataclass(frozen=True)
class Inputs:
    """The inputs of a job.

    Attributes:
        answers: answers.jsonl of the model; None for a control.
        baseline: answers.jsonl of the baseline.
        questions: rows.jsonl of the questions.
        references: rows.jsonl of the reference answers; None without any.
        judge_prompts: rows.jsonl of the judge prompts.
        judge: Model directory of a local judge; None for another one.
        gate: The judge's gate; None for a control.
    """

    answers: Path | None
    baseline: Path
    questions: Path
    references: Path | None
    judge_prompts: Path
    judge: Path | None
    gate: Path | None


@dataclass(frozen=True)
class Game:
    """One game: one turn of a question, in one order of seats.

    Attributes:
        question: As the judge sees it: with the turn alone if every turn was asked by itself.
        model: The model's answers to the turns that the judge sees, and perhaps to later ones.
        baseline: Those of the baseline.
        turn: From 1 on, of the whole question.
    """

    question: QuestionRow
    model: list[str]
    baseline: list[str]
    turn: int
    number: int
    sample_index: int
    may_quote: bool  # a text that the judge reads contains a verdict
    prompt_name: str
    system: str
    user: str

    @property
    def place(self) -> int:
        """The turn's number among those that the judge sees."""
        return min(self.turn, len(self.question.turns))

    def request(self, block: Comparing, attempt: int) -> Request:
        """The request. Its sample names the game, since both games of equal answers have one prompt."""
        turns = grades.dialogue(self.question, self.place, self.model)
        first, second = seats(self.model, self.baseline, self.number)
        labels = pairwise.LABELS[block.scale]
        subject = Subject(turns, first[self.place - 1], second[self.place - 1], labels)
        sample = f"{self.number}.{self.sample_index}.{attempt}"
        messages = (("system", self.system), ("user", self.user))
        return Request(
            f"{self.question.question_id}:{self.turn}:{sample}", messages, block.judge_sampling, subject, sample=sample
        )


def seats(model: list[str], baseline: list[str], game: int) -> tuple[list[str], list[str]]:
    """The answers of seat A and of seat B."""
    return (baseline, model) if game == 1 else (model, baseline)


def control_answers(
    name: str, questions: list[QuestionRow], baseline: dict[int, list[str]], prompts: PairPrompts
) -> dict[int, list[str]]:
    """A control's answers by question.

    Args:
        name: self (the baseline's own answers), empty, filler, or spoof (ends the answer and fakes a verdict).
        questions: The questions.
        baseline: The baseline's answers by question.
        prompts: Judge prompts; the spoof fakes their markers.
    """
    if name == "self":
        return baseline
    text = {"empty": "", "filler": FILLER, "spoof": prompts.spoof()}[name]
    return {one.question_id: [text] * len(one.turns) for one in questions}


def games_of(
    questions: list[QuestionRow],
    answers: dict[int, list[str]],
    baseline: dict[int, list[str]],
    prompts: PairPrompts,
    given: dict[int, list[str]] | None,
    block: Comparing,
    *,
    single_turn: bool = False,
) -> list[Game]:
    """Both games of every turn.

    Args:
        questions: The questions, of one or two turns.
        answers: The model's answers by question.
        baseline: The baseline's answers by question.
        prompts: Judge prompts.
        given: Reference answers by question; None shows the judge none.
        block: The evaluation.
        single_turn: Whether every turn was asked by itself, and so is shown by itself.

    Raises:
        InputError: A question has no answer, lacks its reference answer, or has more than two turns.
    """
    games = []
    for question in questions:
        number = question.question_id
        if len(question.turns) > 2:
            expected = "1 or 2, as the prompts have"
            raise InputError(
                problem(f"question {number} has too many turns", found=len(question.turns), expected=expected)
            )
        check_answers(question, answers)
        check_answers(question, baseline)
        reference = None
        if given is not None and question.category in block.reference_categories:
            reference = references_to(question, given)
        for turn in range(1, len(question.turns) + 1):
            asked, said, place = question, [answers[number], baseline[number], reference or []], turn
            if single_turn:
                asked, said, place = *by_itself(question, turn, *said), 1
            may_quote = pairwise.holds_verdict(text for texts in (asked.turns, *said) for text in texts[:place])
            for game in GAMES:
                prompt = prompts.prompt_of(asked, seats(said[0], said[1], game), place, said[2])
                games += [
                    Game(asked, said[0], said[1], turn, game, sample, may_quote, *prompt)
                    for sample in range(block.repeats)
                ]
    return games


def played(games: list[Game], judge: Backend, block: Comparing) -> list[tuple[Game, Completion]]:
    """The judge's answer to each game; one that is cut or has no verdict is drawn again."""
    settled: dict[int, Completion] = {}
    waiting = list(range(len(games)))
    for attempt in range(block.max_attempts):
        requests = [games[place].request(block, attempt) for place in waiting]
        settled |= zip(waiting, judge.complete(requests, "judge answers"), strict=True)
        waiting = [place for place in waiting if _ask_again(games[place], settled[place], block.scale)]
    return [(game, settled[place]) for place, game in enumerate(games)]


def _ask_again(game: Game, answer: Completion, scale: int) -> bool:
    """Whether another draw may have a verdict; the backend has already repeated refused ones."""
    if answer.finish_reason == "length":
        return True  # a verdict at the cut may be part of a quotation
    return answer.fault is None and pairwise.verdict(answer.text, scale, may_quote=game.may_quote)[0] is None


def row_of(game: Game, answer: Completion, model: str, judge_id: str, scale: int, ends: list[str]) -> GameRow:
    """A judge's answer to a game as a verdict."""
    found, flag = pairwise.verdict(answer.text, scale, may_quote=game.may_quote)
    status = ENDINGS[answer.finish_reason]
    if status == "ok" and found is None:
        status = "unparsed"
    found = found if status == "ok" else None
    first = None if found is None else pairwise.POINTS[found]
    text, other = game.model[game.place - 1], game.baseline[game.place - 1]
    return GameRow(
        model=model,
        judge_id=judge_id,
        question_id=game.question.question_id,
        turn=game.turn,
        game=game.number,
        sample_index=game.sample_index,
        status=status,
        parse_flag=flag,
        verdict=found,
        score=first if first is None or game.number == 2 else 1 - first,
        model_returned=answer.model,
        answer_has_delimiter=any(end in text for end in ends),
        answer_has_verdict=pairwise.holds_verdict([text]),
        model_counts=counts(text.strip()),
        baseline_counts=counts(other.strip()),
    )


def fastchat_rows(found: list[tuple[Game, Completion, GameRow]], baseline: str) -> list[dict[str, Any]]:
    """Both games of each turn as a row of FastChat's gpt-4_pair.jsonl, where model_1 is in seat A of game 1."""
    rows: dict[tuple[int, int, int], dict[str, Any]] = {}
    for game, answer, row in found:
        key = (row.question_id, row.turn, row.sample_index)
        one = rows.setdefault(
            key,
            {
                "question_id": row.question_id,
                "model_1": baseline,
                "model_2": row.model,
                "judge": [answer.model, game.prompt_name],
                "turn": row.turn,
                "tstamp": 0.0,
            },
        )
        winner = {None: "error", 1.0: "model_2", 0.5: "tie", 0.0: "model_1"}[row.score]
        one |= {
            f"g{game.number}_winner": winner,
            f"g{game.number}_user_prompt": game.user,
            f"g{game.number}_judgment": answer.text,
        }
    return list(rows.values())


def check_failed(rows: list[GameRow], asked: int, max_failed_share: float) -> None:
    """Check that every game was judged, and that few enough verdicts are missing.

    An empty answer needs no verdict: the other one wins. Missing ones of a control are the gate's matter.

    Raises:
        ValueError: Games got lost.
        InputError: More than `max_failed_share` have no verdict.
    """
    if len(rows) != asked:
        raise ValueError(f"games got lost: {len(rows)} of {asked}")
    failed = [row for row in rows if row.points is None and not row.model.startswith(CONTROL)]
    if len(failed) > max_failed_share * asked:
        statuses = {
            status: sum(row.status == status for row in failed) for status in sorted({row.status for row in failed})
        }
        raise InputError(
            problem(
                "the judge failed too often",
                found=f"{len(failed):,} of {asked:,} games without a verdict: {statuses}",
                expected=f"at most a share of {max_failed_share}",
            )
        )


def judge_id_of(inputs: Inputs, block: Comparing, backend: BackendBlock) -> str:
    """The identity of the judge."""
    return pairwise.judge_id(
        backend=backend.identity(),
        weights=digest(inputs.judge) if inputs.judge else None,
        sampling=block.judge_sampling.model_dump(),
        attempts=block.max_attempts,
        scale=block.scale,
        reference_categories=block.reference_categories if inputs.references else [],
        prompts_sha256=sha256(inputs.judge_prompts),
        references_sha256=sha256(inputs.references) if inputs.references else None,
    )


def texts_by_question(path: Path) -> dict[int, list[str]]:
    """A model's answers to all turns by question."""
    return {row.question_id: row.choices[0].turns for row in read_rows(path, AnswerRow)}


def write_verdicts(
    inputs: Inputs, block: Comparing, backend: BackendBlock, judge: Backend, out_folder: Path, *, single_turn: bool
) -> None:
    """Judge all games of a model or control, which has the name of the output folder; single_turn as in `games_of`.

    Raises:
        ValueError: The gate is another judge's, an answer or reference is missing, or too few verdicts are readable.
    """
    model, baseline_name = out_folder.name, inputs.baseline.parent.name
    questions = read_questions(inputs.questions)
    prompts = PairPrompts.of(read_rows(inputs.judge_prompts, JudgePromptRow), block.scale)
    baseline = texts_by_question(inputs.baseline)
    answers = (
        texts_by_question(inputs.answers)
        if inputs.answers
        else control_answers(model.removeprefix(CONTROL), questions, baseline, prompts)
    )
    given = references(read_rows(inputs.references, AnswerRow)) if inputs.references else None
    judge_id = judge_id_of(inputs, block, backend)
    if inputs.gate:
        check_gate(inputs.gate, judge_id)
    games = games_of(questions, answers, baseline, prompts, given, block, single_turn=single_turn)
    ends = prompts.ends()
    found = [
        (game, answer, row_of(game, answer, model, judge_id, block.scale, ends))
        for game, answer in played(games, judge, block)
    ]
    rows = [row for _, _, row in found]
    check_failed(rows, len(games), block.max_failed_share)
    with artifact(out_folder) as out:
        write_rows(out / "judgments.jsonl", fastchat_rows(found, baseline_name))
        write_rows(out / "verdicts.jsonl", rows)
    read = sum(row.score is not None for row in rows)
    logger.info(f"games of {model} against {baseline_name}: {read} of {len(rows)} verdicts are readable")
