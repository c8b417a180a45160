"""The report of answers side by side: each question with the answers of all checkpoints, and no score."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bezoar.logs import logger
from bezoar.steps.data.rows import AnswerRow, QuestionRow, TurnRow, read_rows
from bezoar.steps.evaluate.questions import read_questions
from bezoar.steps.evaluate.side_by_side import SideBySide
from bezoar.steps.results.answers import AnswersReport
from bezoar.steps.results.write import write

NO_SCORE = "no judge: these answers are to be read, and they are not rated"


def summary(turns: list[str], cut: int) -> dict[str, Any]:
    """Counts of a checkpoint's answers: all, empty ones, those cut by the token limit, and words per answer."""
    words = sum(len(text.split()) for text in turns) / max(1, len(turns))
    return {
        "answers": len(turns),
        "empty": sum(not text.strip() for text in turns),
        "cut": cut,
        "words_per_answer": round(words, 1),
    }


def reported(
    questions: list[QuestionRow], answers: Mapping[str, dict[int, list[str]]], cut: Mapping[str, int]
) -> dict[str, Any]:
    """The report.

    Args:
        questions: The questions.
        answers: By checkpoint and question, the answer to each turn.
        cut: By checkpoint, the number of answers that the token limit cut.
    """
    said = {name: [text for turns in one.values() for text in turns] for name, one in answers.items()}
    return {
        "no_score": NO_SCORE,
        "checkpoints": {name: summary(texts, cut[name]) for name, texts in said.items()},
        "questions": [
            {
                "question_id": question.question_id,
                "category": question.category,
                "turns": question.turns,
                "answers": {name: one[question.question_id] for name, one in answers.items()},
            }
            for question in questions
        ],
    }


def write_report(results: Path, questions_path: Path, block: SideBySide, out: Path) -> None:
    """Write all answers side by side, and log a line for each checkpoint.

    Args:
        results: Folder of the answers, with <checkpoint>/answers.jsonl and turns.jsonl.
        questions_path: rows.jsonl of the questions.
        block: The evaluation.
        out: File to write to.
    """
    answers, cut = {}, {}
    for name in block.checkpoints:
        rows = read_rows(results / name / "answers.jsonl", AnswerRow)
        answers[name] = {row.question_id: row.choices[0].turns for row in rows}
        ends = read_rows(results / name / "turns.jsonl", TurnRow)
        cut[name] = sum(row.finish_reason == "length" for row in ends)
    report = reported(read_questions(questions_path), answers, cut)
    write(out, {"evaluation": out.stem, **report}, AnswersReport)
    for name, one in report["checkpoints"].items():
        counts = f"{one['answers']} answers, {one['empty']} empty, {one['cut']} cut by the token limit"
        logger.info(f"{name}: {counts}, {one['words_per_answer']} words per answer; {NO_SCORE}")
