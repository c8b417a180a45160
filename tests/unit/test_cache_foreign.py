"""What others wrote (lists, dvc.lock, proofs, plans, acceptances) is what it should be, or refused by name."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bezoar.cache import CacheError, code, dvc, foreign, job, meanings
from bezoar.cache.acceptances import ACCEPTED, Acceptances
from bezoar.cache.action import Action, typed_digest
from bezoar.cache.decide import Decider
from bezoar.cache.foreign import Malformed
from bezoar.cache.hashing import Content, Hasher
from bezoar.cache.lock import LockEntry
from bezoar.cache.objects import Objects
from bezoar.cache.proofs import Proof, Proofs, Traces
from bezoar.cache.records import Records
from bezoar.cache.trace import Distribution, Module, Trace, Verifier, distributions

MD5 = "0123456789abcdef" * 2
DEEP = 100_000
INSIDE = {"md5": hashlib.md5(b"payload").hexdigest(), "relpath": "rows.txt"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inside = tmp_path / "repository"
    inside.mkdir()
    monkeypatch.chdir(inside)
    return inside


@pytest.fixture
def objects() -> Objects:
    return Objects(".dvc/cache", Hasher(None))


def put(objects: Objects, data: bytes, end: str = ".dir") -> str:
    """Place bytes in the store as an object, with the right MD5 in its name."""
    md5 = hashlib.md5(data).hexdigest() + end
    path = Path(objects.path(md5))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return md5


def listed(objects: Objects, *entries: Any) -> str:
    return put(objects, json.dumps(list(entries)).encode())


def below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


BAD_PATHS = [
    "../../../x",
    "/etc/passwd",
    "a/../../x",
    "a/./b",
    ".",
    "..",
    "",
    "a//b",
    "a/",
    "a\0b",
    "half \ud83d",
    ".git/hooks/post-checkout",
    "deep/.GIT/config",
    ".dvc/config",
    None,
    7,
    ["a"],
]


@pytest.mark.parametrize("relpath", BAD_PATHS, ids=repr)
def test_a_list_that_names_a_path_outside_is_refused(objects: Objects, folder: Path, relpath: Any) -> None:
    put(objects, b"payload", "")
    md5 = listed(objects, INSIDE, {**INSIDE, "relpath": relpath})
    before = below(folder.parent)
    with pytest.raises(CacheError, match=f"object {md5} is not a list(.|\n)*in entry 2\n  expected: (.|\n)*hint: "):
        objects.restore(md5, "data/adapters/sft")
    assert below(folder.parent) == before
    assert not Path("data").exists()


@pytest.mark.parametrize(
    ("names", "said"),
    [(["a", "b", "a"], "'a' twice"), (["a", "a/b"], "'a' as a file and as a folder"), (["x/y/z", "x/y"], "'x/y' as a")],
)
def test_a_list_of_paths_that_can_not_all_be_there_is_refused(objects: Objects, names: list[str], said: str) -> None:
    md5 = listed(objects, *({**INSIDE, "relpath": name} for name in names))
    with pytest.raises(CacheError, match=said):
        objects.missing(md5)


@pytest.mark.parametrize("names", [["a", "a-b", "a.b", "a b/c", "ü/ö", "new\nline", "...", ".x/..y"], []])
def test_names_that_only_look_odd_are_taken(objects: Objects, names: list[str]) -> None:
    md5 = listed(objects, *({**INSIDE, "relpath": name} for name in names))
    assert [one.relpath for one in objects.listing(md5) or []] == names


@pytest.mark.parametrize(
    "data",
    [
        b"[1, 2]",
        b'{"a": 1}',
        b'[{"md5": "x"}]',
        b'[{"md5": "%s"}]' % MD5.encode(),
        b'[{"relpath": "a"}]',
        b'[{"md5": "%s.dir", "relpath": "a"}]' % MD5.encode(),
        b"not json",
        b"",
        b"null",
        b"\xff\xfe",
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"a":' * DEEP,
        b"[" + b"9" * 5000 + b"]",
        b'[[["md5"]]]',
    ],
    ids=lambda data: data[:16],
)
def test_a_list_that_is_none_is_one_clear_error(objects: Objects, data: bytes) -> None:
    md5 = put(objects, data)
    with pytest.raises(CacheError, match=f"object {md5} is not a list of a directory's files") as error:
        objects.missing(md5)
    assert len(str(error.value)) < 600


def test_a_list_of_many_files_that_ends_badly_is_refused_at_once(objects: Objects) -> None:
    names = [f"{number}" for number in range(50_000)]
    md5 = listed(objects, *({**INSIDE, "relpath": name} for name in (*names, names[-1])))
    start = time.monotonic()
    with pytest.raises(CacheError, match="'49999' twice"):
        objects.missing(md5)
    assert time.monotonic() - start < 5


# --- dvc.lock --------------------------------------------------------------------------------------------------------


def lock(md5: Any, **more: Any) -> str:
    out = {"path": "data/adapters/sft", "hash": "md5", "md5": md5, **more}
    return json.dumps({"schema": "2.0", "stages": {"train-sft": {"cmd": "c", "outs": [out]}}})  # JSON is YAML


BAD_MD5S = [
    "ab/etc/thesis.dir",
    "ab../../../victim.txt",
    "",
    "abc",
    MD5.upper(),
    MD5 + ".dir.dir",
    MD5 + "\n",
    None,
    7,
    [MD5],
]


@pytest.mark.parametrize("md5", BAD_MD5S, ids=repr)
@pytest.mark.parametrize("field", ["deps", "outs"])
def test_a_lock_whose_md5_is_none_is_refused_with_its_stage(md5: Any, field: str) -> None:
    Path("dvc.lock").write_text(lock(md5).replace("outs", field))
    with pytest.raises(CacheError, match=r"dvc\.lock:1: can't be read\n  found:    stage 'train-sft': (.|\n)*hint: "):
        dvc.read("dvc.lock")


def test_the_line_of_a_lock_that_is_refused_is_named() -> None:
    Path("dvc.lock").write_text("schema: '2.0'\nstages:\n  a:\n    outs:\n    - path: a\n      md5: ../../x\n")
    with pytest.raises(CacheError, match=r"dvc\.lock:6: can't be read\n  found:    stage 'a': '../../x' for an MD5\n"):
        dvc.read("dvc.lock")


@pytest.mark.parametrize("size", [-1, 1.5, "7", True, None, [], 1 << 63], ids=repr)
def test_a_lock_whose_size_is_no_count_is_refused(size: Any) -> None:
    for field in ("size", "nfiles"):
        Path("dvc.lock").write_text(lock(MD5, **{field: size}))
        with pytest.raises(CacheError, match="for a count"):
            dvc.read("dvc.lock")


@pytest.mark.parametrize("md5", ["ab/{victim}.dir", "ab../../../victim.txt", "../../../victim.txt", "{victim}"])
def test_no_object_has_a_place_outside_the_cache(objects: Objects, folder: Path, md5: str) -> None:
    victim = folder.parent / "victim.txt"
    victim.write_text("a thesis")
    name = md5.format(victim=victim)
    for call in (objects.path, objects.sound, objects.missing, objects.listing, objects.forget_unsound):
        with pytest.raises(Malformed):
            call(name)
    with pytest.raises(Malformed):
        objects.restore(name, "data")
    assert victim.read_text() == "a thesis"
    assert below(folder) == {}


BOMB = "a: &a [x, x]\n" + "".join(
    f"{n}: &{n} [*{p}, *{p}, *{p}, *{p}, *{p}, *{p}, *{p}, *{p}]\n"
    for p, n in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "dvc.lock:1: can't be read\n  found:    an alias or an anchor"),
        ("stages:\n  a: &x {}\n  b: *x\n", "dvc.lock:2: can't be read\n  found:    an alias or an anchor"),
        ("stages: " + "[" * DEEP, "in each other, more than"),
        ("stages: " + "[" * DEEP + "]" * DEEP, "in each other, more than"),
        ("- " * DEEP, "in each other, more than"),
        ("? " * DEEP, "in each other, more than"),
        ("{a: " * DEEP, "in each other, more than"),
        ("stages: !!python/object/apply:os.system [ls]", "the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("stages: {a: {params: {x: 2026-02-31}}}", "a value that can't be read"),
        ("stages: {a: {params: {x: 2026-02-03}}}", "a date"),
        ("stages: {a: {params: {x: {1: a, b: c}}}}", "as a key beside others"),
        ("stages: {a: {params: {x: %s}}}" % ("9" * 2000), "a number out of range"),
        ("stages: {a: {params: {x: %s}}}" % ("9" * 9000), "no number: Exceeds the limit"),
        ("stages: {1: {}}", "1 for a text"),
        ("stages: {[1]: {}}", "no YAML"),
    ],
    ids=range(15),
)  # fmt: skip
def test_a_lock_that_is_a_trap_is_one_clear_error_at_once(text: str, said: str) -> None:
    Path("dvc.lock").write_text(text)
    start = time.monotonic()
    with pytest.raises(CacheError) as error:
        dvc.read("dvc.lock")
    assert said in str(error.value)
    assert len(str(error.value)) < 600
    assert time.monotonic() - start < 5


def test_values_of_a_lock_stay_as_they_are() -> None:
    values = {"a": 1, "b": 1.5, "c": None, "d": [True, "x"], "e": {"1": {}}, "f": 2**70}
    Path("dvc.lock").write_text(json.dumps({"stages": {"a": {"params": {"params.yaml": values}}}}))
    assert dvc.read("dvc.lock")["a"]["params"]["params.yaml"] == values


def test_keys_of_other_kinds_in_a_record_are_compared(objects: Objects) -> None:
    from test_cache_decide import A, stages_of

    recorded = {"a": {"cmd": stages_of([A])["a"].command, "deps": [{"path": "source", "md5": MD5}],
                      "outs": [{"path": "a", "md5": MD5}], "params": {"params.resolved.yaml": {1: 2}}}}  # fmt: skip
    Path("source").write_text("source")
    hasher = Hasher(None)
    decider = Decider([A], stages_of([A]), recorded, Records(), hasher, objects, Proofs(".dvc/cache"),
                      Verifier(hasher), Acceptances())  # fmt: skip
    assert {one.kind for one in decider.decide(["a"], set()).reasons["a"]} == {"untraced", "param", "input"}


# --- proofs, plans and acceptances -----------------------------------------------------------------------------------

ACTION = Action("mix", "f" * 64, {"in": MD5}, typed_digest({"seed": 0}), {}, ["out/rows"], {"seed": 0})
TRACE = Trace(modules={"s.py": Module(MD5)})
TRAPS = [b"[" * DEEP, b"{" * 9, b"\xff", b"null", b'{"action": ' + b"9" * 5000 + b"}"]
NUMPY = Distribution("0.0.1", ("numpy",))


def a_proof() -> Path:
    """The file of a proof."""
    Proofs("cache").add(Proof(ACTION, {"out/rows": Content(MD5, 1)}, TRACE, {"seconds": 1}))
    return Path(Proofs("cache").path(ACTION.digest), f"{TRACE.digest}.json")


def found() -> Proof | None:
    """What is taken for it."""
    return Proofs("cache").find(ACTION, lambda trace: True)


@pytest.mark.parametrize("data", [*TRAPS, b"{}", b'{"modules": {"../x": []}}'], ids=lambda data: data[:16])
def test_a_trace_that_is_none_proves_nothing(data: bytes) -> None:
    a_proof()
    path = Path("cache/traces", TRACE.digest[:2], f"{TRACE.digest}.json")
    assert found() is not None
    path.write_bytes(data)
    assert found() is None


def with_(place: str, value: Any) -> dict[str, Any]:
    """The content of a trace with something else in one place."""
    return {**TRACE.to_json(), place: value}


@pytest.mark.parametrize(
    "content",
    [
        with_("modules", {"../x.py": [MD5, [], ""]}),
        with_("modules", {"/etc/x.py": [MD5, [], ""]}),
        with_("modules", {"x.py": ["../x", [], ""]}),
        with_("modules", {"x.py": [MD5, ["../x"], ""]}),
        with_("modules", {"x.py": [MD5, [], "../x"]}),
        with_("modules", {"x.py": [MD5, [], 1]}),
        with_("modules", {"x.py": [MD5, []]}),
        with_("distributions", {"numpy": ["1.0"]}),
        with_("distributions", {"numpy": [1.0, ["numpy"]]}),
        with_("distributions", {"numpy": ["1.0", ["../x"]]}),
        with_("reads", {"../secret": MD5}),
        with_("reads", {"words.txt": "x"}),
        with_("reads", ["words.txt"]),
        with_("folders", ["../x"]),
        with_("unused", [""]),
        with_("docstrings", "some"),
        with_("more", []),
        {},
        [],
    ],
    ids=str,
)
def test_a_trace_that_leads_outside_or_has_another_shape_is_refused(content: Any) -> None:
    assert Trace.from_json(TRACE.to_json()) == TRACE
    with pytest.raises(Malformed):
        Trace.from_json(content)


@pytest.mark.parametrize(
    "change",
    [
        {"outputs": {"out/rows": ["../../victim", 1, 0]}},
        {"outputs": {"out/rows": [MD5, -1, 0]}},
        {"outputs": {"out/rows": [MD5, 1e999, 0]}},
        {"outputs": {"out/rows": [MD5, "1", 0]}},
        {"outputs": {"out/rows": [MD5, 1]}},
        {"outputs": {"out/rows": [MD5, 1, 0, 0]}},
        {"outputs": {"out/rows": {"0": MD5}}},
        {"cost": {"seconds": "1"}},
        {"cost": {"seconds": -1}},
        {"cost": {"seconds": float("nan")}},
        {"cost": {"seconds": float("inf")}},
        {"cost": [1]},
        {"action": None},
        {"trace": "../../../secret"},
        {"made": {"host": 1}},
        {"origin": "main"},
    ],
    ids=str,
)
def test_a_proof_of_something_else_than_contents_is_ignored(change: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = a_proof()
    whole = json.loads(path.read_text())
    assert found() is not None
    path.write_text(json.dumps({**whole, **change}))
    assert found() is None
    assert "it is ignored, and its job runs again" in capsys.readouterr().err


@pytest.mark.parametrize("data", TRAPS, ids=lambda data: data[:16])
def test_files_that_are_no_records_are_clear_errors_or_ignored(data: bytes) -> None:
    Path("s.py").write_text("import numpy\n")
    kept = (meanings.MEMORY, distributions.MEMORY)
    for path in (a_proof(), f"{job.FOLDER}/jobs/out.json", job.RUN_FILE, *kept):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)
    assert found() is None
    assert code.Closures(Hasher(None)).files("s.py") == {"s.py": "s"}
    verifier = Verifier(Hasher(None))
    assert [one.kind for one in verifier.changes(replace(TRACE, distributions={"numpy": NUMPY}))] == [
        "module",
        "distribution",
    ]
    verifier.save()
    assert all(Path(path).read_bytes() != data for path in kept)  # written again
    for read in (lambda: job.read_job("out"), job.read_run):
        with pytest.raises(CacheError, match=r"found: (.|\n)*expected: what a run writes\nhint: start again"):
            read()


def test_a_job_comes_back_as_it_was_planned() -> None:
    values = {"p": {"x": 1.0}}
    step = job.Step(
        rule="r",
        block=("b",),
        parts=1,
        inputs=("in",),
        form="f" * 64,
        outputs=("out/a",),
        folder=None,
        outs=("out/a",),
        params=values,
        values=typed_digest(values),
        environment={"MODE": "fast"},
        script="s.py",
    )
    known = job.Known({"in": MD5}, {"out/a": job.content_of([MD5, 1, 0])}, "0" * 64)
    around = job.Surroundings(("out",), ("logs/a.log",), job.Network(("KEY",), ("keys",), ("responses",)), ("in",))
    planned = job.PlannedJob(step, ["python", "s.py"], True, [known], around)
    planned.write()
    assert job.read_job("out/a") == planned


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("lookup"),
        lambda data: data.update(more=1),
        lambda data: data.update(command="python"),
        lambda data: data.update(lookup="no"),
        lambda data: data.update(known=[[{"in": "../x"}, {}, "0" * 64]]),
        lambda data: data.update(known=[[{}, {}]]),
        lambda data: data.update(known=[[{}, {}, "../x"]]),
        lambda data: data.update(around={}),
        lambda data: data["around"].update(logs="a"),
        lambda data: data["around"].update(network={"variables": []}),
        lambda data: data.update(step=[]),
        lambda data: data["step"].update(outputs=[]),
        lambda data: data["step"].update(parts=-1),
        lambda data: data["step"].update(params=[]),
        lambda data: data["step"].update(form="f"),
        lambda data: data["step"].update(values=1),
        lambda data: data["step"].update(environment={"MODE": 1}),
    ],
)
def test_a_plan_of_another_shape_is_refused(change: Callable[[dict[str, Any]], Any]) -> None:
    test_a_job_comes_back_as_it_was_planned()
    path = Path(f"{job.FOLDER}/jobs/out/a.json")
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(CacheError, match=r"out/a.json: not a plan\n  found:    "):
        job.read_job("out/a")


def test_forced_runs_of_another_shape_are_none() -> None:
    Path(job.FOLDER).mkdir(parents=True)
    for line in ("[]\n", "{\n", "1\n", "[" * DEEP + "\n"):
        Path(f"{job.FOLDER}/forced.jsonl").write_text('"a"\n' + line)
        assert job.forced_runs() == []


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "- " * DEEP,
        "- {what: a, now: b, was: c, reason: 1}",
        "- {what: a, now: 2026-01-01}",
        "- !!set {}",
        "- {what: a, now: b, was: '', reason: d}",
        "- {code: scripts.a, now: b, was: c, what: [a], reason: as an earlier version wrote it}",
    ],
)
def test_acceptances_that_are_a_trap_are_one_clear_error(text: str) -> None:
    Path(ACCEPTED).write_text(text)
    with pytest.raises(CacheError, match=r"code.accepted.yaml can't be read\n  found: (.|\n)*hint: restore it"):
        Acceptances.read()


def test_a_recorded_folder_with_a_hostile_list_is_refused(objects: Objects) -> None:
    md5 = listed(objects, {**INSIDE, "relpath": "../../x"})
    recorded = LockEntry({"outs": [{"path": "gen", "md5": md5}]}, None, objects, Traces(".dvc/cache"))
    with pytest.raises(CacheError, match=r"'../../x' for a path inside the directory in entry 1"):
        recorded._content("gen/a", recorded.made)


def test_a_long_value_is_cut_in_messages() -> None:
    assert foreign.shown("x" * 10_000) == "'" + "x" * 79 + "..."
    assert foreign.shown([[[]]] * 10) == "a list"
    assert os.linesep not in foreign.shown("a\nb")
