"""The table of an ablation, with effects that are derived by hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import ROOT
from mains import script
from scored import CHECKPOINTS, JUDGED, QUESTIONS, WRITERS, verdict
from test_page import words

from bezoar.errors import InputError
from bezoar.page.block import Page
from bezoar.page.inputs import Inputs
from bezoar.page.sections import ablation as section
from bezoar.steps.data.rows import write_rows
from bezoar.steps.evaluate.comparisons import DRAWS
from bezoar.steps.evaluate.matrix import Matrix
from bezoar.steps.evaluate.mtbench import Mtbench
from bezoar.steps.evaluate.questions import answer_row
from bezoar.steps.evaluate.significance import holm
from bezoar.steps.evaluate.stats import stratified_mean
from bezoar.steps.report import mtbench
from bezoar.steps.report.ablation import pairs_of, write_report
from bezoar.steps.results.any import read_report

Rate = Callable[[str, int], float | None]


def matrix_of(axes: dict[str, Any], chains: dict[tuple[str, ...], str], evaluation: str = "judged") -> Matrix:
    """A matrix that scores one stage, from the checkpoints by their levels."""
    named = [(dict(zip(axes, levels, strict=True)), end) for levels, end in chains.items()]
    made = [{"levels": levels, "checkpoints": {"dpo": end}} for levels, end in named]
    block = Matrix.model_validate({"eval": evaluation, "score": ["dpo"], "axes": axes, "chains": made})
    block._name = "both"
    return block


BETA = {"b010": {}, "b005": {"stages.dpo.beta": 0.05}}
SEEDS = {"s0": {}, "s1": {"stages.dpo.seed": 1}}
ENDS = {("b010", "s0"): "dpo", ("b010", "s1"): "dpo_s1", ("b005", "s0"): "dpo_b005", ("b005", "s1"): "dpo_b005_s1"}


def wave(number: int) -> int:
    """-1, 0 or 1, whose mean over all questions, and over those of a category, is 0."""
    return (number // 2) % 3 - 1


def rating(model: str, number: int) -> float | None:
    """5 for the recipe's own beta; 1 more for the other one with the first seed and 2 more with the second one."""
    gains = {"dpo": 0, "dpo_s1": 0, "dpo_b005": 1 + wave(number), "dpo_b005_s1": 2 + wave(number)}
    return 5.0 + gains[model] if model in gains else 1.0


def judged(rate: Rate, models: list[str]) -> list[Path]:
    """Write an MT-Bench evaluation of models with one control, and its report; returns the files of single items."""
    block = Mtbench(**JUDGED, checkpoints=models, controls=["empty"], bootstrap_samples=200)
    folder, asked = Path("data/judgments/judged"), Path("data/source/asked/rows.jsonl")
    for model in block.judged():
        rated = {one.question_id: rate(model, one.question_id) for one in QUESTIONS}
        rows = [verdict(model, number, turn, score) for number, score in rated.items() for turn in (1, 2)]
        write_rows(folder / model / "verdicts.jsonl", rows)
    write_rows(asked, QUESTIONS)
    write_rows(Path("data/source/known/rows.jsonl"), [answer_row("known", QUESTIONS[0], ["a", "b"])])
    known = Path("data/source/known/rows.jsonl")
    mtbench.write_report(folder, asked, known, known, block, 0, Path("results/judged.json"), {})
    return [*(folder / model / "verdicts.jsonl" for model in models), asked]


def reported(matrix: Matrix, files: list[Path]) -> dict[str, Any]:
    write_report(Path(f"results/{matrix.eval}.json"), files, matrix, 0, Path("results/both.json"))
    return json.loads(Path("results/both.json").read_text())


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_an_effect_is_the_mean_over_seeds_with_their_spread_and_an_interval_over_questions() -> None:
    report = reported(matrix_of({"beta": BETA, "seed": SEEDS}, ENDS), judged(rating, list(ENDS.values())))
    [effect] = report["effects"]  # the seeds are no effect
    # by seed: 1 and 2; their mean is 1.5, and their standard deviation sqrt(0.5^2 + 0.5^2) = sqrt(0.5)
    assert (effect["axis"], effect["level"], effect["base"], effect["stage"]) == ("beta", "b005", "b010", "dpo")
    assert (effect["mean"], effect["by_seed"], report["seeds"]) == (1.5, [1, 2], 2)
    assert effect["sd_between_seeds"] == pytest.approx(0.5**0.5, rel=1e-6)
    # a question's difference is 1.5 + wave in both turns, when the seeds are averaged
    asked = sorted(QUESTIONS, key=lambda one: str(one.question_id))
    cells = np.array([[1.5 + wave(one.question_id)] * 2 for one in asked])
    expected = stratified_mean(cells, [one.category for one in asked], DRAWS, 0, (-9.0, 9.0))
    assert (effect["low"], effect["high"]) == pytest.approx((expected.low, expected.high), rel=1e-6)
    assert (effect["items"], effect["pairs"]) == (24, 2)
    assert report["comparisons"] == {"count": 1, "significant": 1, "level": 0.05, "method": "Holm 1979"}


def test_an_effect_is_the_mean_over_the_levels_of_other_axes() -> None:
    axes = {"beta": BETA, "rounds": {"r2": {}, "r1": {"stages.dpo.epochs": 2.0}}}
    levels = [("b010", "r2"), ("b010", "r1"), ("b005", "r2"), ("b005", "r1")]
    ends = dict(zip(levels, ENDS.values(), strict=True))
    report = reported(matrix_of(axes, ends), judged(rating, list(ends.values())))
    beta, rounds = report["effects"]
    # beta: 1 with r2 and 2 with r1; rounds: 0 with b010 and 1 with b005
    assert (beta["mean"], rounds["mean"]) == (1.5, 0.5)
    assert (beta["sd_between_seeds"], report["seeds"]) == (None, 1)
    assert [beta["p_holm"], rounds["p_holm"]] == pytest.approx(holm([beta["p"], rounds["p"]]))
    assert report["comparisons"]["count"] == 2


def test_every_checkpoint_has_its_score() -> None:
    report = reported(matrix_of({"beta": BETA, "seed": SEEDS}, ENDS), judged(rating, list(ENDS.values())))
    found = {one["checkpoint"]: one["scores"]["average"] for one in report["combinations"]}
    assert found == {"dpo": 5.0, "dpo_s1": 5.0, "dpo_b005": 6.0, "dpo_b005_s1": 7.0}


def test_dvc_has_a_small_file_for_each_level() -> None:
    report = reported(matrix_of({"beta": BETA, "seed": SEEDS}, ENDS), judged(rating, list(ENDS.values())))
    [path] = Path("results/metrics/both").iterdir()
    effect = {key: report["effects"][0][key] for key in ("mean", "low", "high", "p_holm")}
    assert (path.name, json.loads(path.read_text())) == ("dpo-b005.json", {"average": effect})


def test_the_report_fits_its_schema_and_no_other() -> None:
    report = reported(matrix_of({"beta": BETA, "seed": SEEDS}, ENDS), judged(rating, list(ENDS.values())))
    for path in (ROOT / "schemas").glob("*.schema.json"):
        form = jsonschema.Draft202012Validator(json.loads(path.read_text()))
        assert form.is_valid(report) == (path.name == "ablation.schema.json")


def test_no_difference_is_no_finding() -> None:
    report = reported(matrix_of({"beta": BETA, "seed": SEEDS}, ENDS), judged(lambda *_: 1.0, list(ENDS.values())))
    [effect] = report["effects"]
    assert (effect["mean"], effect["p"], effect["significant"]) == (0.0, 1.0, False)


def test_a_score_that_is_withheld_withholds_the_effect_and_still_counts() -> None:
    def rate(model: str, number: int) -> float | None:
        return None if model == "dpo_b005_s1" else rating(model, number)

    axes = {"beta": {**BETA, "b020": {"stages.dpo.beta": 0.2}}}
    chains = {("b010",): "dpo", ("b005",): "dpo_b005_s1", ("b020",): "dpo_b005"}
    files = judged(rating, list(chains.values()))
    data = json.loads(Path("results/judged.json").read_text())
    data["models"]["dpo_b005_s1"] |= {"average": None, "withheld": "no readable rating"}
    Path("results/judged.json").write_text(json.dumps(data))
    lost, found = reported(matrix_of(axes, chains), files)["effects"]
    assert (lost["mean"], lost["p_holm"], lost["withheld"]) == (None, None, "dpo_b005_s1: no readable rating")
    assert found["p_holm"] == pytest.approx(min(1.0, 2 * found["p"]))  # among two comparisons


def test_a_stage_that_an_axis_does_not_change_is_not_compared() -> None:
    axes = {"beta": BETA, "rounds": {"r2": {}, "r1": {"stages.sft.epochs": 2.0}}}
    same = {("b010", "r2"): "dpo", ("b010", "r1"): "dpo", ("b005", "r2"): "dpo_b005", ("b005", "r1"): "dpo_b005"}
    report = reported(matrix_of(axes, same), judged(rating, ["dpo", "dpo_b005"]))
    assert [one["axis"] for one in report["effects"]] == ["beta"]


def test_pairs_differ_in_one_axis_alone() -> None:
    pairs = pairs_of(matrix_of({"beta": BETA, "seed": SEEDS}, ENDS), "dpo", "beta", "b005")
    assert pairs == [(("s0",), "dpo_b005", "dpo"), (("s1",), "dpo_b005_s1", "dpo_s1")]


@pytest.mark.parametrize("name", [name for name in WRITERS if name not in ("answers", "agreement")])
def test_every_evaluation_with_scores_of_items_has_effects(name: str) -> None:
    WRITERS[name](Path())
    [path] = Path("results").glob("*.json")
    report = read_report(path)
    files = [one for one in Path("data").rglob("*") if one.is_file()]
    axes = {"step": {"zero": {}, "one": {"stages.dpo.epochs": 1.0}, "two": {"stages.dpo.epochs": 2.0}}}
    chains = {(level,): end for level, end in zip(axes["step"], CHECKPOINTS, strict=True)}
    found = reported(matrix_of(axes, chains, path.stem), files)
    scores = {(one.checkpoint, one.metric): one.score for one in report.scores(path.stem) if one.main}
    ends = dict(zip(axes["step"], CHECKPOINTS, strict=True))
    whole = [one for one in found["effects"] if not one["withheld"]]
    assert whole
    for one in whole:
        gap = scores[ends[one["level"]], one["metric"]] - scores["base", one["metric"]]
        assert one["mean"] == pytest.approx(gap, abs=1e-3)


def test_a_checkpoint_without_a_score_is_an_error() -> None:
    files = judged(rating, ["dpo", "dpo_s1", "dpo_b005"])
    with pytest.raises(InputError, match="judged has no such score\n  found:    average of dpo_b005_s1"):
        reported(matrix_of({"beta": BETA, "seed": SEEDS}, ENDS), files)


def test_the_script_writes_the_same_bytes_each_time() -> None:
    matrix = matrix_of({"beta": BETA, "seed": SEEDS}, ENDS)
    files = judged(rating, list(ENDS.values()))
    values = {"matrix": {"both": matrix.model_dump(mode="json")}, "seed": 0}
    Path("params.yaml").write_text(json.dumps(values))
    items = [str(path) for path in files]
    for out in ("one", "two"):
        words = ["--params", "matrix.both", "seed", "--report", "results/judged.json", "--scores", *items]
        script("report/ablation").main([*words, "--out", f"{out}/both.json"])
    assert Path("one/both.json").read_bytes() == Path("two/both.json").read_bytes()


EMPTY: dict[str, Any] = {"recipe": "r", "shards": 1, "models": {}, "schemes": {}, "filters": {}}
EMPTY |= {"mixes": {}, "stages": {}, "evals": {}}


def test_the_page_has_the_effects_and_says_how_many_seeds_there_are() -> None:
    inputs = Inputs(Page.model_validate(EMPTY | {"matrices": ["both"]}))
    reported(matrix_of({"beta": BETA, "seed": SEEDS}, ENDS), judged(rating, list(ENDS.values())))
    text = words(section.section(inputs))
    assert "2 axes, 4 checkpoints, 2 seeds. 1 comparisons, 1 of them beyond chance" in text
    assert "+1.50" in text
    assert "0.71 2 seeds" in text
    assert section.section(Inputs(Page.model_validate(EMPTY))) is None


def test_the_page_says_that_one_seed_says_nothing_of_their_spread() -> None:
    chains = {("b010",): "dpo", ("b005",): "dpo_b005"}
    reported(matrix_of({"beta": BETA}, chains), judged(rating, list(chains.values())))
    text = words(section.section(Inputs(Page.model_validate(EMPTY | {"matrices": ["both"]}))))
    assert "1 seed, so nothing is known of how far seeds spread" in text
