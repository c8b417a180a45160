"""What every job of the small graph must make, from its sources alone: plain Python, neither cache nor front ends.

It computes again what the scripts do, as they stand (tests/workflow/graph/) or furnished (fuzzed.py). Their code means
what their constants say: these are all that the edits of meaning change.
"""

import colorsys
import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml
from loaded import Code

MATES = re.compile(r'"mates/(\w+)/')  # folders of further inputs, in order


class Made(NamedTuple):
    """A job with all that went in, as one text, and what comes out.

    Attributes:
        kind: Its rule, by the name that the Snakefile has at first.
        name: What its script reports.
        key: All that it depends on: its command, its values with their types, paths and contents of its inputs in
            order, paths of its outputs, the code and the packages that it loads, and declared variables. A job with a
            key that was made before needn't run.
        wide: The same, with what may also count: a module that hides one of the standard library.
        files: Bytes by path.
    """

    kind: str
    name: str
    key: str
    wide: str
    files: dict[str, bytes]


class Oracle:
    """All jobs of a repository in its current state on disk.

    Args:
        root: Its folder.
        environment: The variables that builds are started with, as far as jobs depend on them.

    Attributes:
        jobs: In topological order.
    """

    def __init__(self, root: Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        self.root = root
        self.code = Code(root, environment)
        self.mode, self.observed = environment.get("MODE", ""), environment.get("BEZOAR_ISOLATION") == "observe"
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
        rows = [row.strip() for data in self._below(block["file"]).values() for row in lines(data) if row.strip()]
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
        mates = [f"mates/{role}/{shard}.txt" for role in MATES.findall(self.code.rules["generate"].text)]
        taken, out = f"data/seed/{block['source']}/{shard}.txt", f"data/generated/{name}/{shard}"
        cases = {"upper": str.upper, "lower": str.lower, "title": str.title}
        end = self._constants("generate")["BETWEEN"] + block["suffix"]
        rows = [cases[block["case"]](row) + end for row in lines(self._input(taken))]
        more = [self.mode, None, *(lines(self._input(path)) for path in mates)] if self.code.furnished else []
        files = {f"{out}/rows.txt": rows, f"{out}/report.txt": list(map(str, [len(rows), *more]))}
        return self._job("generate", out, files, [taken, *mates], {f"schemes.{name}": block})

    def _mix(self, name: str, shards: list[str]) -> Made:
        block, seed = self.params["mixes"][name], self.params["seed"]
        taken = [f"data/generated/{scheme}/{shard}/rows.txt" for scheme in block["schemes"] for shard in shards]
        rows = sorted(row for path in taken for row in lines(self._input(path)))
        random.Random(seed).shuffle(rows)
        out = f"data/mixes/{name}"
        report = [str(len(rows) * self._constants("mix").get("FACTOR", 1))]
        files = {f"{out}/rows.txt": rows, f"{out}/report.txt": report}
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
        weight *= self._constants("train").get("STRETCH", 1)
        files = {f"{out}/weights/weight.txt": [f"{weight:.6f}"], f"{out}/history.json": [json.dumps(history)]}
        files |= {f"{out}/about.txt": [self.code.used("train").about]} if self.code.furnished else {}
        return self._job("train", out, files, taken, {f"stages.{name}": block})

    def _score(self, name: str) -> Made:
        block, out = self.params["evals"][name], f"results/{name}.json"
        reverse = "[::-1]" in self.code.rules["score"].text
        stages = block["stages"][::-1] if reverse else block["stages"]
        taken = [f"data/adapters/{stage}" for stage in stages]
        scores = {stage: self._weight(path) * block["draws"] for stage, path in zip(stages, taken, strict=True)}
        notes = (self.root / "notes.txt").read_text() if self.observed else ""
        known = self._constants("score")
        more = (
            {"used": [known["NAME"], known.get("ONE_THIRD", colorsys.ONE_THIRD), notes, *stages]}
            if self.code.furnished
            else {}
        )
        files = {out: [json.dumps({"scores": scores} | more, sort_keys=True)]}
        return self._job("score", out, files, taken, {f"evals.{name}": block}, notes)

    def _job(
        self, kind: str, out: str, files: dict[str, list[str]], taken: list[str], params: dict[str, Any], more: str = ""
    ) -> Made:
        rule, used = self.code.rules[kind], self.code.used(kind)
        inputs = [(path, [(name, _digest(data)) for name, data in self._below(path).items()]) for path in taken]
        command = [rule.name, rule.script, rule.flags, self.mode, more]
        key = repr([command, typed(params), typed(used.meanings), typed(used.versions), inputs, sorted(files)])
        end = used.constants["END"]
        written = {path: "".join(row + end for row in rows) for path, rows in files.items()}
        made = {path: text.encode("utf-8", "surrogateescape") for path, text in written.items()}
        self.made |= made
        return Made(kind, out, _digest(key.encode()), _digest(repr([key, used.hidden]).encode()), made)

    def _constants(self, kind: str) -> dict[str, Any]:
        return self.code.used(kind).constants

    def _number(self, kind: str, row: str) -> int:
        return sum((ord(letter) for letter in row), self._constants(kind)["FIRST"])

    def _weight(self, adapter: str) -> float:
        return float(lines(self.made[f"{adapter}/weights/weight.txt"])[0])

    def _input(self, path: str) -> bytes:
        return self.made[path] if path in self.made else (self.root / path).read_bytes()

    def _below(self, path: str) -> dict[str, bytes]:
        """The files of an artifact or a source, which may be a folder."""
        if inside := {name: data for name, data in self.made.items() if name.startswith(f"{path}/")}:
            return inside
        files = sorted(one for one in (self.root / path).rglob("*") if one.is_file())
        return {str(one.relative_to(self.root)): one.read_bytes() for one in files} or {path: self._input(path)}


def typed(value: Any) -> Any:
    """A value whose text names all types: 1, 1.0, True and "1" differ, also as keys of a map."""
    if isinstance(value, dict):
        return sorted((repr(name), typed(one)) for name, one in value.items())
    return [typed(one) for one in value] if isinstance(value, list) else repr(value)


def lines(data: bytes) -> list[str]:
    """The lines of a file's bytes, as Python reads text."""
    text = data.decode("utf-8", "surrogateescape")
    return text.replace("\r\n", "\n").replace("\r", "\n").splitlines()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
