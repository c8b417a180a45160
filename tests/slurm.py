"""A real SLURM with virtual nodes, and the small graph to build on it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import ClassVar

import pytest
import yaml
from graph import Graph

LAB = Path(__file__).parent / "cluster" / "lab" / "slurm"
ROOT = Path(__file__).parents[1]
PROFILE = "profiles/slurm"
NO_PACKAGES = 2  # exit status of tests/cluster/lab/packages
PATIENCE = 90  # seconds that a test waits for something at most


@dataclass
class Slurm:
    """The virtual cluster.

    Attributes:
        folder: Its state.
        environment: Variables that its programs need.
    """

    folder: Path
    environment: dict[str, str]

    def lab(self, *arguments: str) -> None:
        """Run tests/cluster/lab/slurm."""
        subprocess.run([str(LAB), *arguments], env={**os.environ, **self.environment}, check=True)

    def ask(self, *command: str) -> str:
        """What one of SLURM's programs says."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    def running(self) -> list[str]:
        """Ids of running jobs."""
        return self.ask("squeue", "--noheader", "--states", "RUNNING", "--format", "%i").split()

    def queued(self) -> list[str]:
        """Ids of waiting and running jobs."""
        return self.ask("squeue", "--noheader", "--format", "%i").split()

    def node_of(self, number: str) -> str:
        """The node of a running job."""
        return self.ask("squeue", "--noheader", "--jobs", number, "--format", "%N").strip()

    def calls(self) -> Counter[str]:
        """How often each of SLURM's programs was called since the last time of asking, not counting these questions."""
        file = self.folder / "log" / "calls"
        counted = Counter(file.read_text().split()) if file.exists() else Counter()
        file.unlink(missing_ok=True)
        return counted


@dataclass
class ClusterGraph(Graph):
    """The small graph, to be built on a cluster by either front end, whose commands start from nothing."""

    WARM: ClassVar[bool] = False
    slurm: Slurm | None = None

    def build(self, *arguments: str) -> str:
        """Build by Snakemake on the cluster."""
        return self.run("snakemake", "--profile", PROFILE, *arguments)

    def repro(self, *arguments: str) -> str:
        """Build by DVC on the cluster."""
        return self.with_variables(SNAKEMAKE_PROFILE=PROFILE).run("dvc", "repro", *arguments)

    def with_variables(self, **variables: str) -> "ClusterGraph":
        """The same folder, for programs with more environment variables."""
        return ClusterGraph(self.root, {**self.environment, **variables}, slurm=self.slurm)

    def begun(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """A build on the cluster that is under way."""
        return self.start("snakemake", "--profile", PROFILE, *arguments, log=self.log)

    def ended(self, process: "subprocess.Popen[bytes]") -> str:
        """What a started build said, once it has ended well."""
        process.wait(PATIENCE)
        said = self.log.read_text()
        assert process.returncode == 0, said[-8000:] + self.job_logs()
        return said

    def job_logs(self) -> str:
        """What jobs on nodes have written."""
        files = sorted((self.root / ".snakemake/slurm_logs").rglob("*.log"))
        return "".join(f"\n--- {path.name}\n{path.read_text()[-3000:]}" for path in files)

    @contextmanager
    def held(self, name: str, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
        """A build whose job is making an output on a node until the block ends or `go` is called."""
        self.special(slow=name)
        process = self.begun(*arguments)
        try:
            wait_until(lambda: process.poll() is not None or name in self.started())
            assert process.poll() is None, self.log.read_text()
            yield process
        finally:
            self.go()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                kill(process)
                raise AssertionError(self.log.read_text()[-4000:] + self.job_logs()) from None

    def go(self) -> None:
        """Let a held job go on."""
        (self.work / "go").touch()


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that other processes do."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program and all that it started here; not what it submitted."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def on_cluster(graph: Graph, slurm: Slurm) -> ClusterGraph:
    """A graph's folder, with the profile for the cluster as a site would have it."""
    copytree(ROOT / PROFILE, graph.root / PROFILE)
    file = graph.root / PROFILE / "config.yaml"
    settings = yaml.safe_load(file.read_text())
    settings |= {"bezoar-slurm-init-seconds-before-status-checks": 1, "latency-wait": 10}
    settings |= {"bezoar-slurm-group-cores": 2}  # as many as a node has
    file.write_text(yaml.safe_dump(settings))
    return ClusterGraph(graph.root, {**graph.environment, **slurm.environment}, slurm=slurm)


@pytest.fixture(scope="session")
def once_slurm() -> Iterator[Slurm]:
    """The virtual cluster, started once for all tests; its state is short-lived."""
    folder = Path(tempfile.mkdtemp(prefix="bezoar-slurm-"))
    folder.chmod(0o755)  # its database runs as a user of its own
    environment = {"SLURM_LAB": str(folder), "SLURM_CONF": str(folder / "etc" / "slurm.conf")}
    path = {"PATH": os.pathsep.join([str(folder / "bin"), str(Path(sys.prefix) / "bin"), *os.get_exec_path()])}
    slurm = Slurm(folder, environment | path)
    try:
        try:
            slurm.lab("up")
        except subprocess.CalledProcessError as error:
            if error.returncode == NO_PACKAGES:
                pytest.skip("SLURM isn't installed here, and can't be; tests/cluster/lab/packages has said why")
            raise
        yield slurm
    finally:
        slurm.lab("down", "--wipe")


@pytest.fixture
def slurm(once_slurm: Slurm) -> Iterator[Slurm]:
    """The virtual cluster, with all nodes up and an empty queue before and after."""
    once_slurm.lab("up")
    once_slurm.calls()
    yield once_slurm
    once_slurm.lab("up")
    if jobs := once_slurm.queued():
        once_slurm.ask("scancel", *jobs)
        wait_until(lambda: not once_slurm.queued())


@pytest.fixture
def cluster_graph(graph: Graph, slurm: Slurm) -> ClusterGraph:
    """The small graph with nothing built, for the cluster."""
    return on_cluster(graph, slurm)


@pytest.fixture
def changed(once: Graph, slurm: Slurm, tmp_path: Path) -> ClusterGraph:
    """The small graph, built here, with a changed value: its last training and what follows are left to the cluster."""
    made = on_cluster(once.copy(tmp_path), slurm)
    made.set("stages.dpo.rate", 0.3)
    made.ran()
    return made


@pytest.fixture(scope="session")
def expected(once: Graph, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a build of that change makes, by path."""
    made = once.copy(tmp_path_factory.mktemp("expected"))
    made.set("stages.dpo.rate", 0.3)
    made.build()
    return made.contents()
