"""A checkpoint's answers to MT-Bench questions: two turns, the second after its own first answer."""

from pathlib import Path
from typing import ClassVar

from bezoar.blocks import Dtype, NamedBlock, Prompt, Sampling
from bezoar.errors import InputError, problem
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.requests.base import Backend, Request
from bezoar.steps.backends.local import LocalBackend
from bezoar.steps.data.rows import AnswerRow, QuestionRow, write_rows
from bezoar.steps.evaluate import mtbench

GREEDY_BELOW = 1e-4  # FastChat samples from this temperature on


class Asking(NamedBlock):
    """The keys of an evaluation that answers depend on, also if a server has loaded the checkpoint."""

    section: ClassVar[str] = "evals"

    temperatures: dict[str, float]
    top_p: float
    max_new_tokens: int


class Answering(Asking):
    """The keys of an evaluation that answers depend on if their job loads the checkpoint."""

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


def answers_to(
    questions: list[QuestionRow], model: Backend, samplings: dict[str, Sampling], name: str
) -> tuple[list[AnswerRow], list[dict[str, object]]]:
    """Answer rows in FastChat's schema, and the finish reason of each turn."""
    dialogues: list[list[tuple[str, str]]] = [[] for _ in questions]
    ends: list[dict[str, object]] = []
    for turn in range(2):
        requests = []
        for question, dialogue in zip(questions, dialogues, strict=True):
            dialogue.append(("user", question.turns[turn]))
            key = f"{question.question_id}:{turn}"
            requests.append(Request(key, tuple(dialogue), samplings[question.category]))
        completions = model.complete(requests, f"answer turn {turn + 1}")
        for question, dialogue, completion in zip(questions, dialogues, completions, strict=True):
            dialogue.append(("assistant", completion.text))
            end = {"question_id": question.question_id, "turn": turn + 1, "finish_reason": completion.finish_reason}
            ends.append(end)
    rows = [
        mtbench.answer_row(name, question, [text for role, text in dialogue if role == "assistant"])
        for question, dialogue in zip(questions, dialogues, strict=True)
    ]
    return rows, ends


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
    questions = mtbench.read_questions(questions_path)
    samplings = samplings_of(questions, block.temperatures, block.top_p, block.max_new_tokens)
    rows, ends = answers_to(questions, model, samplings, name)
    with artifact(out_folder) as out:
        write_rows(out / "answers.jsonl", rows)
        write_rows(out / "turns.jsonl", ends)
    cut = sum(end["finish_reason"] == "length" for end in ends)
    logger.info(f"answers of {name}: {len(rows)} questions, {cut} of {len(ends)} answers cut by the token limit")
