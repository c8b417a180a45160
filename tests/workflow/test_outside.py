"""Inputs from outside of the project: read in place, known by their content, whichever front end builds."""

from pathlib import Path

import pytest
from graph import JOBS, Graph


def moved_out(graph: Graph, way: str) -> Path:
    """Move the graph's only source out of the project; the path in params.yaml leads there in one of several ways."""
    words = graph.root.parent / "elsewhere" / "words.txt"
    words.parent.mkdir()
    (graph.root / "words.txt").rename(words)
    path = {"absolute": str(words), "relative": "../elsewhere/words.txt", "link": "words.txt"}[way]
    if way == "link":
        (graph.root / path).symlink_to(words)
    graph.set("sources.words.file", path)
    graph.run("bezoar", "dvc")
    return words


@pytest.mark.long
@pytest.mark.parametrize("way", ["absolute", "relative", "link"])
@pytest.mark.parametrize("front_end", ["snakemake", "dvc"])
def test_an_input_outside_of_the_project_is_read_in_place_and_a_change_of_it_runs_what_depends_on_it(
    graph: Graph, front_end: str, way: str
) -> None:
    words = moved_out(graph, way)
    graph.by(front_end)
    assert graph.ran() == sorted(JOBS)
    assert "ANN!" in (graph.root / "data/generated/upper/0000/rows.txt").read_text()
    words.write_text(words.read_text().replace("Ann", "Amy"))
    graph.by(front_end)
    ran = graph.ran()
    assert {"data/source/words", "data/seed/words", "data/mixes/all", "results/score.json"} <= set(ran)
    assert len(ran) < len(JOBS)  # shards without that word stay
    graph.by(front_end)
    assert graph.ran() == []


def test_both_front_ends_know_what_the_other_built_of_an_input_outside(graph: Graph) -> None:
    words = moved_out(graph, "absolute")
    graph.build()
    assert graph.ran() == sorted(JOBS)
    assert "up to date" in graph.run("dvc", "status")
    graph.repro()
    assert graph.ran() == []
    words.write_text(words.read_text() + "Gus\n")
    assert str(words) in graph.run("dvc", "status")
    graph.repro()
    assert "data/source/words" in graph.ran()
    graph.build()
    assert graph.ran() == []
    words.write_text(words.read_text().replace("Ann", "Amy"))
    graph.build()
    assert {"data/source/words", "data/seed/words", "data/mixes/all", "results/score.json"} <= set(graph.ran())


def test_a_job_reads_the_input_outside_and_not_its_neighbours(graph: Graph) -> None:
    words = moved_out(graph, "absolute")
    (words.parent / "secret.txt").write_text("secret")
    script = graph.root / "scripts/source.py"
    script.write_text(script.read_text() + f"open({str(words.parent / 'secret.txt')!r}).read()\n")
    said = graph.refused("snakemake", "data/source/words/rows.txt")
    assert f"rule source reads {words.parent / 'secret.txt'}, which it doesn't declare" in said


def test_a_clone_without_the_file_restores_what_was_built_of_it_and_can_not_build_it_anew(
    graph: Graph, tmp_path: Path
) -> None:
    words = moved_out(graph, "relative")
    graph.build()
    graph.run("dvc", "push")
    graph.commit()
    before = graph.contents()
    (tmp_path / "far").mkdir()
    clone = graph.clone(tmp_path / "far/graph")
    (tmp_path / "far/remote").symlink_to(tmp_path / "remote")
    clone.build()
    assert clone.started() == []
    score = "results/score.json"
    assert clone.contents()[score] == before[score]
    clone.build("data/source/words/rows.txt")
    assert clone.started() == []
    clone.set("seed", 7)  # mixes are made again, of restored rows
    clone.build()
    assert {"data/mixes/all", "results/score.json"} <= set(clone.ran())
    clone.set("sources.words.drop", "y")
    said = clone.refused("snakemake", "--dry-run")
    assert "data/source/words/rows.txt has to be built, and ../elsewhere/words.txt is not there\n" in said
    (tmp_path / "far/elsewhere").mkdir()
    (tmp_path / "far/elsewhere/words.txt").write_text(words.read_text())
    clone.build()
    assert "data/source/words" in clone.ran()
