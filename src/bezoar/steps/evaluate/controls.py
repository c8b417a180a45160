"""Answers that no model wrote; a judge that rewards them is compromised (arXiv:2410.07137)."""

import random
from pathlib import Path

from bezoar.errors import InputError, problem
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.steps.data.rows import AnswerRow, JudgePromptRow, QuestionRow, read_rows, write_rows
from bezoar.steps.evaluate import mtbench
from bezoar.steps.evaluate.questions import answer_row, read_questions

FILLER = "Thank you for this interesting question. I am happy to help you with it. Please let me know what you need."


def control_answers(
    name: str, questions: list[QuestionRow], answers: list[AnswerRow], prompts: mtbench.JudgePrompts, seed: int
) -> list[list[str]]:
    """As `answers_for`, with the spoof of MT-Bench's judge prompts."""
    return answers_for(name, questions, answers, mtbench.spoof(prompts), seed)


def answers_for(
    name: str, questions: list[QuestionRow], answers: list[AnswerRow], spoof: str, seed: int
) -> list[list[str]]:
    """The answers to each question, one for each turn.

    Args:
        name: empty, filler, spoof (ends the answer block and fakes a verdict), or shuffled (a model's answers to
            questions of another category, or to any other questions if there is one category only).
        questions: The questions.
        answers: For shuffled: the model's answers in the questions' order.
        spoof: The text of the control spoof.
        seed: Seed of the shuffle.

    Raises:
        ValueError: There is one question only, so nothing to shuffle.
    """
    if name != "shuffled":
        text = {"empty": "", "filler": FILLER, "spoof": spoof}[name]
        return [[text] * len(question.turns) for question in questions]
    if len(questions) == 1:
        raise InputError(
            problem("the control `shuffled` needs other questions", found="1 question", expected="2 or more")
        )
    generator = random.Random(f"{seed}:shuffled")
    rows = []
    for question in questions:
        pairs = [pair for pair in zip(questions, answers, strict=True) if pair[0] != question]
        apart = [pair for pair in pairs if pair[0].category != question.category]
        rows.append(generator.choice(apart or pairs)[1].choices[0].turns)
    return rows


def write_controls(
    questions_path: Path, answers_path: Path | None, judge_prompts: Path, seed: int, out_folder: Path
) -> None:
    """Write the answers of a control, which has the name of the output folder."""
    questions = read_questions(questions_path)
    answers = sorted(read_rows(answers_path, AnswerRow), key=lambda row: row.question_id) if answers_path else []
    prompts = mtbench.JudgePrompts.of(read_rows(judge_prompts, JudgePromptRow))
    model = out_folder.name
    turns = control_answers(model.removeprefix(mtbench.CONTROL), questions, answers, prompts, seed)
    rows = [answer_row(model, question, texts) for question, texts in zip(questions, turns, strict=True)]
    with artifact(out_folder) as out:
        write_rows(out / "answers.jsonl", rows)
    logger.info(f"answers of {model}: {len(rows)} questions")
