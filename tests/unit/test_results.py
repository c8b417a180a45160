"""What is in results/: each file has the form of its schema, averages are for DVC, and one table has all scores."""

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import jsonschema
import pytest
import yaml
from conftest import ROOT
from mains import script
from pydantic import ValidationError
from scored import CHECKPOINTS, NAMES, QUESTIONS, WRITERS, rating, write_harness, write_mtbench

from bezoar.cache.stages import pipeline, stages_of
from bezoar.errors import InputError
from bezoar.recipe.recipe import Eval
from bezoar.steps.results import schema
from bezoar.steps.results.any import REPORTS, read_report
from bezoar.steps.results.report import averages
from bezoar.steps.results.summary import COLUMNS, summary, table, text
from bezoar.steps.results.write import write

METHODS = [one.method for one in REPORTS if one.method != "ablation"]  # which is of a matrix, not of an evaluation
NOTHING = {"count": 0, "significant": 0, "level": 0.05, "method": "Holm 1979", "separability": {}}
ALONE = {"order": ["base"], "comparisons": NOTHING}  # of a report with one checkpoint


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reports of every method, which no test changes."""
    folder = tmp_path_factory.mktemp("made")
    for write_one in WRITERS.values():
        write_one(folder)
    return folder / "results"


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy of its folder `results`."""
    shutil.copytree(made, tmp_path / "results")
    return tmp_path / "results"


def test_every_method_of_a_recipe_has_a_form():
    union = typing.get_args(typing.get_args(Eval)[0])
    methods = {typing.get_args(one.model_fields["method"].annotation)[0] for one in union}
    assert methods == set(METHODS) == set(WRITERS)


def test_schemas_are_those_of_the_forms():
    written = {path.name: path.read_text() for path in (ROOT / "schemas").iterdir()}
    assert written == schema.texts(), "hint: make format"


@pytest.mark.parametrize("method", METHODS)
def test_the_reports_of_a_method_fit_its_schema_and_no_other(results, method):
    found = json.loads((results / f"{NAMES[method]}.json").read_text())
    for other in METHODS:
        schema_of = json.loads((ROOT / f"schemas/{other}.schema.json").read_text())
        jsonschema.Draft202012Validator.check_schema(schema_of)
        assert jsonschema.Draft202012Validator(schema_of).is_valid(found) == (method == other)
    assert read_report(results / f"{NAMES[method]}.json").method == method


def test_files_of_averages_and_lines_of_the_summary_fit_their_schemas(results):
    form = jsonschema.Draft202012Validator(json.loads((ROOT / "schemas/metrics.schema.json").read_text()))
    files = sorted(results.glob("metrics/*/*.json"))
    names = {"judged", "checked", "graded", "pairs", "harness", "held"}
    assert {path.parent.name for path in files} == names  # answers have no score
    for path in files:
        form.validate(json.loads(path.read_text()))
    line = jsonschema.Draft202012Validator(json.loads((ROOT / "schemas/summary.schema.json").read_text()))
    scores = summary(sorted(results.glob("*.json")))
    assert len(scores) > 20
    for one in scores:
        line.validate(one._asdict())


@pytest.mark.parametrize("change", [{"more": 1}, {"checkpoints": None}, {"num_fewshot": -1}], ids=str)
def test_a_report_of_another_form_is_not_written(results, tmp_path, change):
    form = next(one for one in REPORTS if one.method == "harness")
    report = json.loads((results / "harness.json").read_text())
    with pytest.raises(ValidationError):
        write(tmp_path / "apart/harness.json", report | change, form)
    assert not (tmp_path / "apart").exists()


def test_a_file_that_is_no_report_is_a_clear_error(results):
    (results / "other.json").write_text('{"scores": 1}')
    with pytest.raises(
        InputError, match=r"other\.json is no result of an evaluation\n  found:    scores\n  expected: "
    ):
        read_report(results / "other.json")
    (results / "other.json").write_text("{")
    with pytest.raises(InputError, match=r"other\.json can't be read\n  found: .*\n  expected: JSON"):
        read_report(results / "other.json")
    report = json.loads((results / "harness.json").read_text())
    (results / "other.json").write_text(json.dumps(report | {"num_fewshot": "no"}))
    with pytest.raises(InputError, match=r"num_fewshot doesn't fit (.|\n)*expected: .*schemas/harness(.|\n)*hint: "):
        read_report(results / "other.json")


def test_an_average_adds_the_squares_of_its_parts_arms(tmp_path):
    report = {"evaluation": "h", "num_fewshot": 0, "checkpoints": {"base": {}}, **ALONE}
    for task, score, error in (("one", 0.5, 0.03), ("two", 0.7, 0.04)):
        metric = {"score": score, "standard_error": error}
        clean = {"questions": 9, "left_out": 0, "metrics": {"acc": metric}}
        metrics = {"acc": metric, "perplexity": {"score": 9.0, "standard_error": None}}
        report["checkpoints"]["base"][task] = {"metrics": metrics, "version": 1.0, "questions": 9, "clean": clean}
    form = next(one for one in REPORTS if one.method == "harness")
    write(tmp_path / "results/h.json", report, form)
    assert json.loads((tmp_path / "results/h.json").read_text()) == report  # as it was
    # Wilson's ends: of 0.5 with 0.5 * 0.5 / 0.03^2 + 1 = 278.8 answers 0.4418 and 0.5582; of 0.7 with
    # 0.7 * 0.3 / 0.04^2 + 1 = 132.25 answers 0.6171 and 0.7716.
    # The average's arms are sqrt(0.0582^2 + 0.0829^2) / 2 and sqrt(0.0582^2 + 0.0716^2) / 2
    assert json.loads((tmp_path / "results/metrics/h/base.json").read_text()) == {
        "average": 0.6,
        "low": 0.5494,
        "high": 0.6461,
    }


@pytest.mark.parametrize(("score", "low", "high"), [(0.0, 0.0, 0.0362), (1.0, 0.9638, 1.0)])
def test_equal_answers_of_all_questions_bound_a_share(score, low, high):
    metric = {"score": score, "standard_error": 0.0}
    clean = {"questions": 100, "left_out": 0, "metrics": {}}
    task = {"metrics": {"acc": metric, "bleu": metric}, "version": 1.0, "questions": 100, "clean": clean}
    form = next(one for one in REPORTS if one.method == "harness")
    report = form.model_validate(
        {"evaluation": "h", "num_fewshot": 0, "checkpoints": {"base": {"task": task}}, **ALONE}
    )
    share, other = report.scores("h")
    # a mean of 0.0362 has no right answer among 100 in 2.5 % of cases: (1 - 0.0362)^100
    assert (round(share.low, 4), round(share.high, 4)) == (low, high)
    assert math.isclose((1 - 0.03621669) ** 100, 0.025, rel_tol=1e-4)
    assert (other.low, other.high, other.main) == (None, None, False)


def test_a_withheld_score_has_no_average_and_says_why(tmp_path):
    def silent(model: str, number: int, turn: int) -> float | None:
        return None if model == "sft" else rating(model, number, turn)

    write_mtbench(tmp_path, rate=silent)
    assert json.loads((tmp_path / "results/metrics/judged/sft.json").read_text()) == {}
    scores = {one.checkpoint: one for one in summary([tmp_path / "results/judged.json"]) if one.main}
    assert (scores["sft"].score, scores["sft"].withheld) == (None, "the judge gave no readable rating: 48 refused")
    assert (scores["dpo"].score, scores["dpo"].withheld) == (7.0, None)
    assert "withheld: the judge gave no readable rating: 48 refused" in table(scores.values())


def test_the_summary_has_a_line_for_each_score_and_its_log_a_table(results, monkeypatch, caplog):
    monkeypatch.chdir(results.parent)
    Path("params.yaml").write_text("{}")
    reports = [f"results/{name}.json" for name in NAMES.values()]
    with caplog.at_level("INFO", logger="bezoar"):
        script("report/summary").main(["--reports", *reports, "--out", "results/summary.csv"])
    with Path("results/summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    judged = json.loads(Path("results/judged.json").read_text())
    average = judged["models"]["dpo"]["average"]
    [line] = [
        row for row in rows if (row["evaluation"], row["checkpoint"], row["metric"]) == ("judged", "dpo", "average")
    ]
    assert line == {
        "evaluation": "judged",
        "method": "mtbench",
        "checkpoint": "dpo",
        "metric": "average",
        "score": str(average["mean"]),
        "low": str(average["low"]),
        "high": str(average["high"]),
        "n": str(len(QUESTIONS)),
        "judge": "parrot",
        "compromised": "false",
        "withheld": "",
        "main": "true",
    }
    parts = {row["metric"] for row in rows if row["evaluation"] == "judged"}
    assert parts == {"average", "turn 1", "turn 2", "math", "writing"}
    # of each checkpoint: 5 of each evaluation with ratings, 2 metrics, 1 mix, and a line that answers are not rated;
    # of the baseline of pairs one, of others raw, at equal length, of a turn and of two categories
    assert len(rows) == len(CHECKPOINTS) * (3 * 5 + 2 + 1 + 1) + 1 + 2 * 5
    shown = caplog.messages[-1].splitlines()
    assert len(shown) == 2 + len(CHECKPOINTS) * (3 + 1 + 1 + 1 + 1)  # bleu isn't a share: it is in the file only
    assert shown[1].split() == ["evaluation", "checkpoint", "metric", "score", "95", "%", "interval", "n"]
    assert any("judged" in one and f"{average['low']:.3f} to {average['high']:.3f}" in one for one in shown)


def test_dvc_draws_the_main_scores_of_the_summary_with_their_intervals(results):
    from dvc_render.vega import VegaRenderer  # slow to import

    rows = list(csv.DictReader(io.StringIO(text(summary(sorted(results.glob("*.json")))))))
    template = str(ROOT / "rules/plots/scores.json")
    rows = [{**row, "rev": "workspace"} for row in rows]
    drawn = VegaRenderer(rows, "scores", x="checkpoint", y="score", template=template).get_filled_template()
    assert drawn["data"]["values"] == rows
    said = json.dumps({name: part for name, part in drawn.items() if name != "data"})
    assert "<DVC" not in said
    assert set(re.findall(r"datum\.(\w+)|datum\['(\w+)'\]", said)) == {
        *((name, "") for name in ("main", "low", "high")),
        ("", "score"),
    }
    assert {"main", "low", "high", "score"} <= set(COLUMNS)


def test_scores_of_the_harness_come_in_the_order_of_the_chain(results):
    scores = read_report(results / "harness.json").scores("harness")
    assert list(dict.fromkeys(one.checkpoint for one in scores)) == CHECKPOINTS


SHOW = "from dvc.cli import main; main(['metrics', 'show']); print('--', flush=True); main(['metrics', 'diff'])"


def test_dvc_shows_and_compares_the_metrics_of_the_embedded_recipe_in_80_columns(tmp_path, monkeypatch):
    from test_cache_dvc import step  # a step of the cache

    monkeypatch.chdir(tmp_path)
    evals = yaml.safe_load((ROOT / "recipes/tiny.yaml").read_text())["evals"]
    steps = []
    for name, block in evals.items():
        for place, checkpoint in enumerate(block["checkpoints"]):
            path = Path(f"results/metrics/{name}/{checkpoint}.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"average": 1.2345 + place, "low": 1.1111, "high": 2.2222 + place}))
        Path(f"results/{name}.json").write_text("{}")
        steps.append(step(f"report-{name}", outputs=(f"results/{name}.json", f"results/metrics/{name}")))
    Path("dvc.yaml").write_text(pipeline(stages_of(steps), {}, {"cmd": "true"}))
    subprocess.run(["git", "init", "--quiet"], check=True)
    Path(".dvc").mkdir()
    Path(".dvc/config").write_text("")
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "-m", "m"], check=True)
    for path in Path("results/metrics").glob("*/*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"average": 0.9876, "low": -0.1234}))
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True)
    shown, compared = (part.strip().splitlines() for part in done.stdout.split("--\n"))
    count = sum(len(block["checkpoints"]) for block in evals.values())
    assert len(shown) == 1 + count
    assert shown[0].split() == ["Path", "average", "high", "low"]
    assert len(compared) == 1 + 2 * count
    assert max(map(len, shown + compared)) <= 80, max(shown + compared, key=len)


def test_averages_are_of_main_scores_only(results):
    report = read_report(results / "judged.json")
    assert {name: one["average"] for name, one in averages(report, "judged").items()} == {
        name: report.models[name].average.mean for name in CHECKPOINTS
    }
    write_harness(results.parent, "apart")
    assert averages(read_report(results / "apart.json"), "apart")["base"]["average"] == 0.3
