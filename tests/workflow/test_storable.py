"""Directory outputs come back as they were made, or are refused when they are made."""

import shutil
from pathlib import Path

import pytest
from graph import LONG_BY_DVC, Graph

END = 'write(args.out / "history.json"'
LOSSES = {
    "an empty folder": '(args.out / "more").mkdir(parents=True)',
    "a link to": '(args.out / "more").symlink_to("history.json")',
    "a file with the mode 0755": 'write(args.out / "more", []); (args.out / "more").chmod(0o755)',
    "the name '.git'": 'write(args.out / ".git" / "more", [])',
    "a name that .dvcignore ignores": 'write(args.out / "more.tmp", [])',
}


def build(graph: Graph, front_end: str) -> str:
    """What a build that fails says."""
    return graph.refused(*(["snakemake"] if front_end == "snakemake" else ["dvc", "repro"]))


@pytest.mark.parametrize("front_end", ["snakemake", "dvc"])
def test_what_would_be_lost_is_refused_and_named(built: Graph, front_end: str) -> None:
    with (built.root / ".dvcignore").open("a") as file:
        file.write("*.tmp\n")
    script = built.root / "scripts/train.py"
    before = script.read_text()
    for found, line in LOSSES.items() if front_end == "snakemake" else [("an empty folder", LOSSES["an empty folder"])]:
        script.write_text(before.replace(END, f"{line}\n{END}"))
        said = build(built, front_end)
        assert "data/adapters/sft" in said
        assert "can't be stored as it is, so nothing is recorded" in said
        assert f"found:    {found}" in said
        assert built.ran() == ["data/adapters/sft"]  # what follows it didn't run
    script.write_text(before)
    built.by(front_end)
    assert built.ran() == []


def test_an_output_that_dvc_ignores_is_refused_before_anything_runs(built: Graph) -> None:
    with (built.root / ".dvcignore").open("a") as file:
        file.write("/data/adapters/\n")
    built.set("stages.sft.rate", 0.7)
    assert "data/adapters/dpo is an output that DVC ignores\n" in build(built, "snakemake")
    assert built.ran() == []


@LONG_BY_DVC
@pytest.mark.parametrize("lost", [False, True], ids=["cache", "no cache"])
def test_a_linked_folder_in_an_artifact_is_made_a_folder_again(built: Graph, front_end: str, lost: bool) -> None:
    before = built.contents()
    weights = built.root / "data/adapters/sft/weights"
    aside = Path(shutil.move(weights, built.root.parent / "weights"))
    weights.symlink_to(aside)  # DVC follows no link, and would record a directory without these files
    if lost:
        shutil.rmtree(built.root / ".dvc/cache")
    built.by(front_end)
    assert built.ran() == []
    assert not weights.is_symlink()
    assert built.contents() == before
    assert (aside / "weight.txt").exists()
    assert "up to date" in built.repro()
    assert built.run("git", "status", "--porcelain") == ""


@pytest.mark.parametrize("front_end", ["snakemake", "dvc"])
def test_a_linked_folder_of_a_shard_is_made_a_folder_again(built: Graph, front_end: str) -> None:
    before = built.contents()
    shard = built.root / "data/generated/upper/0001"
    aside = Path(shutil.move(shard, built.root.parent / "away"))
    shard.symlink_to(aside)  # DVC would record the folder of all shards without this one
    built.by(front_end)
    assert built.ran() == []
    assert not shard.is_symlink()
    assert built.contents() == before
    assert (aside / "rows.txt").exists()
    assert built.run("git", "status", "--porcelain") == ""


def test_an_empty_folder_in_an_artifact_is_gone_before_anybody_reads_it(built: Graph) -> None:
    more = built.root / "data/adapters/sft/more"
    more.mkdir()
    built.build()
    assert not more.exists()
    assert built.ran() == []
