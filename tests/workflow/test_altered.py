"""A user's files among artifacts."""

from pathlib import Path

import pytest
from graph import LONG_BY_DVC, Graph


def test_an_artifact_that_was_changed_by_hand_is_set_aside(graph: Graph) -> None:
    graph.build()
    notes = graph.root / "data/adapters/sft/notes.txt"
    notes.write_text("keep me")
    before = (graph.root / "data/adapters/sft/history.json").read_text()
    said = graph.build()
    assert "data/adapters/sft was changed after it was made" in said
    (kept,) = (graph.root / "scratch/altered/data/adapters").glob("sft.*")
    assert (kept / "notes.txt").read_text() == "keep me"
    assert not notes.exists()
    assert (graph.root / "data/adapters/sft/history.json").read_text() == before
    assert "Nothing to be done" in said


def test_what_a_killed_job_left_half_made_is_in_nobodys_way(graph: Graph) -> None:
    left = graph.root / "data/generated/upper/.0000.partial/rows.txt"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    graph.build()
    assert not left.exists()


def test_a_forced_run_of_what_is_never_the_same_twice_is_kept(graph: Graph) -> None:
    graph.special(random="data/adapters/dpo")
    graph.build()
    first = graph.contents()["data/adapters/dpo/weights/weight.txt"]
    graph.ran()
    graph.build("--forcerun", "data/adapters/dpo")
    second = graph.contents()["data/adapters/dpo/weights/weight.txt"]
    assert second != first
    assert graph.ran() == ["data/adapters/dpo", "results/score.json"]
    assert "Nothing to be done" in graph.build()
    assert graph.contents()["data/adapters/dpo/weights/weight.txt"] == second
    assert "up to date" in graph.run("dvc", "status")


@pytest.mark.long
def test_a_forced_stage_of_dvc_runs_with_lookup_off(graph: Graph) -> None:
    graph.repro()
    graph.ran()
    graph.repro("--force", "--single-item", "train-sft")
    assert graph.ran() == []  # a proof says that it would come out the same
    graph.environment["BEZOAR_NO_LOOKUP"] = "1"
    graph.repro("--force", "--single-item", "train-sft")
    assert graph.ran() == ["data/adapters/sft"]


@LONG_BY_DVC
def test_inputs_that_swap_their_parts_are_another_job(built: Graph, front_end: str) -> None:
    swap = "seeds=lambda w: f\"data/seed/{config['schemes'][w.scheme]['source']}/{w.shard}.txt\","
    built.edit("Snakefile", swap, f'{swap}\n        note="notes.txt",')
    (built.root / "notes.txt").write_text("a note")
    built.run("bezoar", "dvc")
    built.by(front_end)
    assert len(built.ran()) == 6  # all shards of both schemes take a note now
    built.edit("Snakefile", 'note="notes.txt"', 'remark="notes.txt"')
    built.run("bezoar", "dvc")
    built.by(front_end)
    assert len(built.ran()) == 6


def test_a_question_in_a_clone_reads_lists_and_writes_nothing_to_the_cache(built: Graph, tmp_path: Path) -> None:
    built.run("dvc", "push", "--quiet")
    clone = built.clone(tmp_path / "clone")
    assert "Nothing to be done" in clone.build("--dry-run")
    assert "nothing to run" in clone.run("bezoar", "plan")
    assert not (clone.root / ".dvc/cache").exists()
    assert "Nothing to be done" in clone.build()
    assert list((clone.root / ".dvc/cache/files/md5").rglob("*.dir"))  # DVC and jobs find them there
    assert clone.run("git", "status", "--porcelain") == ""  # dvc.lock as it came


def test_a_target_that_no_rule_makes_is_named(graph: Graph) -> None:
    said = graph.refused("bezoar", "plan", "results/nonsense.json")
    assert "Traceback" not in said
    assert "nonsense" in said


@pytest.mark.parametrize("front_end", ["snakemake", "dvc"])
def test_a_clone_remembers_what_came_with_dvc_lock(built: Graph, tmp_path: Path, front_end: str) -> None:
    before = built.contents()
    built.run("dvc", "push", "--quiet")
    clone = built.clone(tmp_path / "clone")
    clone.run("dvc", "pull", "--quiet")
    clone.set("stages.dpo.rate", 0.9)
    clone.by(front_end)
    assert clone.ran() == ["data/adapters/dpo", "results/score.json"]
    clone.run("git", "checkout", "--quiet", "params.yaml")  # and dvc.lock stays as it is now
    clone.by(front_end)
    assert clone.ran() == []
    assert clone.contents() == before
