"""The embedded recipe: it learns, it is repeatable, and what is done is not done again."""

import json
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Workspace

from bezoar import world
from bezoar.files import MARKER
from bezoar.mtbench import VerdictRow
from bezoar.rows import AnswerRow, FilteredRow, read_rows

pytestmark = pytest.mark.end_to_end

CHAIN = ("tiny_llama", "sft_lamini", "sft_orca", "sft_evol", "sft_hh", "dpo_hh")


def built(workspace: Workspace, recipe: dict, *targets: str) -> None:
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    workspace.snakemake(*targets)


def small(recipe: dict) -> dict:
    """The recipe with every stage and far fewer rows; nothing is learnt, everything is made."""
    recipe["sources"]["world_text"]["origin"]["rows"] = 1500
    recipe["sources"]["world_lessons"]["origin"]["rows"] = 400
    recipe["sources"]["world_flan"]["origin"]["rows"] = 120
    recipe["sources"]["world_dolly"]["origin"]["rows"] = 60
    recipe["sources"]["world_preferences"]["origin"]["rows"] = 200
    recipe["schemes"]["lamini"] |= {"calls": 24}
    recipe["schemes"]["orca"] |= {"candidates": 100}
    lessons = {"kind": "source", "name": "world_lessons", "rows": 60}
    for name in ("lamini", "orca", "evol"):  # so small a teacher writes hardly a row that the filter keeps
        recipe["mixes"][name] |= {"parts": [*recipe["mixes"][name]["parts"], lessons], "eval_rows": 5}
    recipe["evals"]["mtbench"]["allow_compromised"] = True  # nor is any model better than a control
    return recipe


@pytest.fixture
def recipe() -> dict:
    return yaml.safe_load((ROOT / "recipes" / "tiny.yaml").read_text())


def contents(root: Path) -> dict[str, bytes]:
    """Every artifact's bytes by its path."""
    folders = (root / "data", root / "results")
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in paths if path.name != MARKER}


def test_the_embedded_recipe_learns_and_a_second_run_has_nothing_to_do(workspace: Workspace, recipe: dict) -> None:
    built(workspace, recipe)
    report = json.loads((workspace.root / "results" / "mtbench.json").read_text())
    means = {name: entry["average"]["mean"] for name, entry in report["models"].items()}
    assert set(means) == set(recipe["evals"]["mtbench"]["checkpoints"]) == set(CHAIN)
    assert means["dpo_hh"] > means["sft_evol"] > means["tiny_llama"], means
    # every later checkpoint is better than the base beyond chance: its paired interval lies above 0
    for name in CHAIN[1:]:
        assert report["models"][name]["difference_to_first"]["low"] > 0, (name, means)
    # every answer of all models and controls was graded, 80 questions x 2 turns
    assert all(one["judgments"] == 160 and one["complete"] for one in (report["models"] | report["controls"]).values())
    assert report["controls_that_failed"] == []
    assert report["controls"]["control_empty"]["average"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    harness = json.loads((workspace.root / "results" / "harness.json").read_text())["checkpoints"]
    assert set(harness) == set(recipe["evals"]["harness"]["checkpoints"])
    judged = workspace.root / "data/judgments/mtbench/dpo_hh/verdicts.jsonl"
    assert len({(row.question_id, row.turn) for row in read_rows(judged, VerdictRow)}) == 160
    answers = list(read_rows(workspace.root / "data/answers/mtbench/dpo_hh/answers.jsonl", AnswerRow))
    assert [row.question_id for row in answers] == list(range(81, 161))
    # no training row asks what the evaluations ask
    for scheme in recipe["schemes"]:
        kept = [*(workspace.root / "data" / "filtered" / scheme).rglob("kept.jsonl")]
        instructions = [row.instruction for path in kept for row in read_rows(path, FilteredRow)]
        assert instructions
        assert not [text for text in instructions if world.held_out(text)]
    assert "Nothing to be done" in workspace.snakemake()


def test_two_builds_have_equal_bytes(workspace: Workspace, recipe: dict, tmp_path: Path) -> None:
    built(workspace, small(recipe))
    first = contents(workspace.root)
    for name in ("data", "results", "logs", ".snakemake"):
        (workspace.root / name).rename(tmp_path / f"first_{name}")
    workspace.snakemake()
    second = contents(workspace.root)
    assert [name for name in sorted(first | second) if first.get(name) != second.get(name)] == []
