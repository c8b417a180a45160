"""Recipe smollm2-135m: a real model through all stages, on the real samples in the place of what it fetches."""

import csv
import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Workspace

from bezoar.blocks import NamedBlock
from bezoar.recipe.load import load
from bezoar.steps.base.package import PackagedModel

SHIPPED = ROOT / "recipes" / "smollm2-135m.yaml"
SAMPLES = {
    "dolly": "dolly_sample.jsonl",
    "flan": "flan_cot_sample.jsonl",
    "hh": "hh_rlhf_harmless_sample.jsonl",
    "questions": "mt_bench/question.jsonl",
    "seed_tasks": "seed_tasks.jsonl",
}
MOST_CPU_SECONDS = 1200
TRAINED_ON = ("orca", "evol")  # mixes with answers that people wrote


def shipped() -> dict[str, Any]:
    recipe: dict[str, Any] = yaml.safe_load(SHIPPED.read_text())
    return recipe


@pytest.fixture
def installed() -> None:
    """Skips a test where the model isn't installed."""
    block = PackagedModel.model_validate(shipped()["models"]["smollm2"])
    try:
        importlib.metadata.version(block.distribution)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"the model is not installed: {block.install}, or make smollm2")


@pytest.fixture
def recipe(real: Path, installed: None, workspace: Workspace) -> dict[str, Any]:
    """The shipped recipe with the origins of its sources replaced, and nothing else."""
    shutil.copytree(real, workspace.root / "real")
    changed = shipped()
    assert changed["sources"].keys() == SAMPLES.keys()
    for name, file in SAMPLES.items():
        digest = hashlib.sha256((real / file).read_bytes()).hexdigest()
        pinned = changed["sources"][name]["origin"].get("sha256")
        assert pinned in (None, digest) or name == "hh"  # a sample of its file; the others are the very file
        changed["sources"][name]["origin"] = {"kind": "file", "path": f"real/{file}", "sha256": digest}
    return changed


def built(workspace: Workspace, recipe: dict[str, Any]) -> Path:
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    workspace.snakemake()
    return workspace.root


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def result(root: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "results" / f"{name}.json").read_text())
    return found


def cpu_seconds(root: Path) -> float:
    """Of all jobs that Snakemake measures: all but those of a few seconds."""
    tables = (csv.DictReader(path.open(), delimiter="\t") for path in root.glob("logs/**/*.benchmark.tsv"))
    return sum(float(line["cpu_time"]) for table in tables for line in table)


def gains(root: Path, checkpoint: str, mixes: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    scores = result(root, "likelihood")["checkpoints"]
    yield from (scores[checkpoint][mix]["difference_to_first"] for mix in mixes)


def every_row_is_accounted_for(root: Path, schemes: tuple[str, ...]) -> None:
    for scheme in schemes:
        made, kept = root / "data/generated" / scheme / "0000", root / "data/filtered" / scheme / "0000"
        report = json.loads((made / "report.json").read_text())
        assert report["candidates"] == len(rows(made / "rows.jsonl")) + len(rows(made / "dropped.jsonl"))
        passed = rows(kept / "kept.jsonl")
        assert len(rows(made / "rows.jsonl")) == len(passed) + len(rows(kept / "rejected.jsonl"))
        assert passed, f"nothing is left of {scheme}"
        assert {(row["teacher"], row["judge"], row["rating"]) for row in passed} == {("smollm2", "", None)}


@pytest.mark.long
def test_a_real_model_learns_what_it_is_trained_for(workspace, recipe):
    root = built(workspace, recipe)
    every_row_is_accounted_for(root, ("lamini", "orca", "evol"))
    for gain in gains(root, "sft_evol", TRAINED_ON):
        assert gain["to"] == "smollm2"
        assert gain["low"] > 0, f"nats per token on held-out answers: {gain}"
    harness = result(root, "harness")["checkpoints"]
    assert harness.keys() == {"smollm2", "sft_evol", "dpo_hh"}
    for tasks in harness.values():
        assert all(0 <= task["metrics"]["acc"]["score"] <= 1 for task in tasks.values())
        assert tasks["seed_answers"]["questions"] == 30
    # four choices, one in four by chance; with 30 items two standard errors are 0.16
    assert harness["smollm2"]["seed_answers"]["metrics"]["acc_norm"]["score"] > 0.25 + 0.16
    answers = result(root, "answers")
    assert len(answers["questions"]) == len({one["category"] for one in answers["questions"]}) == 8
    assert all(one["answers"] == 16 and one["empty"] <= 2 for one in answers["checkpoints"].values())
    template = (root / "data/base/smollm2/chat_template.jinja").read_text()
    for name in ("sft_evol", "dpo_hh"):
        assert (root / "data/checkpoints" / name / "chat_template.jinja").read_text() == template
    assert cpu_seconds(root) <= MOST_CPU_SECONDS
    assert "Nothing to be done" in workspace.snakemake()


@pytest.mark.end_to_end
@pytest.mark.short
def test_every_stage_works_with_a_real_model(workspace, recipe):
    """In some three minutes on two cores: far fewer rows, tokens and items."""
    recipe["sources"]["dolly"]["sample"], recipe["sources"]["flan"]["sample"] = 20, 30
    recipe["schemes"]["lamini"]["calls"], recipe["schemes"]["orca"]["candidates"] = 4, 6
    for scheme in recipe["schemes"].values():
        scheme["sampling"]["max_new_tokens"] = 48
        scheme["max_failed_share"] = scheme["max_dropped_share"] = 1.0
    for name, held in {"lamini": 1, "orca": 8, "evol": 4, "hh_pairs": 2}.items():
        recipe["mixes"][name] |= {"eval_rows": held, "max_missing_share": 1.0}
    recipe["mixes"]["lamini"]["parts"] = ["lamini", {"name": "dolly", "rows": 4}]  # so short, lists are mostly cut
    recipe["mixes"]["hh_pairs"]["parts"] = [{"name": "hh", "rows": 8}]
    recipe["evals"]["likelihood"] |= {"checkpoints": ["smollm2", "sft_evol"], "mixes": ["orca"]}
    recipe["evals"]["harness"] |= {"checkpoints": ["dpo_hh"], "tasks": ["seed_questions"]}
    recipe["evals"]["answers"]["checkpoints"] = ["dpo_hh"]
    recipe["answers"]["mtbench"]["max_new_tokens"] = 12
    items = workspace.root / "recipes/tasks/smollm2/choices.py"
    items.write_text(items.read_text().replace("ITEMS, CHOICES = 30, 4", "ITEMS, CHOICES = 8, 4"))
    root = built(workspace, recipe)
    every_row_is_accounted_for(root, ("orca",))
    (gain,) = gains(root, "sft_evol", ("orca",))
    assert gain["mean"] > 0
    assert result(root, "harness")["checkpoints"]["dpo_hh"]["seed_questions"]["questions"] == 8
    assert len(result(root, "answers")["questions"]) == 8


def test_the_shipped_recipe_is_sound_and_asks_no_server(monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe = load(SHIPPED)
    assert all(not backend.remote for backend in recipe.backends.values())
    pinned = [
        block.origin.model_dump().get("sha256") or block.origin.model_dump().get("revision")
        for block in recipe.sources.values()
    ]
    assert all(pinned)
    assert all(isinstance(block, NamedBlock) for block in recipe.blocks())
