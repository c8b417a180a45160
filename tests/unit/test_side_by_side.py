"""Answers side by side: every question with every checkpoint's answers, and no score."""

import json
from pathlib import Path

from mains import script

from bezoar.steps.data.rows import QuestionRow, write_rows
from bezoar.steps.evaluate.questions import answer_row
from bezoar.steps.report.side_by_side import NO_SCORE

QUESTIONS = [
    QuestionRow(question_id=2, category="math", turns=["Two?", "And two?"]),
    QuestionRow(question_id=1, category="writing", turns=["One?", "And one?"]),
]
UNKNOWN = {"tokens": None, "logprob": None}
ANSWERS = {"base": {1: ["a b", ""], 2: ["c", "d e f"]}, "tuned": {1: ["g", "h"], 2: ["i", "j"]}}


def test_every_question_is_shown_with_all_answers_and_nothing_is_rated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluation = {"method": "answers", "checkpoints": ["base", "tuned"], "answers": "chat"}
    Path("params.yaml").write_text(json.dumps({"evals": {"look": evaluation}}))
    write_rows(Path("questions.jsonl"), QUESTIONS)
    for name, said in ANSWERS.items():
        rows = [answer_row(name, question, said[question.question_id]) for question in QUESTIONS]
        write_rows(Path("answers", name, "answers.jsonl"), rows)
        ends = [
            {"question_id": number, "turn": turn, "finish_reason": "length" if text == "i" else "stop", **UNKNOWN}
            for number, texts in said.items()
            for turn, text in enumerate(texts, start=1)
        ]
        Path("answers", name, "turns.jsonl").write_text("".join(json.dumps(end) + "\n" for end in ends))
    words = [
        "--params",
        "evals.look",
        "--results",
        "answers",
        "--questions",
        "questions.jsonl",
        "--out",
        "results/look.json",
    ]
    script("report/answers").main(words)
    report = json.loads(Path("results/look.json").read_text())
    assert report["no_score"] == NO_SCORE
    assert [one["question_id"] for one in report["questions"]] == [1, 2]
    assert report["questions"][0]["answers"] == {"base": ["a b", ""], "tuned": ["g", "h"]}
    # base: 2 + 0 + 1 + 3 words in four answers
    assert report["checkpoints"]["base"] == {"answers": 4, "empty": 1, "cut": 0, "words_per_answer": 1.5}
    assert report["checkpoints"]["tuned"] == {"answers": 4, "empty": 0, "cut": 1, "words_per_answer": 1.0}
