"""`bezoar compare` of two recipes, and of two checkpoints, in a project whose results are built."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Workspace
from scored import write_harness

CHECKPOINTS = ["tiny_llama", "sft_hh", "dpo_hh"]


def test_two_recipes_and_two_checkpoints(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scored.CHECKPOINTS", CHECKPOINTS)
    recipe = yaml.safe_load((ROOT / "recipes/tiny.yaml").read_text())
    harness = recipe["evals"]["harness"] | {"checkpoints": CHECKPOINTS, "tasks": ["world_choices"]}
    recipe["evals"] = {"harness": harness}
    for place, names in enumerate((("recipes/other.yaml", "params.yaml"), ("params.yaml",))):
        recipe["seed"] = place
        for name in names:
            (workspace.root / name).write_text(yaml.safe_dump(recipe, sort_keys=False))
        made = tmp_path / str(place)
        write_harness(made, shift=place)
        for one in (made / "data/harness/harness").glob("*"):
            (one / "choices").rename(one / "world_choices")
        report = json.loads((made / "results/harness.json").read_text())
        report["checkpoints"] = {
            checkpoint: {"world_choices": tasks["choices"]} for checkpoint, tasks in report["checkpoints"].items()
        }
        (made / "results/harness.json").write_text(json.dumps(report))
        workspace.run("python", str(ROOT / "tests/pretend.py"), str(made))
    shutil.rmtree(workspace.root / "results")
    shutil.rmtree(workspace.root / "data")

    found = json.loads(workspace.run("bezoar", "compare", "recipes/other.yaml", "params.yaml", "--json"))
    assert (found["a"], found["b"]) == ("recipe recipes/other.yaml", "recipe params.yaml")
    differences = {one["checkpoint"]: one["difference"] for one in found["differences"]}
    assert differences == pytest.approx({"tiny_llama": 0.1, "sft_hh": 0.1, "dpo_hh": 0.1})
    assert {one["n"] for one in found["differences"]} == {100}
    assert not (workspace.root / "results").exists()

    shutil.copytree(tmp_path / "1/results", workspace.root / "results")
    shutil.copytree(tmp_path / "1/data", workspace.root / "data")
    found = json.loads(workspace.run("bezoar", "compare", "sft_hh", "dpo_hh", "--json"))
    assert [one["difference"] for one in found["differences"]] == pytest.approx([0.2])
    other = workspace.root / "recipes/never.yaml"
    other.write_text(yaml.safe_dump(recipe | {"seed": 9}, sort_keys=False))
    said = workspace.refused("bezoar", "compare", "recipes/never.yaml", ".")
    assert "no results of recipes/never.yaml are built\n  found:    no proof of any\n  expected: " in said
    assert "hint: `bezoar recipe use never`, then `snakemake`" in said
