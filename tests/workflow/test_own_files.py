"""Somebody's own files in the place of artifacts are kept and named, whichever front end builds, and with no record."""

from pathlib import Path

import pytest
from graph import Graph

MINE = {
    "data/mixes/all/rows.txt": "rows written by hand",
    "data/adapters/sft/model.safetensors": "weights that were downloaded",
}


def own(graph: Graph, path: str, text: str) -> None:
    place = graph.root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def kept(graph: Graph) -> set[str]:
    return {path.read_text() for path in (graph.root / "scratch/altered").rglob("*") if path.is_file()}


def test_own_files_survive_a_first_build_also_those_that_come_while_it_runs(graph: Graph) -> None:
    for path, text in MINE.items():
        own(graph, path, text)
    script = "scripts/mix.py"  # it runs before dpo, and stands for somebody who copies weights meanwhile
    late = "path = args.out.parents[1] / 'adapters/dpo/late.txt'\npath.parent.mkdir(parents=True, exist_ok=True)\n"
    (graph.root / script).write_text((graph.root / script).read_text() + late + "path.write_text('came late')\n")
    graph.environment["BEZOAR_ISOLATION"] = "off"  # the script couldn't otherwise
    said = graph.build()
    assert {*MINE.values(), "came late"} <= kept(graph)
    for path in ("data/mixes/all/rows.txt", "data/adapters/sft", "data/adapters/dpo"):
        assert f"{path} is in no record and is replaced; it was moved to scratch/altered/{path}." in said
    assert not (graph.root / "data/adapters/dpo/late.txt").exists()


@pytest.mark.parametrize("record", [True, False], ids=["record", "no record"])
def test_what_was_edited_by_hand_survives_dvc_repro(built: Graph, record: bool) -> None:
    if not record:
        (built.root / "dvc.lock").unlink()
        for path in (built.root / ".dvc/cache/proofs").rglob("*.json"):
            path.unlink()
    own(built, "data/adapters/sft/history.json", "edited by hand")
    own(built, "data/adapters/sft/notes.txt", "notes")
    said = built.repro("--single-item", "train-sft")
    assert {"edited by hand", "notes"} <= kept(built)
    assert "data/adapters/sft was changed after it was made" in said or "data/adapters/sft is in no record" in said
    assert not (built.root / "data/adapters/sft/notes.txt").exists()


def test_a_committed_link_is_refused_before_anything_is_restored(built: Graph, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    built.run("rm", "-r", "data/adapters")
    (built.root / "data/adapters").symlink_to(outside)
    built.run("git", "add", "--force", "data/adapters")
    said = built.refused("snakemake", "data/adapters/sft")
    assert "data/adapters was committed as a link, but builds write there\n" in said
    assert list(outside.iterdir()) == []
