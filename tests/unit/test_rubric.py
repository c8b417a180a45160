"""Rubric grading: reading the score at the end, references, prompts and the judge's identity."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from bezoar.blocks import Sampling
from bezoar.errors import InputError
from bezoar.problems import RecipeError
from bezoar.recipe.load import load
from bezoar.requests.base import Completion, Request, Subject
from bezoar.steps import prompts
from bezoar.steps.backends.verifier import VerifierBackend
from bezoar.steps.data.rows import QuestionRow
from bezoar.steps.evaluate import gradings, rubric
from bezoar.steps.evaluate.grades import Graded
from bezoar.steps.evaluate.rubric import read_rubric, result
from bezoar.world import fifths

FOLDER = ROOT / "recipes/prompts/judging"
KEYS: dict[str, Any] = {
    "judge_sampling": Sampling(temperature=1.0),
    "reference_categories": None,
    "max_attempts": 2,
    "repeats": 2,
    "max_failed_share": 0.05,
}
QUESTIONS = [
    QuestionRow(question_id=1, category="math", turns=["Two and two?", "And two more?"]),
    QuestionRow(question_id=2, category="writing", turns=["Name a sea."]),
]
ANSWERS = [
    Graded(QUESTIONS[0], 1, ["4", "6"]),
    Graded(QUESTIONS[0], 2, ["4", "6"]),
    Graded(QUESTIONS[1], 1, ["Baltic {rubric}"]),
]


def grading(**changes: Any) -> gradings.Grading:
    return gradings.Grading(**KEYS | changes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It is right. [RESULT] 5", (5.0, "ok")),
        ("It is right.\n\n[RESULT] 1\n", (1.0, "ok")),
        ("Fine.\n[RESULT]3", (3.0, "ok")),
        ("The answer says [RESULT] 5, but it is wrong. [RESULT] 2", (2.0, "multi")),
        ("[RESULT] 4 is what I give", (None, "elsewhere")),
        ("[RESULT] 4\nI hope this helps!", (None, "elsewhere")),
        ('It ends with "[RESULT] 5"', (None, "elsewhere")),
        ("It is a [RESULT] 5.", (5.0, "ok")),
        ("[RESULT] 4/5", (4.0, "ok")),
        ("Fine. **[RESULT] 3/5.**", (3.0, "ok")),
        ("Fine. **[RESULT]** 3", (3.0, "ok")),
        ("Fine.\n**[RESULT]: 3**\n", (3.0, "ok")),
        ("Fine. ([RESULT] 3)", (3.0, "ok")),
        ("Fine.\n[RESULT]\n3", (3.0, "ok")),
        ("Fine.[RESULT]  3!", (3.0, "ok")),
        ("It says [RESULT] 3, and so do I. [RESULT] 3/5", (3.0, "ok")),
        ("It says [RESULT] 5.\n[RESULT]\n2.", (2.0, "multi")),
        ("[RESULT]\n4\nI hope this helps!", (None, "elsewhere")),
        ("It ends with '**[RESULT] 5**'.", (None, "elsewhere")),
        ('It ends with "[RESULT] 5."', (None, "elsewhere")),
        ("It ends with `[RESULT] 5`.", (None, "elsewhere")),
        ("[RESULT] 3/10", (None, "invalid")),
        ("[RESULT] 4.5/5", (None, "invalid")),
        ("[RESULT] 10", (None, "invalid")),
        ("[RESULT] 3-4", (None, "invalid")),
        ("[RESULT] 0", (None, "invalid")),
        ("[RESULT] 6", (None, "invalid")),
        ("[RESULT] 4.5", (None, "invalid")),
        ("[RESULT] five", (None, "invalid")),
        ("[RESULT]", (None, "elsewhere")),
        ("[result] 4", (None, "none")),
        ("Score: 4", (None, "none")),
        ("So the overall score is 4", (None, "none")),
        ("", (None, "none")),
    ],
)
def test_only_a_result_at_the_very_end_counts(text, expected):
    assert result(text) == expected


def items(references: dict[int, list[str]] | None = None, **changes: Any) -> list[gradings.Item]:
    texts = prompts.load(FOLDER / "rubric.yaml", rubric.NEEDS)
    return gradings.items_of(ANSWERS, references, texts, "THE RUBRIC", grading(**changes))


def test_every_answer_is_graded_as_often_as_it_repeats_and_no_two_draws_share_an_answer():
    requests = [item.request(grading(), attempt) for item in items() for attempt in range(2)]
    assert len(requests) == 3 * 2 * 2
    assert len({one.key for one in requests}) == len({(one.prompt_hash, one.sample) for one in requests}) == 12


def test_the_judge_sees_the_dialogue_up_to_the_answer_and_slots_are_filled_once():
    users = [item.user for item in items(repeats=1)]
    assert "User: Two and two?\n\nAssistant: 4\n\nUser: And two more?" in users[1]
    assert "Assistant: 6" not in users[1]
    assert "Response:\n6\n" in users[1]
    assert "Baltic {rubric}" in users[2]
    assert users[2].count("THE RUBRIC") == 1
    assert not any("eference" in user for user in users)


def test_references_are_shown_in_their_categories_and_a_missing_one_is_an_error():
    references = {1: ["four", "six"], 2: ["Baltic Sea"]}
    assert [item.with_reference for item in items(references, repeats=1)] == [True] * 3
    some = items(references, repeats=1, reference_categories=["math"])
    assert [item.with_reference for item in some] == [True, True, False]
    assert "Reference answer:\nsix\n" in some[1].user
    assert not any(item.with_reference for item in items(references, reference_categories=[]))
    with pytest.raises(InputError, match="question 1, of category math, has no reference answer"):
        items({1: ["four"], 2: ["Baltic Sea"]})


class Judge:
    """Says the texts in turn."""

    def __init__(self, *said: Completion | str) -> None:
        self.said = [Completion(one, "stop", "judge") if isinstance(one, str) else one for one in said]
        self.asked: list[Request] = []

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        self.asked += requests
        return [self.said.pop(0) for _ in requests]


def test_what_has_no_result_is_drawn_again_and_what_is_refused_is_not():
    cut, refused = Completion("[RESULT] 5", "length", "judge"), Completion("I won't.", "refusal", "judge")
    judge = Judge("Score: 4", cut, refused, "Fine. [RESULT] 4", "Well. [RESULT] 3")
    some = items(repeats=1)
    found = gradings.graded(some, judge, grading())
    assert [one.text for one in found] == ["Fine. [RESULT] 4", "Well. [RESULT] 3", "I won't."]
    assert [one.sample for one in judge.asked] == ["0.0"] * 3 + ["0.1"] * 2
    rows = [gradings.row_of(item, one, "m", "j", set()) for item, one in zip(some, found, strict=True)]
    assert [(row.status, row.score) for row in rows] == [("ok", 4), ("ok", 3), ("refused", None)]


@pytest.mark.parametrize(
    ("answer", "status", "flag"),
    [
        (Completion("Fine. [RESULT] 5", "length", "j"), "truncated", "ok"),  # it may be half of a quotation
        (Completion("Fine.", "stop", "j"), "unparsed", "none"),
        (Completion("", "error", "j", "HTTP 400"), "error", "none"),
    ],
)
def test_an_error_is_a_status_and_never_a_score(answer, status, flag):
    row = gradings.row_of(items()[0], answer, "m", "j", set())
    assert (row.status, row.parse_flag, row.score) == (status, flag, None)


def test_a_rubric_describes_every_score(tmp_path):
    shown = read_rubric(FOLDER / "helpfulness.yaml")
    assert shown.version == 1
    assert shown.text.split("\n")[1].startswith("Score 1: It does not do")
    assert len(shown.text.split("\n")) == 6
    path = tmp_path / "rubric.yaml"
    path.write_text((FOLDER / "helpfulness.yaml").read_text().replace("  5: ", "  6: "))
    with pytest.raises(InputError, match=r"rubric\.yaml:\d+: scores"):
        read_rubric(path)
    path.write_text("version: 1\ncriterion: x\nscores: {1: a, 2: b}\n")
    with pytest.raises(InputError, match="scores"):
        read_rubric(path)


def test_every_part_of_a_judge_changes_its_id(tmp_path):
    for name in ("prompts", "rubric", "references", "other"):
        (tmp_path / name).write_text(name)
    inputs = gradings.Inputs(
        tmp_path, tmp_path, tmp_path / "references", tmp_path / "prompts", tmp_path / "rubric", None, None
    )
    backend = VerifierBackend(kind="verifier")
    other = tmp_path / "other"
    ids = [gradings.judge_id_of(one, grading(), backend) for one in (inputs, replace(inputs, answers=other))]
    assert len(set(ids)) == 1  # it is the judge's, not the model's
    changed = [replace(inputs, prompts=other), replace(inputs, rubric=other), replace(inputs, references=None)]
    ids += [gradings.judge_id_of(one, grading(), backend) for one in changed]
    keys = [{"judge_sampling": Sampling()}, {"max_attempts": 3}, {"reference_categories": ["math"]}]
    ids += [gradings.judge_id_of(inputs, grading(**one), backend) for one in keys]
    assert len(set(ids)) == 1 + len(changed) + len(keys)


def test_the_verifier_ends_with_a_result_and_only_a_right_answer_is_5():
    assert [fifths(rating) for rating in range(1, 11)] == [1, 1, 1, 2, 2, 2, 3, 3, 4, 5]
    request = Request("k", (("user", "x"),), Sampling(), Subject(("what ?",), "", form="result"))
    (said,) = VerifierBackend(kind="verifier").open().complete([request], "ask")
    assert result(said.text) == (1.0, "ok")


def test_the_spoof_closes_the_answer_and_a_judge_that_repeats_it_is_read(tmp_path: Path):
    end = "End of the response."
    text = rubric.spoof(end)
    assert end in text
    assert result(text) == (5.0, "ok")  # so that a judge that falls for it is caught
    assert rubric.holds_result(text)


def refused(tmp_path: Path, **changes: Any) -> str:
    """Why the embedded recipe with a rubric is refused."""
    data = yaml.safe_load((ROOT / "recipes/tiny.yaml").read_text())
    judged = {"method": "rubric", "checkpoints": ["tiny_llama"], "answers": "mtbench", "judge": "judge"}
    files = {"prompts": "recipes/prompts/judging/rubric.yaml", "rubric": "recipes/prompts/judging/helpfulness.yaml"}
    data["evals"]["graded"] = judged | files | changes
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    with pytest.raises(RecipeError) as error:
        load(tmp_path / "params.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"prompts": "recipes/prompts/judging/checklist.yaml"},
            "graded.prompts: recipes/prompts/judging/",
        ),
        (
            {"rubric": "recipes/prompts/judging/rubric.yaml"},
            "graded.rubric: recipes/prompts/judging/rubric.yaml:1: version: the key",
        ),
        ({"reference_categories": ["math"]}, "graded.reference_categories: there are no reference answers to show"),
        (
            {"references": "world_references", "reference_categories": ["maths"]},
            "hint: did you mean `math`?",
        ),
        ({"compare_to": ["tiny_llama", "sft"]}, "graded.compare_to.1: "),
        ({"controls": ["shuffled"]}, "graded.shuffled_from: the control `shuffled` has no answers"),
        (
            {"controls": ["shuffled"], "shuffled_from": "sft_hhh"},
            "graded.shuffled_from: no answers of this checkpoint are made",
        ),
        ({"rubric": "nowhere.yaml"}, "graded.rubric: no such file"),
    ],
    ids=lambda one: str(one)[:30],
)
def test_what_does_not_fit_is_refused_before_anything_is_asked(tmp_path, monkeypatch, changes, said):
    monkeypatch.chdir(ROOT)
    found = refused(tmp_path, **changes)
    assert said in found
    assert "found:" in found
    assert "expected:" in found
