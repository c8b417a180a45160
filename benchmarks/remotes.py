"""Push and pull of 200 MB in one file and of 2,000 small files, by us and by plain DVC, over servers of this machine.

$ python benchmarks/remotes.py --kinds local ssh s3 webdav http --rounds 3

The servers are those of tests/cluster/lab, which installs Debian packages and needs root for that. The two sides of a
comparison take turns, and what counts is the median of the pairs' ratios. Each push goes to an empty remote; each pull
starts without a cache. A server's own work isn't in the CPU seconds, but it takes the same cores.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import built
import yaml
from timing import Cost, compared, cost_of, ratio, seconds, table

LAB = Path(__file__).resolve().parents[1] / "tests" / "cluster" / "lab" / "remotes"
PASSWORD = "lab-password"
PORTS = {"ssh": 22, "s3": 80, "webdav": 81, "rclone": 82, "http": 83}
KINDS = ("local", *PORTS)
PAYLOADS = {"200 MB in one file": (1, 200_000_000), "2,000 files of 4 kB": (2_000, 4_000)}
ARTIFACT = "data/adapters/sft"
WRITE = """
import hashlib, pathlib
folder = pathlib.Path({folder})
folder.mkdir(parents=True)
for number in range({count}):
    (folder / f"{{number:04d}}.bin").write_bytes(hashlib.shake_128(str(number).encode()).digest({size}))
"""
HEAD = ["remote", "what", "", "plain, s", "ours, s", "plain, CPU s", "ours, CPU s", "ratio", "ratio of CPU"]


@dataclass
class Servers:
    """The lab, whose ports are counted from one number."""

    folder: Path
    port: int

    def call(self, *arguments: str) -> None:
        """Run the lab's script."""
        own = {"REMOTES_LAB": str(self.folder), "REMOTES_PORT": str(self.port), "REMOTES_PASSWORD": PASSWORD}
        subprocess.run([str(LAB), *arguments], env={**os.environ, **own}, check=True)

    def remote(self, kind: str, name: str) -> tuple[str, dict[str, str]]:
        """Address and options of a remote by its name; its folder is made where DVC doesn't."""
        if kind == "local":
            return str(self.folder / "data" / "local" / name), {}
        at = f"127.0.0.1:{self.port + PORTS[kind]}"
        if kind == "ssh":
            return f"ssh://{at}{self.folder}/data/ssh/{name}", {
                "user": "root",
                "keyfile": str(self.folder / "ssh" / "id"),
            }
        if kind == "s3":
            options = {"endpointurl": f"http://{at}", "access_key_id": "labaccess", "secret_access_key": PASSWORD}
            return f"s3://bezoar/{name}", options
        if kind == "http":
            return f"http://{at}/{name}", {}
        make = ["--request", "MKCOL", "--user", f"dvc:{PASSWORD}", f"http://{at}/{name}/"]
        subprocess.run(["curl", "--silent", "--output", "/dev/null", *make], check=True)  # may be there
        return f"webdav://{at}/{name}", {"user": "dvc", "password": PASSWORD}

    def use(self, side: Path, kind: str, name: str) -> None:
        """Make it the only remote of a repository."""
        url, options = self.remote(kind, name)
        core = f"[core]\n    remote = shared\n    site_cache_dir = {side}/.dvc/site\n"
        lines = [f"    {option} = {value}\n" for option, value in {"url": url, **options}.items()]
        (side / ".dvc/config.local").write_text(f"{core}['remote \"shared\"']\n{''.join(lines)}")


def ours(side: Path, count: int, size: int) -> None:
    """A workspace of ours, built, with the payload in an artifact."""
    shutil.copytree(built.GRAPH, side, ignore=shutil.ignore_patterns(*built.LEFT_OUT))
    (side / ".dvcignore").write_text(".snakemake_timestamp\n__pycache__/\n")
    (side / ".gitignore").write_text("/data/\n/results/\n.snakemake/\n__pycache__/\n")
    write = WRITE.format(folder="args.out, 'payload'", count=count, size=size).replace("\n", "\n    ")
    script = side / "scripts/train.py"
    script.write_text(f"{script.read_text()}\nif args.out.name == 'sft':\n{write}\n")
    built.run(side, "git", "init", "--quiet", ".")
    built.run(side, "dvc", "init", "--quiet")
    built.run(side, "bezoar", "dvc")
    built.run(side, "snakemake", "--cores", "2")


def plain(side: Path, count: int, size: int) -> None:
    """A repository of plain DVC with the same payload."""
    side.mkdir(parents=True)
    built.run(side, sys.executable, "-c", WRITE.format(folder="'payload'", count=count, size=size))
    built.run(side, "git", "init", "--quiet", ".")
    built.run(side, "dvc", "init", "--quiet")
    built.run(side, "dvc", "add", "--quiet", "payload")


def emptied(side: Path, source: Path) -> None:
    """Make a repository a fresh clone: no cache, no artifacts, no memory."""
    shutil.rmtree(side, ignore_errors=True)
    shutil.copytree(
        source,
        side,
        ignore=lambda folder, names: (
            ["cache", "site", "tmp"] if folder == f"{source}/.dvc" else [".snakemake", "data", "results", "payload"]
        ),
    )


def in_turn(works: dict[str, tuple[Callable[[], object], Callable[[], object]]], rounds: int) -> dict[str, list[Cost]]:
    """Seconds of several actions in each round, without preparation; every other round has the reverse order."""
    taken: dict[str, list[Cost]] = {name: [] for name in works}
    for number in range(rounds):
        for name in list(works)[:: -1 if number % 2 else 1]:
            prepare, work = works[name]
            prepare()
            taken[name].append(cost_of(work))
    return taken


class Bench:
    """Both sides for one payload."""

    def __init__(self, folder: Path, servers: Servers, payload: str) -> None:
        self.servers, self.payload = servers, payload
        self.ours, self.plain = folder / "ours", folder / "plain"
        self.clones = {side: side.with_name(f"{side.name}-clone") for side in (self.ours, self.plain)}
        self.number = 0
        if not self.plain.exists():
            ours(self.ours, *PAYLOADS[payload])
            plain(self.plain, *PAYLOADS[payload])

    def rows(self, kind: str, rounds: int) -> list[list[str]]:
        """The table's rows for a kind of remote."""
        pushed = [] if kind == "http" else [self._push(kind, rounds)]
        return [*pushed, *self._pull(kind, rounds)]

    def _push(self, kind: str, rounds: int) -> list[str]:
        def fresh(side: Path) -> None:
            self.number += 1
            self.servers.use(side, kind, f"push-{os.getpid()}-{self.number}")

        sides = {"ours": self.ours, "plain": self.plain}
        works = {
            name: (lambda side=side: fresh(side), lambda side=side: built.run(side, "dvc", "push"))
            for name, side in sides.items()
        }
        return self._row(kind, "push", in_turn(works, rounds), "ours", "plain")

    def _pull(self, kind: str, rounds: int) -> list[list[str]]:
        self.number += 1
        written = "webdav" if kind == "http" else kind
        names = {side: f"pull-{os.getpid()}-{self.number}-{side.name}" for side in self.clones}
        for side, name in names.items():
            self.servers.use(side, written, name)
            built.run(side, "dvc", "push")

        def fresh(side: Path) -> None:
            emptied(self.clones[side], side)
            self.servers.use(self.clones[side], kind, names[side])

        stage = yaml.safe_load((self.ours / "dvc.lock").read_text())["stages"]["train-sft"]
        commands = {
            "snakemake": (self.ours, ["snakemake", "--cores", "2", ARTIFACT]),
            "fetch": (self.ours, [sys.executable, "-m", "bezoar.cache.remote", stage["outs"][0]["md5"]]),
            "dvc pull": (self.plain, ["dvc", "pull"]),
            "dvc fetch": (self.plain, ["dvc", "fetch"]),
        }
        works = {
            name: (lambda side=side: fresh(side), lambda side=side, words=words: built.run(self.clones[side], *words))
            for name, (side, words) in commands.items()
        }
        found = in_turn(works, rounds)
        return [
            self._row(kind, "pull: `snakemake TARGET` and `dvc pull`", found, "snakemake", "dvc pull"),
            self._row(kind, "fetch alone and `dvc fetch`", found, "fetch", "dvc fetch"),
        ]

    def _row(self, kind: str, what: str, found: dict[str, list[Cost]], ours: str, plain: str) -> list[str]:
        both = compared(found[ours], found[plain])
        numbers = [both.bare.wall, both.ours.wall, both.bare.cpu, both.ours.cpu]
        return [kind, self.payload, what, *map(seconds, numbers), ratio(both.wall), ratio(both.cpu)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS], help="default: all")
    parser.add_argument("--payloads", nargs="+", choices=["large", "small"], default=["large", "small"])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side; default: %(default)s")
    parser.add_argument("--folder", type=Path, default=Path("scratch/bench-remotes"), help="default: %(default)s")
    parser.add_argument("--port", type=int, default=17400, help="of the servers, counted from there")
    args = parser.parse_args()
    folder = args.folder.resolve()
    servers = Servers(folder / "servers", args.port)
    chosen = dict(zip(("large", "small"), PAYLOADS, strict=True))
    rows = []
    try:
        for kind in args.kinds:
            if kind != "local":
                servers.call("up", *(["webdav", "http"] if kind == "http" else [kind]))
            for name in args.payloads:
                rows += Bench(folder / name, servers, chosen[name]).rows(kind, args.rounds)
                print(table(HEAD, rows), file=sys.stderr, flush=True)
    finally:
        servers.call("down")
    load = os.getloadavg()[1]
    print(f"`python benchmarks/remotes.py {shlex.join(sys.argv[1:])}`, load average {load:.1f} at the end:\n")
    print(table(HEAD, rows))


if __name__ == "__main__":
    main()
