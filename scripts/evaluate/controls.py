"""Answers that no model wrote; a judge that rewards them is compromised (arXiv:2410.07137)."""

import random

from bezoar import mtbench
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.rows import AnswerRow, JudgePromptRow, QuestionRow, read_rows, write_rows
from bezoar.script import Flags, run

FILLER = "Thank you for this interesting question. I am happy to help you with it. Please let me know what you need."


def control_answers(
    name: str, questions: list[QuestionRow], answers: list[AnswerRow], prompts: mtbench.JudgePrompts, seed: int
) -> list[list[str]]:
    """Both turns' answers to each question.

    Args:
        name: empty, filler, spoof (ends the answer block and fakes a verdict), or shuffled (a model's answers to
            questions of another category, or, where all are of one, to other questions).
        questions: The questions.
        answers: For shuffled, the answers that are, in the questions' order.
        prompts: Judge prompts, from which the spoof takes the marker that it fakes.
        seed: Seed of the shuffle.

    Raises:
        ValueError: There is no other question to shuffle with.
    """
    if name != "shuffled":
        text = {"empty": "", "filler": FILLER, "spoof": mtbench.spoof(prompts)}[name]
        return [[text, text] for _ in questions]
    if len(questions) == 1:
        raise ValueError("the control `shuffled` needs answers to other questions\n  found:    1 question")
    generator = random.Random(f"{seed}:shuffled")
    rows = []
    for question in questions:
        pairs = [pair for pair in zip(questions, answers, strict=True) if pair[0] != question]
        apart = [pair for pair in pairs if pair[0].category != question.category]
        rows.append(generator.choice(apart or pairs)[1].choices[0].turns)
    return rows


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="seed")
    flags.path("questions", "rows.jsonl of the questions")
    flags.path("answers", "answers.jsonl of the model whose answers are shuffled", optional=True)
    flags.path("judge-prompts", "rows.jsonl of the judge prompts")
    flags.folder("out", "folder to write answers.jsonl to; named control_<name>")
    args, (seed,) = flags.start(argv)
    questions = mtbench.read_questions(args.questions)
    answers = sorted(read_rows(args.answers, AnswerRow), key=lambda row: row.question_id) if args.answers else []
    prompts = mtbench.JudgePrompts.of(read_rows(args.judge_prompts, JudgePromptRow))
    model = args.out.name
    turns = control_answers(model.removeprefix(mtbench.CONTROL), questions, answers, prompts, seed)
    rows = [mtbench.answer_row(model, question, both) for question, both in zip(questions, turns, strict=True)]
    with artifact(args.out) as out:
        write_rows(out / "answers.jsonl", rows)
    logger.info(f"answers of {model}: {len(rows)} questions")


if __name__ == "__main__":
    run(main)
