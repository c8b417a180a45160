"""traces.lock: what a build writes of the proofs of dvc.lock's entries, and what is read of it in a clone."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_cache_dvc import MIX, SHARDS, TRACE, folded, proven, step, write
from test_cache_dvc import objects as objects

from bezoar.cache import CacheError, records
from bezoar.cache.lock import LockEntry
from bezoar.cache.objects import Objects
from bezoar.cache.proofs import Traces
from bezoar.cache.records import ALL, TRACES_LOCK, Record, Records, digest_of_entry
from bezoar.cache.trace import Module, Trace

OTHER = Trace(modules={"s.py": Module("b" * 32)})
MADE = {"host": "ada", "user": "ann", "python": "3.11", "time": "2026-01-02T00:00:00Z", "commit": "1" * 40}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("words", "Ann\n")
    return tmp_path


def of_shards(objects: Objects, *traces: Trace, **made: Any) -> Record:
    """The record of a stage of three jobs."""
    given = [*traces, *[TRACE] * 3]
    proofs = [
        replace(proven(objects, one, one.name), trace=given[number], cost={"seconds": 1.5, "dollars": 0.1}, **made)
        for number, one in enumerate(SHARDS)
    ]
    lock = folded(objects, SHARDS, proofs)
    found = records.read().of("generate-up", lock["generate-up"])
    assert found
    return found


def of_mix(objects: Objects, **changes: Any) -> dict[str, Any]:
    """dvc.lock's entry of a stage of one job, with its record written."""
    entry: dict[str, Any] = folded(objects, [MIX], [replace(proven(objects, MIX), **changes)])["mix"]
    return entry


def test_a_clone_finds_the_proof_of_an_entry(objects: Objects) -> None:
    entry = of_mix(objects, made=MADE, cost={"seconds": 2.0})
    found, traces = records.read(), Traces("elsewhere")
    traces.learn(found.traces)
    proof = LockEntry(entry, found.of("mix", entry), objects, traces).proof(MIX)
    assert proof
    assert (proof.action, proof.trace, proof.cost) == (proven(objects, MIX).action, TRACE, {"seconds": 2.0})
    assert proof.outputs == proven(objects, MIX).outputs


def test_jobs_of_one_form_and_one_trace_are_one_line(objects: Objects) -> None:
    found = of_shards(objects)
    assert (found.forms, found.traces) == ({ALL: SHARDS[0].form}, {ALL: TRACE.digest})
    assert [found.trace(one) for one in SHARDS] == [TRACE.digest] * 3


def test_a_job_that_used_something_else_has_its_own_trace(objects: Objects) -> None:
    found = of_shards(objects, OTHER)
    assert [found.trace(one) for one in SHARDS] == [OTHER.digest, TRACE.digest, TRACE.digest]
    assert records.read().traces == {TRACE.digest: TRACE, OTHER.digest: OTHER}
    assert found.trace(step("generate", outputs=("elsewhere",))) == ""


def test_a_record_has_the_cost_of_all_jobs_and_names_no_person_and_no_machine(objects: Objects) -> None:
    found = of_shards(objects, made=MADE)
    assert found.cost == {"seconds": 4.5, "dollars": 0.3}
    assert found.made == {"python": "3.11", "time": "2026-01-02T00:00:00Z", "commit": "1" * 40}
    assert not any(name in Path(TRACES_LOCK).read_text() for name in ("ada", "ann"))


def test_jobs_that_were_made_in_different_places_name_all_of_them_and_the_first_and_last_time(objects: Objects) -> None:
    made = [{"python": "3.11", "time": "2026-01-03"}, {"python": "3.12", "time": "2026-01-01"}, {"time": "2026-01-02"}]
    proofs = [replace(proven(objects, one), made=made[number]) for number, one in enumerate(SHARDS)]
    lock = folded(objects, SHARDS, proofs)
    found = records.read().of("generate-up", lock["generate-up"])
    assert found
    assert found.made == {"python": "3.11, 3.12", "time": "2026-01-01, 2026-01-03"}


@pytest.mark.parametrize(
    "change",
    [
        {"deps": [{"path": "words", "md5": "0" * 32}]},
        {"deps": []},
        {"outs": [{"path": "mix", "md5": "0" * 32}]},
        {"params": {"params.resolved.yaml": {"a": 1.0}}},
        {"params": {"params.resolved.yaml": {"a": True}}},
        {"params": {}},
    ],
    ids=str,
)
def test_a_record_counts_only_beside_the_entry_that_it_was_written_for(objects: Objects, change: Any) -> None:
    entry = of_mix(objects)
    assert records.read().of("mix", entry) is not None
    assert records.read().of("mix", {**entry, **change}) is None
    assert records.read().of("other", entry) is None


def test_what_no_job_uses_doesnt_bind_a_record(objects: Objects) -> None:
    entry = of_mix(objects)
    other = {**entry, "cmd": "another", "params": {**entry["params"], "code.lock": {"stages.mix": "0" * 32}}}
    assert digest_of_entry(other) == digest_of_entry(entry)


def test_a_record_that_says_the_same_stays_with_the_cost_and_signature_of_who_made_it(objects: Objects) -> None:
    entry = of_mix(objects, cost={"seconds": 7.0}, made=MADE)
    known = records.read()
    known.stages["mix"] = replace(known.stages["mix"], signature={"key": "k"})
    records.write(known)
    os.utime(TRACES_LOCK, ns=(1, 1))
    of_mix(objects, cost={"seconds": 1.0}, made={"python": "3.12"})
    assert os.stat(TRACES_LOCK).st_mtime_ns == 1
    of_mix(objects, trace=OTHER)
    found = records.read().of("mix", entry)
    assert found
    assert (found.trace(MIX), found.signature, found.cost) == (OTHER.digest, {}, {})
    assert set(records.read().traces) == {OTHER.digest}  # traces that no record has are left out


def test_records_of_stages_outside_of_the_target_stay_and_those_of_no_stage_go(objects: Objects) -> None:
    other = step("other", inputs=("words",), outputs=("o",))
    folded(objects, [MIX, other], [proven(objects, MIX), proven(objects, other)])
    folded(objects, [MIX], [proven(objects, MIX)], yaml_of=[MIX, other])
    assert set(records.read().stages) == {"mix", "other"}
    folded(objects, [MIX], [proven(objects, MIX)])
    assert set(records.read().stages) == {"mix"}


def test_without_records_no_file_is_written() -> None:
    assert records.read() == Records()
    assert not records.write(Records())
    assert not Path(TRACES_LOCK).exists()


def test_a_merge_conflict_is_named_with_its_line_and_the_command_that_resolves_it(objects: Objects) -> None:
    of_mix(objects)
    text = Path(TRACES_LOCK).read_text()
    Path(TRACES_LOCK).write_text(f"{text[:2]}<<<<<<< HEAD\n=======\n>>>>>>> other\n{text[2:]}")
    with pytest.raises(CacheError, match=r"traces\.lock:2: .*\n  found:    a merge conflict\n(.|\n)*`bezoar dvc --res"):
        records.read()


def a_record(**changes: Any) -> bytes:
    """The bytes of a file with one record."""
    record = {"entry": "0" * 64, "forms": {ALL: "1" * 64}, "traces": {ALL: TRACE.digest}, **changes}
    return json.dumps({"stages": {"mix": record}, "traces": {TRACE.digest: TRACE.to_json()}}).encode()


def test_a_record_as_it_is_written_is_read() -> None:
    found = records.parsed(a_record())
    assert found.stages == {"mix": Record("0" * 64, {ALL: "1" * 64}, {ALL: TRACE.digest})}
    assert records.parsed(found.text.encode()) == found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"stages": [], "traces": {}}',
        b'{"stages": {}, "traces": {}, "more": 1}',
        b'{"stages": {"mix": []}, "traces": {}}',
        b'{"stages": {"mix": {}}, "traces": {}}',
        json.dumps({"stages": {}, "traces": {OTHER.digest: TRACE.to_json()}}).encode(),
        json.dumps({"stages": {}, "traces": {TRACE.digest: {**TRACE.to_json(), "more": 1}}}).encode(),
        a_record(entry="../../x"),
        a_record(forms={ALL: "1"}),
        a_record(traces={ALL: "../../x"}),
        a_record(traces=[TRACE.digest]),
        a_record(environment={"A": 1}),
        a_record(cost={"seconds": -1}),
        a_record(cost={"seconds": "1"}),
        a_record(cost={"seconds": float("nan")}),
        a_record(made={"python": None}),
        a_record(signature={"key": []}),
    ],
    ids=lambda data: data[:60],
)
def test_a_file_that_is_none_is_one_clear_error(data: bytes) -> None:
    Path(TRACES_LOCK).write_bytes(data)
    with pytest.raises(
        CacheError, match=r"^traces\.lock:1: can't be read\n  found: .*\n  expected: .*\nhint: "
    ) as error:
        records.read()
    assert len(str(error.value)) < 600
