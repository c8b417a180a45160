"""What every job of the small graph as it stands must make, from its sources alone; oracle.py has the furnished one.

It computes again what the scripts of tests/workflow/graph/ do. Their code means what their constants say: these are all
that the tests' edits of meaning change.
"""

import hashlib
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

IMPORTS = {
    "source": ("helper",),
    "shard": ("helper", "letters"),
    "generate": ("helper",),
    "mix": ("helper",),
    "train": ("helper", "letters"),
    "score": ("helper",),
}
CONSTANT = re.compile(r"^([A-Z]+) = (.+)$", re.MULTILINE)


class Made(NamedTuple):
    """A job with all that went in, as one text, and what comes out.

    Attributes:
        name: What its script reports.
        key: Rule, names and values of its parameters, constants of its code, paths and contents of its inputs, and
            paths of its outputs: a job with a key that was made before needn't run.
        files: Bytes by path.
    """

    name: str
    key: str
    files: dict[str, bytes]


class Oracle:
    """All jobs of a repository in its current state on disk.

    Attributes:
        jobs: In topological order.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.params: dict[str, Any] = yaml.safe_load((root / "params.yaml").read_text())
        self.made: dict[str, bytes] = {}
        self.jobs = list(self._jobs())

    @property
    def files(self) -> dict[str, bytes]:
        """Bytes of all outputs by path."""
        return self.made

    def _jobs(self) -> Iterator[Made]:
        shards = [f"{number:04d}" for number in range(self.params["shards"])]
        for name in self._used_sources():
            yield self._source(name)
            yield self._shard(name, shards)
        for name in self._used_schemes():
            for shard in shards:
                yield self._generate(name, shard)
        for name in self._used_mixes():
            yield self._mix(name, shards)
        for name in self._used_stages():
            yield self._train(name)
        for name in self.params["evals"]:
            yield self._score(name)

    def _used_stages(self) -> list[str]:
        """What the results need, what comes first in front."""
        found: list[str] = []
        for block in self.params["evals"].values():
            for name in block["stages"]:
                chain = []
                while name:
                    chain.append(name)
                    name = self.params["stages"][name]["init_from"]
                found += reversed(chain)
        return list(dict.fromkeys(found))

    def _used_mixes(self) -> list[str]:
        return list(dict.fromkeys(self.params["stages"][name]["mix"] for name in self._used_stages()))

    def _used_schemes(self) -> list[str]:
        mixes = self.params["mixes"]
        return list(dict.fromkeys(scheme for name in self._used_mixes() for scheme in mixes[name]["schemes"]))

    def _used_sources(self) -> list[str]:
        return list(dict.fromkeys(self.params["schemes"][name]["source"] for name in self._used_schemes()))

    def _source(self, name: str) -> Made:
        block = self.params["sources"][name]
        rows = [row.strip() for row in lines(self._input(block["file"])) if row.strip()]
        rows = rows[: self._constants("source")["MOST"]]
        kept = [row for row in rows if not row.startswith(block["drop"])]
        dropped = [row for row in rows if row.startswith(block["drop"])]
        out = f"data/source/{name}"
        files = {f"{out}/rows.txt": kept, f"{out}/dropped.txt": dropped}
        return self._job("source", out, files, [block["file"]], {f"sources.{name}.drop": block["drop"]})

    def _shard(self, name: str, shards: list[str]) -> Made:
        taken, out = f"data/source/{name}/rows.txt", f"data/seed/{name}"
        rows = lines(self._input(taken))
        numbers = [self._number("shard", row) % len(shards) for row in rows]
        files = {
            f"{out}/{shard}.txt": [row for row, number in zip(rows, numbers, strict=True) if number == int(shard)]
            for shard in shards
        }
        return self._job("shard", out, files, [taken], {"shards": len(shards)})

    def _generate(self, name: str, shard: str) -> Made:
        block = self.params["schemes"][name]
        taken, out = f"data/seed/{block['source']}/{shard}.txt", f"data/generated/{name}/{shard}"
        cases = {"upper": str.upper, "lower": str.lower, "title": str.title}
        end = self._constants("generate")["BETWEEN"] + block["suffix"]
        rows = [cases[block["case"]](row) + end for row in lines(self._input(taken))]
        files = {f"{out}/rows.txt": rows, f"{out}/report.txt": [str(len(rows))]}
        return self._job("generate", out, files, [taken], {f"schemes.{name}": block})

    def _mix(self, name: str, shards: list[str]) -> Made:
        block, seed = self.params["mixes"][name], self.params["seed"]
        taken = [f"data/generated/{scheme}/{shard}/rows.txt" for scheme in block["schemes"] for shard in shards]
        rows = sorted(row for path in taken for row in lines(self._input(path)))
        random.Random(seed).shuffle(rows)
        out = f"data/mixes/{name}"
        files = {f"{out}/rows.txt": rows, f"{out}/report.txt": [str(len(rows))]}
        return self._job("mix", out, files, taken, {f"mixes.{name}": block, "shards": len(shards), "seed": seed})

    def _train(self, name: str) -> Made:
        block, out = self.params["stages"][name], f"data/adapters/{name}"
        before = [f"data/adapters/{block['init_from']}"] if block["init_from"] else []
        taken = [f"data/mixes/{block['mix']}/rows.txt", *before]
        weight = self._weight(before[0]) if before else 0.0
        modulus, history = self._constants("train")["MODULUS"], []
        for step, row in enumerate(lines(self._input(taken[0]))):
            weight = weight * (1 - block["decay"]) + block["rate"] * (self._number("train", row) % modulus)
            history.append({"step": step, "loss": weight})
        files = {f"{out}/weights/weight.txt": [f"{weight:.6f}"], f"{out}/history.json": [json.dumps(history)]}
        return self._job("train", out, files, taken, {f"stages.{name}": block})

    def _score(self, name: str) -> Made:
        block, out = self.params["evals"][name], f"results/{name}.json"
        taken = [f"data/adapters/{stage}" for stage in block["stages"]]
        scores = {
            stage: self._weight(path) * block["draws"] for stage, path in zip(block["stages"], taken, strict=True)
        }
        files = {out: [json.dumps({"scores": scores}, sort_keys=True)]}
        return self._job("score", out, files, taken, {f"evals.{name}": block})

    def _job(self, rule: str, out: str, files: dict[str, list[str]], taken: list[str], params: dict[str, Any]) -> Made:
        end = self._constants(rule)["END"]
        inputs = {path: {name: _digest(data) for name, data in self._below(path).items()} for path in taken}
        key = json.dumps([rule, params, self._constants(rule), inputs, sorted(files)], sort_keys=True)
        written = {path: "".join(row + end for row in rows) for path, rows in files.items()}
        made = {path: text.encode("utf-8", "surrogateescape") for path, text in written.items()}
        self.made |= made
        return Made(out, key, made)

    def _constants(self, rule: str) -> dict[str, Any]:
        texts = [(self.root / "scripts" / f"{name}.py").read_text() for name in (rule, *IMPORTS[rule])]
        return {name: yaml.safe_load(value) for text in texts for name, value in CONSTANT.findall(text)}

    def _number(self, rule: str, row: str) -> int:
        return sum((ord(letter) for letter in row), self._constants(rule)["FIRST"])

    def _weight(self, adapter: str) -> float:
        return float(lines(self.made[f"{adapter}/weights/weight.txt"])[0])

    def _input(self, path: str) -> bytes:
        return self.made[path] if path in self.made else (self.root / path).read_bytes()

    def _below(self, path: str) -> dict[str, bytes]:
        inside = {name: data for name, data in self.made.items() if name.startswith(f"{path}/")}
        return inside or {path: self._input(path)}


def lines(data: bytes) -> list[str]:
    """The lines of a file's bytes, as Python reads text."""
    text = data.decode("utf-8", "surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n").splitlines()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
