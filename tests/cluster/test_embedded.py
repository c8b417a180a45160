"""The embedded recipe, whole, on a real SLURM with virtual nodes and GPUs: the same bytes as without it."""

import os
import signal
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Workspace
from slurm import Slurm, wait_until

from bezoar.files import digest, files_in

pytestmark = pytest.mark.cluster
RESULTS = ("results/mtbench.json", "results/harness.json")
MADE = ("data", "results")
SITE = ["train:gpu=1", "train:slurm_partition=gpu", "answers:gpu=1", "harness:gpu=1"]


def build(workspace: Workspace, *arguments: str) -> dict[str, str]:
    """Build all results; the digest of everything that was made, by path."""
    (workspace.root / "params.yaml").write_text((ROOT / "recipes/tiny.yaml").read_text())
    workspace.run("snakemake", *arguments, *RESULTS)
    files = [path for folder in MADE for path in files_in(workspace.root / folder)]
    return {
        str(path.relative_to(workspace.root)): digest(path) for path in files if path.name != ".snakemake_timestamp"
    }


def test_the_bytes_are_those_of_a_build_without_a_cluster(workspace: Workspace, slurm: Slurm, tmp_path: Path) -> None:
    local = Workspace(tmp_path / "local", workspace.environment)
    local.root.mkdir()
    workspace.run("cp", "--recursive", ".", str(local.root))
    cluster = Workspace(workspace.root, workspace.environment | slurm.environment)
    often = ["--bezoar-slurm-init-seconds-before-status-checks", "2", "--bezoar-slurm-group-cores", "2"]
    made = build(cluster, "--profile", "profiles/slurm", *often, "--set-resources", *SITE, "--")
    # for 103 jobs: the shards of a rule share one, so do the three of a certificate, and a checkpoint's harness tasks
    assert slurm.calls()["sbatch"] <= 74
    assert made == build(local, "--cores", "2")


def test_a_training_goes_on_in_another_job_with_the_same_bytes(
    workspace: Workspace, slurm: Slurm, tmp_path: Path
) -> None:
    target, log = "data/adapters/teacher", workspace.root / "logs/train/teacher.log"
    recipe = yaml.safe_load((ROOT / "recipes/tiny.yaml").read_text())
    recipe["sources"]["world_text"]["origin"]["rows"] = 1500  # the base model may be a poor one,
    recipe["sources"]["world_lessons"]["origin"]["rows"] = 2000  # and its training short
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    workspace.snakemake("data/base/tiny_llama", "data/certified/teacher/train.jsonl", "data/clearances/teacher.json")
    local = Workspace(tmp_path / "local", workspace.environment)
    local.root.mkdir()
    workspace.run("cp", "--recursive", ".", str(local.root))
    cluster = Workspace(workspace.root, workspace.environment | slurm.environment)
    run = cluster.start("snakemake", "--profile", "profiles/slurm", target, log=tmp_path / "run")
    try:
        wait_until(lambda: log.exists() and "from step 0" in log.read_text())
        (number,) = slurm.running()
        slurm.ask("scancel", "--signal=USR1", "--batch", number)  # the notice that its time is up
        wait_until(lambda: log.exists() and "resume from" in log.read_text())  # a next job starts it again
        wait_until(lambda: run.poll() is not None)
        assert run.returncode == 0, (tmp_path / "run").read_text()
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    local.snakemake(target)
    assert digest(workspace.root / target) == digest(local.root / target)
