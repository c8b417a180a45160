"""Jobs of one block share a process, and each keeps its own key, proof, log and failure."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bezoar import together as frame
from bezoar.cache import history, locks, together
from bezoar.cache.action import typed_digest
from bezoar.cache.code import Closures
from bezoar.cache.execute import is_proven
from bezoar.cache.hashing import Hasher
from bezoar.cache.job import Network, PlannedJob, Run, Step, Surroundings
from bezoar.cache.proofs import Proof, Proofs

CACHE = ".dvc/cache"
SCRIPT = "scripts/ask.py"
TEXT = '''"""Ask a model one question; the folder's name is the question, and says what goes wrong."""

import os
import signal
import time
from pathlib import Path

from bezoar.costs import spend
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.script import Flags
from bezoar.together import once, run


def loaded(path):
    logger.info(f"loads the model in {os.getpid()}")
    return path.read_text()


def main(argv=None):
    flags = Flags(__doc__)
    flags.path("model", "the model")
    flags.folder("out", "folder of the answer")
    (args,) = flags.start(argv)
    model, task = once(loaded, args.model), args.out.name
    logger.info(f"asks {task} in {os.getpid()}")
    spend(prompt_tokens=len(task))
    if task == "broken":
        raise ValueError("no such question")
    if task.startswith("fatal"):
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "slow":
        Path(os.environ["TMPDIR"], "..", "waits").touch()
        time.sleep(60)
    with artifact(args.out) as out:
        (out / "result.json").write_text(f"{model} {task}")
        if task == "stray":
            (out / "notes").write_text("more")
    if task == "late":
        raise ValueError("after its answer")


if __name__ == "__main__":
    run(main)
'''


def result(task: str) -> str:
    return f"data/harness/e/m/{task}/result.json"


def job(task: str, **changes: Any) -> PlannedJob:
    """The planned job of a task."""
    out = os.path.dirname(result(task))
    step = Step(
        rule="harness",
        block=("e", "m"),
        parts=3,
        inputs=("data/base/m",),
        form="f" * 64,
        outputs=(result(task),),
        folder=out,
        outs=("data/harness/e/m",),
        params={},
        values=typed_digest({}),
        environment={},
        script=SCRIPT,
    )
    log = f"logs/{task}.log"
    command = ["python", SCRIPT, "--model", "data/base/m", "--out", out, "--log", log]
    around = Surroundings((), (log,))
    return replace(PlannedJob(step, command, True, [], around), **changes)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a model; the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]]))
    for name, text in (("data/base/m", "M"), (SCRIPT, TEXT), ("params.yaml", "{}"), (".snakemake/alive", "")):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    closures = Closures(Hasher())
    files, prints = {SCRIPT: closures.contents(SCRIPT)}, {SCRIPT: closures.print_of(SCRIPT)}
    Run(os.path.abspath(CACHE), "params.yaml", False, files, prints, {}, "1-1").write()
    return tmp_path


def plan(*jobs: PlannedJob | str) -> None:
    """Plan jobs, as a run does."""
    for one in together.planned([job(one) if isinstance(one, str) else one for one in jobs], [SCRIPT]):
        one.write()


def start(task: str, **environment: str) -> "subprocess.Popen[str]":
    """`bezoar exec` for a task."""
    code = f"import sys; from bezoar.cache.execute import execute; sys.exit(execute({[result(task)]}, sys.argv[1:]))"
    words = [sys.executable, "-c", code, *job(task).command]
    return subprocess.Popen(words, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True)


def execute(task: str, **environment: str) -> tuple[int, str]:
    """The status of `bezoar exec` for a task, and what it says."""
    with start(task, **environment) as process:
        _, said = process.communicate(timeout=60)
    return process.returncode, said


def proof(task: str) -> Proof | None:
    """The proof of a task, for the model as it is."""
    inputs = {"data/base/m": Hasher(None).file("data/base/m").md5}
    return Proofs(CACHE).find(job(task).step.action(inputs), lambda trace: True)


def proven(*tasks: str) -> list[str]:
    """Those of the tasks that have a proof."""
    return [one for one in tasks if proof(one)]


def log(task: str) -> str:
    return Path(f"logs/{task}.log").read_text()


def process_of(task: str) -> str:
    return log(task).split(f"asks {task} in ")[1].split()[0]


def wait(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- Which jobs may share a process ---------------------------------------------------------------------------------


def test_jobs_share_a_process_if_only_their_part_differs() -> None:
    a, b = job("a"), job("b")
    inputs = (*b.step.inputs, "data/tasks/e/b/settings.json")  # one is named by a part
    values = {"evals.e.tasks.b": {"limit": 1}}  # and so is one of its values
    b = replace(b, step=replace(b.step, form="e" * 64, inputs=inputs, params=values, values=typed_digest(values)))
    strangers = [
        replace(a, step=replace(b.step, outputs=("3",), script="scripts/other.py")),
        replace(a, step=replace(b.step, outputs=("4",), environment={"MODE": "x"})),
        replace(a, step=replace(b.step, outputs=("5",), block=("e", "other"))),
        replace(a, step=replace(b.step, outputs=("6",)), around=replace(a.around, network=Network())),
        replace(a, step=replace(b.step, outputs=("7",)), around=replace(a.around, folders=("7",))),
        replace(a, step=replace(b.step, outputs=("8",)), lookup=False),
        replace(a, step=replace(b.step, outputs=("9",)), command=["python", "-E", *a.command[1:]]),
    ]
    found = {one.step.name: one.together for one in together.planned([a, b, *strangers], [SCRIPT])}
    assert found.pop(a.step.name) == (b.step.name,)
    assert found.pop(b.step.name) == (a.step.name,)
    assert set(found.values()) == {()}
    assert {one.together for one in together.planned([a, b], ["scripts/other.py"])} == {()}


# --- One process ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["", "observe"])
def test_all_jobs_without_a_proof_are_made_in_one_process_and_each_is_recorded(isolation: str) -> None:
    plan("a", "b", "c")
    status, said = execute("a", BEZOAR_ISOLATION=isolation)
    assert (status, proven("a", "b", "c")) == (0, ["a", "b", "c"]), said
    assert "doesn't declare" not in said
    assert len({process_of(one) for one in "abc"}) == 1
    assert [log(one).count("loads the model") for one in "abc"] == [1, 0, 0]
    assert [Path(result(one)).read_text() for one in "abc"] == ["M a", "M b", "M c"]
    found = [proof(one) for one in "abc"]
    assert [[*one.outputs] for one in found if one] == [[result(one)] for one in "abc"]
    assert len({one.trace.digest for one in found if one and one.trace}) == 1
    assert [one.cost["prompt_tokens"] for one in found if one] == [1, 1, 1]  # each its own
    assert history.outcomes() == {"run": 3}
    assert not any(Path(".snakemake/bezoar-together").iterdir())
    assert not any(Path(".snakemake/bezoar-costs").iterdir())


def test_a_job_that_another_ones_process_has_made_is_restored() -> None:
    plan("a", "b")
    execute("a")
    made = log("b")
    Path(result("b")).unlink()  # as Snakemake does before it starts a job
    assert is_proven(result("b"))
    Path(result("b")).unlink()
    status, said = execute("b")
    assert (status, Path(result("b")).read_text()) == (0, "M b")
    assert "restored" in said
    assert log("b") == made
    assert history.outcomes() == {"run": 2}


def test_a_trace_has_no_output_of_another_job_and_an_artifact_is_that_of_a_process_of_its_own() -> None:
    plan(job("a"), job("b"))
    execute("a")
    shared = {one: proof(one) for one in "ab"}
    Path(CACHE).rename("earlier")
    for one in "ab":
        Path(result(one)).unlink()
        job(one).write()
        execute(one)
        alone, before = proof(one), shared[one]
        assert alone
        assert before
        assert (alone.outputs, alone.trace) == (before.outputs, before.trace)


def test_seconds_of_a_process_are_shared_and_none_is_counted_twice(tmp_path: Path) -> None:
    path = tmp_path / "done"
    lines = [{"done": name, "seconds": one, "cpu_seconds": one / 2} for name, one in (("a", 1.0), ("b", 5.0))]
    path.write_text("".join(json.dumps(one) + "\n" for one in lines) + '{"done": "c", "sec')
    found = together.read(str(path), {"seconds": 16.0, "cpu_seconds": 8.0})
    assert found == {"a": {"seconds": 6.0, "cpu_seconds": 3.0}, "b": {"seconds": 10.0, "cpu_seconds": 5.0}}
    assert together.read("nowhere", {"seconds": 1.0, "cpu_seconds": 1.0}) == {}


def test_a_job_with_a_proof_is_not_run_again() -> None:
    job("c").write()
    execute("c")
    alone = process_of("c")
    Path(result("c")).unlink()
    plan("a", "b", "c")
    execute("a")
    assert proven("a", "b", "c") == ["a", "b", "c"]
    assert process_of("c") == alone
    assert process_of("b") == process_of("a")
    assert not Path(result("c")).exists()  # its own job restores it


def test_a_forced_job_runs_by_itself_even_if_it_has_a_proof() -> None:
    plan("a", "b")
    execute("a")
    for one in "ab":
        Path(result(one)).unlink()
    plan(job("a", lookup=False), job("b", lookup=False))
    assert execute("a")[0] == 0
    assert not Path(result("b")).exists()
    assert execute("b")[0] == 0
    assert process_of("a") != process_of("b")


def test_what_is_in_the_place_of_another_job_goes_as_before_its_own_start() -> None:
    plan("a", "b")
    execute("a")
    Path("data/base/m").write_text("N")  # now b's artifact is one of another model
    Path(result("a")).unlink()
    assert execute("a")[0] == 0
    assert Path(result("b")).read_text() == "N b"
    assert not Path("scratch/altered").exists()  # the cache has it
    Path("data/base/m").write_text("O")
    Path(result("a")).unlink()
    Path(result("b")).write_text("mine")
    assert execute("a")[0] == 0
    assert Path(result("b")).read_text() == "O b"
    assert [path.read_text() for path in Path("scratch/altered").rglob("*") if path.is_file()] == ["mine"]


def test_a_folder_with_a_file_of_somebody_is_left_to_the_jobs_own_message() -> None:
    plan("a", "b")
    Path(result("b")).parent.mkdir(parents=True)
    (Path(result("b")).parent / "notes").write_text("mine")
    assert execute("a")[0] == 0
    assert proven("a", "b") == ["a"]
    status, said = execute("b")
    assert (status, "notes is in an artifact's folder" in said) == (1, True)


# --- Failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["broken", "late"])
def test_another_jobs_failure_is_a_warning_and_its_own_job_fails_by_itself(task: str) -> None:
    plan("a", task, "z")
    status, said = execute("a")
    assert (status, proven("a", task, "z")) == (0, ["a", "z"])
    assert f"{result(task)} failed in the process of another job" in said
    assert "failed in the process" in log(task)
    assert not Path(result(task)).exists()
    assert log("z").count("loads the model") == 1  # anew: the failure may have changed the other
    status, said = execute(task)
    assert (status, "ValueError" in said, proof(task)) == (1, True, None)


def test_a_file_too_many_in_another_jobs_folder_is_that_jobs_failure() -> None:
    plan("a", "stray", "z")
    status, said = execute("a")
    assert (status, proven("a", "stray", "z")) == (0, ["a", "z"])
    assert "stray/notes was written, but isn't declared by its rule, so nothing is recorded" in said
    assert not Path(result("stray")).exists()


def test_a_jobs_own_failure_ends_its_process() -> None:
    plan("broken", "b")
    status, _ = execute("broken")
    assert (status, proven("broken", "b"), Path("logs/b.log").exists()) == (1, [], False)
    assert locks.is_free(result("b"))
    assert execute("b")[0] == 0
    assert proven("broken", "b") == ["b"]


def test_what_was_made_before_a_process_died_is_recorded() -> None:
    plan("a", "b", "fatal", "z")
    status, said = execute("a")
    assert (status, proven("a", "b", "fatal", "z")) == (0, ["a", "b"])
    assert "ended with status 137 at another job" in said
    assert execute("z")[0] == 0  # though `fatal` is tried there again
    assert execute("fatal")[0] == 137
    assert proven("a", "b", "fatal", "z") == ["a", "b", "z"]


def test_a_signal_to_stop_leaves_the_rest_to_other_jobs() -> None:
    plan("a", "b", "slow", "z")
    with start("a") as process:
        wait(lambda: [*Path("scratch/jobs").glob("*/waits")])
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, proven("a", "b", "slow", "z")) == (0, ["a", "b"]), said
    assert "jobs that are left run by themselves" in said
    assert not Path(result("slow")).parent.exists()


def test_of_a_run_that_was_killed_nothing_is_recorded_and_it_can_be_resumed() -> None:
    plan("a", "slow")
    with start("a") as process:
        wait(lambda: [*Path("scratch/jobs").glob("*/waits")])
        process.kill()
        process.wait()
        script = int(process_of("a"))
        assert not locks.is_free(result("a"))  # its script is alive, and writes
        assert not locks.is_free(result("slow"))
        assert not is_proven(result("a"))
        os.kill(script, signal.SIGKILL)
    wait(lambda: locks.is_free(result("slow")))
    assert proven("a", "slow") == []
    Path(result("a")).unlink()  # as Snakemake does
    plan("a", "b")
    assert execute("a")[0] == 0
    assert proven("a", "b") == ["a", "b"]


# --- Several processes at once --------------------------------------------------------------------------------------


def test_of_jobs_that_start_at_once_one_makes_all_and_the_others_wait_for_it() -> None:
    plan("a", "b", "c")
    running = [start(one) for one in "abc"]
    said = [one.communicate(timeout=60)[1] for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], said
    assert len({process_of(one) for one in "abc"}) == 1
    assert sum("restored" in one for one in said) == 2
    assert proven("a", "b", "c") == ["a", "b", "c"]


def test_a_job_that_a_process_of_its_own_makes_is_left_to_it() -> None:
    plan("a", "b", "c")
    locks.AT_WORK.mkdir()
    with locks._lock_of(result("b")).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert execute("a")[0] == 0
    assert proven("a", "b", "c") == ["a", "c"]


# --- The script's side ----------------------------------------------------------------------------------------------


def test_only_the_last_thing_is_kept_for_equal_values_and_only_in_a_shared_process(monkeypatch) -> None:
    monkeypatch.setattr(frame, "_kept", [])
    made: list[str] = []

    def load(value: str) -> str:
        made.append(value)
        return value

    assert [frame.once(load, value) for value in ("x", "x", "y", "x")] == ["x", "x", "y", "x"]
    assert made == ["x", "x", "y", "x"]
    made.clear()
    monkeypatch.setenv("BEZOAR_TOGETHER", "file")
    assert [frame.once(load, value) for value in ("x", "x", "y", "x")] == ["x", "x", "y", "x"]
    assert made == ["x", "y", "x"]
