"""Judges side by side: how far they agree on the same answers, and that a recipe names judges of the same answers."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scored
import yaml
from conftest import ROOT
from mains import script

from bezoar.problems import RecipeError
from bezoar.recipe.load import load
from bezoar.steps.data.rows import QuestionRow, read_rows, write_rows
from bezoar.steps.evaluate import kappa
from bezoar.steps.evaluate.agreement import Agreement
from bezoar.steps.evaluate.mtbench import VerdictRow
from bezoar.steps.evaluate.nulls import METHODS
from bezoar.steps.evaluate.stats import stratified_mean
from bezoar.steps.report import agreement

QUESTIONS = [
    QuestionRow(question_id=number, category="a" if number < 11 else "b", turns=["One?", "Two?"])
    for number in range(1, 21)
]
FIRST = np.array([1.0, 2, 3, 4, 5, 6, 7, 8])


def test_weighted_kappa_by_hand():
    # Cohen's weighted kappa of a table with 1 and 2: 3 of 4 equal, each judge has two 1 and two 2, or one and three
    first, second = np.array([1.0, 1, 2, 2]), np.array([1.0, 2, 2, 2])
    # observed: one square of 1 in 4. By chance: 1/2 * 3/4 + 1/2 * 1/4 = 1/2 of the pairs differ by 1
    assert kappa.weighted_kappa(first, second) == pytest.approx(1 - 0.25 / 0.5)
    assert kappa.weighted_kappa(FIRST, FIRST) == 1.0
    # the same order, one higher: distance 1; chance 2 * 5.25 + 1
    assert kappa.weighted_kappa(FIRST, FIRST + 1) == pytest.approx(1 - 1 / 11.5)
    assert np.isnan(kappa.weighted_kappa(np.ones(3), np.ones(3)))


def test_weighted_kappa_is_the_sum_over_cohens_table():
    generator = np.random.default_rng(1)
    first, second = generator.integers(1, 11, 200).astype(float), generator.integers(1, 11, 200).astype(float)
    second[:120] = first[:120]
    observed = expected = 0.0
    for one in range(1, 11):
        for other in range(1, 11):
            weight = (one - other) ** 2
            observed += weight * np.mean((first == one) & (second == other))
            expected += weight * np.mean(first == one) * np.mean(second == other)
    assert kappa.weighted_kappa(first, second) == pytest.approx(1 - observed / expected)


def test_ranks_agree_though_one_judge_is_milder():
    assert kappa.spearman(FIRST, FIRST / 2 + 5) == pytest.approx(1.0)
    assert kappa.spearman(FIRST, -FIRST) == pytest.approx(-1.0)
    assert kappa.spearman(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(0.5)  # 1 - 6 * 2 / (3 * 8)
    assert np.isnan(kappa.spearman(FIRST, np.ones(8)))


def test_an_interval_is_for_other_questions_and_has_no_ends_where_a_figure_may_be_undefined():
    generator = np.random.default_rng(0)
    skill = generator.normal(size=(40, 1))
    first, second = (skill + generator.normal(size=(40, 4)) for _ in range(2))
    found = kappa.jackknifed(kappa.weighted_kappa, first, second)
    assert found
    assert 0 < found.low < found.mean < found.high < 1
    equal = kappa.jackknifed(kappa.weighted_kappa, first, first)
    assert equal
    assert (equal.mean, equal.low, equal.high) == (1.0, None, None)  # nothing varies
    few = np.array([[1.0], [1.0], [1.0], [2.0]])
    less = kappa.jackknifed(kappa.spearman, few, few[::-1])
    assert less
    assert (less.low, less.high) == (None, None)  # without a question, a judge's ratings may be equal
    assert kappa.jackknifed(kappa.spearman, np.full((3, 1), np.nan), np.ones((3, 1))) is None


def test_a_question_without_ratings_changes_no_interval():
    generator = np.random.default_rng(0)
    first, second = (np.arange(12.0)[:, None] + generator.normal(size=(12, 2)) for _ in range(2))
    none = np.full((1, 2), np.nan)
    longer = (np.concatenate([one, none]) for one in (first, second))
    assert kappa.jackknifed(kappa.spearman, *longer) == kappa.jackknifed(kappa.spearman, first, second)


def judged(questions: int, count: int, generator: np.random.Generator) -> tuple[Any, Any]:
    """(count, questions, 2) ratings of two judges: questions of 8 categories differ, and so do the judges on them."""
    category = np.repeat(np.linspace(-1.5, 1.5, 8), questions // 8)[None, :, None]
    quality = (
        5.5 + category + generator.normal(0, 1.2, (count, questions, 1)) + generator.normal(0, 1, (count, questions, 2))
    )
    apart = (0.0, generator.normal(0, 0.8, (count, questions, 1)))
    return tuple(np.clip(np.rint(quality + gap + generator.normal(0, 1.5, quality.shape)), 1, 10) for gap in apart)


def coverage(statistic: Any, questions: int, tables: int) -> float:
    """The share of tables whose interval holds the statistic of very many questions."""
    generator = np.random.default_rng(5)
    truth = statistic(*(one.ravel() for one in judged(questions, 20_000, generator)))
    found = [kappa.jackknifed(statistic, *pair) for pair in zip(*judged(questions, tables, generator), strict=True)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


@pytest.mark.parametrize("statistic", [kappa.weighted_kappa, kappa.spearman])
def test_intervals_of_kappa_and_ranks_hold_the_truth(statistic):
    assert coverage(statistic, 16, 600) == pytest.approx(0.95, abs=0.025)  # sure to 0.018


@pytest.mark.long
@pytest.mark.parametrize("questions", [16, 80])
@pytest.mark.parametrize("statistic", [kappa.weighted_kappa, kappa.spearman])
def test_intervals_of_kappa_and_ranks_hold_the_truth_in_94_to_96_percent_of_many_tables(statistic, questions):
    assert coverage(statistic, questions, 6000) == pytest.approx(0.95, abs=0.012)


def verdict(number: int, turn: int, score: float | None, *, empty: bool = False) -> VerdictRow:
    return VerdictRow(
        model="tuned",
        judge_id="j",
        question_id=number,
        turn=turn,
        sample_index=0,
        status="ok" if score is not None else "refused",
        parse_flag="ok" if score is not None else "none",
        score=score,
        model_returned="parrot",
        answer_empty=empty,
        answer_has_delimiter=False,
        answer_has_rating=False,
    )


def own_report(judge: str, **changes: Any) -> dict[str, Any]:
    """What the report of an evaluation says of its judge."""
    who = {"id": judge, "backend": judge, "models_returned": [f"{judge}-2"], "parser": 2}
    who |= {"prompts_sha256": "p", "references_sha256": "r", "repeats": 1}
    state = {"protocol": "mtbench-single-v1", "judge_compromised": False, "controls_that_failed": [], "no_score": None}
    average = {"mean": 5.0, "low": 4.0, "high": 6.0}
    return {"judge": who, **state, **changes, "models": {"tuned": {"average": average}}}


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    """The report of two judges; the second gives one more to every answer of category b, and refuses question 1."""
    monkeypatch.chdir(folder)
    block = {"method": "agreement", "checkpoints": ["tuned"], "evals": ["one", "two"], "bootstrap_samples": 200}
    Path("params.yaml").write_text(json.dumps({"evals": {"both": block}, "seed": 0}))
    write_rows(Path("questions.jsonl"), QUESTIONS)
    first = [verdict(q.question_id, turn, 1 + (3 * q.question_id + turn) % 9) for q in QUESTIONS for turn in (1, 2)]
    second = [row.model_copy(update={"score": row.score + (row.question_id > 10)}) for row in first]
    second[:2] = [verdict(1, 1, None), verdict(1, 2, 1.0, empty=True)]  # which the first judge rates, too
    grades = [f"judgments/{name}/tuned/verdicts.jsonl" for name in ("one", "two")]
    for name, path, rows in zip(("one", "two"), grades, (first, second), strict=True):
        write_rows(Path(path), rows)
        Path(f"{name}.json").write_text(json.dumps(own_report(name, **(changes if name == "two" else {}))))
    words = ["--params", "evals.both", "seed", "--grades", *grades, "--reports", "one.json", "two.json"]
    script("report/agreement").main([*words, "--questions", "questions.jsonl", "--out", "both.json"])
    found: dict[str, Any] = json.loads(Path("both.json").read_text())
    return found


def test_a_report_shows_judges_side_by_side(tmp_path, monkeypatch):
    report = written(tmp_path, monkeypatch)
    (pair,) = report["pairs"]
    assert pair["evals"] == ["one", "two"]
    assert pair["rated"] == {"both": 38, "only_first": 2, "only_second": 0, "neither": 0}
    # questions 2 to 10 are equal: 18 of 38 answers that both rated, 18 of 40 that one rated
    assert pair["agreement"]["mean"] == round(18 / 38, 4)
    assert pair["agreement_if_missing_differ"] == 0.45
    assert pair["within_one"]["mean"] == 1.0
    assert pair["within_one"]["low"] < 1.0 == pair["within_one"]["high"]  # equal scores are not sure
    assert pair["difference"]["mean"] == round(20 / 38, 4)
    assert 0.9 < pair["weighted_kappa"]["mean"] < 1.0
    assert pair["spearman"]["low"] <= pair["spearman"]["mean"] <= pair["spearman"]["high"]
    assert report["averages"]["tuned"]["one"] == {"mean": 5.0, "low": 4.0, "high": 6.0}
    assert {name: one["models_returned"] for name, one in report["judges"].items()} == {
        "one": ["one-2"],
        "two": ["two-2"],
    }
    assert {"id", "prompts_sha256", "references_sha256", "parser", "protocol"} <= set(report["judges"]["one"])


def test_a_judge_that_is_compromised_is_named_in_the_log_and_the_report(tmp_path, monkeypatch, caplog):
    with caplog.at_level(logging.WARNING):
        report = written(tmp_path, monkeypatch, judge_compromised=True, controls_that_failed=["control_spoof"])
    assert report["judges"]["two"]["controls_that_failed"] == ["control_spoof"]
    assert "the judge of two can't be trusted: it rewards control_spoof" in caplog.text


def test_a_model_card_has_each_judges_average(tmp_path, monkeypatch):
    report = written(tmp_path, monkeypatch)
    block = Agreement(method="agreement", checkpoints=["tuned"], evals=["one", "two"])
    scores = block.scores_of("tuned", report)
    assert scores.rows == (("`one`", "one-2", "5.00"), ("`two`", "two-2", "5.00"))
    assert scores.text.startswith("judges side by side; one and two: weighted kappa 0.9")


def graded(folder: Path, method: Any, *, equal: bool = False) -> dict[str, Any]:
    """The report of two judges of a method; the second gives turn 2 one more, and leaves two answers without a score.

    Answers have two gradings, or two items. One question's answers are empty. `equal`: both judges say the same.
    """
    place, file = {"rubric": ("gradings", "gradings.jsonl"), "checklist": ("checks", "checks.jsonl")}[method]
    grades = []
    for name in ("one", "two"):
        other = name == "two" and not equal
        scored.WRITERS[method](folder, name)
        for checkpoint in scored.CHECKPOINTS:
            path = folder / "data" / place / name / checkpoint / file
            rows = list(read_rows(path, METHODS[method].row))
            for number, row in enumerate(rows):
                new = {"score": row.score + (other and row.turn == 2), "answer_empty": row.question_id == 3}
                if other and checkpoint == "sft" and row.question_id in (4, 5) and row.turn == 1:
                    new |= {"score": None, "status": "unparsed"}
                rows[number] = row.model_copy(update=new)
            write_rows(path, rows)
            grades.append(path)
    block = Agreement(method="agreement", checkpoints=scored.CHECKPOINTS, evals=["one", "two"], bootstrap_samples=200)
    asked, out = folder / "data/source/asked/rows.jsonl", folder / "results/both.json"
    agreement.write_report(grades, [folder / "results/one.json", folder / "results/two.json"], asked, block, 0, out)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.parametrize("method", ["rubric", "checklist"])
def test_judges_of_a_rubric_or_a_checklist_are_side_by_side(tmp_path, method):
    report = graded(tmp_path, method)
    (pair,) = report["pairs"]
    # 3 checkpoints, 23 questions whose answers aren't empty, 2 turns; two answers have no score of the second judge
    assert pair["rated"] == {"both": 136, "only_first": 2, "only_second": 0, "neither": 6}
    assert pair["agreement"]["mean"] == round(67 / 136, 4)  # turn 1 is equal
    assert pair["agreement_if_missing_differ"] == round(67 / 138, 4)
    assert pair["within_one"]["mean"] == 1.0
    assert pair["difference"]["mean"] == round(69 / 136, 4)
    own = {name: json.loads((tmp_path / f"results/{name}.json").read_text()) for name in ("one", "two")}
    for name, judge in report["judges"].items():
        assert judge["protocol"] == own[name]["protocol"]
        criteria = own[name]["rubric"] if method == "rubric" else own[name]["checklists"]
        assert judge["criteria_sha256"] == criteria["sha256"]
        assert report["averages"]["dpo"][name] == own[name]["models"]["dpo"]["average"]


def test_a_difference_is_at_most_as_large_as_the_methods_scale(tmp_path):
    # how far the mean of equal ratings may be off depends on the largest difference: 4 from 1 to 5, 9 from 1 to 10
    categories = [question.category for question in scored.QUESTIONS]
    gaps = np.zeros((24, 6))  # of both turns of the three checkpoints
    gaps[3] = np.nan
    for method, span in (("rubric", 4.0), ("checklist", 9.0)):
        (pair,) = graded(tmp_path / method, method, equal=True)["pairs"]
        none = stratified_mean(gaps, categories, 200, 0, (-span, span))
        assert pair["difference"] == {"mean": 0.0, "low": round(none.low, 4), "high": round(none.high, 4)}


# --- in a recipe -----------------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The embedded recipe with a second judge of the same answers, and their agreement."""
    monkeypatch.chdir(ROOT)
    data: dict[str, Any] = yaml.safe_load((ROOT / "recipes/tiny.yaml").read_text())
    data["backends"]["other"] = {"kind": "verifier"}
    data["evals"]["second"] = data["evals"]["mtbench"] | {"judge": "other"}
    data["evals"]["both"] = {"method": "agreement", "checkpoints": ["dpo_hh"], "evals": ["mtbench", "second"]}
    return data


def loaded(data: dict[str, Any], tmp_path: Path) -> Any:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return load(path)


def test_judges_of_the_same_answers_are_side_by_side(recipe, tmp_path):
    found = loaded(recipe, tmp_path)
    assert found.evals["both"].pairs() == [("mtbench", "second")]
    assert "report_agreement-both" in found.stage_names()
    assert [name for name in found.stage_names() if name == "answers-mtbench-dpo_hh"] == ["answers-mtbench-dpo_hh"]


@pytest.fixture
def by_rubric(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe with two more judges, which grade the same answers by a rubric, and their agreement."""
    judging = "recipes/prompts/judging"
    block = {key: recipe["evals"]["mtbench"][key] for key in ("answers", "checkpoints", "judge")}
    block |= {"method": "rubric", "prompts": f"{judging}/rubric.yaml", "rubric": f"{judging}/helpfulness.yaml"}
    recipe["evals"] |= {"graded": block, "graded_again": block | {"judge": "other"}}
    recipe["evals"]["both"] |= {"evals": ["graded", "graded_again"]}
    return recipe


def test_judges_of_a_rubric_are_side_by_side_in_a_recipe(by_rubric, tmp_path):
    assert loaded(by_rubric, tmp_path).evals["both"].pairs() == [("graded", "graded_again")]


def test_judges_on_different_scales_are_refused(by_rubric, tmp_path):
    by_rubric["evals"]["both"]["evals"] = ["mtbench", "second", "graded"]
    with pytest.raises(RecipeError) as refused:
        loaded(by_rubric, tmp_path)
    said = " ".join(str(refused.value).split())
    assert "evals.both.evals.2: evals.graded rates on another scale" in said
    assert "found: method: rubric expected: method: mtbench, as in evals.mtbench" in said
    assert "evals.both.evals.1" not in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evals": ["mtbench", "harness"]}, "evals.both.evals.1: no evaluation whose judge rates answers"),
        ({"evals": ["mtbench", "mtbench"]}, "evals.both.evals.1: an evaluation is named twice"),
        ({"checkpoints": ["teacher"]}, "evals.both.checkpoints.0: evals.mtbench doesn't rate this checkpoint"),
    ],
)
def test_what_no_two_judges_rated_is_refused(recipe, tmp_path, changes, message):
    recipe["evals"]["both"] |= changes
    with pytest.raises(RecipeError, match=message):
        loaded(recipe, tmp_path)


def test_judges_of_other_answers_are_refused(recipe, tmp_path):
    recipe["answers"]["other"] = recipe["answers"]["mtbench"]
    recipe["evals"]["second"]["answers"] = "other"
    with pytest.raises(RecipeError, match=r"evals\.both\.evals\.1: its judge rates other answers"):
        loaded(recipe, tmp_path)
