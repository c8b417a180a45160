"""The small graph of tests/workflow/graph/ in its own repository."""

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Workspace

GRAPH = Path(__file__).parent / "workflow" / "graph"
LONG_BY_DVC = (
    pytest.mark.parametrize(  # by DVC in the long tier: it comes to `bezoar build`, which Snakemake's form tests
        "front_end", ["snakemake", pytest.param("dvc", marks=pytest.mark.long)]
    )
)
JOBS = {  # what each job makes, as its script reports it: all jobs of the graph as it stands
    "data/source/words",
    "data/seed/words",
    *(f"data/generated/{scheme}/{shard:04d}" for scheme in ("upper", "lower") for shard in range(3)),
    "data/mixes/all",
    "data/mixes/few",
    "data/adapters/sft",
    "data/adapters/dpo",
    "results/score.json",
}


@dataclass
class Graph(Workspace):
    """A repository with the small graph, to build by either front end.

    Attributes:
        runs: A file to which every script adds a line when it starts.
    """

    runs: Path = field(default=Path())

    def ran(self) -> list[str]:
        """What scripts were started for since the last call, sorted."""
        made = sorted(self.runs.read_text().splitlines()) if self.runs.exists() else []
        self.runs.unlink(missing_ok=True)
        return made

    def build(self, *arguments: str) -> str:
        """Build by Snakemake."""
        return self.run("snakemake", *arguments)

    def repro(self, *arguments: str) -> str:
        """Build by DVC."""
        return self.run("dvc", "repro", *arguments)

    def by(self, front_end: str) -> str:
        """Build all by either front end."""
        return self.build() if front_end == "snakemake" else self.repro()

    def copy(self, folder: Path) -> "Graph":
        """All of it, built artifacts, caches and remote too, in another folder."""
        for name in (self.root.name, "remote"):
            if (self.root.parent / name).exists():
                shutil.copytree(self.root.parent / name, folder / name, symlinks=True)
        runs = counted(folder)
        return Graph(folder / self.root.name, {**self.environment, "RUNS": str(runs)}, runs=runs)

    def planned(self, *targets: str) -> int:
        """How many jobs a dry run plans, a target without outputs apart."""
        said = self.build("--dry-run", *targets)
        if "Nothing to be done" in said:
            return 0
        lines = said.split("Job stats:", 1)[1].split("\n\n", 1)[0].splitlines()
        counts = dict(line.split() for line in lines if len(line.split()) == 2 and line.split()[1].isdigit())
        return int(counts["total"]) - int(counts.get("all", 0))

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that a file contains once."""
        file = self.root / path
        assert file.read_text().count(old) == 1, f"{old!r} in {path}"
        file.write_text(file.read_text().replace(old, new))

    def stages(self) -> dict[str, Any]:
        """The stages of dvc.yaml."""
        stages: dict[str, Any] = yaml.safe_load((self.root / "dvc.yaml").read_text())["stages"]
        return stages

    def params(self) -> Any:
        """What params.yaml holds."""
        return yaml.safe_load((self.root / "params.yaml").read_text())

    def set(self, name: str, value: Any) -> None:
        """Change one value of params.yaml by its dotted name."""
        params = self.params()
        *parents, last = name.split(".")
        block = params
        for parent in parents:
            block = block[parent]
        block[last] = value
        (self.root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def contents(self) -> dict[str, bytes]:
        """All artifacts' bytes by path."""
        folders = (self.root / "data", self.root / "results")
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        kept = [path for path in files if path.name not in (".snakemake_timestamp", ".gitignore")]
        return {str(path.relative_to(self.root)): path.read_bytes() for path in kept}

    def commit(self) -> None:
        """Commit everything that isn't ignored."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "state")

    def clone(self, root: Path) -> "Graph":
        """A clone of the last commit: what git holds, and nothing that was built."""
        self.run("git", "clone", "--quiet", str(self.root), str(root))
        return Graph(root, self.environment, runs=self.runs)


def counted(folder: Path) -> Path:
    """The file with the runs of a graph in this folder: its own folder is all that jobs may write beside theirs."""
    (folder / "ran").mkdir(exist_ok=True)
    return folder / "ran" / "runs"


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The small graph's repository, to be copied."""
    root, home = tmp_path_factory.mktemp("template") / "graph", tmp_path_factory.mktemp("home")
    shutil.copytree(GRAPH, root, ignore=shutil.ignore_patterns("__pycache__", ".snakemake", "data", "results", ".dvc"))
    (root / ".dvcignore").write_text(".snakemake_timestamp\n__pycache__/\n")
    (root / ".gitignore").write_text("/data/\n/results/\n.snakemake/\n__pycache__/\n")
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.prefix) / "bin"), os.defpath]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "DVC_NO_ANALYTICS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **{f"GIT_{role}_{what}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    made = Graph(root, environment)
    made.run("git", "init", "--quiet", "--initial-branch=main", ".")
    made.run("dvc", "init", "--quiet")
    made.run("dvc", "remote", "add", "--quiet", "--default", "shared", "../remote")  # beside the repository
    made.run("bezoar", "dvc")
    made.run("bezoar", "fingerprint")
    made.commit()
    return made


@pytest.fixture
def graph(template: Graph, tmp_path: Path) -> Graph:
    """The small graph, committed, with nothing built and a DVC remote in a folder beside it."""
    shutil.copytree(template.root, tmp_path / "graph")
    runs = counted(tmp_path)
    return Graph(tmp_path / "graph", {**template.environment, "RUNS": str(runs)}, runs=runs)


@pytest.fixture(scope="session")
def once(template: Graph, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The small graph, built by Snakemake and committed, to be copied; its remote has nothing."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(template.root, folder / "graph")
    runs = counted(folder)
    made = Graph(folder / "graph", {**template.environment, "RUNS": str(runs)}, runs=runs)
    made.build()
    assert made.ran() == sorted(JOBS)
    made.commit()
    return made


@pytest.fixture
def built(once: Graph, tmp_path: Path) -> Graph:
    """The small graph, built by Snakemake and committed."""
    return once.copy(tmp_path)
