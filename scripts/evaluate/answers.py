"""A checkpoint's answers to MT-Bench questions: two turns, the second after its own first answer."""

from pathlib import Path

from bezoar.backends import Backend, Request, open_backend
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.params.blocks import Sampling
from bezoar.params.data import LocalBackend
from bezoar.params.evaluate import Mtbench
from bezoar.rows import AnswerRow, Choice, QuestionRow, read_rows, row_id, write_rows
from bezoar.script import Flags

UNKNOWN_CATEGORY = 0.7  # answer temperature in FastChat
GREEDY_BELOW = 1e-4  # FastChat samples from here on


def sampling_of(category: str, block: Mtbench) -> Sampling:
    """How answers of a category are drawn."""
    temperature = block.temperatures.get(category, UNKNOWN_CATEGORY)
    temperature = 0.0 if temperature < GREEDY_BELOW else temperature
    return Sampling(temperature=temperature, top_p=block.top_p, max_new_tokens=block.max_new_tokens)


def answers_to(
    questions: list[QuestionRow], model: Backend, block: Mtbench, name: str
) -> tuple[list[AnswerRow], list[dict[str, object]]]:
    """Answer rows in FastChat's schema, and how each turn ended."""
    dialogues: list[list[tuple[str, str]]] = [[] for _ in questions]
    ends: list[dict[str, object]] = []
    for turn in range(2):
        requests = []
        for question, dialogue in zip(questions, dialogues, strict=True):
            dialogue.append(("user", question.turns[turn]))
            key = f"{question.question_id}:{turn}"
            requests.append(Request(key, tuple(dialogue), sampling_of(question.category, block)))
        completions = model.complete(requests, f"answer turn {turn + 1}")
        for question, dialogue, completion in zip(questions, dialogues, completions, strict=True):
            dialogue.append(("assistant", completion.text))
            end = {"question_id": question.question_id, "turn": turn + 1, "finish_reason": completion.finish_reason}
            ends.append(end)
    rows = [
        AnswerRow(
            question_id=question.question_id,
            answer_id=row_id(name, str(question.question_id)),
            model_id=name,
            choices=[Choice(index=0, turns=[text for role, text in dialogue if role == "assistant"])],
            tstamp=0.0,  # the time of a run is no part of its result
        )
        for question, dialogue in zip(questions, dialogues, strict=True)
    ]
    return rows, ends


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="evals.<name> prompt seed")
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("checkpoint", "model directory")
    flags.path("out", "folder to write answers.jsonl and turns.jsonl to; named by the checkpoint")
    args, (block, prompt, seed) = flags.start(argv)
    name = args.out.name
    questions = sorted(read_rows(Path(args.questions), QuestionRow), key=lambda row: row.question_id)
    backend = LocalBackend(
        kind="local", checkpoint=name, template="student", batch_size=block.batch_size, precision=block.precision
    )
    model = open_backend(backend, checkpoint=args.checkpoint, system=prompt.system, seed=seed)
    rows, ends = answers_to(questions, model, block, name)
    asked = ("batch_size", "precision", "temperatures", "top_p", "max_new_tokens")
    values = {key: getattr(block, key) for key in asked} | {"system": prompt.system, "seed": seed}
    with artifact(args.out, rule="answers", block=values, inputs=[args.questions, args.checkpoint]) as out:
        write_rows(out / "answers.jsonl", rows)
        write_rows(out / "turns.jsonl", ends)
    cut = sum(end["finish_reason"] == "length" for end in ends)
    logger.info(f"answers of {name}: {len(rows)} questions, {cut} of {len(ends)} answers cut by the token limit")


if __name__ == "__main__":
    main()
