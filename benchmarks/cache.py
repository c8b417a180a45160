"""What the action cache costs, and what it saves, against the bare tools.

$ python benchmarks/cache.py noop 1000

Each subcommand prints a table in Markdown below the command that made it. The machine may be busy: the two sides of a
comparison take turns, and what counts is the median of the pairs' ratios. Folders are made in --folder and used again.
"""

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import built
from timing import Cost, alternated, compared, cost_of, middle, ratio, seconds, table

HERE = Path(__file__).resolve()
SNAKEMAKE = ("snakemake", "--cores", "2")
MIB = 1 << 20
STAGES = (100, 300)  # of dvc.yaml with one stage a shard: what can be waited for
GOAL_SHARDS = 10_000


def graph(folder: Path, shards: int, *, bare: bool = False) -> Path:
    """The folder of a built graph, made if it isn't there."""
    ours, without = folder / f"{shards}" / "ours", folder / f"{shards}" / "bare"
    if not ours.exists():
        built.ours(ours, shards)
    if bare and not without.exists():
        built.bare(without, ours)
    return without if bare else ours


def noop(args: argparse.Namespace) -> str:
    """`snakemake` when there is nothing to do, with our cache and without."""
    rows = []
    for shards in args.shards:
        sides = {"ours": graph(args.folder, shards), "bare": graph(args.folder, shards, bare=True)}
        works = {name: partial(built.run, side, *SNAKEMAKE, said=built.NOTHING) for name, side in sides.items()}
        found = alternated(works, args.rounds)
        both = compared(found["ours"], found["bare"])
        numbers = [both.bare.wall, both.ours.wall, both.bare.cpu, both.ours.cpu]
        rows.append([f"{shards:,}", *map(seconds, numbers), ratio(both.wall), ratio(both.cpu)])
    head = ["shards", "bare, s", "ours, s", "bare, CPU s", "ours, CPU s", "ratio", "ratio of CPU"]
    return table(head, rows)


def compile_(args: argparse.Namespace) -> str:
    """Where a process with nothing to do spends its time: Snakemake's graph, and our decision inside it."""
    rows = []
    for shards in args.shards:
        for name, bare in (("bare", True), ("ours", False)):
            side = graph(args.folder, shards, bare=bare)
            found = [_inside(side, bare) for _ in range(args.rounds)]
            phases = {phase: sorted(one[phase] for one in found)[len(found) // 2] for phase in found[0]}
            rows.append([f"{shards:,}", name, *(seconds(value) for value in phases.values())])
    return table(["shards", "CPU s of", *PHASES], rows)


PHASES = ("start, and reading rules", "jobs of the graph", "what runs: `decide`", "`prepare`", "the rest", "together")


def _inside(side: Path, bare: bool) -> dict[str, float]:
    """CPU seconds of a process with nothing to do, by phase."""
    said = built.run(side, sys.executable, str(HERE), "inside", said=built.NOTHING)
    taken = json.loads(said.splitlines()[-1])
    decide = taken["update_needrun" if bare else "ours"]
    jobs = taken["_build_dag"] - decide
    after = taken.get("prepare", 0.0)
    rest = taken["execute"] - taken["_build_dag"] - after
    numbers = (taken["all"] - taken["execute"], jobs, decide, after, rest, taken["all"])
    return dict(zip(PHASES, numbers, strict=True))


def inside(args: argparse.Namespace) -> str:
    """Run Snakemake in this folder and print the CPU seconds of some of its calls, and of ours, as JSON."""
    import time

    import snakemake.api  # first: the others import each other in a circle
    import snakemake.dag
    import snakemake.workflow
    from snakemake.cli import main

    from bezoar.cache.build import Build
    from bezoar.cache.graph import ProvenDAG

    taken: dict[str, float] = {}

    def watch(owner: type, name: str, label: str) -> None:
        plain = getattr(owner, name)

        def timed(*arguments: object, **options: object) -> object:
            start = time.process_time()
            try:
                return plain(*arguments, **options)
            finally:
                taken[label] = taken.get(label, 0.0) + time.process_time() - start

        async def awaited(*arguments: object, **options: object) -> object:
            start = time.process_time()
            try:
                return await plain(*arguments, **options)
            finally:
                taken[label] = taken.get(label, 0.0) + time.process_time() - start

        setattr(owner, name, awaited if "update_needrun" in name else timed)

    watch(snakemake.workflow.Workflow, "execute", "execute")
    watch(snakemake.workflow.Workflow, "_build_dag", "_build_dag")
    watch(snakemake.dag.DAG, "update_needrun", "update_needrun")
    watch(ProvenDAG, "update_needrun", "ours")
    watch(Build, "prepare", "prepare")
    try:
        main(list(SNAKEMAKE[1:]))
    except SystemExit as end:
        if end.code:
            raise
    return json.dumps({**taken, "all": time.process_time()})


def dvc(args: argparse.Namespace) -> str:
    """`dvc repro` when there is nothing to do: one stage for a rule and block, and one for each shard."""
    rows = []
    for shards in args.shards:
        side = graph(args.folder, shards)
        works = {"repro": partial(built.run, side, "dvc", "repro", said="up to date")}
        found = middle(alternated(works, args.rounds)["repro"])
        rows.append(["ours, one stage a rule and block", f"{shards:,}", seconds(found.wall), seconds(found.cpu)])
    costs = []
    for shards in STAGES:
        side = args.folder / f"stages-{shards}"
        if not side.exists():
            _stage_each(side, shards)
        works = {"repro": partial(built.run, side, "dvc", "repro", said="up to date")}
        costs.append(middle(alternated(works, args.rounds)["repro"]))
        rows.append(["one stage a shard", f"{shards:,}", seconds(costs[-1].wall), seconds(costs[-1].cpu)])
    straight = [
        few + (many - few) * (GOAL_SHARDS - STAGES[0]) / (STAGES[1] - STAGES[0])
        for few, many in zip(*costs, strict=True)
    ]
    rows.append(["one stage a shard", f"{GOAL_SHARDS:,}, by a straight line through these", *map(seconds, straight)])
    return table(["`dvc repro`, nothing to do", "shards", "s", "CPU s"], rows)


def _stage_each(side: Path, shards: int) -> None:
    """A repository with a DVC stage for each shard, built."""
    (side / "data").mkdir(parents=True)
    stages = {}
    for number in range(shards):
        source, out = f"data/{number:04d}.txt", f"out/{number:04d}.txt"
        (side / source).write_text(f"{number}\n")
        stages[f"generate-{number:04d}"] = {"cmd": f"cp {source} {out}", "deps": [source], "outs": [out]}
    (side / "out").mkdir()
    (side / "dvc.yaml").write_text(json.dumps({"stages": stages}))  # JSON is YAML
    (side / ".gitignore").write_text("/out/\n")
    built.run(side, "git", "init", "--quiet", ".")
    built.run(side, "dvc", "init", "--quiet")
    built.run(side, "dvc", "repro", "--quiet")


def restore(args: argparse.Namespace) -> str:
    """A checkpoint of 1 GiB back from the cache, against `cp -r --reflink=auto`."""
    from bezoar.cache.hashing import Hasher
    from bezoar.cache.objects import Objects

    folder = args.folder / "restore"
    source, memory = folder / "checkpoint", str(folder / "memory.sqlite")
    _random_files(source, 4, 256 * MIB)
    hasher = Hasher(memory)
    content = hasher.content(str(source))
    assert content
    Objects(str(folder / "cache"), hasher).store(str(source), content)
    hasher.save()

    def back(target: Path, remembered: bool) -> None:
        hasher = Hasher(memory if remembered else None)
        hasher.recall_all()
        Objects(str(folder / "cache"), hasher).restore(content.md5, str(target))

    def after_removal(work: Callable[[Path], object]) -> Cost:
        target = folder / "target"
        shutil.rmtree(target, ignore_errors=True)
        return cost_of(lambda: work(target))

    works: dict[str, Callable[[Path], object]] = {
        "cp": lambda target: subprocess.run(["cp", "-r", "--reflink=auto", source, target], check=True),
        "ours": lambda target: back(target, True),
        "first": lambda target: back(target, False),
    }
    found: dict[str, list[Cost]] = {name: [] for name in works}
    for number in range(args.rounds):
        for name in list(works)[:: -1 if number % 2 else 1]:
            found[name].append(after_removal(works[name]))
    shutil.rmtree(folder / "target")
    rows = [["`cp -r --reflink=auto`", *map(seconds, middle(found["cp"])), "", ""]]
    for name, label in (
        ("ours", "restored, objects remembered"),
        ("first", "restored, objects read for the first time"),
    ):
        both = compared(found[name], found["cp"])
        rows.append([label, *map(seconds, both.ours), ratio(both.wall), ratio(both.cpu)])
    return table(["1 GiB in 4 files", "s", "CPU s", "ratio", "ratio of CPU"], rows)


def hashing(args: argparse.Namespace) -> str:
    """MD5 by us and by md5sum: of one large file, and of a directory of 2,000 small ones."""
    from bezoar.cache.hashing import Hasher, md5_of

    folder, memory = args.folder / "hashing", str(args.folder / "hashing" / "memory.sqlite")
    _random_files(folder / "large", 1, 1024 * MIB)
    _random_files(folder / "small", 2000, 4096)
    large, small = str(folder / "large" / "0000.bin"), str(folder / "small")
    hasher = Hasher(memory)
    hasher.content(small)
    hasher.save()

    def again() -> None:
        hasher = Hasher(memory)
        hasher.recall_all()
        hasher.content(small)

    quiet = partial(subprocess.run, check=True, stdout=subprocess.DEVNULL)
    pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "1 GiB in one file": (lambda: md5_of(large), lambda: quiet(["md5sum", large])),
        "2,000 files of 4 KiB": (
            lambda: Hasher(None).content(small),
            lambda: quiet(f"find {shlex.quote(small)} -type f -print0 | xargs -0 md5sum", shell=True),
        ),
    }
    pairs["the same again, remembered"] = (again, pairs["2,000 files of 4 KiB"][1])
    rows = []
    for label, (ours, bare) in pairs.items():
        found = alternated({"ours": ours, "bare": bare}, args.rounds)
        both = compared(found["ours"], found["bare"])
        numbers = [both.bare.wall, both.ours.wall, both.bare.cpu, both.ours.cpu]
        rows.append([label, *map(seconds, numbers), ratio(both.wall), ratio(both.cpu)])
    return table(["MD5 of", "md5sum, s", "ours, s", "md5sum, CPU s", "ours, CPU s", "ratio", "ratio of CPU"], rows)


def start(args: argparse.Namespace) -> str:
    """What `bezoar exec` adds to a command that takes no time."""
    side = graph(args.folder, 10)
    outputs = built.planned(side)
    run = partial(subprocess.run, cwd=side, env=built.ENVIRONMENT, check=True, stderr=subprocess.DEVNULL)
    works = {
        "`bezoar exec`, planned, a hit": lambda: run(["bezoar", "exec", outputs[0], "--", "true"]),
        "`bezoar exec`, not planned": lambda: run(["bezoar", "exec", outputs[1], "--", "true"]),
        "`python -c pass`": lambda: run([sys.executable, "-c", "pass"]),
        "`python -I -S -c pass`": lambda: run([sys.executable, "-I", "-S", "-c", "pass"]),
        "`sh -c true`": lambda: run(["sh", "-c", "true"]),
    }
    found = {name: middle(costs) for name, costs in alternated(works, args.rounds).items()}
    rows = [[name, f"{1000 * cost.wall:.0f}", f"{1000 * cost.cpu:.0f}"] for name, cost in found.items()]
    return table(["start of", "ms", "CPU ms"], rows)


def _random_files(folder: Path, count: int, size: int) -> None:
    """Files that no other equals, unless they are there from before."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number:04d}.bin"
        if not path.exists():
            with path.open("wb") as file:
                for part in range(-(-size // MIB)):
                    seed = hashlib.sha256(f"{path.name} {part}".encode()).digest()
                    file.write(hashlib.shake_128(seed).digest(min(size, MIB)))


COMMANDS = {
    "noop": (noop, [10, 1000, 10_000], 5),
    "compile": (compile_, [1000, 10_000], 3),
    "dvc": (dvc, [GOAL_SHARDS], 5),
    "restore": (restore, None, 7),
    "hashing": (hashing, None, 7),
    "start": (start, None, 20),
    "inside": (inside, None, 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (work, shards, rounds) in COMMANDS.items():
        command = commands.add_parser(name, help=work.__doc__)
        command.add_argument("--folder", type=Path, default=Path("scratch/bench"), help="default: %(default)s")
        command.add_argument("--rounds", type=int, default=rounds, help="runs of each side; default: %(default)s")
        if shards:
            command.add_argument("shards", type=int, nargs="*", default=shards, help=f"default: {shards}")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    found = COMMANDS[args.command][0](args)
    if args.command != "inside":
        load = os.getloadavg()[1]
        print(f"`python benchmarks/cache.py {shlex.join(sys.argv[1:])}`, load average {load:.1f} at the end:\n")
    print(found)


if __name__ == "__main__":
    main()
