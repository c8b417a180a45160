"""Random edits, accidents and builds by a random front end, against a plain oracle of what must be made and must run.

What must run: a job whose key (see oracle.Made) no run made before. What may run besides:
- a job whose own outputs' objects are not all sound in the cache when the build starts;
- a job whose proof was deleted and that hasn't run since, since dvc.lock may not speak of it or lack a folder's list;
- of the jobs that a killed run had started, as many as can have been at work when it was killed: two, its cores;
- a job that was forced.
Everything else that runs is one run too many, and everything that must run and doesn't is a stale artifact.
"""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from graph import Graph
from oracle import Made, Oracle

CORES = 2
NAMES = {  # what blocks are called, and where names stand in other blocks
    "sources": ["words", "terms"],
    "schemes": ["upper", "loud", "lower", "quiet"],
    "mixes": ["all", "both", "few", "some"],
    "stages": ["sft", "tuned", "dpo", "aligned"],
    "evals": ["score", "marks"],
}
CONSTANTS = {
    "helper.py": ("END", ['"\\n"', '"\\r\\n"', '" \\n"']),
    "letters.py": ("FIRST", ["0", "1", "291"]),
    "source.py": ("MOST", ["1000", "999", "5"]),
    "generate.py": ("BETWEEN", ['""', '"-"', '"_"']),
    "train.py": ("MODULUS", ["97", "89"]),
}
RATES = [0.1, 0.2, 0.25, 0.3, 0.5]


class Fuzz:
    """One repository with its history.

    Attributes:
        known: Name by key, of every job that was made.
        loose: Keys whose proof was deleted.
        half: Keys of jobs that a killed run had started.
        in_flight: How many of these can have been unfinished.
        story: What was done, for the failure message.
    """

    def __init__(self, graph: Graph, seed: int) -> None:
        self.graph = graph
        self.seed = seed
        self.chance = random.Random(seed)
        self.known: dict[str, str] = {}
        self.loose: set[str] = set()
        self.half: set[str] = set()
        self.in_flight = 0
        self.forced: list[str] = []
        self.story: list[str] = []
        self.earlier: list[str] = []
        self.commits = [self.head()]
        self.shape = self.shape_now()
        self.ran = self.least = self.all = 0

    def head(self) -> str:
        return self.graph.run("git", "rev-parse", "HEAD").strip()

    def step(self) -> None:
        """One change, one build, and all that must hold then."""
        self.earlier.append(self.text("params.yaml"))
        self.forced = []
        change = self.chance.choice(CHANGES)
        self.story.append(change.__name__)
        detail = change(self)
        self.story[-1] += f" {detail}" if detail else ""
        self.build(self.chance.choice(["snakemake", "dvc"]) if not self.forced else "snakemake")
        self.forced = []
        if self.chance.random() < 0.2:
            self.build(self.chance.choice(["snakemake", "dvc"]))

    def build(self, front_end: str) -> None:
        """Build, and compare with the oracle."""
        self.story.append(f"  {' '.join([front_end, *self.forced])}")
        self.write_pipeline(front_end)
        oracle = Oracle(self.graph.root)
        lost = {job.key for job in oracle.jobs if not self.stored(job)}
        before = self.graph.ran()
        assert not before, self.why(f"{before} ran outside of builds")
        self.run(front_end, spared=bool(lost or self.half))
        names = self.graph.ran()
        self.compare(names, oracle, lost)
        self.check_files(oracle, front_end)
        self.known |= {job.key: job.name for job in oracle.jobs}
        self.loose -= {job.key for job in oracle.jobs if job.name in names}
        self.half -= {job.key for job in oracle.jobs}
        self.in_flight = self.in_flight if self.half else 0

    def run(self, front_end: str, *, spared: bool) -> None:
        """Run a front end; if objects were lost, files of earlier shards may have to be moved away by hand."""
        words = ["dvc", "repro"] if front_end == "dvc" else ["snakemake", *self.forced]
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
        keys = {job.name: job.key for job in oracle.jobs}
        assert len(set(names)) == len(names), self.why(f"twice: {names}")
        must = {name for name, key in keys.items() if key not in self.known and key not in self.half}
        forced = {name for name in keys if self.is_forced(name)}
        ran = set(names)
        assert must | forced <= ran, self.why(f"stale: {sorted((must | forced) - ran)}")
        more = ran - must - forced - {name for name, key in keys.items() if key in lost or key in self.loose}
        again = {name for name in more if keys.get(name) in self.half}
        assert more == again, self.why(f"needless: {sorted(more - again)}")
        assert len(again) <= self.in_flight, self.why(f"again: {sorted(again)}, {self.in_flight} were at work")
        self.ran += len(ran)
        self.least += len(must | forced)
        self.all += len(keys)

    def check_files(self, oracle: Oracle, front_end: str) -> None:
        """Whether every artifact on disk is right, and all required ones exist."""
        found = self.graph.contents()
        wrong = [path for path, data in oracle.files.items() if path in found and found[path] != data]
        assert not wrong, self.why(f"wrong: {wrong}")
        needed = [path for path in oracle.files if front_end == "dvc" or path.startswith("results/")]
        assert set(needed) <= set(found), self.why(f"missing: {sorted(set(needed) - set(found))}")
        folders = {os.path.dirname(job.name) if "/generated/" in job.name else job.name for job in oracle.jobs}
        stray = [path for path in found if path not in oracle.files and any(path.startswith(f"{f}/") for f in folders)]
        assert not stray, self.why(f"left behind: {stray}")

    def why(self, what: str) -> str:
        return f"{what}\nFUZZ_SEED={self.seed}, step by step:\n" + "\n".join(self.story)

    def is_forced(self, name: str) -> bool:
        """Whether the flags of the build force a job."""
        rules = {"shard": "data/seed/", "mix": "data/mixes/", "train": "data/adapters/", "score": "results/"}
        return "-F" in self.forced or ("-R" in self.forced and name.startswith(rules[self.forced[1]]))

    def stored(self, job: Made) -> bool:
        """Whether the cache can give back all outputs of a job."""
        files = list(job.files.values())
        if job.name.startswith("data/adapters/"):
            names = {path.removeprefix(f"{job.name}/"): md5(data) for path, data in job.files.items()}
            entries = [{"md5": names[name], "relpath": name} for name in sorted(names)]
            listing = json.dumps(entries, sort_keys=True).encode()
            if not self.is_object(md5(listing) + ".dir", listing):
                return False
        return all(self.is_object(md5(data), data) for data in files)

    def is_object(self, name: str, data: bytes) -> bool:
        path = self.graph.root / ".dvc/cache/files/md5" / name[:2] / name[2:]
        return path.is_file() and path.read_bytes() == data

    def write_pipeline(self, front_end: str) -> None:
        """Write dvc.yaml again if blocks or references changed, as DVC demands; Snakemake does so by itself."""
        if self.shape_now() == self.shape:
            return
        if self.chance.random() < 0.3:
            assert "bezoar dvc" in self.graph.refused("dvc", "repro"), self.why("a stale dvc.yaml is used")
        if front_end == "dvc":
            self.graph.run("bezoar", "dvc")
        self.shape = self.shape_now()

    def shape_now(self) -> Any:
        """What dvc.yaml depends on: names of blocks and what they name."""
        params = self.graph.params()
        return [
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

    # Edits of values

    def change_a_value(self) -> str:
        params = self.graph.params()
        kind = self.choose(["rate", "decay", "suffix", "case", "drop", "seed", "draws"])
        if kind == "seed":
            params["seed"] = self.chance.randrange(4)
        else:
            place = {"rate": "stages", "decay": "stages", "drop": "sources", "draws": "evals"}.get(kind, "schemes")
            block = params[place][self.choose(params[place])]
            values = {"suffix": ["!", "?", "#", "é"], "case": ["upper", "lower", "title"], "drop": ["x", "xe", "B"]}
            block[kind] = self.chance.choice(values.get(kind, [2, 3, 4] if kind == "draws" else RATES))
        self.write_params(params)
        return kind

    def swap_two_values(self) -> str:
        params = self.graph.params()
        name = self.choose(params["stages"])
        block = params["stages"][name]
        block["rate"], block["decay"] = block["decay"], block["rate"]
        one, other = (params["schemes"][name] for name in sorted(params["schemes"]))
        if self.chance.random() < 0.5:
            one["suffix"], other["suffix"] = other["suffix"], one["suffix"]
        self.write_params(params)
        return name

    def go_back_to_earlier_values(self) -> None:
        self.write("params.yaml", self.chance.choice(self.earlier))

    def rename_a_block(self) -> str:
        params = self.graph.params()
        kind = self.choose(NAMES)
        old = self.choose(params[kind])
        new = self.choose(set(NAMES[kind]) - set(params[kind]))
        params[kind] = {new if name == old else name: block for name, block in params[kind].items()}

        def renamed(value: Any) -> Any:
            if isinstance(value, list):
                return [renamed(one) for one in value]
            return new if value == old else value

        reference = {"sources": "source", "mixes": "mix"}.get(kind)
        fields = (
            {reference} if reference else {"schemes": {"schemes"}, "stages": {"stages", "init_from"}}.get(kind, set())
        )
        for blocks in (params[kind] for kind in NAMES):
            for block in blocks.values():
                block |= {field: renamed(block[field]) for field in fields & block.keys()}
        self.write_params(params)
        return f"{kind} {old} -> {new}"

    def reorder_a_list(self) -> None:
        params = self.graph.params()
        for block in (*params["mixes"].values(), *params["evals"].values()):
            self.chance.shuffle(block.get("schemes", block.get("stages")))
        self.write_params(params)

    def reorder_a_map(self) -> None:
        params = self.graph.params()
        items = list(params.items())
        self.chance.shuffle(items)
        self.write_params(dict(items))

    def rewire(self) -> str:
        params = self.graph.params()
        block = params["mixes"][self.choose(params["mixes"])]
        block["schemes"] = self.chance.sample(sorted(params["schemes"]), self.chance.choice([1, 2]))
        self.write_params(params)
        return str(block["schemes"])

    def change_the_shards(self) -> str:
        params = self.graph.params()
        params["shards"] = self.chance.choice([2, 3, 4])
        self.write_params(params)
        return str(params["shards"])

    # Edits of sources and code

    def edit_the_words(self) -> str:
        words = self.graph.root / "words.txt"
        data = words.read_bytes()
        rows = data.splitlines(keepends=True)
        place = self.chance.randrange(len(rows) + 1)
        kind = self.choose(["add", "bytes", "blank", "remove", "ends", "mark", "order"])
        if kind == "remove" and len(rows) > 3:
            rows.pop(place - 1)
        elif kind in ("add", "bytes", "blank"):
            row = "".join(self.chance.choices("aBcxyz é", k=5)).encode() + b"\n"
            rows.insert(place, {"add": row, "bytes": b"\xe9mile\xff\n", "blank": b" \n"}[kind])
        elif kind == "order":
            self.chance.shuffle(rows)
        data = b"".join(rows)
        if kind == "ends":
            data = data.replace(b"\r\n", b"\n") if b"\r\n" in data else data.replace(b"\n", b"\r\n")
        if kind == "mark":
            data = data.removeprefix(b"\xef\xbb\xbf") if data.startswith(b"\xef\xbb\xbf") else b"\xef\xbb\xbf" + data
        words.write_bytes(data)
        return kind

    def edit_a_comment(self) -> str:
        path = self.choose(str(path.relative_to(self.graph.root)) for path in self.files("scripts"))
        text = self.text(path)
        text = re.sub('^"""', '"""Now: ', text) if self.chance.random() < 0.5 else f"{text}\n\n# more\n"
        self.write(path, text)
        return path

    def edit_a_meaning(self) -> str:
        name = self.choose(CONSTANTS)
        constant, values = CONSTANTS[name]
        value = self.chance.choice(values)
        text = re.sub(
            rf"^{constant} = .*$", lambda _: f"{constant} = {value}", self.text(f"scripts/{name}"), flags=re.M
        )
        self.write(f"scripts/{name}", text)
        return f"{constant} = {value}"

    # Accidents

    def damage_outputs(self) -> str:
        paths = sorted(self.graph.contents())
        chosen = self.chance.sample(paths, min(len(paths), self.chance.randint(1, 4)))
        for path in (self.graph.root / name for name in chosen):
            found, data = path.stat(), path.read_bytes()
            kind = self.choose(["delete", "empty", "append", "same size"])
            if kind == "delete":
                path.unlink()
            elif kind == "same size":
                path.write_bytes(data[::-1])
                os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns - 10**9))  # DVC is blind where time stays, too
            else:
                path.write_bytes(data + b"more\n" if kind == "append" else b"")
        return " ".join(chosen)

    def delete_a_folder(self) -> str:
        name = self.choose(["data", "results", "data/generated", "data/mixes", "data/adapters", "data/seed"])
        shutil.rmtree(self.graph.root / name, ignore_errors=True)
        return name

    def scramble_times(self) -> None:
        for path in self.files("."):
            if ".git" not in path.parts and not path.is_symlink():
                when = self.chance.randrange(4_000_000_000)
                os.utime(path, (when, when))

    def delete_snakemakes_records(self) -> None:
        shutil.rmtree(self.graph.root / ".snakemake", ignore_errors=True)

    def touch(self) -> None:
        if set(Oracle(self.graph.root).files) <= set(self.graph.contents()):  # it fails where an output is missing
            self.graph.build("--touch")

    def look(self) -> None:
        self.graph.build("--dry-run")

    def write_dvcs_settings(self) -> None:
        value = self.chance.choice(["true", "false"])
        self.graph.run("dvc", "config", "core.check_update", value)

    def commit(self) -> None:
        self.graph.commit()
        self.commits.append(self.head())

    def go_to_a_commit(self) -> None:
        self.graph.run("git", "checkout", "--quiet", "--force", self.chance.choice(self.commits))
        self.graph.run("bezoar", "dvc")
        self.shape = self.shape_now()

    def take_an_earlier_lock(self) -> None:
        commit = self.chance.choice(self.commits)
        with suppress(AssertionError):  # the first commit has none
            self.graph.run("git", "checkout", "--quiet", commit, "--", "dvc.lock")

    def delete_the_locks(self) -> str:
        name = self.choose(["dvc.lock", "code.lock"])
        (self.graph.root / name).unlink(missing_ok=True)
        return name

    def lose_objects(self) -> None:
        paths = self.files(".dvc/cache/files")
        for path in self.chance.sample(paths, min(len(paths), self.chance.randint(1, 6))):
            path.chmod(0o644)
            if self.chance.random() < 0.5:
                path.unlink()
            else:
                path.write_bytes(b"other")

    def collect_garbage(self) -> None:
        if (self.graph.root / "dvc.lock").exists():
            self.graph.run("dvc", "gc", "--workspace", "--force")

    def lose_proofs(self) -> None:
        paths = self.files(".dvc/cache/proofs")
        for path in self.chance.sample(paths, min(len(paths), 3)):
            outputs = list(json.loads(path.read_text())["outputs"])
            self.loose |= {key for key, name in self.known.items() if any(one.startswith(name) for one in outputs)}
            path.unlink()

    def lose_the_cache(self) -> None:
        shutil.rmtree(self.graph.root / ".dvc/cache", ignore_errors=True)
        self.loose |= set(self.known)

    def force(self) -> str:
        self.forced = self.chance.choice([["-F"], ["-R", "train"], ["-R", "shard"], ["-R", "mix"], ["-R", "score"]])
        return ""

    def interrupt(self) -> str:
        """Change something, and kill the build of it once some of its scripts have started."""
        change = self.chance.choice([Fuzz.change_a_value, Fuzz.edit_a_meaning, Fuzz.change_the_shards])
        detail = change(self)
        self.write_pipeline("dvc")  # a killed run may have written it, or not yet
        keys = {job.name: job.key for job in Oracle(self.graph.root).jobs}
        jobs, delay, front_end = self.chance.randint(0, 5), self.chance.random() / 4, self.choose(["snakemake", "dvc"])
        number = self.chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        words = ["dvc", "repro"] if front_end == "dvc" else ["snakemake"]
        process = self.graph.start(*words, log=self.graph.log)
        while process.poll() is None and (not self.graph.runs.exists() or len(self.graph.started()) < jobs):
            time.sleep(0.01)
        time.sleep(delay)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        process.wait()
        wait_for_group(process.pid)
        self.half |= {keys[name] for name in self.graph.ran()} - self.known.keys()
        self.in_flight += CORES
        return f"{change.__name__} {detail} {front_end} {number.name} after {jobs} jobs and {delay:.2f} s"


CHANGES = [
    *([Fuzz.change_a_value] * 4),
    Fuzz.swap_two_values,
    Fuzz.go_back_to_earlier_values,
    Fuzz.go_back_to_earlier_values,
    Fuzz.rename_a_block,
    Fuzz.reorder_a_list,
    Fuzz.reorder_a_map,
    Fuzz.rewire,
    Fuzz.change_the_shards,
    *([Fuzz.edit_the_words] * 3),
    Fuzz.edit_a_comment,
    *([Fuzz.edit_a_meaning] * 2),
    *([Fuzz.damage_outputs] * 3),
    Fuzz.delete_a_folder,
    Fuzz.scramble_times,
    Fuzz.delete_snakemakes_records,
    Fuzz.touch,
    Fuzz.look,
    Fuzz.write_dvcs_settings,
    Fuzz.commit,
    Fuzz.go_to_a_commit,
    Fuzz.take_an_earlier_lock,
    Fuzz.delete_the_locks,
    Fuzz.lose_objects,
    Fuzz.collect_garbage,
    Fuzz.lose_proofs,
    Fuzz.lose_the_cache,
    Fuzz.force,
    *([Fuzz.interrupt] * 3),
]


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def wait_for_group(number: int) -> None:
    """Wait until no process of a group is left."""
    end = time.monotonic() + 60
    with suppress(ProcessLookupError):
        while True:
            os.killpg(number, 0)
            assert time.monotonic() < end
            time.sleep(0.01)


def fuzz(graph: Graph, seed: int, steps: int) -> Fuzz:
    """Build, and then take random steps."""
    run = Fuzz(graph, seed)
    run.build("snakemake")
    for number in range(steps):
        run.story.append(f"{number}:")
        run.step()
    print(f"seed {seed}: {steps} steps, 0 wrong, {run.ran} jobs run, {run.least} had to, {run.all} possible")
    return run


def test_four_random_steps_are_right(graph: Graph) -> None:
    fuzz(graph, seed=int(os.environ.get("FUZZ_SEED", "0")), steps=4)


@pytest.mark.fuzz
def test_many_random_steps_are_right(graph: Graph) -> None:
    fuzz(graph, seed=int(os.environ.get("FUZZ_SEED", "0")), steps=int(os.environ.get("FUZZ_STEPS", "200")))
