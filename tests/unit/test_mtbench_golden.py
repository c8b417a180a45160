"""MT-Bench against FastChat: published averages to four decimals, its prompts to the byte, and its known defects.

The averages are those of three public files with GPT-4's judgments. The ratings here are made up; they have the same
sums by category and turn.
"""

from typing import Any

import numpy as np
import pytest

from bezoar.requests.base import Completion
from bezoar.steps.data.rows import AnswerRow, JudgePromptRow, QuestionRow, read_rows
from bezoar.steps.evaluate import fastchat, gate, judgments, mtbench
from bezoar.steps.evaluate.mtbench import Mtbench, VerdictRow
from bezoar.steps.report import mtbench as table

CATEGORIES = ("writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities")
QUESTIONS = [
    QuestionRow(question_id=81 + place, category=CATEGORIES[place // 10], turns=["One?", "Two?"]) for place in range(80)
]
BLOCK = Mtbench(
    method="mtbench",
    checkpoints=["a"],
    answers="mtbench",
    references="references",
    judge_prompts="judge_prompts",
    judge="judge",
    bootstrap_samples=100,
)
# llama2_chat_7b: sums of ten ratings of turn 1 and of turn 2, 536.5 / 80 and 454 / 80
SUMS = [(97, 79), (83, 64), (49, 41), (26, 22), (33, 28), (60, 50), (90.5, 77), (98, 93)]
MEANS = {"turns": (6.7062, 5.6750), "average": 6.1906, "categories": (8.8, 7.35, 4.5, 2.4, 3.05, 5.5, 8.375, 9.55)}
TABLE = table.Table(QUESTIONS, BLOCK, gate.MTBENCH, 0)
EMPTY = (158, 2)  # mistral-orpo's empty answer, which GPT-4 would not rate


def parts(total: float, count: int = 10) -> list[float]:
    """Ratings with a sum: whole ones, but perhaps the last."""
    whole, more = divmod(int(total), count)
    found = [float(whole + (place < more)) for place in range(count)]
    return [*found[:-1], found[-1] + total % 1]


def said(rating: float | None) -> str:
    """A judgment."""
    return "There is no answer to rate." if rating is None else f"Good.\n\nRating: [[{rating:g}]]"


def rows_of(ratings: list[tuple[int, int, float | None]]) -> list[VerdictRow]:
    """The verdicts of judgments that state these ratings, by question and turn; None is about an empty answer."""
    found = []
    for number, turn, rating in ratings:
        question = QUESTIONS[number - 81]
        answers = ["" if rating is None else "An answer."] * 2
        item = judgments.Item(question, answers, turn, 0, False, "single-v1", "", "")
        completion = Completion(said(rating), "stop", "gpt-4")
        found.append(judgments.rows_of(item, completion, "a", "j", set())[1])
    return found


def run(total: float, *, silent: bool) -> list[tuple[int, int, float | None]]:
    """A run's ratings with a sum, of all cells or of all but the empty answer's."""
    cells = [(one.question_id, turn) for one in QUESTIONS for turn in (1, 2)]
    rated = [cell for cell in cells if not (silent and cell == EMPTY)]
    ratings = dict(zip(rated, parts(total, len(rated)), strict=True))
    return [(*cell, ratings.get(cell)) for cell in cells]


def fastchats_mean(rows: list[VerdictRow]) -> float:
    """As FastChat averages: over all rows that aren't -1."""
    return float(np.mean([row.score_fastchat for row in rows if row.score_fastchat is not None]))


def test_the_averages_of_llama2_chat_7b_to_four_decimals():
    ratings = [
        (81 + 10 * place + number, turn, rating)
        for place, sums in enumerate(SUMS)
        for turn, total in enumerate(sums, start=1)
        for number, rating in enumerate(parts(total))
    ]
    one = TABLE.entry(rows_of(ratings))
    assert one["average"]["mean"] == one["average_fastchat"] == MEANS["average"]
    assert tuple(one["turns"][turn]["mean"] for turn in ("1", "2")) == MEANS["turns"]
    assert tuple(one["categories"][name]["mean"] for name in CATEGORIES) == MEANS["categories"]
    assert (one["complete"], one["judgments"]) == (True, 160)


def test_an_empty_answer_of_mistral_orpo_is_left_out_by_fastchat_and_scores_1_in_the_strict_column():
    # 856.5 / 159, and (856.5 + 1) / 160
    one = TABLE.entry(rows_of(run(856.5, silent=True)))
    assert (one["average_fastchat"], one["average"]["mean"]) == (5.3868, 5.3594)
    assert (one["empty_answers"], one["missing"]["judgments"], one["complete"]) == (1, 0, True)


def test_two_mixed_runs_of_mistral_orpo_are_an_error_where_fastchat_averages_both():
    first, second = rows_of(run(856.5, silent=True)), rows_of(run(1012.5, silent=False))
    assert TABLE.entry(second)["average"]["mean"] == 6.3281
    assert round(fastchats_mean([*first, *second]), 4) == 5.8589  # (856.5 + 1012.5) / 319
    with pytest.raises(ValueError, match="judged twice"):
        TABLE.entry([*first, *second])


@pytest.mark.parametrize(
    ("judgment", "theirs", "ours"),
    [
        ("Good.\n\nRating: [[7]]", 7.0, 7.0),
        ("It claims [[10]], and that is wrong.\n\nRating: [[2]]", 10.0, 2.0),  # the first one counts
        ("a = rows[1] is right, but nothing else is.", 1.0, None),  # a list index
        ("Rating: [[100]]", 100.0, None),  # out of range
        ("Rating: [[0]]", 0.0, None),
        ("Rating: [[08]]", None, None),  # FastChat stops with a SyntaxError
        ("Rating: [[7/10]]", None, None),
        ("Rating: [[ 7 ]]", None, 7.0),
        ("Rating: 7", None, None),
        ("$ERROR$", None, None),  # FastChat stores an outage as the judge's text
    ],
)
def test_a_judgment_is_read_by_both_rules(judgment, theirs, ours):
    item = judgments.Item(QUESTIONS[0], ["An answer.", "More."], 1, 0, False, "single-v1", "", "")
    _, row = judgments.rows_of(item, Completion(judgment, "stop", "gpt-4"), "a", "j", set())
    assert (row.score_fastchat, row.score) == (theirs, ours)
    assert fastchat.rating(judgment) == theirs


def test_each_defect_is_in_fastchats_column_alone():
    whole = run(800.0, silent=False)  # 5 for each answer
    for judgment, theirs, ours in (
        ("It claims [[10]].\n\nRating: [[2]]", (795 + 10) / 160, (795 + 2) / 160),
        ("rows[1] is right.", (795 + 1) / 160, 795 / 159),
        ("Rating: [[100]]", (795 + 100) / 160, 795 / 159),
    ):
        rows = rows_of(whole)
        item = judgments.Item(QUESTIONS[0], ["An answer.", "More."], 1, 0, False, "single-v1", "", "")
        rows[0] = judgments.rows_of(item, Completion(judgment, "stop", "gpt-4"), "a", "j", set())[1]
        one = TABLE.entry(rows)
        assert (one["average_fastchat"], one["average"]["mean"]) == (round(theirs, 4), round(ours, 4))
        assert one["complete"] == (rows[0].score is not None)


def filled(row: JudgePromptRow, question: QuestionRow, answers: list[str], turn: int, reference: Any) -> str:
    """A prompt as FastChat's run_judge_single fills it."""
    slots = {f"ref_answer_{place}": text for place, text in enumerate(reference or [], start=1)}
    if turn == 1:
        return row.prompt_template.format(question=question.turns[0], answer=answers[0], **slots)
    asked = {f"question_{place}": text for place, text in enumerate(question.turns, start=1)}
    given = {f"answer_{place}": text for place, text in enumerate(answers, start=1)}
    return row.prompt_template.format(**asked, **given, **slots)


def test_all_160_prompts_are_fastchats_to_the_byte(real):
    questions = list(read_rows(real / "mt_bench" / "question.jsonl", QuestionRow))
    rows = list(read_rows(real / "mt_bench" / "judge_prompts.jsonl", JudgePromptRow))
    references = mtbench.references(read_rows(real / "mt_bench" / "reference_answer_gpt-4.jsonl", AnswerRow))
    answers = {one.question_id: [f"def f(): {{return {one.question_id}}}\n", "{answer} \\ é"] for one in questions}
    block = judgments.Judging(
        judge_sampling=BLOCK.judge_sampling,
        max_attempts=1,
        repeats=1,
        reference_categories=BLOCK.reference_categories,
        max_failed_share=0.0,
        protocol=mtbench.PROTOCOL,
    )
    made = judgments.items_of(questions, answers, mtbench.JudgePrompts.of(rows), references, block, 0)
    by_name = {row.name: row for row in rows}
    assert len(made) == 160
    for item in made:
        row, number = by_name[item.prompt_name], item.question.question_id
        reference = references[number] if "math" in item.prompt_name else None
        wanted = filled(row, item.question, answers[number], item.turn, reference)
        assert (item.system.encode(), item.user.encode()) == (row.system_prompt.encode(), wanted.encode())
