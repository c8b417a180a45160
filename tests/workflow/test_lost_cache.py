"""A cache that was lost or cleaned while the artifacts lie sound on disk: nothing runs, and the objects come back."""

import shutil

import pytest
from graph import LONG_BY_DVC, Graph

STARTED = "> bezoar build "
AGAIN = "sound on disk; they are stored again"


@pytest.fixture(params=["snakemake", "dvc"])
def front_end(request: pytest.FixtureRequest) -> str:
    return request.param


def lose(graph: Graph, what: str) -> None:
    """Remove all objects and keep proofs, or every second object and all proofs, or the whole cache."""
    cache = graph.root / ".dvc/cache"
    if what == "half":
        for path in sorted(path for path in cache.glob("files/md5/*/*"))[::2]:
            path.unlink()
        shutil.rmtree(cache / "proofs")
    else:
        shutil.rmtree(cache / "files" if what == "objects" else cache)


def check_nothing_runs(graph: Graph, front_end: str) -> str:
    """Build, and check that no job runs, that DVC starts one stage at most, and that git sees no change."""
    said = graph.by(front_end)
    assert graph.ran() == []
    if front_end == "snakemake":
        assert "Nothing to be done" in said
    else:
        assert said.count(STARTED) <= 1
        assert said.count("didn't change, skipping") >= len(graph.stages()) - 1
    assert graph.run("git", "status", "--porcelain") == ""
    return said


def check_all_is_stored(graph: Graph, contents: dict[str, bytes]) -> None:
    """Check that DVC brings every artifact back from the cache."""
    for folder in ("data", "results"):
        shutil.rmtree(graph.root / folder)
    graph.run("dvc", "checkout")
    assert graph.contents() == contents


@pytest.mark.parametrize("what", ["objects", "half", "all"])
def test_what_lies_sound_on_disk_does_not_run_and_is_stored_again(built: Graph, front_end: str, what: str) -> None:
    before = built.contents()
    lose(built, what)
    assert "nothing to run" in built.run("bezoar", "plan")
    assert AGAIN in check_nothing_runs(built, front_end)
    assert AGAIN not in check_nothing_runs(built, front_end)
    check_all_is_stored(built, before)


@LONG_BY_DVC
def test_without_the_cache_only_what_was_altered_runs(built: Graph, front_end: str) -> None:
    lose(built, "all")
    (built.root / "data/adapters/dpo/history.json").write_text("other\n")
    built.by(front_end)
    assert built.ran() == ["data/adapters/dpo"]


@LONG_BY_DVC
def test_without_the_cache_what_follows_an_unchanged_output_does_not_run(built: Graph, front_end: str) -> None:
    before = built.contents()
    lose(built, "all")
    (built.root / "words.txt").write_text("\n\n" + (built.root / "words.txt").read_text())
    built.by(front_end)
    assert built.ran() == ["data/source/words"]
    check_all_is_stored(built, before)


@LONG_BY_DVC
def test_after_dvc_gc_and_git_stash_only_what_is_on_disk_no_more_runs(built: Graph, front_end: str) -> None:
    committed = built.contents()
    built.set("stages.dpo.rate", 0.9)
    built.by(front_end)
    assert built.ran() == ["data/adapters/dpo", "results/score.json"]
    built.run("dvc", "gc", "--workspace", "--force")  # and with it, the artifacts of the commit
    built.by(front_end)
    assert built.ran() == []
    built.run("git", "stash")
    built.by(front_end)
    assert built.ran() == ["data/adapters/dpo", "results/score.json"]
    assert built.contents() == committed
    built.run("git", "stash", "pop")
    built.by(front_end)
    assert built.ran() == []
    assert built.contents() != committed


def test_a_checkout_without_the_cache_takes_nothing_away(built: Graph) -> None:
    lose(built, "all")
    assert "unsaved files" in built.refused("dvc", "checkout")
    check_nothing_runs(built, "snakemake")
    built.run("dvc", "checkout")
    check_nothing_runs(built, "dvc")
