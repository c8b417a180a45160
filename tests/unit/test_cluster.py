"""What runs on a node, what is known of submitted jobs, and the lock of an output; SLURM itself is in tests/cluster."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bezoar.cache import CacheError
from bezoar.cache.action import typed_digest
from bezoar.cache.execute import execute
from bezoar.cache.job import FOLDER, PlannedJob, Run, Step
from bezoar.cache.locks import is_free
from bezoar.cluster import submitted
from bezoar.cluster.node import MOST_RESTARTS
from bezoar.cluster.submitted import Submission, plans, under_way

STEP = Step(
    rule="train",
    block=("dpo",),
    parts=1,
    inputs=("data/mix",),
    form="f" * 64,
    outputs=("data/dpo",),
    folder=None,
    outs=("data/dpo",),
    params={"rate": 0.1},
    values=typed_digest({"rate": 0.1}),
    environment={},
    script="s.py",
)

# What stands between a node and a script: a process that looks like `bezoar exec`, as a shell line starts it.
EXECUTION = """\
import subprocess, sys, signal
signal.signal(signal.SIGTERM, lambda *_: None)
sys.exit(subprocess.run([sys.executable, *sys.argv[2:]]).returncode)
"""
STOPPABLE = """\
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: (Path("saved").touch(), sys.exit(143)))
Path("ready").touch()
time.sleep(30)
"""
UNSTOPPABLE = """\
import time
from pathlib import Path
Path("ready").touch()
time.sleep(2)
Path("done").touch()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with programs of SLURM's that write down how they are called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    program(tmp_path, "scontrol", 'echo "$@" >>calls; exit 1')
    return tmp_path


def program(folder: Path, name: str, text: str) -> None:
    """A program on the path."""
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def calls(folder: Path) -> list[str]:
    """How scontrol was called."""
    return (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- A node ---------------------------------------------------------------------------------------------------------


def on_node(folder: Path, script: str, number: int, *flags: str, **environment: str) -> int:
    """Run a script under `bezoar exec` on a node, send the node a signal once it works, and give its exit status."""
    (folder / "bezoar").write_text(EXECUTION)
    (folder / "script.py").write_text(script)
    command = [sys.executable, "bezoar", "exec", "script.py", *flags]
    node = [sys.executable, "-m", "bezoar.cluster.node", *command]
    variables = {**os.environ, "SLURM_JOB_ID": "7", **environment}
    with subprocess.Popen(node, env=variables, start_new_session=True) as process:
        wait_until((folder / "ready").exists)
        process.send_signal(number)
        return process.wait(20)


def test_a_script_that_can_be_stopped_saves_its_state_and_its_job_is_queued_again(folder):
    assert on_node(folder, STOPPABLE, signal.SIGUSR1) == 143
    assert (folder / "saved").exists()
    assert calls(folder) == ["requeue 7"]


def test_a_script_that_cannot_be_stopped_runs_to_its_end(folder):
    assert on_node(folder, UNSTOPPABLE, signal.SIGUSR1) == 0
    assert (folder / "done").exists()
    assert calls(folder) == []


def test_a_group_is_queued_again_for_what_it_has_not_begun(folder):
    failing = UNSTOPPABLE + "raise SystemExit(1)\n"  # as Snakemake ends after a signal to start nothing more
    assert on_node(folder, failing, signal.SIGUSR1, "--local-groupid", "5") == 1
    assert calls(folder) == ["requeue 7"]


def test_when_slurm_ends_a_job_it_is_not_queued_again_from_here(folder):
    assert on_node(folder, STOPPABLE, signal.SIGTERM) == 143
    assert (folder / "saved").exists()
    assert calls(folder) == []


def test_a_job_that_does_not_get_on_is_given_up(folder):
    assert on_node(folder, STOPPABLE, signal.SIGUSR1, SLURM_RESTART_COUNT=str(MOST_RESTARTS)) == 143
    assert calls(folder) == []


def test_the_exit_status_of_a_command_is_the_nodes(folder):
    node = [sys.executable, "-m", "bezoar.cluster.node"]
    assert subprocess.run([*node, "sh", "-c", "exit 3"], check=False).returncode == 3
    assert subprocess.run([*node, "sh", "-c", "kill -KILL $$"], check=False).returncode == 137
    assert subprocess.run([*node, "sh", "-c", "test $BEZOAR_ON_NODE = 1"], check=False).returncode == 0


# --- What was submitted ---------------------------------------------------------------------------------------------


def planned(*, code: str = "a", **changes: object) -> dict[str, str]:
    """The plans for one step, as a run writes them."""
    Run("cache", "params.yaml", False, {}, {"s.py": code}, {}, "1-2").write()
    PlannedJob(Step(**{**STEP.__dict__, **changes}), ["python", "s.py"], True, []).write()
    return plans(["data/dpo"])


def test_plans_are_equal_if_values_inputs_command_and_code_are(folder):
    first = planned()
    assert planned() == first
    assert planned(code="b") != first
    assert planned(form="e" * 64) != first
    assert planned(params={"rate": 0.3}) != first
    assert planned(inputs=("data/other",)) != first


def test_a_job_makes_what_a_part_of_its_plans_wants(folder):
    one = Submission("run", "7", {"a": "1", "b": "2"}, "log")
    assert one.makes({"a": "1"})
    assert not one.makes({"a": "2"})
    assert not one.makes({"a": "1", "c": "3"})


def test_jobs_that_slurm_still_has_are_found_and_older_ones_forgotten(folder):
    submitted.RECORD.parent.mkdir()
    for number in "78":
        Submission("run", number, {"a": number}, "log").record()
    with submitted.RECORD.open("a") as file:
        file.write('{"name": "run", "number": "9"')  # cut short by a kill: 9 is known to SLURM alone
    program(folder, "squeue", 'echo "$@" >calls; echo "run 8"; echo "run 9"')
    found = [Submission("run", "8", {"a": "8"}, "log"), Submission("run", "9", {}, "")]
    assert under_way() == found
    assert calls(folder) == ["--noheader --name run --format %j %i"]
    assert [json.loads(line)["number"] for line in submitted.RECORD.read_text().splitlines()] == ["8", "9"]


def test_without_earlier_jobs_slurm_is_not_asked(folder):
    program(folder, "squeue", "touch calls")
    assert under_way() == []
    assert not (folder / "calls").exists()


def test_a_slurm_that_does_not_answer_is_an_error(folder):
    submitted.RECORD.parent.mkdir()
    Submission("run", "7", {}, "log").record()
    program(folder, "squeue", 'echo "Unable to contact slurm controller" >&2; exit 1')
    with pytest.raises(CacheError, match="SLURM doesn't answer\n  found:    squeue: Unable to contact"):
        under_way()
    assert submitted.RECORD.exists()  # for the next time


# --- The lock of an output ------------------------------------------------------------------------------------------


def test_a_second_job_for_an_output_waits_for_the_first(folder):
    Path(".snakemake").mkdir()
    Path(".snakemake/alive").touch()
    bezoar = [str(Path(sys.executable).with_name("bezoar")), "exec", "out", "--", "sh", "-c"]
    script = "echo begin >>log; until [ -e go ]; do sleep 0.1; done; echo end >>log; touch out"
    assert is_free("out")
    with subprocess.Popen([*bezoar, script]) as first:
        wait_until(Path("log").exists)
        assert not is_free("out")
        with Path("said").open("w") as said, subprocess.Popen([*bezoar, script], stderr=said) as second:
            wait_until(lambda: "out is being made by a job of an earlier run" in Path("said").read_text())
            Path("go").touch()
            assert (first.wait(20), second.wait(20)) == (0, 0)
    assert Path("log").read_text().split() == ["begin", "end", "begin", "end"]
    assert is_free("out")


def test_on_a_node_only_what_a_run_waits_for_is_made(folder, monkeypatch, capfd):
    monkeypatch.setenv("BEZOAR_ON_NODE", "1")
    assert execute(["out"], ["touch", "out"]) == 1
    assert "no run waits for out" in capfd.readouterr().err
    assert not Path("out").exists()
    assert not Path(FOLDER).exists()


# --- The executor ---------------------------------------------------------------------------------------------------


WITHOUT = """\
import pkgutil, sys
hidden, found = "snakemake_executor_plugin_slurm", pkgutil.iter_modules
sys.modules[hidden] = None
pkgutil.iter_modules = lambda *given: [one for one in found(*given) if not one.name.startswith(hidden)]
from snakemake.cli import main
main(sys.argv[1:])
"""


def test_without_the_plugin_for_slurm_only_the_profile_is_refused(folder):
    Path("Snakefile").write_text('rule all:\n    output: "made"\n    shell: "touch {output}"\n')
    command = [sys.executable, "-c", WITHOUT, "--cores", "1"]
    profile = str(Path(__file__).parents[2] / "profiles/slurm")
    done = subprocess.run([*command, "--profile", profile], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "this profile needs Snakemake's plugin for SLURM" in done.stderr
    assert "make slurm" in done.stderr
    assert not Path("made").exists()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert Path("made").exists()
