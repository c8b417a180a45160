"""What the cache relies on in Snakemake and DVC: an upgrade that changes it fails here, by name."""

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import snakemake.api  # before snakemake.workflow, which it imports in a circle
import snakemake.workflow
import yaml
from graph import JOBS, Graph
from snakemake.dag import DAG

from bezoar.cache import dvc as ours
from bezoar.cache.hashing import Hasher, listing_of
from bezoar.cache.objects import Objects

VALUES = {
    "none": None,
    "true": True,
    "small": 1e-05,
    "large": 1e22,
    "float": 2.0,
    "text": "a word",
    "word": "no",
    "unicode": "ü ☃",
    "lines": "a\nb\n",
    "list": [1, 2.5, "x"],
    "empty": {},
}


@pytest.fixture
def empty(template: Graph, tmp_path: Path) -> Graph:
    """A DVC repository without stages."""
    root = tmp_path / "empty"
    root.mkdir()
    made = Graph(root, dict(template.environment))
    made.run("git", "init", "--quiet")
    made.run("dvc", "init", "--quiet")
    (root / ".dvcignore").write_text(".snakemake_timestamp\n__pycache__/\n")
    return made


def lock_of(graph: Graph) -> str:
    return (graph.root / "dvc.lock").read_text()


# --- DVC -------------------------------------------------------------------------------------------------------------


def test_dvc_gives_a_directory_the_hash_that_we_give_it(empty: Graph) -> None:
    files = {"a": "Ann\n", "deep/er/b": "Bob\n", "empty": "", "ü/☃.txt": "Cid\n", "a b": "x", "A": "y", "a-b/c": "z"}
    for name, text in {
        **files,
        ".snakemake_timestamp": "",
        "deep/.snakemake_timestamp": "",
        "__pycache__/p": "",
    }.items():
        path = empty.root / "d" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = Hasher(None).content(str(empty.root / "d"))
    empty.run("dvc", "add", "--quiet", "d")
    (out,) = yaml.safe_load((empty.root / "d.dvc").read_text())["outs"]
    assert found is not None
    assert (out["md5"], out["size"], out["nfiles"]) == tuple(found)
    stored = empty.root / ".dvc/cache/files/md5" / found.md5[:2] / found.md5[2:]
    assert {one.relpath for one in listing_of(stored.read_bytes())} == set(files)


def test_dvc_stores_what_we_store_byte_by_byte(empty: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(empty.root)
    for name, text in {"d/a": "Ann\n", "d/é/b": "", "f": "Bob\n"}.items():
        (empty.root / name).parent.mkdir(parents=True, exist_ok=True)
        (empty.root / name).write_text(text)
    hasher = Hasher(None)
    for path in ("d", "f"):
        content = hasher.content(path)
        assert content is not None
        Objects("mine", hasher).store(path, content)
    empty.run("dvc", "add", "--quiet", "d", "f")
    mine, theirs = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (empty.root / "mine", empty.root / ".dvc/cache")
    )
    assert mine == theirs
    assert len(mine) == 4  # two files and a list, and one more file


def test_dvc_takes_an_entry_that_we_fold_for_its_own(built: Graph) -> None:
    assert "Data and pipelines are up to date." in built.run("dvc", "status")
    assert "up to date" in built.repro()
    assert built.ran() == []


def test_dvc_leaves_to_us_what_lies_in_the_place_of_an_output(empty: Graph) -> None:
    out = {"out": {"persist": True}}
    stage = {"cmd": "cat out >kept; echo theirs >out", "outs": [out]}
    (empty.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"a": stage}}))
    (empty.root / "out").write_text("mine\n")
    empty.repro()
    assert (empty.root / "kept").read_text() == "mine\n"
    assert "persist" not in (empty.root / "dvc.lock").read_text()


@pytest.mark.parametrize("command", [["repro"], ["repro", "--force"], ["commit", "--force"]], ids=" ".join)
def test_dvc_writes_the_lock_as_we_do(built: Graph, command: list[str]) -> None:
    before = lock_of(built)
    built.run("dvc", *command)
    after = lock_of(built)
    assert yaml.safe_load(after) == yaml.safe_load(before)
    built.build()
    assert yaml.safe_load(lock_of(built)) == yaml.safe_load(before)


def test_what_dvc_builds_first_has_the_lock_that_we_write(built: Graph, template: Graph, tmp_path: Path) -> None:
    shutil.copytree(template.root, tmp_path / "other")
    other = Graph(tmp_path / "other", dict(template.environment))
    other.repro()
    assert other.ran() == sorted(JOBS)
    assert yaml.safe_load(lock_of(other)) == yaml.safe_load(lock_of(built))


def test_values_mean_the_same_to_dvc_in_the_lock_that_we_write(empty: Graph) -> None:
    (empty.root / "params.yaml").write_text(yaml.safe_dump({"a": VALUES}))
    stage = {"cmd": "cp params.yaml o", "deps": ["params.yaml"], "params": ["a"], "outs": ["o"]}
    (empty.root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"s": stage}}))
    empty.repro()
    lock = {"schema": "2.0", "stages": ours.read(str(empty.root / "dvc.lock"))}
    (empty.root / "dvc.lock").write_text(yaml.dump(lock, Dumper=ours.Dumper, sort_keys=False))
    assert "Data and pipelines are up to date." in empty.run("dvc", "status")
    assert lock["stages"]["s"]["params"]["params.yaml"]["a"] == VALUES


def test_what_dvc_pushes_our_fetch_finds(built: Graph) -> None:
    built.run("dvc", "push", "--quiet")
    shutil.rmtree(built.root / ".dvc/cache")
    lock = yaml.safe_load(lock_of(built))["stages"]
    wanted = [lock[name]["outs"][0]["md5"] for name in ("train-sft", "score-score")]
    subprocess.run(
        [sys.executable, "-m", "bezoar.cache.remote", *wanted], cwd=built.root, env=built.environment, check=True
    )
    objects = Objects(str(built.root / ".dvc/cache"), Hasher(None))
    assert [objects.missing(md5) for md5 in wanted] == [[], []]
    count = len([path for path in (built.root / ".dvc/cache/files").rglob("*") if path.is_file()])
    assert count == len(objects.listing(wanted[0]) or []) + 2  # a directory's files, its list, and the score


# --- Snakemake -------------------------------------------------------------------------------------------------------


def test_the_graphs_class_is_looked_up_where_we_replace_it() -> None:
    assert snakemake.workflow.DAG in (DAG, *DAG.__subclasses__())
    assert " DAG(" in inspect.getsource(snakemake.workflow.Workflow)


@pytest.mark.parametrize(
    "name", ["_needrun", "_n_until_ready", "_ready_jobs", "_checkpoint_jobs", "_len", "_finished", "_reason"]
)
def test_the_graph_has_what_we_write(name: str) -> None:
    assert f"self.{name} = " in inspect.getsource(DAG.__init__)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("update_needrun", ["self", "create_inventory"]),
        ("postprocess", ["self", "update_needrun", "update_incomplete_input_expand_jobs", "check_initial"]),
        ("check_output_mtime", ["self", "job", "expanded_output"]),
    ],
)
def test_the_methods_that_we_override_are_called_as_before(name: str, parameters: list[str]) -> None:
    method = getattr(DAG, name)
    assert inspect.iscoroutinefunction(method)
    assert list(inspect.signature(method).parameters) == parameters


def test_outputs_are_removed_where_we_look_at_them_first() -> None:
    from snakemake.jobs import AbstractJob, Job

    assert inspect.iscoroutinefunction(Job.remove_existing_output)
    assert list(inspect.signature(Job.remove_existing_output).parameters) in (["self"], ["job"])  # as it is, or ours
    assert "await self.remove_existing_output()" in inspect.getsource(Job.prepare)
    assert issubclass(Job, AbstractJob)


def test_the_scheduler_asks_the_graph_for_ready_jobs_and_says_what_runs() -> None:
    from snakemake.scheduling.job_scheduler import JobScheduler
    from snakemake.workflow import Workflow

    assert isinstance(DAG.ready_jobs, property)
    assert "self.workflow.dag.ready_jobs" in inspect.getsource(JobScheduler.open_jobs.fget)
    assert isinstance(Workflow.scheduler, property)
    assert "self.running = set()" in inspect.getsource(JobScheduler.__init__)
    assert "self.running.remove(job)" in inspect.getsource(JobScheduler._handle_error)  # before it can be tried again


@pytest.mark.parametrize("name", ["toposorted", "finished", "reason", "targetjobs", "dependencies", "needrun_jobs"])
def test_the_graph_has_what_we_ask(name: str) -> None:
    assert hasattr(DAG, name) or f"self.{name} = " in inspect.getsource(DAG.__init__)


def test_a_reason_has_the_fields_that_we_fill() -> None:
    from snakemake.jobs import Reason

    reason = Reason()
    for name in ("updated_input", "updated_input_run", "missing_output"):
        assert len(getattr(reason, name)) == 0
        getattr(reason, name).update(["a"])
    assert hasattr(reason, "derived")
    for name in ("forced", "code_changed", "params_changed"):
        assert not getattr(reason, name)
    reason.clear()
    assert not reason


def test_times_of_files_do_not_reach_snakemakes_decision(built: Graph) -> None:
    for path in (built.root / "words.txt", built.root / "scripts/train.py"):
        path.touch()
    shutil.rmtree(built.root / ".snakemake")
    assert "Nothing to be done" in built.build()
