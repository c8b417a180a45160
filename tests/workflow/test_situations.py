"""What must hold whatever happens between two builds: the situations of docs/how-it-decides.md, for both front ends."""

from pathlib import Path

import pytest

JOBS = 13


@pytest.fixture(params=["snakemake", "dvc"])
def front_end(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_clone_without_a_pull_has_nothing_to_do_and_fetches_the_target_only(graph, tmp_path: Path) -> None:
    graph.build()
    assert len(graph.ran()) == JOBS
    graph.run("dvc", "push")
    graph.commit()
    clone = graph.clone(tmp_path / "clone")
    assert "Nothing to be done" in clone.build("results/score.json")
    assert clone.ran() == []
    assert list(clone.contents()) == ["results/score.json"]
    assert clone.contents()["results/score.json"] == graph.contents()["results/score.json"]
