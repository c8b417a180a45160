"""A repository with its history, built step by step by a random front end and compared with a plain oracle.

What must run: a job whose key (see oracle.Made) no run made before. What may run besides:
- a job with outputs that are neither sound on disk nor in the cache when the build starts;
- a job whose proof was deleted and that hasn't run since, since dvc.lock may not speak of it or lack a folder's list;
- a job that sees for the first time that a file hides a module of the standard library;
- of the jobs that a killed run had started, as many as can have been at work when it was killed: two, its cores;
- a job that was forced.
Everything else that runs is one run too many, and everything that must run and doesn't is a stale artifact.
"""

import hashlib
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from graph import Graph
from loaded import KINDS, Code
from oracle import Made, Oracle


class Fuzz:
    """One repository with its history.

    Attributes:
        cache: The folder of its objects and proofs, which its worktrees use, too.
        known: Name by key, of every job that was made.
        wide: Wide keys of these.
        loose: Keys whose proof was deleted.
        half: Keys of jobs that a killed run had started.
        in_flight: How many of these can have been unfinished.
        forced: Snakemake's flags for the next build, with a kind of rule.
        story: What was done, for the failure message.
        shape: What dvc.yaml was written for.
    """

    def __init__(self, graph: Graph, seed: int) -> None:
        self.graph = graph
        self.seed = seed
        self.cache = graph.root / ".dvc/cache"
        self.chance = random.Random(seed)
        self.known: dict[str, str] = {}
        self.wide: set[str] = set()
        self.loose: set[str] = set()
        self.half: set[str] = set()
        self.in_flight = 0
        self.forced: list[str] = []
        self.story: list[str] = []
        self.earlier: list[str] = []
        self.commits = [self.head()]
        self.shape: Any = None
        self.ran = self.least = self.all = 0

    def head(self) -> str:
        return self.graph.run("git", "rev-parse", "HEAD").strip()

    def oracle(self) -> Oracle:
        return Oracle(self.graph.root, self.graph.environment)

    def code(self) -> Code:
        return Code(self.graph.root, self.graph.environment)

    def step(self, change: Callable[["Fuzz"], str | None]) -> None:
        """One change, one build, and all that must hold then."""
        self.earlier.append(self.text("params.yaml"))
        self.apply(change)
        self.build(self.front_end() if not self.forced else "snakemake")
        self.forced = []
        if self.chance.random() < 0.2:
            self.build(self.front_end())

    def apply(self, change: Callable[["Fuzz"], str | None]) -> None:
        """Do something to the repository, and note it."""
        self.story.append(change.__name__)
        place = len(self.story) - 1
        detail = change(self)
        self.story[place] += f" {detail}" if detail else ""

    def front_end(self) -> str:
        return self.chance.choice(["snakemake", "dvc"])

    def build(self, front_end: str) -> None:
        """Build, and compare with the oracle."""
        oracle = self.oracle()
        forced = [oracle.code.rules[one].name if one in KINDS else one for one in self.forced]
        self.story.append(f"  {' '.join([front_end, *forced])}")
        self.write_pipeline(front_end)
        found = self.contents()
        lost = {job.key for job in oracle.jobs if not self.at_hand(job, found)}
        before = self.graph.ran()
        assert not before, self.why(f"{before} ran outside of builds")
        words = ["dvc", "repro"] if front_end == "dvc" else ["snakemake", *forced]
        self.run(words, spared=bool(lost or self.half))
        names = self.graph.ran()
        self.compare(names, oracle, lost)
        self.check_files(oracle, front_end)
        self.learn(oracle)
        self.loose -= {job.key for job in oracle.jobs if job.name in names}
        self.half -= {job.key for job in oracle.jobs}
        self.in_flight = self.in_flight if self.half else 0

    def learn(self, oracle: Oracle) -> None:
        """Note that all jobs of an oracle are made."""
        self.known |= {job.key: job.name for job in oracle.jobs}
        self.wide |= {job.wide for job in oracle.jobs}

    def run(self, words: list[str], *, spared: bool) -> None:
        """Run a front end; if objects were lost, files of earlier shards may have to be moved away by hand."""
        for _ in range(20):
            log = self.graph.log
            process = self.graph.start(*words, log=log)
            process.wait()
            said = log.read_text(errors="replace")
            stray = re.search(r"^(\S+) is in an artifact's folder, but no rule makes it", said, re.MULTILINE)
            if process.returncode == 0 or not (spared and stray):
                break
            (self.graph.root / stray[1]).unlink()
        assert process.returncode == 0, self.why(said[-6000:])

    def compare(self, names: list[str], oracle: Oracle, lost: set[str]) -> None:
        """Whether what ran had to, and what had to did."""
        jobs = {job.name: job for job in oracle.jobs}
        assert len(set(names)) == len(names), self.why(f"twice: {names}")
        must = {name for name, job in jobs.items() if job.key not in self.known and job.key not in self.half}
        forced = {name for name, job in jobs.items() if "-F" in self.forced or job.kind in self.forced}
        ran = set(names)
        assert must | forced <= ran, self.why(f"stale: {sorted((must | forced) - ran)}")
        may = {name for name, job in jobs.items() if job.key in lost | self.loose or job.wide not in self.wide}
        more = ran - must - forced - may
        again = {name for name in more if name in jobs and jobs[name].key in self.half}
        assert more == again, self.why(f"needless: {sorted(more - again)}")
        assert len(again) <= self.in_flight, self.why(f"again: {sorted(again)}, {self.in_flight} were at work")
        self.ran += len(ran)
        self.least += len(must | forced)
        self.all += len(jobs)

    def check_files(self, oracle: Oracle, front_end: str) -> None:
        """Whether every artifact on disk is right, and all required ones exist."""
        found = self.contents()
        wrong = [path for path, data in oracle.files.items() if path in found and found[path] != data]
        assert not wrong, self.why(f"wrong: {wrong}")
        needed = [path for path in oracle.files if front_end == "dvc" or path.startswith("results/")]
        assert set(needed) <= set(found), self.why(f"missing: {sorted(set(needed) - set(found))}")
        folders = {os.path.dirname(job.name) if "/generated/" in job.name else job.name for job in oracle.jobs}
        stray = [path for path in found if path not in oracle.files and any(path.startswith(f"{f}/") for f in folders)]
        assert not stray, self.why(f"left behind: {stray}")

    def why(self, what: str) -> str:
        return f"{what}\nFUZZ_SEED={self.seed}, step by step:\n" + "\n".join(self.story)

    def contents(self) -> dict[str, bytes]:
        """All artifacts' bytes by path, those behind links, too."""
        walked = [one for top in ("data", "results") for one in os.walk(self.graph.root / top, followlinks=True)]
        paths = [Path(folder, name) for folder, _, names in walked for name in names]
        kept = [path for path in paths if path.is_file() and path.name not in (".snakemake_timestamp", ".gitignore")]
        return {str(path.relative_to(self.graph.root)): path.read_bytes() for path in kept}

    def at_hand(self, job: Made, found: dict[str, bytes]) -> bool:
        """Whether all outputs of a job are sound on disk, or in the cache."""
        if job.kind != "train":
            return all(found.get(path) == data or self.is_object(md5(data), data) for path, data in job.files.items())
        on_disk = {path: data for path, data in found.items() if path.startswith(f"{job.name}/")}
        names = {path.removeprefix(f"{job.name}/"): md5(data) for path, data in job.files.items()}
        listing = json.dumps([{"md5": names[one], "relpath": one} for one in sorted(names)], sort_keys=True).encode()
        stored = [(md5(listing) + ".dir", listing), *((md5(data), data) for data in job.files.values())]
        return on_disk == job.files or all(self.is_object(*one) for one in stored)

    def is_object(self, name: str, data: bytes) -> bool:
        path = self.cache / "files/md5" / name[:2] / name[2:]
        return path.is_file() and path.read_bytes() == data

    def write_pipeline(self, front_end: str) -> None:
        """Write dvc.yaml again if blocks or references changed, as DVC demands; Snakemake does so by itself."""
        if self.shape_now() == self.shape:
            return
        if front_end == "dvc":
            if self.shape and self.chance.random() < 0.3:
                assert "bezoar dvc" in self.graph.refused("dvc", "repro"), self.why("a stale dvc.yaml is used")
            self.graph.run("bezoar", "dvc")
        self.shape = self.shape_now()

    def shape_now(self) -> Any:
        """What dvc.yaml depends on: names of rules and blocks, what they name, and shards, which have sources here."""
        params = self.graph.params()
        return [
            [params["shards"], *(rule.name for rule in self.code().rules.values())],
            sorted((name, block["file"]) for name, block in params["sources"].items()),
            sorted((name, block["source"]) for name, block in params["schemes"].items()),
            sorted((name, sorted(block["schemes"])) for name, block in params["mixes"].items()),
            sorted((name, block["mix"], str(block["init_from"])) for name, block in params["stages"].items()),
            sorted((name, sorted(block["stages"])) for name, block in params["evals"].items()),
        ]

    def text(self, path: str) -> str:
        return (self.graph.root / path).read_text()

    def write(self, path: str, text: str) -> None:
        (self.graph.root / path).write_text(text)

    def write_params(self, params: Any) -> None:
        self.write("params.yaml", yaml.safe_dump(params, sort_keys=False))

    def files(self, folder: str) -> list[Path]:
        return sorted(path for path in (self.graph.root / folder).rglob("*") if path.is_file())

    def choose(self, things: Any) -> Any:
        return self.chance.choice(sorted(things))


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
