"""The cache is made smaller, and nothing that a kept dvc.lock needs runs again; the last runs are on record."""

import json
import shutil
from pathlib import Path
from typing import Any

from graph import JOBS, Graph


def remove_artifacts(graph: Graph) -> None:
    """Everything that was built, so that it has to come from the cache."""
    for name in ("data", "results"):
        shutil.rmtree(graph.root / name)


def store(graph: Graph) -> set[Path]:
    """Files of the cache."""
    return {path for path in (graph.root / ".dvc/cache").rglob("*") if path.is_file()}


def facts(graph: Graph) -> dict[str, Any]:
    """What `bezoar cache --json` says."""
    found: dict[str, Any] = json.loads(graph.run("bezoar", "cache", "--json"))
    return found


def test_what_a_named_branch_needs_stays_and_what_nothing_needs_goes(built: Graph) -> None:
    first = built.contents()
    before = store(built)
    built.run("git", "switch", "--quiet", "--create", "other")
    built.set("stages.sft.rate", 0.7)
    built.build()
    assert built.ran() == ["data/adapters/dpo", "data/adapters/sft", "results/score.json"]
    second = built.contents()
    built.commit()
    built.set("stages.sft.rate", 0.9)  # a third version, which nothing names
    built.build()
    built.ran()
    built.run("git", "checkout", "--quiet", ".")
    built.build()
    assert built.ran() == []
    assert built.contents() == second
    said = built.run("bezoar", "gc", "--keep", "0B", "--branch", "main", "--dry-run")
    assert "needed by the workspace, branch main" in said
    third = store(built)
    built.run("bezoar", "gc", "--keep", "0B", "--branch", "main", "--force")
    left = store(built)
    assert before <= left < third

    remove_artifacts(built)
    assert built.planned() == 0
    built.build()
    assert built.ran() == []
    built.run("dvc", "checkout")  # all of it, and the remote has nothing
    assert built.contents() == second
    built.run("git", "switch", "--quiet", "main")
    built.build()
    assert built.ran() == []
    assert {path: made for path, made in built.contents().items() if path in first} == first


def test_all_that_goes_is_made_again_when_it_is_asked_for(built: Graph) -> None:
    built.set("stages.sft.rate", 0.7)
    built.build()
    built.ran()
    refused = built.refused("bezoar", "gc", "--keep", "0B")
    assert "found:    no terminal to ask at" in refused
    assert "drops:\n  outputs of jobs" in built.run("bezoar", "gc", "--keep", "0B", "--force")
    assert "drops nothing" in built.run("bezoar", "gc", "--keep", "0B", "--force")
    built.build()
    assert built.ran() == []
    built.run("git", "checkout", "--quiet", ".")  # the version of the last commit, which wasn't named
    built.build()
    assert built.ran() == ["data/adapters/dpo", "data/adapters/sft", "results/score.json"]


def test_a_damaged_object_is_moved_away_and_made_again(built: Graph) -> None:
    made = built.contents()
    remove_artifacts(built)
    score = next(path for path in store(built) if path.read_bytes() == made["results/score.json"])
    size = score.stat().st_size
    score.chmod(0o644)
    score.write_bytes(b"\0" * size)
    said = built.refused("bezoar", "cache", "--scrub")
    assert f"object {score.parent.name}{score.name}: bytes with MD5" in said
    assert ": 1 damaged" in said
    assert ": 0 damaged" in built.run("bezoar", "cache", "--scrub")
    built.build("results/score.json")
    assert built.ran() == ["results/score.json"]
    assert (built.root / "results/score.json").read_bytes() == made["results/score.json"]


def test_the_last_runs_are_on_record_from_both_front_ends(graph: Graph) -> None:
    graph.build()
    graph.build()
    remove_artifacts(graph)
    graph.build()
    graph.set("evals.score.draws", 5)
    graph.environment["BEZOAR_RUN"] = "one"  # as DVC's own process names it
    graph.repro()
    assert graph.ran() == sorted([*JOBS, "results/score.json"])
    runs = [(one["by"], one["run"], one["restored"], one["up_to_date"]) for one in facts(graph)["runs"]]
    everything = len(JOBS)
    assert runs[:2] == [("snakemake", everything, 0, 0), ("snakemake", 0, 0, everything)]
    by, ran, restored, up_to_date = runs[2]
    assert (by, ran, restored + up_to_date) == ("snakemake", 0, everything)
    assert restored > 0
    assert runs[3:] == [("dvc", 1, 12, 1)]  # all stages are restored at once, and two started
    said = graph.run("bezoar", "cache")
    assert "directory lists" in said
    assert "train-dpo" in said
