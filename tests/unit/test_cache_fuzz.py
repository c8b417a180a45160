"""Mutations of what others may write: only the project's own errors come out, and nothing outside is touched.

A few hundred by default; ten thousand of each under the marker `long`.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from test_cache_decide import SCRIPT, TRACE, A, B, C

from bezoar.cache import CacheError, dvc, foreign, job, records
from bezoar.cache.acceptances import ACCEPTED, Acceptances
from bezoar.cache.decide import Decider
from bezoar.cache.hashing import Content, Hasher
from bezoar.cache.job import Known, Network, PlannedJob, Run, Surroundings
from bezoar.cache.lock import fold
from bezoar.cache.objects import Objects
from bezoar.cache.prints import Code
from bezoar.cache.proofs import Proof, Proofs
from bezoar.cache.records import ALL, TRACES_LOCK, Record, Records
from bezoar.cache.running import _sum
from bezoar.cache.stages import stages_of
from bezoar.cache.trace import Distribution, Module, Trace, Verifier

MD5 = "0123456789abcdef" * 2
CACHE = ".dvc/cache"
EVIL = (
    *(
        "",
        ".",
        "..",
        "/",
        "../../victim",
        "ab/../../../../victim",
        "a/../b",
        "a//b",
        "a\0b",
        "\ud83d",
        "\u202e",
        "\x1b[2K",
    ),
    *(MD5, MD5 + ".dir", MD5.upper(), "ab" + "/" * 30, "path", "md5", "relpath", "victim", ".git/config", "x" * 300),
    *(0, -1, 1 << 62, 1 << 63, -(1 << 70), 10**400, 1.5, 1e308, float("inf"), float("nan"), True, False, None),
)
PIECES = (b"", b"\xff", b"\0", b"[", b"{", b"&a ", b"*a", b"!!set ", b"? ", b"- ", b"9" * 5000, b"[" * 3000)
NAMES = ("path", "md5", "relpath", "more", "../x", "\x1b")


def value(random: Random, level: int = 0) -> Any:
    """Something that hardly belongs anywhere."""
    kind = random.random()
    if level > 3 or kind < 0.7:
        return random.choice(EVIL)
    inner = [value(random, level + 1) for _ in range(random.randrange(3))]
    return inner if kind < 0.85 else {random.choice(NAMES): one for one in inner}


FILES: dict[str, Any] = {
    "list": [{"md5": MD5, "relpath": "rows.txt"}, {"md5": "f" * 32, "relpath": "deep/er.txt"}],
    "lock": {
        "schema": "2.0",
        "stages": {
            "b": {
                "cmd": stages_of([A, B, C])["b"].command,
                "deps": [{"path": "a", "hash": "md5", "md5": MD5, "size": 4}],
                "params": {"params.resolved.yaml": {"rate": 1}, "code.lock": {"stages.b": "f" * 32}},
                "outs": [{"path": "b", "hash": "md5", "md5": MD5 + ".dir", "size": 4, "nfiles": 2}],
            }
        },
    },
    "accepted": [
        {"what": "s.py", "was": TRACE.modules["s.py"].meaning, "now": MD5, "reason": "renamed"},
        {"what": "command of b", "was": "e" * 64, "now": B.form, "reason": "a flag"},
    ],
    "records": {
        "stages": {
            "b": {
                "entry": "0" * 64,
                "forms": {ALL: B.form},
                "traces": {"b": TRACE.digest},
                "environment": {"MODE": "fast"},
                "cost": {"seconds": 1.5},
                "made": {"python": "3.11"},
                "signature": {"key": "k"},
            }
        },
        "traces": {TRACE.digest: TRACE.to_json()},
    },
    "trace": Trace(
        {"s.py": Module(MD5, (".", "site"), "~"), "~bezoar/errors.py": Module(MD5, (), "~"), "~~/a.py": Module(MD5)},
        {"numpy": Distribution("0.0.1", ("numpy",)), "site/own.py": Distribution(MD5, ("own",))},
        {"words.txt": MD5, "~bezoar/words.txt": MD5, "gone": "absent"},
        ("scripts/train",),
        ("scripts/train/json.py",),
        "all",
    ).to_json(),
    "proof": None,
    "job": None,
    "run": None,
    "costs": {"seconds": 1.5, "dollars": 2},
}


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to every value inside."""
    yield path
    for key in data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        yield from places(data[key], (*path, key))


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value in one place."""
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = changed(data[path[0]], path[1:], value)
    return copy


def mutation(kind: str, random: Random) -> bytes:
    """The bytes of a file of some kind, with values, keys or bytes changed."""
    data = FILES[kind]
    for _ in range(random.randint(1, 3)):
        way = random.choice(list(places(data)))
        data = changed(data, way, value(random))
        if way and isinstance(way[-1], str) and random.random() < 0.5:  # and another key beside it
            parent = data
            for key in way[:-1]:
                parent = parent[key]
            parent[random.choice(NAMES)] = value(random)
    text = json.dumps(data).encode()
    if kind in ("lock", "accepted") and random.random() < 0.5:
        text = yaml.safe_dump(json.loads(text)).encode()
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        at = random.randint(0, len(text))
        text = text[:at] + random.choice(PIECES) + text[at + random.randint(0, 4) :]
    return text


@contextmanager
def repository() -> Iterator[Path]:
    """A folder in a folder; what is around it must stay as it is."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as around:
        victim, inside = Path(around, "victim"), Path(around, "deep/er/repository")
        victim.write_text("a thesis")
        inside.mkdir(parents=True)
        os.chdir(inside)
        try:
            yield inside
            assert [path.name for path in Path(around).iterdir() if path.name != "deep"] == ["victim"]
            assert victim.read_text() == "a thesis"
            assert [path.name for path in Path(around, "deep/er").iterdir()] == ["repository"]
        finally:
            os.chdir(before)


def put(path: str, data: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data)


def restore_a_list(data: bytes) -> None:
    md5 = hashlib.md5(data).hexdigest() + ".dir"
    hasher = Hasher(None)
    objects = Objects(CACHE, hasher)
    put(objects.path(md5), data)
    for name in (MD5, "f" * 32):
        put(objects.path(name), b"")
        hasher.learn(objects.path(name), name)
    objects.restore(md5, "data/sft")


def decide_by_a_lock(data: bytes) -> None:
    put("dvc.lock", data)
    entry = dvc.read("dvc.lock").get("b", {})
    record = Record(records.digest_of_entry(entry), {ALL: B.form}, {ALL: TRACE.digest})
    decide(Records({"b": record}, {TRACE.digest: TRACE}))


def decide_by_a_record(data: bytes) -> None:
    put("dvc.lock", json.dumps(FILES["lock"]).encode())
    put(TRACES_LOCK, data)
    found = records.read()
    if "b" in found.stages:  # as one who knows the format writes it
        entry = records.digest_of_entry(dvc.read("dvc.lock")["b"])
        found.stages["b"] = replace(found.stages["b"], entry=entry)
    decide(found)


def decide(found: Records) -> None:
    """Decide by dvc.lock and these records, and write both."""
    put("a", b"made")
    put("s.py", SCRIPT)
    hasher = Hasher(None)
    objects, proofs, verifier = Objects(CACHE, hasher), Proofs(CACHE), Verifier(hasher)
    steps, stages = [A, B, C], stages_of([A, B, C])
    locked = dvc.read("dvc.lock")
    decider = Decider(steps, stages, locked, found, hasher, objects, proofs, verifier, Acceptances())
    for md5 in decider.lists():
        objects.forget_unsound(md5)
    decision = decider.decide(["c"], set(), set())
    for reasons in decision.reasons.values():
        assert all(str(one) for one in reasons)
    prints = Code(stages, locked, found, hasher, verifier).prints
    fold(stages, decision.proofs, hasher, objects, {name: {} for name in stages}, prints)


def read_acceptances(data: bytes) -> None:
    put(ACCEPTED, data)
    found = Acceptances.read()
    assert found.form(B)
    assert found.without(Verifier(Hasher(None)).changes(TRACE)) is not None
    assert all(found.covers(one.what, one.was, one.now) for one in found.entries)


def verify_a_trace(data: bytes) -> None:
    found = Trace.from_json(foreign.from_json(data))
    assert Trace.from_json(found.to_json()) == found
    changes = Verifier(Hasher(None)).changes(found)
    assert all(isinstance(text, str) for one in changes for text in (one.name, one.was, one.now))


def find_a_proof(data: bytes) -> None:
    proofs = Proofs(CACHE)
    proofs.traces.learn({TRACE.digest: TRACE})
    put(f"{proofs.path(ACTION.digest)}/{TRACE.digest}.json", data)
    found = proofs.find(ACTION, lambda trace: True)
    assert found is None or (found.outputs.keys() == {"b"} and all(value >= 0 for value in found.cost.values()))


def read_a_job(data: bytes) -> None:
    put(f"{job.FOLDER}/jobs/b.json", data)
    found = job.read_job("b")
    assert found
    found.step.action({}).digest  # noqa: B018 - computed here


def read_a_run(data: bytes) -> None:
    put(job.RUN_FILE, data)
    job.read_run()


def sum_costs(data: bytes) -> None:
    put("costs.jsonl", data + b"\n")
    assert all(0 <= value < float("inf") for value in _sum("costs.jsonl").values())


ACTION = B.action({"a": MD5})
BORDERS: dict[str, Callable[[bytes], None]] = {
    "list": restore_a_list,
    "lock": decide_by_a_lock,
    "accepted": read_acceptances,
    "records": decide_by_a_record,
    "trace": verify_a_trace,
    "proof": find_a_proof,
    "job": read_a_job,
    "run": read_a_run,
    "costs": sum_costs,
}


def written(write: Callable[[], None], path: Callable[[], str]) -> Any:
    """What the code itself writes, as the file to change."""
    with repository():
        write()
        return json.loads(Path(path()).read_text())


def own_files() -> None:
    proof = Proof(ACTION, {"b": Content(MD5, 4)}, TRACE, {"seconds": 1.5, "dollars": 0.1}, {"host": "ada"})
    around = Surroundings(("b",), ("logs/b.log",), Network(("KEY",), ("keys",), ("responses",)))
    known = Known(ACTION.inputs, proof.outputs, TRACE.digest)
    planned_job = PlannedJob(B, ["python", "s.py"], True, [known], around)
    run = Run(CACHE, "params.yaml", True, {"s.py": {"s.py": MD5}}, {"s.py": MD5}, {"host": "ada"}, "1-2")
    place = f"{Proofs(CACHE).path(ACTION.digest)}/{TRACE.digest}.json"
    FILES["proof"] = written(lambda: Proofs(CACHE).add(proof), lambda: place)
    FILES["job"] = written(planned_job.write, lambda: f"{job.FOLDER}/jobs/b.json")
    FILES["run"] = written(run.write, lambda: job.RUN_FILE)


own_files()


def crosses(kind: str, data: bytes) -> None:
    """Let a file be read; it may be refused, but by no other error than one of our own."""
    with repository(), suppress(CacheError):
        BORDERS[kind](data)


def fuzz(kind: str, examples: int) -> None:
    @settings(max_examples=examples, database=None, suppress_health_check=list(HealthCheck))
    @given(some.integers(0, 2**64))
    def run(seed: int) -> None:
        crosses(kind, mutation(kind, Random(seed)))

    run()


@pytest.mark.parametrize("kind", BORDERS)
def test_a_file_as_it_is_written_is_taken(kind: str) -> None:
    with repository():
        BORDERS[kind](json.dumps(FILES[kind]).encode())


@pytest.mark.parametrize("kind", BORDERS)
def test_what_is_changed_anywhere_is_refused_or_harmless(kind: str) -> None:
    fuzz(kind, 60)


@pytest.mark.long
@pytest.mark.parametrize("kind", BORDERS)
def test_ten_thousand_changes_are_refused_or_harmless(kind: str) -> None:
    fuzz(kind, 10_000)
