"""In a clone, the first stage that `dvc repro` starts brings back what is proven of all."""

from pathlib import Path
from typing import ClassVar

import pytest
from conftest import Workspace
from graph import Graph

STARTED = "> bezoar build "


class FromNothing(Workspace):
    """A workspace whose programs don't start warm: the code under test reads DVC's command line."""

    WARM: ClassVar[bool] = False


@pytest.fixture
def clone(built: Graph, tmp_path: Path) -> Graph:
    """A clone of the small graph, whose artifacts are on the remote."""
    built.run("dvc", "push")
    return built.clone(tmp_path / "clone")


def test_dvc_starts_one_stage_and_finds_all_others_in_place(built: Graph, clone: Graph) -> None:
    before = (clone.root / "dvc.lock").read_bytes()
    said = clone.repro()
    assert said.count(STARTED) == 1
    assert said.count("didn't change, skipping") == len(clone.stages()) - 1
    assert clone.ran() == []
    assert clone.contents() == built.contents()
    assert (clone.root / "dvc.lock").read_bytes() == before


def test_of_a_named_stage_only_what_it_is_made_of_is_brought_back(built: Graph, clone: Graph) -> None:
    FromNothing(clone.root, clone.environment).run("dvc", "repro", "mix-few")
    made = {path for path in built.contents() if path.startswith(("data/source", "data/seed", "data/generated/upper"))}
    assert set(clone.contents()) == made | {"data/mixes/few/rows.txt", "data/mixes/few/report.txt"}


def test_what_somebody_put_in_an_artifacts_place_is_set_aside(built: Graph, clone: Graph) -> None:
    place = clone.root / "data/mixes/all/rows.txt"
    place.parent.mkdir(parents=True)
    place.write_text("mine\n")
    said = clone.repro()
    assert said.count(STARTED) == 1
    assert "data/mixes/all/rows.txt was changed after it was made and is replaced" in said
    (kept,) = (clone.root / "scratch/altered/data/mixes/all").iterdir()
    assert kept.read_text() == "mine\n"
    assert clone.contents() == built.contents()


def test_what_has_no_proof_is_made_and_the_rest_brought_back_at_once(clone: Graph) -> None:
    clone.set("stages.dpo.rate", 0.9)
    said = clone.repro()
    assert clone.ran() == ["data/adapters/dpo", "results/score.json"]
    started = [line.removeprefix(STARTED).split()[:2] for line in said.splitlines() if line.startswith(STARTED)]
    assert started == [["source", "words"], ["train", "dpo"], ["score", "score"]]


def test_an_error_elsewhere_costs_no_stage_its_artifact(built: Graph, tmp_path: Path) -> None:
    (built.root / "more.txt").write_text("Eve\n")
    built.set("sources.more", {"file": "more.txt", "drop": "x"})
    built.set("schemes.side", {"source": "more", "case": "upper", "suffix": "!"})
    built.set("mixes.side", {"schemes": ["side"]})
    built.set("stages.side", {"mix": "side", "init_from": None, "rate": 0.5, "decay": 0.5})
    built.set("evals.side", {"stages": ["side"], "draws": 1})
    built.build()
    built.commit()
    built.run("dvc", "push")
    built.ran()
    clone = built.clone(tmp_path / "clone")
    (clone.root / "more.txt").unlink()
    said = clone.repro("mix-few")
    assert "only source-words is restored, not all stages at once: " in said
    assert said.count(STARTED) == 4  # source, shard, generate and mix
    assert clone.ran() == []
