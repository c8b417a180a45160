"""The embedded recipe: it learns, it is repeatable, and what is done is not done again."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Workspace, workspace_in
from server import Server

from bezoar import world
from bezoar.files import MARKER
from bezoar.steps.data.rows import AnswerRow, FilteredRow, read_rows
from bezoar.steps.evaluate.mtbench import VerdictRow

pytestmark = pytest.mark.end_to_end

ADAPTER = "data/adapters/dpo_hh/adapter_model.safetensors"
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
    for scheme in recipe["schemes"].values():  # so small a teacher often writes until it is cut
        scheme |= {"max_failed_share": 1.0, "max_dropped_share": 1.0}
    for one in recipe["filters"].values():
        one["max_dropped_share"] = 1.0
    for mix in recipe["mixes"].values():
        mix["max_missing_share"] = 1.0
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


@pytest.mark.short
def test_the_embedded_recipe_learns_and_a_second_run_has_nothing_to_do(workspace: Workspace, recipe: dict) -> None:
    built(workspace, recipe)
    report = json.loads((workspace.root / "results" / "mtbench.json").read_text())
    means = {name: entry["average"]["mean"] for name, entry in report["models"].items()}
    assert set(means) == set(recipe["evals"]["mtbench"]["checkpoints"]) == set(CHAIN)
    assert means["dpo_hh"] > means["sft_evol"] > means["tiny_llama"], means
    # every later checkpoint is better than the base beyond chance: its paired interval is above 0
    for name in CHAIN[1:]:
        assert report["models"][name]["difference_to_first"]["low"] > 0, (name, means)
    # every answer of all models and controls was graded, 80 questions x 2 turns
    assert all(one["judgments"] == 160 and one["complete"] for one in (report["models"] | report["controls"]).values())
    assert report["controls_that_failed"] == []
    assert report["controls"]["control_empty"]["average"]["mean"] == 1.0
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


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A repository with the small recipe built by Snakemake, committed, and pushed to a DVC remote."""
    with Server() as server:
        made = workspace_in(tmp_path_factory.mktemp("published"), server)
        names = {
            f"GIT_{role}_{what}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        made.environment |= {"DVC_NO_ANALYTICS": "1", **names}
        for name in (".dvcignore", ".gitignore"):
            shutil.copyfile(ROOT / name, made.root / name)
        recipe = small(yaml.safe_load((ROOT / "recipes" / "tiny.yaml").read_text()))
        (made.root / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
        made.run("git", "init", "--quiet", ".")
        made.run("dvc", "init", "--quiet")
        made.run("dvc", "remote", "add", "--quiet", "--default", "shared", str(made.root.parent / "remote"))
        made.run("bezoar", "dvc")
        made.snakemake()
        made.run("dvc", "push", "--quiet")
        commit(made)
        yield made


def commit(workspace: Workspace) -> None:
    """Commit everything that isn't ignored."""
    workspace.run("git", "add", "--all")
    workspace.run("git", "commit", "--quiet", "--message", "state")


def clone_of(workspace: Workspace, root: Path) -> Workspace:
    """What git holds of a repository, in another folder."""
    workspace.run("git", "clone", "--quiet", str(workspace.root), str(root))
    return Workspace(root, workspace.environment)


def jobs(said: str) -> Counter[str]:
    """Jobs by rule that a run planned."""
    return Counter(re.findall(r"^(?:local)?rule (\w+):$", said, re.MULTILINE)) - Counter(["all"])


def ran(workspace: Workspace, *command: str) -> Counter[str]:
    """Jobs by rule whose script ran, by their logs; a job that was planned may have been answered by a proof."""
    logs = workspace.root / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    workspace.run(*command)
    return Counter(path.relative_to(logs).parts[0] for path in logs.rglob("*.log") if path.stat().st_size)


def set_beta(workspace: Workspace, beta: float) -> None:
    recipe = yaml.safe_load((workspace.root / "params.yaml").read_text())
    recipe["stages"]["dpo_hh"]["beta"] = beta
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))


def test_a_build_without_the_cache_has_equal_bytes(published: Workspace, tmp_path: Path) -> None:
    clone = clone_of(published, tmp_path / "again")
    (clone.root / "dvc.lock").unlink()
    # no request may go over a network: the embedded recipe needs neither a key nor stored responses
    clone.environment = published.environment | {"BEZOAR_OFFLINE": "1", "BEZOAR_REPLAY_ONLY": "1"}
    assert sum(jobs(clone.snakemake()).values()) > 60
    first, second = contents(published.root), contents(clone.root)
    assert [name for name in sorted(first | second) if first.get(name) != second.get(name)] == []


def test_a_clone_with_a_remote_builds_only_what_a_change_touches(published: Workspace, tmp_path: Path) -> None:
    clone = clone_of(published, tmp_path / "clone")
    before = contents(published.root)
    assert "Nothing to be done" in clone.snakemake("results/mtbench.json")
    fetched = {name for name in contents(clone.root) if not name.startswith("results/metrics/mtbench/")}
    assert fetched == {"results/mtbench.json"}  # and nothing else was fetched than this job's outputs

    set_beta(clone, 0.3)
    tasks = len(yaml.safe_load((clone.root / "params.yaml").read_text())["evals"]["harness"]["tasks"])
    # judgments: of DPO, and of its shuffled answers; the gate comes out as before, so no other model is judged again
    expected = {"train": 1, "merge": 1, "answers": 1, "controls": 1, "judgments": 2, "harness": tasks}
    made = ran(clone, "snakemake", "--cores", "2")
    # so small a model may get the same scores as before; then the reports are there already
    assert made - Counter({"gate": 1, "report": 3}) == Counter(expected)
    changed = contents(clone.root)
    assert changed[ADAPTER] != before[ADAPTER]
    status = re.findall(r"^\t\t(\w+):", clone.run("dvc", "status"), re.MULTILINE)
    assert set(status) == {"deleted"}  # what was not needed here was not fetched, and nothing differs
    clone.run("dvc", "push", "--quiet")
    commit(clone)

    set_beta(clone, 0.1)
    assert "Nothing to be done" in clone.snakemake()
    assert contents(clone.root)["results/mtbench.json"] == before["results/mtbench.json"]

    published.run("git", "pull", "--quiet", str(clone.root))
    published.run("dvc", "pull", "--quiet")
    assert "Nothing to be done" in published.snakemake()
    assert "up to date" in published.run("dvc", "repro")
    assert contents(published.root)[ADAPTER] == changed[ADAPTER]
    set_beta(published, 0.1)
    assert ran(published, "dvc", "repro") == Counter()  # the proofs bring back what was
    assert contents(published.root) == before
    set_beta(published, 0.2)
    made = ran(published, "dvc", "repro", "report_mtbench-mtbench")
    again = {"train": 1, "merge": 1, "answers": 1, "controls": 1, "judgments": 2}
    assert made - Counter(["gate", "report"]) == Counter(again)
