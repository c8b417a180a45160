"""Two people who share git and one remote: nothing that either has built is built again, whatever way they merge."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from graph import Graph
from oracle import Oracle

FRONT_ENDS = ("snakemake", "dvc")
SHARDS = ("0000", "0001", "0002")
UPPER = [f"data/generated/upper/{shard}" for shard in SHARDS]
LOWER = [f"data/generated/lower/{shard}" for shard in SHARDS]
TRAINED = ["data/adapters/dpo", "data/adapters/sft", "results/score.json"]
LOCKS = ["dvc.lock", "traces.lock"]
GENERATED = ("dvc.lock", "traces.lock", "dvc.yaml", "code.lock", "params.resolved.yaml")


@pytest.fixture(scope="session")
def once_shared(once: Graph, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The built graph, pushed, with this repository's merge attributes, and a value on each line."""
    made = once.copy(tmp_path_factory.mktemp("shared"))
    shutil.copyfile(ROOT / ".gitattributes", made.root / ".gitattributes")
    made.set("seed", 0)
    made.commit()
    made.run("dvc", "push")
    return made


@pytest.fixture
def ann(once_shared: Graph, tmp_path: Path) -> Graph:
    """The first person's clone: all is built there."""
    return once_shared.copy(tmp_path)


@pytest.fixture
def ben(ann: Graph, tmp_path: Path) -> Graph:
    """The second person's: nothing is built there."""
    return ann.clone(tmp_path / "ben")


@dataclass(frozen=True)
class Apart:
    """Two people, each of whom has changed something, built it, pushed and committed."""

    ann: Graph
    ben: Graph

    def copy(self, folder: Path) -> "Apart":
        shutil.copytree(self.ben.root, folder / "ben", symlinks=True)
        ann = self.ann.copy(folder)
        return Apart(ann, Graph(folder / "ben", dict(ann.environment)))


@pytest.fixture(scope="session")
def once_apart_in_schemes(once_shared: Graph, tmp_path_factory: pytest.TempPathFactory) -> Apart:
    """Changes that meet in a stage which takes both."""
    ann = once_shared.copy(tmp_path_factory.mktemp("schemes"))
    ben = ann.clone(ann.root.parent / "ben")
    assert shares(ann, schemes__upper__suffix="#") == sorted([*UPPER, "data/mixes/all", "data/mixes/few", *TRAINED])
    assert shares(ben, schemes__lower__suffix="%") == sorted([*LOWER, "data/mixes/all", *TRAINED])
    return Apart(ann, ben)


@pytest.fixture(scope="session")
def once_apart_in_stages(once_shared: Graph, tmp_path_factory: pytest.TempPathFactory) -> Apart:
    """Changes of stages one after the other."""
    ann = once_shared.copy(tmp_path_factory.mktemp("stages"))
    ben = ann.clone(ann.root.parent / "ben")
    assert shares(ann, stages__sft__rate=0.7) == TRAINED
    assert shares(ben, evals__score__draws=5) == ["results/score.json"]
    return Apart(ann, ben)


@pytest.fixture(scope="session")
def once_apart_in_a_value(once_shared: Graph, tmp_path_factory: pytest.TempPathFactory) -> Apart:
    """Another value each."""
    ann = once_shared.copy(tmp_path_factory.mktemp("value"))
    ben = ann.clone(ann.root.parent / "ben")
    assert shares(ann, stages__sft__rate=0.7) == TRAINED
    assert shares(ben, stages__sft__rate=0.9) == TRAINED
    return Apart(ann, ben)


@pytest.fixture
def in_schemes(once_apart_in_schemes: Apart, tmp_path: Path) -> Apart:
    return once_apart_in_schemes.copy(tmp_path)


@pytest.fixture
def in_stages(once_apart_in_stages: Apart, tmp_path: Path) -> Apart:
    return once_apart_in_stages.copy(tmp_path)


@pytest.fixture
def in_a_value(once_apart_in_a_value: Apart, tmp_path: Path) -> Apart:
    return once_apart_in_a_value.copy(tmp_path)


@pytest.fixture(params=FRONT_ENDS)
def front_end(request: pytest.FixtureRequest) -> str:
    return request.param


def shares(graph: Graph, **changes: object) -> list[str]:
    """Change values, build, push and commit; what ran."""
    for name, value in changes.items():
        graph.set(name.replace("__", "."), value)
    graph.build()
    graph.run("dvc", "push")
    graph.commit()
    return graph.ran()


def fetch(graph: Graph, other: Graph) -> None:
    """Get the other's commits, as FETCH_HEAD."""
    graph.run("git", "fetch", "--quiet", str(other.root), "HEAD")


def conflicts(graph: Graph) -> list[str]:
    """The files that git left in conflict."""
    return graph.run("git", "diff", "--name-only", "--diff-filter=U").split()


def merge(graph: Graph, other: Graph) -> list[str]:
    """Merge the other's commits, which must fail; the files in conflict."""
    fetch(graph, other)
    graph.refused("git", "merge", "--quiet", "FETCH_HEAD")
    return conflicts(graph)


def resolve(graph: Graph) -> dict[str, str]:
    """Resolve, twice, since the second time must change nothing; what it says of each stage."""
    said = graph.run("bezoar", "dvc", "--resolve")
    before = {name: (graph.root / name).read_bytes() for name in GENERATED}
    assert graph.run("bezoar", "dvc", "--resolve") == said
    assert {name: (graph.root / name).read_bytes() for name in GENERATED} == before
    assert graph.ran() == []
    return dict(line.split(maxsplit=1) for line in said.splitlines() if line.startswith("  "))


def records(graph: Graph) -> dict:
    """The entries of dvc.lock by stage."""
    return yaml.safe_load((graph.root / "dvc.lock").read_text())["stages"]


def from_nothing(graph: Graph, folder: Path) -> dict[str, bytes]:
    """What a build of this commit makes in a folder without records, cache and remote."""
    fresh = graph.clone(folder)
    (fresh.root / "dvc.lock").unlink()
    (fresh.root / ".dvc/config").unlink()
    fresh.build()
    fresh.ran()
    return fresh.contents()


def objects(graph: Graph) -> set[str]:
    return {path.name for path in (graph.root / ".dvc/cache/files").rglob("*") if path.is_file()}


def test_what_one_has_built_and_pushed_the_other_does_not_build(ann: Graph, ben: Graph, front_end: str) -> None:
    if front_end == "dvc":
        ben.run("dvc", "pull")  # DVC wants its files on disk
    ben.set("stages.dpo.rate", 0.3)
    ben.by(front_end)
    assert ben.ran() == ["data/adapters/dpo", "results/score.json"]
    ben.run("dvc", "push")
    ben.commit()
    known = objects(ann)
    ann.run("git", "pull", "--quiet", str(ben.root), "HEAD")
    if front_end == "dvc":
        ann.run("dvc", "pull")
        assert "up to date" in ann.repro()
    assert "Nothing to be done" in ann.build()
    assert ann.ran() == []
    files = 2 + 1 + 1  # of the adapter, its list, the score
    assert len(objects(ann) - known) == files
    assert ann.contents() == Oracle(ann.root).files
    assert "up to date" in ann.run("dvc", "status")


def test_a_clone_runs_nothing_of_what_dvc_repro_has_built(ann: Graph, tmp_path: Path) -> None:
    """Of stages, too, that take a folder with the files of all shards."""
    ann.set("schemes.upper.suffix", "#")
    ann.repro()
    assert ann.ran() == sorted([*UPPER, "data/mixes/all", "data/mixes/few", *TRAINED])
    ann.commit()
    ann.run("dvc", "push")
    for front_end in FRONT_ENDS:
        ben = ann.clone(tmp_path / front_end)
        ben.by(front_end)
        assert ben.ran() == []
        assert ben.run("git", "status", "--porcelain") == ""


@pytest.mark.end_to_end
def test_changes_that_meet_in_one_stage_run_what_nobody_has_built(in_schemes: Apart, tmp_path: Path) -> None:
    ann, ben = in_schemes.ann, in_schemes.ben
    assert merge(ann, ben) == ["code.lock", *LOCKS]  # code.lock has values, too
    assert resolve(ann) == {
        "generate-upper": "ours",
        "generate-lower": "theirs",
        "mix-few": "ours",
        "mix-all": "will run",
        **dict.fromkeys(("train-sft", "train-dpo", "score-score"), "will run if its inputs change"),
    }
    assert records(ann)["generate-lower"] == records(ben)["generate-lower"]  # with sizes that Ann can't see
    ann.commit()
    ann.build()
    assert ann.ran() == sorted(["data/mixes/all", *TRAINED])
    assert ann.run("git", "diff", "--name-only").split() == LOCKS
    assert ann.contents() == from_nothing(ann, tmp_path / "fresh")


@pytest.mark.short
@pytest.mark.end_to_end
def test_changes_of_stages_one_after_the_other_run_only_what_takes_both(in_stages: Apart, front_end: str) -> None:
    ann, ben = in_stages.ann, in_stages.ben
    assert merge(ann, ben) == LOCKS
    assert resolve(ann) == {"train-sft": "ours", "train-dpo": "ours", "score-score": "will run"}
    ann.commit()
    ann.by(front_end)
    assert ann.ran() == ["results/score.json"]
    assert ann.contents() == Oracle(ann.root).files


@pytest.mark.end_to_end
def test_a_merge_of_what_somebody_has_built_runs_nothing(in_a_value: Apart) -> None:
    ann, ben = in_a_value.ann, in_a_value.ben
    assert merge(ann, ben) == ["code.lock", "dvc.lock", "params.resolved.yaml", "params.yaml", "traces.lock"]
    ann.run("git", "checkout", "--theirs", "params.yaml")
    assert resolve(ann) == dict.fromkeys(("train-sft", "train-dpo", "score-score"), "theirs")
    assert (ann.root / "dvc.lock").read_bytes() == (ben.root / "dvc.lock").read_bytes()
    ann.commit()
    assert "Nothing to be done" in ann.build()
    assert ann.contents() == Oracle(ann.root).files
    ann.run("dvc", "pull")
    assert "up to date" in ann.repro()
    ann.set("stages.sft.rate", 0.7)
    assert "Nothing to be done" in ann.build()  # what gave way isn't forgotten
    assert ann.ran() == []


@pytest.mark.end_to_end
def test_a_merge_back_to_what_was_before_runs_nothing(in_a_value: Apart) -> None:
    ann, ben = in_a_value.ann, in_a_value.ben
    assert merge(ann, ben) == ["code.lock", "dvc.lock", "params.resolved.yaml", "params.yaml", "traces.lock"]
    shutil.rmtree(ann.root / ".dvc/cache/proofs")  # as if others had built all that
    ann.run("git", "checkout", "HEAD~", "params.yaml")
    assert resolve(ann) == dict.fromkeys(("train-sft", "train-dpo", "score-score"), "proven for the merged parameters")
    ann.commit()
    ann.build()
    assert ann.ran() == []
    assert ann.contents() == Oracle(ann.root).files


@pytest.mark.short
@pytest.mark.end_to_end
@pytest.mark.parametrize(("command", "mine", "bens"), [("rebase", "theirs", "ours"), ("cherry-pick", "ours", "theirs")])
def test_a_rebase_and_a_cherry_pick_are_resolved_too(in_schemes: Apart, command: str, mine: str, bens: str) -> None:
    ann, ben = in_schemes.ann, in_schemes.ben
    fetch(ann, ben)
    ann.refused("git", command, "FETCH_HEAD")
    said = resolve(ann)
    assert (said["generate-upper"], said["generate-lower"], said["mix-all"]) == (mine, bens, "will run")
    ann.run("git", "add", *GENERATED)
    ann.run("git", "-c", "core.editor=true", command, "--continue")
    ann.build()
    assert ann.ran() == sorted(["data/mixes/all", *TRAINED])
    assert ann.contents() == Oracle(ann.root).files


def state(graph: Graph) -> dict[str, bytes]:
    """All files but git's and Snakemake's own, artifacts included."""
    apart = {".git", ".snakemake", "tmp"}
    files = [
        path for path in graph.root.rglob("*") if path.is_file() and not apart & set(path.relative_to(graph.root).parts)
    ]
    return {str(path.relative_to(graph.root)): path.read_bytes() for path in files}


def test_a_conflict_in_what_people_write_is_theirs_to_resolve(in_a_value: Apart) -> None:
    ann, ben = in_a_value.ann, in_a_value.ben
    assert merge(ann, ben) == ["code.lock", "dvc.lock", "params.resolved.yaml", "params.yaml", "traces.lock"]
    line = (ann.root / "params.yaml").read_text().splitlines().index("<<<<<<< HEAD") + 1
    before = state(ann)
    said = ann.refused("bezoar", "dvc", "--resolve")
    assert said.startswith(f"params.yaml:{line}: a merge conflict\n  found: ")
    assert state(ann) == before
    (ann.root / "params.yaml").write_text("seed: [\n")
    before = state(ann)
    ann.refused("bezoar", "dvc", "--resolve")
    assert state(ann) == before


@pytest.mark.end_to_end
def test_a_build_waits_until_dvc_lock_is_resolved(in_stages: Apart) -> None:
    ann, ben = in_stages.ann, in_stages.ben
    merge(ann, ben)
    for command in (["snakemake"], ["dvc", "repro"]):
        assert "hint: run `bezoar dvc --resolve`, then `git add dvc.lock traces.lock`" in ann.refused(*command)
    assert ann.ran() == []
    resolve(ann)
    ann.run("git", "add", *GENERATED)
    ann.build()
    assert ann.ran() == ["results/score.json"]


def test_git_joins_no_halves_of_two_records(ann: Graph, ben: Graph) -> None:
    ann.edit("scripts/mix.py", "random.Random(seed)", "random.Random(seed * 7)")  # the same rows with seed 0 alone
    assert shares(ann) == ["data/mixes/all", "data/mixes/few"]
    assert shares(ben, seed=1) == sorted(["data/mixes/all", "data/mixes/few", *TRAINED])
    assert merge(ann, ben) == ["code.lock", *LOCKS]
    resolve(ann)
    ann.commit()
    ann.build()
    assert ann.ran() == sorted(["data/mixes/all", "data/mixes/few", *TRAINED])


@pytest.mark.end_to_end
def test_a_merge_without_a_conflict_proves_nothing_of_the_other_values(ann: Graph, ben: Graph) -> None:
    ann.set("evals.score.draws", 5)
    ann.commit()  # and builds nothing: dvc.lock is Ben's then
    shares(ben, stages__sft__rate=0.7)
    ann.run("git", "pull", "--quiet", "--no-rebase", "--no-edit", str(ben.root), "HEAD")
    assert "nothing to resolve" in ann.run("bezoar", "dvc", "--resolve")
    ann.build()
    assert ann.ran() == ["results/score.json"]
    assert ann.contents() == Oracle(ann.root).files


@pytest.mark.end_to_end
def test_a_conflict_in_lines_of_dvc_lock_is_resolved_too(in_stages: Apart) -> None:
    ann, ben = in_stages.ann, in_stages.ben
    (ann.root / ".gitattributes").unlink()  # as where somebody has lost it
    ann.commit()
    assert merge(ann, ben) == LOCKS
    line = (ann.root / "dvc.lock").read_text().splitlines().index("<<<<<<< HEAD") + 1
    for command in (["snakemake"], ["bezoar", "plan"], ["bezoar", "dvc"]):
        said = ann.refused(*command)
        assert f"dvc.lock:{line}: can't be read" in said
        assert "hint: run `bezoar dvc --resolve`" in said
    ann.run("git", "add", "dvc.lock")
    assert "hint: `git checkout --merge dvc.lock`" in ann.refused("bezoar", "dvc", "--resolve")
    ann.run("git", "checkout", "--merge", "dvc.lock")
    assert resolve(ann) == {"train-sft": "ours", "train-dpo": "ours", "score-score": "will run"}


@pytest.mark.end_to_end
def test_what_is_generated_is_written_again_whichever_of_it_is_in_conflict(ann: Graph, ben: Graph) -> None:
    for graph, name in ((ann, "more"), (ben, "less")):
        graph.set(f"evals.{name}", {"stages": ["sft"], "draws": len(name)})
        graph.edit("scripts/score.py", "import json", f"import json  # {name}\nNAME = '{name}'")
        graph.run("bezoar", "dvc")
        graph.run("bezoar", "fingerprint")
        graph.commit()
    assert merge(ann, ben) == ["code.lock", "dvc.yaml", "params.resolved.yaml", "params.yaml", "scripts/score.py"]
    ann.run("git", "checkout", "--ours", "params.yaml", "scripts/score.py")
    ann.set("evals.less", {"stages": ["sft"], "draws": 4})
    assert set(resolve(ann)) == {"score-more", "score-less", "score-score"}
    ann.commit()
    said = {name: (ann.root / name).read_bytes() for name in ("dvc.yaml", "code.lock")}
    ann.run("bezoar", "dvc")
    ann.run("bezoar", "fingerprint")
    assert {name: (ann.root / name).read_bytes() for name in ("dvc.yaml", "code.lock")} == said
    ann.build()
    assert ann.ran() == ["results/less.json", "results/more.json", "results/score.json"]


@pytest.mark.end_to_end
def test_a_dvc_lock_that_one_has_deleted_is_taken_from_the_other(in_stages: Apart) -> None:
    ann, ben = in_stages.ann, in_stages.ben
    (ben.root / "dvc.lock").unlink()
    ben.commit()
    assert merge(ann, ben) == LOCKS
    said = resolve(ann)
    assert said.pop("score-score") == "will run"
    assert set(said.values()) == {"ours"}
    ann.commit()
    ann.build()
    assert ann.ran() == ["results/score.json"]


@pytest.mark.end_to_end
def test_what_one_has_built_is_known_though_he_deleted_dvc_lock(in_stages: Apart) -> None:
    ann, ben = in_stages.ann, in_stages.ben
    (ann.root / "dvc.lock").unlink()
    ann.commit()
    assert merge(ann, ben) == LOCKS
    said = resolve(ann)
    assert said.pop("score-score") == "will run"
    assert {said.pop(name) for name in ("train-sft", "train-dpo")} == {"proven for the merged parameters"}
    assert set(said.values()) == {"theirs"}
    assert records(ann)["score-score"] == records(ben)["score-score"]


@pytest.mark.end_to_end
def test_what_is_not_pushed_yet_is_named_and_runs_unless_it_comes(ann: Graph, ben: Graph, tmp_path: Path) -> None:
    ben.set("schemes.lower.suffix", "%")
    ben.build()
    ben.commit()
    shares(ann, stages__sft__rate=0.7)
    assert merge(ann, ben) == LOCKS
    said = ann.run("bezoar", "dvc", "--resolve")
    assert "theirs has a record of generate-lower, but its list of files is neither" in said
    ben.run("dvc", "push")
    said = ann.run("bezoar", "dvc", "--resolve")
    assert "theirs has a record" not in said
    ben.ran(), ann.ran()
    ann.commit()
    ann.build()
    assert ann.ran() == TRAINED


@pytest.mark.end_to_end
def test_everybody_keeps_the_artifact_of_the_one_who_shared_it(ann: Graph, ben: Graph) -> None:
    """Of a rule that never makes the same twice: what Ben made from his, he need not make again."""
    for graph in (ann, ben):
        graph.special(random="data/adapters/sft")
    ann.set("stages.sft.rate", 0.7)
    ann.build()  # and doesn't share it
    ann.run("git", "checkout", "--quiet", ".")
    shares(ann, stages__dpo__rate=0.3)
    shares(ben, stages__sft__rate=0.7)
    merge(ann, ben)
    assert resolve(ann)["train-sft"] == "theirs"
    ann.commit()
    ann.build()
    assert ann.ran() == ["data/adapters/dpo", "results/score.json"]
    sft = "data/adapters/sft/weights/weight.txt"
    assert ann.contents()[sft] == ben.contents()[sft]


def test_without_a_conflict_there_is_nothing_to_resolve(ann: Graph) -> None:
    before = state(ann)
    said = ann.run("bezoar", "dvc", "--resolve")
    assert said == "nothing to resolve: there is no conflict in " + ", ".join(GENERATED) + "\n"
    assert state(ann) == before


def test_without_git_there_is_nothing_that_could_be_resolved(ann: Graph) -> None:
    shutil.rmtree(ann.root / ".git")
    said = ann.refused("bezoar", "dvc", "--resolve")
    assert said.startswith("git can't be asked about this folder\n  found:    fatal: not a git repository")
    ann.build("--dry-run")
