"""Scores of items that no training row repeats, beside the full ones."""

import json
import math
from pathlib import Path

import pytest
from harness_data import write_settings
from mains import script

from bezoar.steps.evaluate.harness import item_scores
from bezoar.steps.report.clean import left_out
from bezoar.steps.report.harness import clean_scores

SAMPLES = {
    "own": [
        {"doc_id": number, "filter": chain, "metrics": ["acc", "bleu"], "acc": number % 2, "bleu": ("a", "b")}
        for chain in ("strict", "none")
        for number in (1, 0, 3, 2)
    ]
}
ACC = {"score": 0.5, "standard_error": 0.29}


def certificate(path, *items):
    path.write_text(json.dumps({"items": [{"eval": one, "task": task, "id": name} for one, task, name in items]}))
    return str(path)


def test_items_of_all_mixes_of_a_checkpoints_chain_are_left_out(tmp_path):
    first = certificate(tmp_path / "first.json", ("bench", "own", "3"), ("other", "own", "4"))
    second = certificate(tmp_path / "second.json", ("bench", "own", "1"))
    found = left_out([f"sft={first}", f"dpo={first}", f"dpo={second}"], "bench")
    assert found == {"sft": {("own", "3")}, "dpo": {("own", "3"), ("own", "1")}}


def test_a_documents_scores_are_those_that_are_numbers():
    assert item_scores(SAMPLES)[:2] == [
        {"task": "own", "id": "0", "filter": "none", "scores": {"acc": 0.0}},
        {"task": "own", "id": "1", "filter": "none", "scores": {"acc": 1.0}},
    ]


def test_a_mean_over_documents_is_taken_over_those_that_are_clean():
    full = {"metrics": {"acc": ACC, "acc (strict)": ACC, "bleu": {"score": 7.0, "standard_error": None}}}
    found = clean_scores(full, item_scores(SAMPLES), {("own", "3"), ("elsewhere", "0")})
    error = math.sqrt(((0 - 1 / 3) ** 2 * 2 + (1 - 1 / 3) ** 2) / 2 / 3)
    clean = {"score": pytest.approx(1 / 3), "standard_error": pytest.approx(error)}
    assert found == {
        "questions": 3,
        "left_out": 1,
        "metrics": {"acc": clean, "acc (strict)": clean, "bleu": None},
    }
    assert clean_scores({"metrics": {"acc": ACC | {"score": 0.9}}}, item_scores(SAMPLES), set())["metrics"] == {
        "acc": None  # it isn't the mean of what documents have
    }
    nothing = clean_scores({"metrics": {"acc": ACC}}, item_scores(SAMPLES), {("own", str(one)) for one in range(4)})
    assert nothing == {"questions": 0, "left_out": 4, "metrics": {"acc": None}}


def test_the_report_has_both(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    block = {"method": "harness", "checkpoints": ["base", "sft"], "tasks": ["own"]}
    Path("params.yaml").write_text(json.dumps({"seed": 0, "evals": {"bench": block}}))
    result = {
        "results": {"own": {"acc,none": 0.5, "acc_stderr,none": 0.29, "alias": "own"}},
        "versions": {"own": 1.0},
        "n-samples": {"own": {"effective": 4}},
        "n-shot": {"own": 0},
    }
    for checkpoint in block["checkpoints"]:
        folder = Path("harness", checkpoint, "own")
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "items.jsonl").write_text("".join(json.dumps(one) + "\n" for one in item_scores(SAMPLES)))
    path = certificate(tmp_path / "mix.json", ("bench", "own", "0"))
    write_settings(Path("tasks/own"))
    flags = ["--results", "harness", "--tasks", "tasks", "--out", "bench.json", "--certificates", f"sft={path}"]
    script("report/harness").main(["--params", "evals.bench", "seed", *flags])
    report = json.loads(Path("bench.json").read_text())["checkpoints"]
    assert report["base"]["own"]["clean"]["metrics"]["acc"]["score"] == 0.5
    assert report["sft"]["own"]["clean"] == {
        "questions": 3,
        "left_out": 1,
        "metrics": {"acc": {"score": 0.6666667, "standard_error": 0.3333333}},
    }
    assert report["sft"]["own"]["metrics"]["acc"]["score"] == 0.5
