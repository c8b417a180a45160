"""What must hold whatever happens between two builds, for both front ends: docs/explanation/how-it-decides.md."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import warm
import yaml
from graph import JOBS, LONG_BY_DVC, Graph
from oracle import Oracle

FRONT_ENDS = ("snakemake", "dvc")
GENERATED = [f"data/generated/{scheme}/{shard:04d}" for scheme in ("lower", "upper") for shard in range(3)]
UPPER = [name for name in GENERATED if "upper" in name]
TRAINED = ["data/adapters/dpo", "data/adapters/sft", "results/score.json"]  # and what follows
FAR = 4_000_000_000  # seconds: in the year 2096


@pytest.fixture(params=FRONT_ENDS)
def front_end(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def once_pushed(once: Graph, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The built graph, whose remote has everything."""
    made = once.copy(tmp_path_factory.mktemp("pushed"))
    made.run("dvc", "push")
    return made


@pytest.fixture
def pushed(once_pushed: Graph, tmp_path: Path) -> Graph:
    return once_pushed.copy(tmp_path)


def other(front_end: str) -> str:
    return next(name for name in FRONT_ENDS if name != front_end)


def command(front_end: str) -> list[str]:
    return ["snakemake"] if front_end == "snakemake" else ["dvc", "repro"]


def objects(graph: Graph) -> list[Path]:
    """Files of the object store."""
    return [path for path in (graph.root / ".dvc/cache/files").rglob("*") if path.is_file()]


def proofs(graph: Graph) -> list[dict]:
    return [json.loads(path.read_text()) for path in (graph.root / ".dvc/cache/proofs").rglob("*.json")]


def proven(graph: Graph) -> list[str]:
    """Outputs with a proof, sorted."""
    return sorted(path for proof in proofs(graph) for path in proof["outputs"])


def scramble_times(graph: Graph, seed: int) -> None:
    """Give every file a time between 1970 and 2096."""
    chance = random.Random(seed)
    for path in sorted(graph.root.rglob("*")):
        if ".git" not in path.parts and path.is_file() and not path.is_symlink():
            when = chance.randrange(FAR)
            os.utime(path, (when, when))


def wait_for(condition: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def held(graph: Graph, front_end: str, name: str, *, cold: bool = False) -> Iterator["subprocess.Popen[bytes]"]:
    """A build whose job is making an output until the block ends; its exit status is then known.

    Args:
        cold: Whether it is to be killed, so a program from nothing with all it starts in one process group.
    """
    go, log = graph.work / "go", graph.log
    graph.special(slow=name)
    running = Graph(graph.root, dict(graph.environment))
    if not cold:
        running.environment["PATH"] = warm.path(running.environment["PATH"])
    process = running.start(*command(front_end), log=log)
    try:
        wait_for(lambda: process.poll() is not None or at_work(graph, name))
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        go.touch()
        process.wait()
        go.unlink()
        graph.special(slow="")


def at_work(graph: Graph, name: str) -> bool:
    """Whether the job is making an output: a folder, a score, or a half-written file."""
    started = graph.started()
    return name in started or (os.path.dirname(name) in started and (graph.root / name).is_file())


def said(graph: Graph) -> str:
    """What the last held build wrote."""
    return graph.log.read_text()


def test_a_clone_without_a_pull_has_nothing_to_do_and_fetches_the_target_only(pushed: Graph, tmp_path: Path) -> None:
    clone = pushed.clone(tmp_path / "clone")
    assert "Nothing to be done" in clone.build("results/score.json")
    assert clone.ran() == []
    assert list(clone.contents()) == ["results/score.json"]
    assert clone.contents()["results/score.json"] == pushed.contents()["results/score.json"]


def test_a_clone_with_a_pull_has_nothing_to_do(pushed: Graph, tmp_path: Path) -> None:
    clone = pushed.clone(tmp_path / "clone")
    clone.run("dvc", "pull")
    scramble_times(clone, seed=0)
    assert "Nothing to be done" in clone.build()
    assert "up to date" in clone.repro()
    assert clone.ran() == []
    assert clone.contents() == pushed.contents()


def test_a_changed_value_reruns_what_its_block_holds_and_what_follows(built: Graph, front_end: str) -> None:
    before = built.contents()
    built.set("schemes.upper.suffix", "#")
    built.by(front_end)
    assert built.ran() == sorted([*UPPER, "data/mixes/all", "data/mixes/few", *TRAINED])
    built.set("stages.dpo.rate", 0.3)
    built.by(front_end)
    assert built.ran() == ["data/adapters/dpo", "results/score.json"]
    built.set("schemes.upper.suffix", "!")
    built.set("stages.dpo.rate", 0.1)
    built.by(front_end)
    assert built.ran() == []
    assert built.contents() == before


def test_a_swap_of_two_values_reruns(built: Graph, front_end: str) -> None:
    built.set("stages.sft.rate", 0.25)
    built.set("stages.sft.decay", 0.5)
    built.by(front_end)
    assert built.ran() == TRAINED


def test_the_order_of_a_list_counts_and_that_of_a_map_does_not(built: Graph, front_end: str) -> None:
    params = built.params()
    params["stages"]["sft"] = dict(reversed(params["stages"]["sft"].items()))
    params["mixes"]["all"]["schemes"].reverse()
    (built.root / "params.yaml").write_text(yaml.safe_dump(dict(reversed(params.items())), sort_keys=False))
    built.by(front_end)
    assert built.ran() == ["data/mixes/all"]  # which sorts its rows


def test_comments_docstrings_and_layout_rerun_nothing(built: Graph, front_end: str) -> None:
    built.edit("scripts/helper.py", "What the scripts share.", "Shared.")
    built.edit("scripts/helper.py", "Write lines.", "Write.")
    built.edit("scripts/train.py", "losses = []", "losses = [  # of all\n]")
    built.edit("Snakefile", "rule train:", "# of a model\nrule train:")
    built.by(front_end)
    assert built.ran() == []
    assert built.by(other(front_end))
    assert built.ran() == []


def test_an_edit_of_a_shared_module_reruns_the_rules_that_import_it(built: Graph, front_end: str) -> None:
    built.edit("scripts/letters.py", "FIRST = 0", "FIRST = 97 * 3")  # which neither shards nor training see in results
    built.by(front_end)
    assert built.ran() == ["data/adapters/dpo", "data/adapters/sft", "data/seed/words"]


def test_an_edit_of_what_all_import_reruns_all(built: Graph) -> None:
    built.edit("scripts/helper.py", 'END = "\\n"', 'END = "\\r\\n"')
    built.build()
    assert built.ran() == sorted(JOBS)


def test_an_edit_of_a_command_reruns_its_rule(built: Graph, front_end: str) -> None:
    built.edit("Snakefile", "python {input.script:q} --params evals", "python -O {input.script:q} --params evals")
    built.by(front_end)
    assert built.ran() == ["results/score.json"]


def test_what_follows_an_unchanged_output_does_not_run(built: Graph, front_end: str) -> None:
    (built.root / "words.txt").write_text("\n\n" + (built.root / "words.txt").read_text())
    built.by(front_end)
    assert built.ran() == ["data/source/words"]
    built.set("sources.words.drop", "xe")
    built.by(front_end)
    assert built.ran() == ["data/source/words"]


@LONG_BY_DVC
def test_times_and_records_of_snakemake_decide_nothing(built: Graph, front_end: str) -> None:
    before = built.contents()
    scramble_times(built, seed=1)
    built.by(front_end)
    shutil.rmtree(built.root / ".snakemake")
    built.by(front_end)
    built.build("--touch")
    built.by(front_end)
    assert built.ran() == []
    assert built.contents() == before


@LONG_BY_DVC
def test_a_touch_does_not_hide_a_change(built: Graph, front_end: str) -> None:
    built.set("stages.dpo.rate", 0.3)
    built.build("--touch")
    built.by(front_end)
    assert built.ran() == ["data/adapters/dpo", "results/score.json"]


def test_a_source_of_the_same_size_and_an_older_time_counts(built: Graph, front_end: str) -> None:
    words = built.root / "words.txt"
    words.write_text(words.read_text().replace("xerxes", "xerxus"))
    os.utime(words, (0, 0))
    built.by(front_end)
    assert built.ran() == ["data/source/words"]
    assert built.contents()["data/source/words/dropped.txt"] == b"xerxus\n"


def test_an_output_that_was_altered_under_its_size_and_time_comes_back(built: Graph) -> None:
    before = built.contents()
    path = built.root / "data/mixes/all/rows.txt"
    found = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    built.build()  # DVC on its own can't see that
    assert built.ran() == []
    assert built.contents() == before


def test_altered_and_deleted_outputs_come_back(built: Graph, front_end: str) -> None:
    before = built.contents()
    (built.root / "data/mixes/all/rows.txt").write_text("other\n")
    (built.root / "data/adapters/sft/weights/weight.txt").write_text("0\n")
    (built.root / "data/adapters/dpo/more.txt").write_text("undeclared\n")
    (built.root / "results/score.json").unlink()
    built.by(front_end)
    assert built.ran() == []
    assert built.contents() == before


@LONG_BY_DVC
def test_altered_outputs_without_objects_are_made_again(built: Graph, front_end: str) -> None:
    before = built.contents()
    for path in objects(built):
        path.unlink()
    (built.root / "data/mixes/all/rows.txt").write_text("other\n")
    (built.root / "results/score.json").unlink()
    built.by(front_end)
    if front_end == "snakemake":  # DVC throws outputs away that its cache doesn't have
        assert built.ran() == ["data/mixes/all", "results/score.json"]
    assert built.contents() == before


@LONG_BY_DVC
def test_outputs_without_record_and_lock_are_never_trusted(built: Graph, front_end: str) -> None:
    before = built.contents()
    shutil.rmtree(built.root / ".dvc/cache")
    (built.root / "dvc.lock").unlink()
    (built.root / "results/score.json").write_text("{}\n")
    built.by(front_end)
    assert built.ran() == sorted(JOBS)
    assert built.contents() == before


@LONG_BY_DVC
def test_what_one_front_end_made_the_other_takes(graph: Graph, front_end: str) -> None:
    graph.by(front_end)
    assert graph.ran() == sorted(JOBS)
    graph.by(other(front_end))
    assert graph.ran() == []
    assert "up to date" in graph.run("dvc", "status")
    assert "Nothing to be done" in graph.build()


@LONG_BY_DVC
def test_fewer_shards_leave_nothing_behind_and_more_reuse_what_was(built: Graph, front_end: str) -> None:
    before = built.contents()
    built.set("shards", 2)
    built.by(front_end)
    assert [path for path in built.contents() if "0002" in path] == []
    assert "data/seed/words" in built.ran()
    assert "up to date" in built.run("dvc", "status")
    built.set("shards", 3)
    built.by(front_end)
    assert built.ran() == []
    found = built.contents()
    assert "results/score.json" in found  # Snakemake's run brings back no more than it needs
    assert found == {path: before[path] for path in found}


@pytest.mark.parametrize("flags", [["-F"], ["-R", "train"], ["-f", "data/adapters/dpo"]], ids=lambda flags: flags[0])
def test_forced_jobs_really_run(built: Graph, flags: list[str]) -> None:
    before = built.contents()
    built.build(*flags)
    forced = {"-F": JOBS, "-R": {"data/adapters/dpo", "data/adapters/sft"}, "-f": {"data/adapters/dpo"}}[flags[0]]
    assert built.ran() == sorted(forced)
    assert "Nothing to be done" in built.build()
    assert built.contents() == before


@pytest.mark.parametrize(
    ("front_end", "name"),
    [
        ("snakemake", "data/adapters/sft"),
        ("snakemake", "data/mixes/all/rows.txt"),
        ("snakemake", "results/score.json"),
        pytest.param("dvc", "data/mixes/all/rows.txt", marks=pytest.mark.long),  # rebuilds all by `dvc repro`
    ],
)
def test_a_killed_build_leaves_no_half_written_artifact_with_a_proof(graph: Graph, front_end: str, name: str) -> None:
    with held(graph, front_end, name, cold=True) as process:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    started = graph.ran()
    made = set(proven(graph))
    assert not any(path == name or path.startswith(f"{name}/") for path in made)
    unfinished = [one for one in started if not any(path == one or path.startswith(f"{one}/") for path in made)]
    graph.by(front_end)
    assert graph.ran() == sorted([*unfinished, *(JOBS - set(started))])
    assert len(unfinished) <= 2
    assert "Nothing to be done" in graph.build()


@LONG_BY_DVC
@pytest.mark.parametrize(
    ("path", "old", "new"), [("words.txt", "Ann", "Pam"), ("scripts/source.py", "MOST = 1000", "MOST = 3")]
)
def test_an_input_that_is_edited_while_a_job_runs_fails_it(
    graph: Graph, front_end: str, path: str, old: str, new: str
) -> None:
    with held(graph, front_end, "data/source/words") as process:
        graph.edit(path, old, new)
    assert process.returncode != 0
    assert path in said(graph)
    assert "nothing is recorded" in said(graph)
    assert proven(graph) == []
    assert graph.ran() == ["data/source/words"]
    graph.build("data/source/words/rows.txt") if front_end == "snakemake" else graph.repro("source-words")
    assert graph.ran() == ["data/source/words"]
    rows = Oracle(graph.root).files["data/source/words/rows.txt"]
    assert graph.contents()["data/source/words/rows.txt"] == rows


def test_a_run_goes_by_the_parameters_of_its_start(built: Graph) -> None:
    built.set("stages.sft.rate", 0.7)
    with held(built, "snakemake", "data/adapters/sft") as process:
        built.set("stages.sft.rate", 0.9)
        built.set("evals.score.draws", 5)
    assert process.returncode == 0, said(built)
    during = built.contents()
    assert built.ran() == TRAINED
    built.build()
    assert built.ran() == TRAINED
    assert built.contents()["results/score.json"] != during["results/score.json"]
    built.set("stages.sft.rate", 0.7)
    built.set("evals.score.draws", 3)
    built.repro()
    assert built.ran() == []
    assert built.contents() == during


def test_dvc_goes_by_the_parameters_of_its_start(built: Graph) -> None:
    built.set("stages.sft.rate", 0.7)
    with held(built, "dvc", "data/adapters/sft") as process:
        built.set("stages.sft.rate", 0.9)
        built.set("evals.score.draws", 5)
    assert process.returncode == 0, said(built)
    assert built.ran() == TRAINED
    rate = built.run("git", "diff", "--unified=0", "params.resolved.yaml")
    assert "+    rate: 0.7" in rate
    built.repro()
    assert built.ran() == TRAINED
    assert built.contents() == Oracle(built.root).files


def test_dvc_records_no_values_that_were_written_while_it_built(built: Graph) -> None:
    built.set("stages.sft.rate", 0.7)
    with held(built, "dvc", "data/adapters/sft") as process:
        built.set("stages.sft.rate", 0.9)
        built.run("bezoar", "fingerprint")  # DVC reads params.resolved.yaml again when the stage is done
    assert process.returncode != 0
    assert "params.resolved.yaml was changed while train-sft was made" in said(built)
    built.runs.unlink()
    built.build()
    assert built.ran() == TRAINED
    assert built.contents() == Oracle(built.root).files


def edit_while_the_graph_is_made(built: Graph, path: str, old: str, new: str) -> None:
    """Change the Snakefile so that it edits a file once the values were read."""
    sed = f"shell(\"sed -i 's/{old}/{new}/' {path}\")"
    built.edit("Snakefile", "lambda w: SHARDS", f"lambda w: ({sed}, SHARDS)[1]")


def test_an_edit_of_code_while_the_graph_is_made_is_part_of_the_run(built: Graph) -> None:
    built.edit("params.yaml", "rate: 0.5", "rate: 0.7")
    edit_while_the_graph_is_made(built, "scripts/train.py", "MODULUS = 97", "MODULUS = 89")
    built.build()
    assert built.ran() == TRAINED
    assert built.contents() == Oracle(built.root).files


def test_an_edit_of_code_before_its_job_starts_is_refused(built: Graph) -> None:
    built.edit("params.yaml", "rate: 0.5", "rate: 0.7")
    sed = "sed -i 's/MODULUS = 97/MODULUS = 89/' scripts/train.py"
    built.edit("Snakefile", "rule all:", f'onstart:\n    shell("{sed}")\n\n\nrule all:')
    assert "edited before it started" in built.refused("snakemake")
    assert built.ran() == []


def test_an_edit_of_values_while_the_graph_is_made_reaches_the_next_run(built: Graph) -> None:
    built.edit("params.yaml", "rate: 0.5", "rate: 0.7")
    edit_while_the_graph_is_made(built, "params.yaml", "rate: 0.7", "rate: 0.9")
    built.build()
    assert built.ran() == TRAINED
    assert "rate: 0.7" in (built.root / "params.resolved.yaml").read_text()
    assert "rate: 0.9" in (built.root / "params.yaml").read_text()
    built.repro()
    assert built.ran() == TRAINED
    assert built.contents() == Oracle(built.root).files


@LONG_BY_DVC
def test_code_that_was_edited_while_other_jobs_ran_reaches_the_next_build(built: Graph, front_end: str) -> None:
    built.set("stages.sft.rate", 0.7)
    with held(built, "snakemake", "data/adapters/sft") as process:
        built.edit("scripts/source.py", "MOST = 1000", "MOST = 5")
    assert process.returncode == 0, said(built)
    assert built.ran() == TRAINED
    built.by(front_end)
    assert "data/source/words" in built.ran()
    assert built.contents() == Oracle(built.root).files


def test_values_from_the_command_line_are_refused(built: Graph) -> None:
    assert "values come from that file only" in built.refused("snakemake", "--config", "seed=5")
    assert built.ran() == []


def test_a_second_run_at_once_is_refused(built: Graph) -> None:
    built.set("stages.sft.rate", 0.7)
    with held(built, "snakemake", "data/adapters/sft") as process:
        assert "locked" in built.refused("snakemake").lower()
    assert process.returncode == 0, said(built)
    assert built.ran() == TRAINED
    assert "Nothing to be done" in built.build()


def test_a_dry_run_while_another_runs_changes_nothing(built: Graph) -> None:
    built.set("stages.sft.rate", 0.7)
    with held(built, "snakemake", "data/adapters/sft") as process:
        built.build("--dry-run", "--nolock")
    assert process.returncode == 0, said(built)
    assert built.ran() == TRAINED


@LONG_BY_DVC
def test_a_corrupted_object_on_the_remote_is_made_again(pushed: Graph, tmp_path: Path, front_end: str) -> None:
    for path in (tmp_path / "remote/files").rglob("*"):
        if path.is_file() and path.suffix != ".dir":
            path.chmod(0o644)
            path.write_bytes(b"other")
    clone = pushed.clone(tmp_path / "clone")
    clone.by(front_end)
    assert clone.contents()["results/score.json"] == pushed.contents()["results/score.json"]
    built = {path: data for path, data in clone.contents().items() if pushed.contents()[path] != data}
    assert built == {}


@LONG_BY_DVC
def test_without_the_remote_a_build_says_so_or_is_right(pushed: Graph, tmp_path: Path, front_end: str) -> None:
    clone = pushed.clone(tmp_path / "clone")
    shutil.rmtree(tmp_path / "remote")
    clone.by(front_end)
    assert clone.contents()["results/score.json"] == pushed.contents()["results/score.json"]
    assert "results/score.json" in clone.ran()


@LONG_BY_DVC
def test_a_corrupted_local_object_is_never_restored(built: Graph, front_end: str) -> None:
    before = built.contents()
    for path in objects(built):
        path.chmod(0o644)
        path.write_bytes(b"other")
    shutil.rmtree(built.root / "data/adapters")
    (built.root / "results/score.json").unlink()
    built.by(front_end)
    assert built.contents() == before
    if front_end == "snakemake":  # DVC throws outputs away that its cache doesn't have
        assert built.ran() == TRAINED


def test_clones_share_by_push_and_pull(pushed: Graph, tmp_path: Path, front_end: str) -> None:
    clone = pushed.clone(tmp_path / "clone")
    clone.run("dvc", "pull")
    clone.set("stages.dpo.rate", 0.3)
    clone.by(front_end)
    assert clone.ran() == ["data/adapters/dpo", "results/score.json"]
    clone.run("dvc", "push")
    clone.commit()
    pushed.run("git", "pull", "--quiet", str(clone.root), "HEAD")
    pushed.by(front_end)
    assert pushed.ran() == []
    assert pushed.contents() == clone.contents()


@LONG_BY_DVC
def test_all_clones_get_one_artifact_of_a_rule_that_never_makes_the_same_twice(
    built: Graph, tmp_path: Path, front_end: str
) -> None:
    built.special(random="data/adapters/sft")
    built.set("stages.sft.rate", 0.7)
    clone = built.copy(tmp_path / "other")
    for graph in (built, clone):
        graph.by(front_end)
        assert graph.ran() == TRAINED
    assert clone.contents()["results/score.json"] != built.contents()["results/score.json"]
    built.run("dvc", "push")
    shutil.copytree(tmp_path / "remote", tmp_path / "other/remote", dirs_exist_ok=True)
    for name in ("dvc.lock", "traces.lock"):
        shutil.copyfile(built.root / name, clone.root / name)
    clone.by(front_end)
    assert clone.ran() == []
    assert clone.contents()["results/score.json"] == built.contents()["results/score.json"]
    assert (clone.root / "dvc.lock").read_text() == (built.root / "dvc.lock").read_text()


@LONG_BY_DVC
def test_the_result_of_a_forced_run_counts_for_its_own_code_only(built: Graph, front_end: str) -> None:
    before = built.contents()
    text = (built.root / "scripts/score.py").read_text()
    (built.root / "scripts/score.py").write_text(f'{text}\nwrite(args.out, ["another"])\n')
    built.build("--forcerun", "score")
    assert built.contents() != before
    (built.root / "scripts/score.py").write_text(text)
    built.by(front_end)
    assert built.contents() == before


def test_a_comment_in_code_that_a_running_job_uses_does_not_lose_its_work(built: Graph) -> None:
    built.set("stages.sft.rate", 0.7)
    with held(built, "snakemake", "data/adapters/sft") as process:
        helper = built.root / "scripts/helper.py"
        helper.write_text(f"{helper.read_text()}# a comment\n")
    assert process.returncode == 0, said(built)
    assert "nothing is recorded" not in said(built)
