"""The small graph on a real SLURM: the same bytes, few submissions, and what failures may and may not do."""

import json
import os
import signal
import subprocess
import time

import pytest
from graph import JOBS, Graph
from slurm import ClusterGraph, Slurm, kill, wait_until

pytestmark = pytest.mark.cluster
DPO = "data/adapters/dpo"
LEFT = [DPO, "results/score.json"]  # of what the fixture `changed` has
UPPER = [f"data/generated/upper/{shard:04d}" for shard in range(3)]


def outcomes(graph: Graph, name: str) -> int:
    """How many proofs speak of an output."""
    proofs = (json.loads(path.read_text()) for path in (graph.root / ".dvc/cache/proofs").rglob("*.json"))
    return sum(1 for proof in proofs if name in proof["outputs"])


def processes_of(slurm: Slurm, number: str) -> list[int]:
    """Numbers of the processes of a job, and of what SLURM has put around it."""
    listed = slurm.ask("ps", "-eo", "pid,ppid,args").splitlines()[1:]
    lines = [(int(pid), int(parent), words) for pid, parent, words in (line.split(None, 2) for line in listed)]
    found = {pid for pid, _, words in lines if words.startswith(f"slurmstepd: [{number}.")}
    while more := {pid for pid, parent, _ in lines if parent in found} - found:
        found |= more
    return sorted(found)


# --- What it does ---------------------------------------------------------------------------------------------------


@pytest.mark.short
def test_the_bytes_are_those_of_a_local_build_and_short_jobs_share_a_submission(
    cluster_graph: ClusterGraph, once: Graph
) -> None:
    assert cluster_graph.slurm
    cluster_graph.build()
    assert cluster_graph.ran() == sorted(JOBS)
    assert cluster_graph.contents() == once.contents()
    assert cluster_graph.slurm.calls()["sbatch"] == 8  # 13 jobs, of which six generate
    assert "Nothing to be done" in cluster_graph.run("snakemake")
    assert "Data and pipelines are up to date" in cluster_graph.run("dvc", "repro")


def test_dvc_repro_runs_its_stages_on_the_cluster(
    changed: ClusterGraph, slurm: Slurm, expected: dict[str, bytes]
) -> None:
    changed.repro()
    assert changed.ran() == LEFT
    assert changed.contents() == expected
    assert slurm.calls()["sbatch"] == 2
    assert "Nothing to be done" in changed.run("snakemake")


@pytest.mark.short
def test_what_is_proven_is_answered_without_a_submission(cluster_graph: ClusterGraph) -> None:
    assert cluster_graph.slurm
    cluster_graph.run("snakemake")  # here, as a colleague's laptop might
    cluster_graph.ran()
    (cluster_graph.root / "words.txt").open("a").write("xena\n")  # which is dropped: the rows stay as they are
    cluster_graph.build()
    assert cluster_graph.ran() == ["data/source/words"]
    assert cluster_graph.slurm.calls()["sbatch"] == 1
    cluster_graph.edit("scripts/train.py", '"""A directory', '"""In other words: a directory')
    assert "Nothing to be done" in cluster_graph.build()
    assert cluster_graph.slurm.calls()["sbatch"] == 0


def test_what_a_forced_job_makes_again_is_kept(cluster_graph: ClusterGraph) -> None:
    cluster_graph.run("snakemake")
    cluster_graph.ran()
    before, lock = cluster_graph.contents(), (cluster_graph.root / "dvc.lock").read_text()
    forced = ("--forcerun", DPO, "--allowed-rules", "train", "score", "--", "results/score.json")
    cluster_graph.special(random=DPO).build(*forced)
    cluster_graph.special(random="")
    assert cluster_graph.ran() == LEFT
    differing = {name for name, content in cluster_graph.contents().items() if content != before[name]}
    assert any(name.startswith(DPO) for name in differing)
    assert (cluster_graph.root / "dvc.lock").read_text() != lock
    assert "Nothing to be done" in cluster_graph.run("snakemake")


# --- What can go wrong ----------------------------------------------------------------------------------------------


def test_a_job_that_fails_once_is_tried_again(changed: ClusterGraph, expected: dict[str, bytes]) -> None:
    said = changed.special(fails=DPO).build()
    assert "Trying to restart job" in said
    assert changed.ran() == [DPO, *LEFT]
    assert changed.contents() == expected


def test_a_group_in_which_one_fails_runs_only_that_one_again(changed: ClusterGraph) -> None:
    changed.set("schemes.upper.suffix", "?")
    changed.special(fails=UPPER[1]).build("data/mixes/few/rows.txt")
    assert changed.ran() == sorted([*UPPER, UPPER[1], "data/mixes/few"])


def test_a_job_that_always_fails_is_reported_with_its_log(changed: ClusterGraph) -> None:
    changed.edit("scripts/train.py", "from helper", 'raise SystemExit("no such luck")\nfrom helper')
    said = changed.refused("snakemake", "--profile", "profiles/slurm")
    assert "Error in rule train" in said
    assert "no such luck" in said
    assert "SLURM status is: 'FAILED'" in said
    assert outcomes(changed, DPO) == 1


def test_a_cancelled_job_is_tried_again(changed: ClusterGraph, slurm: Slurm, expected: dict[str, bytes]) -> None:
    with changed.held(DPO) as process:
        slurm.ask("scancel", *slurm.running())
        wait_until(lambda: changed.started().count(DPO) == 2)
    said = changed.ended(process)
    assert "SLURM status is: 'CANCELLED'" in said
    assert "Trying to restart" in said
    assert changed.ran() == [DPO, *LEFT]
    assert changed.contents() == expected


def test_a_job_whose_node_fails_runs_on_another(
    changed: ClusterGraph, slurm: Slurm, expected: dict[str, bytes]
) -> None:
    with changed.held(DPO) as process:
        (number,) = slurm.running()
        node, dead = slurm.node_of(number), processes_of(slurm, number)
        slurm.lab("stop", node)
        for one in dead:
            os.kill(one, signal.SIGKILL)
        slurm.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        wait_until(lambda: changed.started().count(DPO) == 2)
        assert slurm.node_of(number) != node
    changed.ended(process)
    assert changed.ran() == [DPO, *LEFT]
    assert changed.contents() == expected


def test_a_job_that_lives_on_where_slurm_has_lost_it_is_waited_for(
    changed: ClusterGraph, slurm: Slurm, expected: dict[str, bytes]
) -> None:
    with changed.held(DPO) as process:
        (number,) = slurm.running()
        node = slurm.node_of(number)
        slurm.lab("stop", node)  # its job isn't stopped by that
        slurm.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        wait_until(lambda: "waiting for it" in changed.job_logs())
    changed.ended(process)
    assert changed.ran() == LEFT  # the second found the first one's proof
    assert changed.contents() == expected


def test_a_controller_that_restarts_loses_nothing(
    changed: ClusterGraph, slurm: Slurm, expected: dict[str, bytes]
) -> None:
    with changed.held(DPO) as process:
        slurm.lab("stop", "slurmctld", "TERM")
        time.sleep(5)
        changed.go()  # it ends while nobody takes note
        time.sleep(5)
        slurm.lab("up")
    changed.ended(process)
    assert changed.ran() == LEFT
    assert changed.contents() == expected


@pytest.mark.short
def test_a_run_after_a_killed_one_goes_on_with_its_jobs(
    changed: ClusterGraph, slurm: Slurm, expected: dict[str, bytes]
) -> None:
    with changed.held(DPO) as process:
        before = slurm.running()
        kill(process)
        again = changed.begun()
        wait_until(lambda: f"SLURM job {before[0]} of an earlier run makes {DPO}" in changed.log.read_text())
        assert slurm.running() == before
        changed.go()
        changed.ended(again)
    assert changed.ran() == LEFT
    assert changed.contents() == expected


def test_a_job_of_a_killed_run_that_fails_is_tried_again(changed: ClusterGraph, expected: dict[str, bytes]) -> None:
    failing = changed.special(fails=DPO)
    with failing.held(DPO) as process:
        kill(process)
        again = failing.begun()
        wait_until(lambda: f"of an earlier run makes {DPO}" in changed.log.read_text())
        changed.go()
        said = changed.ended(again)
    assert "Trying to restart" in said
    assert changed.ran() == [DPO, *LEFT]
    assert changed.contents() == expected


def test_nothing_is_restored_where_a_job_of_a_killed_run_is_at_work(changed: ClusterGraph, once: Graph) -> None:
    with changed.held(DPO) as process:
        kill(process)
        changed.set("stages.dpo.rate", 0.1)  # as it was: its artifact is proven, and isn't on disk any more
        said = changed.refused("snakemake", "--profile", "profiles/slurm", DPO)
        assert f"{DPO} can't be restored: a job of an earlier run is making it with other inputs" in said
    assert changed.slurm
    wait_until(lambda: changed.slurm and not changed.slurm.queued())
    changed.build(DPO)
    assert changed.contents() == once.contents()


def test_an_accounting_that_is_away_is_waited_for(
    changed: ClusterGraph, slurm: Slurm, expected: dict[str, bytes]
) -> None:
    with changed.held(DPO) as process:
        slurm.lab("stop", "slurmdbd")
        time.sleep(4)  # some questions without an answer
        slurm.lab("up")
        changed.go()
        changed.ended(process)
    assert changed.ran() == LEFT
    assert changed.contents() == expected


def test_what_ends_while_no_run_watches_is_taken(
    changed: ClusterGraph, slurm: Slurm, expected: dict[str, bytes]
) -> None:
    with changed.held(DPO) as process:
        kill(process)
    wait_until(lambda: not slurm.queued())
    changed.build()
    assert changed.ran() == LEFT
    assert changed.contents() == expected


def test_jobs_of_a_killed_run_with_other_values_are_cancelled(changed: ClusterGraph, slurm: Slurm) -> None:
    with changed.held(DPO) as process:
        (before,) = slurm.running()
        kill(process)
        changed.set("stages.dpo.rate", 0.7)
        again = changed.begun()
        wait_until(lambda: before not in slurm.running() and slurm.running())
        changed.go()
        changed.ended(again)
    assert changed.ran() == [DPO, *LEFT]
    assert outcomes(changed, DPO) == 2
    assert "Nothing to be done" in changed.run("snakemake")


def test_ctrl_c_takes_the_jobs_out_of_the_queue(changed: ClusterGraph, slurm: Slurm) -> None:
    with changed.held(DPO) as process:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        wait_until(lambda: not slurm.queued())
    assert process.returncode != 0
    assert outcomes(changed, DPO) == 1


def test_a_job_without_enough_memory_gets_twice_as_much(changed: ClusterGraph, expected: dict[str, bytes]) -> None:
    said = changed.special(hungry=DPO).build()
    assert "exceeded memory limit" in said  # SLURM's own words, in the job's log; with cgroups it is OUT_OF_MEMORY
    assert "Trying to restart" in said
    assert changed.ran() == [DPO, *LEFT]
    assert changed.contents() == expected


@pytest.mark.short
def test_a_job_whose_time_is_up_saves_its_state_and_goes_on_later(
    changed: ClusterGraph, slurm: Slurm, expected: dict[str, bytes]
) -> None:
    process = changed.special(patient=DPO).begun()
    wait_until(lambda: DPO in changed.started())
    time.sleep(2)
    (number,) = slurm.running()
    slurm.ask("scancel", "--signal=USR1", "--batch", number)  # as `--signal=B:USR1@300` has SLURM do
    said = changed.ended(process)
    assert "Trying to restart" not in said  # for Snakemake it is one job all along
    first, second = (changed.work / "stops").read_text().splitlines()
    assert first == "from 0"
    assert int(second.split()[1]) >= 10
    assert changed.contents() == expected


def test_a_job_at_its_time_limit_is_reported_and_tried_again(changed: ClusterGraph) -> None:
    limit = ["--set-resources", "train:runtime=1", "--", DPO]
    with changed.held(DPO, "--retries", "0", *limit) as process:
        wait_until(lambda: process.poll() is not None)
    said = changed.log.read_text()
    assert process.returncode != 0
    assert "SLURM status is: 'TIMEOUT'" in said
    assert outcomes(changed, DPO) == 1


def test_fake_gpus_are_asked_for(changed: ClusterGraph, slurm: Slurm) -> None:
    with changed.held(DPO, "--set-resources", "train:gpu=2", "train:slurm_partition=gpu") as process:
        (number,) = slurm.running()
        shown = slurm.ask("scontrol", "show", "job", number)
        assert "gres/gpu=2" in shown
        assert "Partition=gpu" in shown
    changed.ended(process)


def test_a_partition_that_does_not_exist_is_reported(changed: ClusterGraph) -> None:
    said = changed.refused(
        "snakemake", "--profile", "profiles/slurm", "--retries", "0", "--default-resources", "slurm_partition=nowhere"
    )
    assert "invalid partition specified: nowhere" in said
    assert changed.ran() == []


def test_a_job_that_no_run_waits_for_does_nothing(cluster_graph: ClusterGraph) -> None:
    command = ["bezoar", "exec", "data/adapters/dpo", "--", "touch", "data/adapters/dpo"]
    done = subprocess.run(
        command,
        cwd=cluster_graph.root,
        env={**cluster_graph.environment, "BEZOAR_ON_NODE": "1"},
        check=False,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1
    assert "no run waits for data/adapters/dpo" in done.stderr
