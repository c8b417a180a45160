"""Answers of a checkpoint to a set of questions: made once, and used by all evaluations that name their block.

A question has one or more turns; each is asked after the checkpoint's own answers to the turns before it, or by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from bezoar.blocks import Dtype, Name, NamedBlock, Prompt, Sampling
from bezoar.errors import InputError, problem
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.requests.base import Backend, Completion, Request
from bezoar.requests.demand import Demand, Known
from bezoar.steps.backends.local import LocalBackend
from bezoar.steps.data.rows import AnswerRow, QuestionRow, TurnRow, write_rows
from bezoar.steps.evaluate.evaluation import ANSWERS, ServedBlock, source_of
from bezoar.steps.evaluate.questions import answer_row, read_questions

GREEDY_BELOW = 1e-4  # FastChat samples from this temperature on
Temperature = Annotated[float, Field(ge=0, le=2)]


class Answers(ServedBlock):
    """How checkpoints answer a set of questions; evaluations name it."""

    section: ClassVar[str] = "answers"
    served_rule: ClassVar[str] = ANSWERS
    server_keys: ClassVar[tuple[str, ...]] = (*ServedBlock.server_keys, "token_limit_field", "sends_sampling")

    questions: Annotated[Name, source_of("questions")]
    temperatures: dict[str, Temperature] = Field(
        {
            "writing": 0.7,
            "roleplay": 0.7,
            "extraction": 0.0,
            "math": 0.0,
            "coding": 0.0,
            "reasoning": 0.0,
            "stem": 0.1,
            "humanities": 0.1,
        },
        description="Answer temperature of each question category. Default: FastChat's llm_judge.",
    )
    top_p: float = Field(1.0, gt=0, le=1)
    max_new_tokens: int = Field(1024, ge=1, description="Most tokens of an answer. Default: FastChat's llm_judge.")
    single_turn: bool = Field(False, description="Ask every turn by itself, not after the turns before it.")

    def demand(self, inputs: Iterable[str], known: Known, key: str) -> Demand:
        """The requests of one checkpoint's answers."""
        sampling = Sampling(max_new_tokens=self.max_new_tokens)
        return Demand(known.turns(self.name), 1000 + self.max_new_tokens, sampling)


class Asking(NamedBlock):
    """The keys of a block that answers depend on, also if a server has loaded the checkpoint."""

    section: ClassVar[str] = "answers"

    temperatures: dict[str, float]
    top_p: float
    max_new_tokens: int
    single_turn: bool


class Answering(Asking):
    """The keys of a block that answers depend on if their job loads the checkpoint."""

    batch_size: int
    dtype: Dtype


def samplings_of(
    questions: list[QuestionRow], temperatures: dict[str, float], top_p: float, max_new_tokens: int
) -> dict[str, Sampling]:
    """The sampling of each category's answers.

    Raises:
        ValueError: A question's category has no temperature.
    """
    missing = sorted({question.category for question in questions} - set(temperatures))
    if missing:
        raise InputError(
            problem(
                f"question categories without an answer temperature: {', '.join(missing)}",
                found=f"temperatures of {', '.join(sorted(temperatures)) or 'nothing'}",
                expected="one for each category of the questions",
            )
        )
    return {
        category: Sampling(
            temperature=0.0 if value < GREEDY_BELOW else value, top_p=top_p, max_new_tokens=max_new_tokens
        )
        for category, value in temperatures.items()
    }


def dialogue_of(question: QuestionRow, said: list[str], *, alone: bool) -> tuple[tuple[str, str], ...]:
    """The messages that ask a question's next turn: after the earlier ones and what was said to them, or alone."""
    turn = question.turns[len(said)]
    if alone:
        return (("user", turn),)
    pairs = zip(question.turns, said, strict=False)
    return (*(one for asked, text in pairs for one in (("user", asked), ("assistant", text))), ("user", turn))


def answers_to(
    questions: list[QuestionRow], model: Backend, samplings: dict[str, Sampling], name: str, *, alone: bool = False
) -> tuple[list[AnswerRow], list[TurnRow]]:
    """Answer rows in FastChat's schema, and how each answer ended, by turns.

    Args:
        questions: The questions, each with as many turns as it likes.
        model: Answers.
        samplings: By category.
        name: The checkpoint's.
        alone: Whether each turn is asked by itself.
    """
    said: list[list[str]] = [[] for _ in questions]
    ends: list[TurnRow] = []
    for turn in range(max((len(question.turns) for question in questions), default=0)):
        places = [place for place, question in enumerate(questions) if turn < len(question.turns)]
        requests = [
            Request(
                f"{questions[place].question_id}:{turn}",
                dialogue_of(questions[place], said[place], alone=alone),
                samplings[questions[place].category],
            )
            for place in places
        ]
        completions = model.complete(requests, f"answer turn {turn + 1}")
        for place, completion in zip(places, completions, strict=True):
            said[place].append(completion.text)
            ends.append(_end(questions[place], turn, completion))
    return [answer_row(name, question, texts) for question, texts in zip(questions, said, strict=True)], ends


def _end(question: QuestionRow, turn: int, completion: Completion) -> TurnRow:
    return TurnRow(
        question_id=question.question_id,
        turn=turn + 1,
        finish_reason=completion.finish_reason,
        tokens=completion.tokens,
        logprob=completion.logprob,
    )


def loaded(checkpoint: Path, block: Answering, prompt: Prompt, seed: int, name: str) -> Backend:
    """A checkpoint, to answer questions in this job."""
    backend = LocalBackend(  # its whole text is judged, as in FastChat
        kind="local",
        checkpoint=name,
        template="tokenizer",
        batch_size=block.batch_size,
        dtype=block.dtype,
        thinking=[],
    )
    return backend.open(checkpoint=checkpoint, system=prompt.system, seed=seed)


def write_answers(questions_path: Path, model: Backend, block: Asking, out_folder: Path) -> None:
    """Answer all questions with a checkpoint; it has the name of the output folder."""
    name = out_folder.name
    questions = read_questions(questions_path)
    samplings = samplings_of(questions, block.temperatures, block.top_p, block.max_new_tokens)
    rows, ends = answers_to(questions, model, samplings, name, alone=block.single_turn)
    with artifact(out_folder) as out:
        write_rows(out / "answers.jsonl", rows)
        write_rows(out / "turns.jsonl", ends)
    cut = sum(end.finish_reason == "length" for end in ends)
    logger.info(f"answers of {name}: {len(rows)} questions, {cut} of {len(ends)} answers cut by the token limit")
