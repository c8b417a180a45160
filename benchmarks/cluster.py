"""What a job costs on a cluster: ours against Snakemake with its plain plugin, on a real SLURM of one machine.

$ python benchmarks/cluster.py latency
$ python benchmarks/cluster.py compare --shards 40
$ python benchmarks/cluster.py full --shards 1000
$ python benchmarks/cluster.py edits --shards 10

Each starts a SLURM with three virtual nodes (tests/cluster/lab/slurm), builds the graph of benchmarks/cluster_graph/
there, and prints a table in Markdown. Rows are single runs; with --rounds, medians of several in turn.

sbatch and the others are counted by wrappers around SLURM's programs. CPU seconds are those of Snakemake in front and,
by sacct, of everything that ran in jobs; SLURM's own services aren't in them.
"""

import argparse
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import built
import yaml
from timing import seconds, table

HERE = Path(__file__).resolve().parent
LAB = HERE.parent / "tests" / "cluster" / "lab" / "slurm"
PROFILE = HERE.parent / "profiles" / "slurm" / "config.yaml"
GRAPH = HERE / "cluster_graph"
NODES, CPUS, MEMORY, PORT = 3, 4, 16_000, 17600
GROUP = 50  # shards in a submission, where they are grouped
FIRST_CHECK = 5  # seconds before the first query of jobs' states; the plain plugin's default is 40
NEEDS = {"mem_mb": 1000, "runtime": 60}  # of each job; the lab gives 100 MB to one that doesn't say
GOAL = 1000  # shards


@dataclass(frozen=True)
class Run:
    """Measurements of one run.

    Attributes:
        jobs: Jobs of Snakemake that ran, without those that were answered by their proofs.
        calls: How often each of SLURM's programs was called.
        wall: Seconds by the clock.
        front: CPU seconds of the Snakemake that was typed, and what it started here.
        nodes: CPU seconds of the jobs, by sacct.
    """

    jobs: int
    calls: Counter[str]
    wall: float
    front: float
    nodes: float

    @property
    def cpu(self) -> float:
        """CPU seconds together."""
        return self.front + self.nodes


# --- The cluster ----------------------------------------------------------------------------------------------------


@contextmanager
def slurm() -> Iterator[Path]:
    """The temporary folder of a private SLURM."""
    folder = Path(tempfile.mkdtemp(prefix="bezoar-bench-slurm-"))
    folder.chmod(0o755)  # its database runs as another user
    built.ENVIRONMENT.update(
        SLURM_LAB=str(folder),
        SLURM_CONF=str(folder / "etc" / "slurm.conf"),
        SLURM_NODES=str(NODES),
        SLURM_CPUS=str(CPUS),
        SLURM_MEMORY=str(MEMORY),
        SLURM_PORT=str(PORT),
        PATH=os.pathsep.join([str(folder / "bin"), built.ENVIRONMENT["PATH"]]),
    )
    try:
        built.run(folder, str(LAB), "up", said="ready")
        yield folder
    finally:
        subprocess.run([str(LAB), "down", "--wipe"], env=built.ENVIRONMENT, cwd="/", check=False)


def calls(lab: Path) -> Counter[str]:
    """Calls of SLURM's programs since the last query."""
    file = lab / "log" / "calls"
    counted = Counter(file.read_text().split()) if file.exists() else Counter()
    file.unlink(missing_ok=True)
    return counted


def on_nodes(lab: Path, since: float) -> float:
    """CPU seconds of the jobs submitted since then; waits until all have ended."""
    while built.run(lab, "squeue", "--noheader").strip():
        time.sleep(0.2)
    time.sleep(2)  # until the accounts have it
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since))
    fields = "--format=JobID,Submit,TotalCPU"
    said = built.run(lab, "sacct", "--noheader", "--parsable2", f"--starttime={start}", fields)
    lines = [line.split("|") for line in said.splitlines()]  # of jobs, and of their steps
    return sum(_duration(used) for job, submitted, used in lines if "." not in job and submitted >= start)


def _duration(text: str) -> float:
    """Seconds of SLURM's [DAYS-][HOURS:]MINUTES:SECONDS."""
    days, _, rest = text.rpartition("-")
    total = 0.0
    for part in rest.split(":"):
        total = total * 60 + float(part)
    return total + 86400 * int(days or 0)


# --- The graph ------------------------------------------------------------------------------------------------------


def ours(folder: Path, shards: int) -> Path:
    """The graph for our executor, with shards in groups as a user would have them."""
    _copied(folder, shards)
    groups = {"groups": ["shard=shard"], "group-components": [f"shard={GROUP}"]}
    _profile(folder, {**_settings(), **groups})
    built.run(folder, "git", "init", "--quiet", ".")
    built.run(folder, "dvc", "init", "--quiet")
    built.run(folder, "bezoar", "dvc")
    built.run(folder, "bezoar", "fingerprint")
    return folder


def peer(folder: Path, shards: int, **settings: Any) -> Path:
    """The same rules for the plain plugin; a setting that is None isn't in its profile."""
    _copied(folder, shards)
    (folder / "Snakefile").write_text(built.stripped((GRAPH / "Snakefile").read_text()))
    ours = _settings()
    cores = ours.pop("bezoar-slurm-group-cores", ours.get("cores"))  # of a group; a setting that only ours has
    plain = {name.removeprefix("bezoar-"): value for name, value in ours.items()}
    changed = {name.replace("_", "-"): value for name, value in settings.items()}
    together = {**plain, "executor": "slurm", "cores": cores, **changed}
    _profile(folder, {name: value for name, value in together.items() if value is not None})
    return folder


def _copied(folder: Path, shards: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(GRAPH, folder, ignore=shutil.ignore_patterns(*built.LEFT_OUT))
    (folder / "params.yaml").write_text(f"shards: {shards}\n")
    (folder / "words.txt").write_text("".join(f"word {number}\n" for number in range(shards)))
    (folder / ".gitignore").write_text("/data/\n/results/\n.snakemake/\n__pycache__/\n")


def _settings() -> dict[str, Any]:
    """The repository's profile without its groups, and the resources of jobs."""
    settings = yaml.safe_load(PROFILE.read_text())
    assert settings["bezoar-slurm-init-seconds-before-status-checks"] == FIRST_CHECK
    kept = {name: value for name, value in settings.items() if not name.startswith("group")}
    return {**kept, "default-resources": NEEDS}


def _profile(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "profiles" / "slurm" / "config.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(settings))


def build(lab: Path, folder: Path, *targets: str) -> Run:
    """Run Snakemake on the cluster and measure it."""
    calls(lab)
    os.sync()  # what was written before is not this one's
    since, wall, front = time.time(), time.perf_counter(), _children()
    said = built.run(folder, "snakemake", "--profile", "profiles/slurm", *targets)
    wall, front = time.perf_counter() - wall, _children() - front
    counted = calls(lab)
    answered = sum(
        len(outputs.split(",")) for outputs in re.findall(r"^proven, so nothing.*?: (.*)", said, re.MULTILINE)
    )
    found = Run(said.count("\nFinished jobid: ") - answered, counted, wall, front, on_nodes(lab, since))
    print(f"{folder.name}: {found}", file=sys.stderr)
    return found


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- What is measured -----------------------------------------------------------------------------------------------

Way = Callable[[Path, int], Path]  # makes the graph with a number of shards in a folder
OURS = "ours"
WAYS: dict[str, tuple[str, Way]] = {
    OURS: (f"ours, groups of {GROUP}", ours),
    "single": ("plain plugin, one submission a job", peer),
    "groups": (
        f"plain plugin, groups of {GROUP}",
        lambda folder, shards: peer(folder, shards, groups=["shard=shard"], group_components=[f"shard={GROUP}"]),
    ),
    "arrays": ("plain plugin, arrays", lambda folder, shards: peer(folder, shards, slurm_array_jobs="shard")),
}
ONE: dict[str, Way] = {
    f"ours, SLURM first asked after {FIRST_CHECK} s": ours,
    f"plain plugin, after {FIRST_CHECK} s": peer,
    "plain plugin, after its default of 40 s": lambda folder, shards: peer(
        folder, shards, slurm_init_seconds_before_status_checks=None
    ),
}


def latency(lab: Path, args: argparse.Namespace) -> str:
    """One trivial job from end to end."""
    found = _in_turn(ONE, args.rounds, partial(_once, lab, args.folder, 1, SEED))
    rows = []
    for name, runs in found.items():
        walls = sorted(run.wall for run in runs)
        spread = f"{seconds(walls[0])} to {seconds(walls[-1])}"
        rows.append([name, seconds(median(walls)), spread, seconds(median(run.cpu for run in runs)), _asked(runs[0])])
    return table(["one job", "s", "range", "CPU s", "other calls of SLURM's programs"], rows)


def compare(lab: Path, args: argparse.Namespace) -> str:
    """The same graph by us and by the plain plugin in its three ways, from nothing."""
    rows = []
    costs: dict[str, list[tuple[int, Run]]] = {}
    for shards in args.shards:
        ways = {name: WAYS[name][1] for name in (OURS, *(name for name in WAYS if name in args.ways))}
        for name, runs in _in_turn(ways, args.rounds, partial(_once, lab, args.folder, shards, ALL)).items():
            run = middle(runs)
            costs.setdefault(name, []).append((shards, run))
            against = _against(costs[OURS][-1][1], run)
            rows.append([WAYS[name][0], f"{shards:,}", *_row(run), *_each(run), *against])
    rows += [_line(WAYS[name][0], found) for name, found in costs.items() if name != OURS and len(found) > 1]
    return table(["", "shards", *HEAD, *EACH, "ours/its, s", "ours/its, CPU s"], rows)


def full(lab: Path, args: argparse.Namespace) -> str:
    """Our executor alone: from nothing, and after two edits."""
    return _edited(lab, args, [OURS])


def edits(lab: Path, args: argparse.Namespace) -> str:
    """Jobs that two edits submit: by us and by the plain plugin."""
    return _edited(lab, args, [OURS, "single"])


def _edited(lab: Path, args: argparse.Namespace, names: list[str]) -> str:
    rows = []
    for shards in args.shards:
        for name in names:
            folder = WAYS[name][1](args.folder / "edited", shards)
            found = {"from nothing": build(lab, folder, ALL)}
            before = (folder / ALL).read_bytes()
            _append(folder / "scripts" / "shard.py", "# a comment\n")
            found["a comment in the shards' script"] = build(lab, folder, ALL)
            _append(folder / "words.txt", "# a line that seed leaves out\n")
            found["the source; shards stay as they are"] = build(lab, folder, ALL)
            found["nothing"] = build(lab, folder, ALL)
            assert (folder / ALL).read_bytes() == before, "the result is another one"
            rows += [[WAYS[name][0], f"{shards:,}", what, *_row(run)] for what, run in found.items()]
    return table(["", "shards", "edited", *HEAD], rows)


SEED, ALL = "data/seed/0000.txt", "results/gathered.txt"
HEAD = ["jobs run", "sbatch", "other calls of SLURM's programs", "s", "CPU s", "of which in jobs"]
EACH = ["s a job", "CPU s a job"]


def _once(lab: Path, folder: Path, shards: int, target: str, way: Way) -> Run:
    return build(lab, way(folder / "built", shards), target)


def _in_turn(ways: dict[str, Way], rounds: int, work: Callable[[Way], Run]) -> dict[str, list[Run]]:
    """Measurements of several variants in each round; every other round has the reverse order."""
    found: dict[str, list[Run]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            found[name].append(work(ways[name]))
    return found


def middle(runs: list[Run]) -> Run:
    """Medians of several runs; calls are the first one's."""
    numbers = (median(getattr(run, name) for run in runs) for name in ("wall", "front", "nodes"))
    return Run(runs[0].jobs, runs[0].calls, *numbers)


def _row(run: Run) -> list[str]:
    return [f"{run.jobs:,}", f"{run.calls['sbatch']:,}", _asked(run), *map(seconds, (run.wall, run.cpu, run.nodes))]


def _each(run: Run) -> list[str]:
    return [seconds(run.wall / run.jobs), seconds(run.cpu / run.jobs)]


def _against(mine: Run, its: Run) -> list[str]:
    if mine is its:
        return ["", ""]
    return [f"{mine.wall / its.wall:.2f}", f"{mine.cpu / its.cpu:.2f}"]


def _line(label: str, found: list[tuple[int, Run]]) -> list[str]:
    """The estimate for a number of shards, by linear extrapolation from two."""
    (few, less), (many, more) = found[0], found[-1]
    times = (GOAL - few) / (many - few)
    submitted = [less.calls["sbatch"], more.calls["sbatch"]]
    pairs = ((less.jobs, more.jobs), submitted, (less.wall, more.wall), (less.cpu, more.cpu), (less.nodes, more.nodes))
    jobs, sbatch, wall, cpu, nodes = (first + times * (last - first) for first, last in pairs)
    line = [f"{jobs:,.0f}", f"{sbatch:,.0f}", "", *map(seconds, (wall, cpu, nodes, wall / jobs, cpu / jobs)), "", ""]
    return [label, f"{GOAL:,}, by a straight line", *line]


def _asked(run: Run) -> str:
    """Calls other than sbatch, as text."""
    others = {name: count for name, count in sorted(run.calls.items()) if name != "sbatch"}
    return ", ".join(f"{name} {count}" for name, count in others.items()) or "none"


def _append(file: Path, line: str) -> None:
    time.sleep(1)  # times of files may be coarse
    with file.open("a") as opened:
        opened.write(line)


# work, shards, rounds
COMMANDS: dict[str, tuple[Callable[[Path, argparse.Namespace], str], list[int], int]] = {
    "latency": (latency, [1], 3),
    "compare": (compare, [10, 40], 1),
    "full": (full, [GOAL], 1),
    "edits": (edits, [10], 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (work, shards, rounds) in COMMANDS.items():
        command = commands.add_parser(name, help=work.__doc__, description=work.__doc__)
        command.add_argument("--folder", type=Path, default=Path("scratch/bench/cluster"), help="default: %(default)s")
        if name != "latency":
            command.add_argument("--shards", type=int, nargs="+", default=shards, help=f"default: {shards}")
        if name in ("latency", "compare"):
            command.add_argument("--rounds", type=int, default=rounds, help="runs of each way; default: %(default)s")
        if name == "compare":
            ways = [way for way in WAYS if way != OURS]
            command.add_argument("--ways", nargs="+", choices=ways, default=ways, help="of the plain plugin")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    args.folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the cluster goes with this process
    before = os.getloadavg()[1]
    with slurm() as lab:
        found = COMMANDS[args.command][0](lab, args)
    load = f"load average {before:.1f} before, {os.getloadavg()[1]:.1f} at the end"
    print(f"`python benchmarks/cluster.py {shlex.join(sys.argv[1:])}`, {load}:\n\n{found}")


if __name__ == "__main__":
    main()
