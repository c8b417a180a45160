"""What a planned job finds when it starts: a record of dvc.lock or a proof whose trace holds, or it runs."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from test_cache_decide import CACHE, SCRIPT, TRACE, A

from bezoar.cache import CacheError
from bezoar.cache.acceptances import ACCEPTED, Acceptance
from bezoar.cache.execute import is_proven
from bezoar.cache.hashing import Content, Hasher
from bezoar.cache.job import Known, PlannedJob, Run
from bezoar.cache.meanings import meaning
from bezoar.cache.objects import Objects
from bezoar.cache.proofs import Proof, Proofs, Traces
from bezoar.cache.trace import Module

HELPED = replace(TRACE, modules={**TRACE.modules, "helper.py": Module(meaning(b"y = 1\n", "helper.py").digest)})


@pytest.fixture(autouse=True)
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Content:
    """A run whose job made its output some time ago: it is stored, and not on disk."""
    monkeypatch.chdir(tmp_path)
    for name, data in (("source", b"source"), ("s.py", SCRIPT), ("helper.py", b"y = 1\n"), ("a", b"made")):
        Path(name).write_bytes(data)
    content = Hasher(None).file("a")
    Objects(CACHE, Hasher(None)).store("a", content)
    Path("a").unlink()
    closure = {"s.py": Hasher(None).file("s.py").md5}
    Run(CACHE, "params.yaml", False, {"s.py": closure}, {"s.py": "0" * 32}, {}, "1-1").write()
    return content


def plan(*known: Known, lookup: bool = True) -> None:
    PlannedJob(A, ["python", "s.py"], lookup, list(known)).write()


def inputs() -> dict[str, str]:
    return {"source": Hasher(None).file("source").md5}


def prove(made: Content, step=A) -> None:
    Proofs(CACHE).add(Proof(step.action(inputs()), {"a": made}, HELPED))


def test_a_record_of_dvc_lock_whose_trace_holds_is_restored(made: Content) -> None:
    Traces(CACHE).add(HELPED)  # as the run does before its jobs
    plan(Known(inputs(), {"a": made}, HELPED.digest))
    assert is_proven("a")
    assert Path("a").read_text() == "made"


def test_a_record_whose_trace_is_unknown_or_that_had_other_inputs_proves_nothing(made: Content) -> None:
    plan(Known(inputs(), {"a": made}, HELPED.digest))
    assert not is_proven("a")
    Traces(CACHE).add(HELPED)
    plan(Known({"source": "0" * 32}, {"a": made}, HELPED.digest))
    assert not is_proven("a")
    assert not Path("a").exists()


def test_a_proof_counts_while_what_its_job_used_is_as_it_was(made: Content) -> None:
    plan()
    assert not is_proven("a")
    prove(made)
    Path("helper.py").write_text("y = 2\n")
    assert not is_proven("a")
    Path("helper.py").write_text("y = 1  # why\n")
    assert is_proven("a")


def test_an_accepted_module_and_an_accepted_command_count_for_a_job_too(made: Content) -> None:
    plan()
    prove(made, replace(A, form="e" * 64))
    Path("helper.py").write_text("y = 2\n")
    was, now = (meaning(text, "helper.py").digest for text in (b"y = 1\n", b"y = 2\n"))
    entries = [Acceptance("helper.py", was, now, "r"), Acceptance("command of a", "e" * 64, A.form, "r")]
    Path(ACCEPTED).write_text(yaml.safe_dump([one._asdict() for one in entries[:1]]))
    assert not is_proven("a")
    Path(ACCEPTED).write_text(yaml.safe_dump([one._asdict() for one in entries]))
    assert is_proven("a")


def test_a_proof_whose_object_is_gone_proves_nothing(made: Content) -> None:
    plan()
    prove(made)
    Path(Objects(CACHE, Hasher(None)).path(made.md5)).unlink()
    assert not is_proven("a")


def test_a_forced_job_takes_no_proof(made: Content) -> None:
    plan(lookup=False)
    prove(made)
    assert not is_proven("a")


def test_code_that_was_edited_since_the_run_started_is_an_error(made: Content) -> None:
    plan()
    prove(made)
    Path("s.py").write_bytes(SCRIPT + b"more = 1\n")
    with pytest.raises(CacheError, match=r"s\.py was edited before it started: a, so nothing is recorded"):
        is_proven("a")
