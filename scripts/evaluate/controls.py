"""Answers that no model wrote; a judge that rewards them is compromised (arXiv:2410.07137)."""

import random

from bezoar import mtbench
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.rows import AnswerRow, Choice, JudgePromptRow, QuestionRow, read_rows, row_id, write_rows
from bezoar.script import Flags

FILLER = "Thank you for this interesting question. I am happy to help you with it. Please let me know what you need."


def control_answers(
    name: str, questions: list[QuestionRow], answers: list[AnswerRow], prompts: mtbench.JudgePrompts, seed: int
) -> list[list[str]]:
    """Both turns' answers to each question.

    Args:
        name: empty, filler, spoof (ends the answer block and fakes a verdict), or shuffled (a model's answers to the
            questions of another category).
        questions: The questions.
        answers: The answers of the model whose answers are shuffled, in the questions' order.
        prompts: Judge prompts, from which the spoof takes the marker that it fakes.
        seed: Seed of the shuffle.
    """
    if name != "shuffled":
        text = {"empty": "", "filler": FILLER, "spoof": mtbench.spoof(prompts)}[name]
        return [[text, text] for _ in questions]
    generator = random.Random(f"{seed}:shuffled")
    rows = []
    for question in questions:
        others = [
            answer for other, answer in zip(questions, answers, strict=True) if other.category != question.category
        ]
        rows.append(generator.choice(others).choices[0].turns)
    return rows


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="seed")
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("answers", "answers.jsonl of the model whose answers are shuffled")
    flags.path("judge-prompts", "rows.jsonl of the judge prompts")
    flags.path("out", "folder to write answers.jsonl to; named control_<name>")
    args, (seed,) = flags.start(argv)
    questions = sorted(read_rows(args.questions, QuestionRow), key=lambda row: row.question_id)
    answers = sorted(read_rows(args.answers, AnswerRow), key=lambda row: row.question_id)
    prompts = mtbench.JudgePrompts.of(read_rows(args.judge_prompts, JudgePromptRow))
    model = args.out.name
    turns = control_answers(model.removeprefix(mtbench.CONTROL), questions, answers, prompts, seed)
    rows = [
        AnswerRow(
            question_id=question.question_id,
            answer_id=row_id(model, str(question.question_id)),
            model_id=model,
            choices=[Choice(index=0, turns=both)],
            tstamp=0.0,
        )
        for question, both in zip(questions, turns, strict=True)
    ]
    inputs = [args.questions, args.answers, args.judge_prompts]
    with artifact(args.out, rule="controls", block={"seed": seed}, inputs=inputs) as out:
        write_rows(out / "answers.jsonl", rows)
    logger.info(f"answers of {model}: {len(rows)} questions")


if __name__ == "__main__":
    main()
