"""An acceptance covers one change of a module, a package or a command, and nothing else; reviewers read all of it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from test_cache_decide import SCRIPT, TRACE, A, Chain
from test_cache_dvc import SHARDS

from bezoar.cache import CacheError, dvc
from bezoar.cache.accept import accept
from bezoar.cache.acceptances import ACCEPTED, Acceptance, Acceptances, shown
from bezoar.cache.hashing import Hasher
from bezoar.cache.meanings import meaning
from bezoar.cache.proofs import Proof
from bezoar.cache.stages import stages_of
from bezoar.cache.trace import Change, Distribution, Module, Trace, Verifier

EDITED = b"def renamed(): pass\nx = 1\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("source").write_text("source")
    Path("s.py").write_bytes(SCRIPT)
    return tmp_path


def of(text: bytes) -> str:
    return meaning(text, "s.py").digest


def change(was: str, now: str, *, kind: str = "module", name: str = "s.py") -> Change:
    return Change(kind, name, was, now)


# --- What counts as no change ----------------------------------------------------------------------------------------


def test_an_accepted_change_is_none_and_the_next_one_is() -> None:
    accepted = Acceptances([Acceptance("s.py", "1", "2", "a comment")])
    assert accepted.without([change("1", "2")]) == []
    for other in (change("1", "3"), change("2", "1"), change("0", "2"), change("1", "2", name="other.py")):
        assert accepted.without([other]) == [other]


def test_acceptances_of_one_module_are_a_chain() -> None:
    steps = [Acceptance("s.py", str(number), str(number + 1), "a comment") for number in range(4)]
    accepted = Acceptances(steps)
    assert all(accepted.covers("s.py", was, "4") for was in "0123")
    assert not accepted.covers("s.py", "4", "0")
    assert accepted.covers("s.py", "1", "3")


def test_a_module_may_have_several_earlier_meanings() -> None:
    accepted = Acceptances([Acceptance("s.py", was, "3", "a comment") for was in "12"])
    assert accepted.covers("s.py", "1", "3")
    assert accepted.covers("s.py", "2", "3")


def test_acceptances_in_a_circle_end() -> None:
    accepted = Acceptances([Acceptance("s.py", "1", "2", "r"), Acceptance("s.py", "2", "1", "r")])
    assert accepted.covers("s.py", "1", "2")
    assert not accepted.covers("s.py", "0", "2")
    step = replace(A, form="1" * 64)
    circle = [Acceptance("command of a", one * 64, other * 64, "r") for one, other in ("12", "21")]
    assert Acceptances(circle).form(step) in ("1" * 64, "2" * 64)


def test_a_command_counts_as_its_earliest_accepted_form() -> None:
    entries = [Acceptance("command of a", was * 64, now * 64, "a flag") for was, now in ("12", "23")]
    assert Acceptances(entries).form(replace(A, form="3" * 64)) == "1" * 64
    assert Acceptances(entries).form(replace(A, form="4" * 64)) == "4" * 64
    assert Acceptances(entries).form(replace(A, rule="other", form="3" * 64)) == "3" * 64


def test_a_change_is_named_as_people_know_it() -> None:
    assert shown(change("1", "2", name="scripts/mix.py")) == "scripts/mix.py"
    assert shown(change("1", "2", name="~bezoar/errors.py")) == "bezoar/errors.py"
    assert shown(change("1", "2", kind="read", name="words.txt")) == "words.txt"
    assert shown(change("1.0", "2.0", kind="distribution", name="numpy")) == "numpy (package)"
    found = shown(change("s.py", "src/s.py", kind="found"))
    assert found == "s.py: src/s.py is found in its place"


def test_a_package_and_a_module_of_one_name_are_two_things() -> None:
    accepted = Acceptances([Acceptance("numpy", "1", "2", "r")])
    assert accepted.without([change("1", "2", kind="distribution", name="numpy")]) != []


# --- `bezoar accept` -------------------------------------------------------------------------------------------------


def build(chain: Chain) -> Any:
    """As much of a build as `accept` needs."""
    decision = chain.decide(targets=())
    stages = stages_of(chain.steps)
    Path(dvc.LOCK).write_text(yaml.safe_dump({"schema": "2.0", "stages": chain.locked}))
    return SimpleNamespace(
        stages=stages, decision=decision, acceptances=chain.accepted, verifier=Verifier(Hasher(None))
    )


def made(trace: Trace = TRACE) -> Chain:
    """A chain of one job, in dvc.lock."""
    chain = Chain(A)
    chain.prove(A, "made", locked=True, trace=trace)
    return chain


def runs(chain: Chain) -> bool:
    chain.accepted = Acceptances.read()
    return bool(chain.decide(targets=("a",)).reasons)


def test_an_edited_module_is_accepted_and_runs_nothing_and_an_edit_after_it_does() -> None:
    chain = made()
    Path("s.py").write_bytes(EDITED)
    assert runs(chain)
    (entry,) = accept(build(chain), "a", "a new name")
    assert entry == Acceptance("s.py", of(SCRIPT), of(EDITED), "a new name")
    assert not runs(chain)
    assert yaml.safe_load(Path(ACCEPTED).read_text()) == [entry._asdict()]
    Path("s.py").write_bytes(EDITED + b"y = 2\n")
    assert runs(chain)


def test_a_second_acceptance_goes_on_from_the_record_and_the_first_stays() -> None:
    chain = made()
    for number, text in enumerate((EDITED, EDITED + b"y = 2\n"), 1):
        Path("s.py").write_bytes(text)
        chain.accepted = Acceptances.read()
        accept(build(chain), "a", "a new name")
        assert len(yaml.safe_load(Path(ACCEPTED).read_text())) == number
        assert not runs(chain)


def test_an_accepted_command_runs_nothing() -> None:
    chain = made()
    chain.steps = [replace(A, form="e" * 64)]
    assert runs(chain)
    assert accept(build(chain), "a", "a flag") == [Acceptance("command of a", A.form, "e" * 64, "a flag")]
    assert not runs(chain)


def test_an_accepted_package_runs_nothing() -> None:
    import numpy

    chain = made(replace(TRACE, distributions={"numpy": Distribution("0.0.1", ("numpy",))}))
    assert runs(chain)
    (entry,) = accept(build(chain), "a", "a fix elsewhere")
    assert (entry.what, entry.was, entry.now) == ("numpy (package)", "0.0.1", numpy.__version__)
    assert not runs(chain)


def test_a_file_that_a_job_read_can_be_accepted() -> None:
    Path("words.txt").write_text("some")
    chain = made(replace(TRACE, reads={"words.txt": Hasher(None).file("words.txt").md5}))
    Path("words.txt").write_text("others")
    assert [one.what for one in accept(build(chain), "a", "a comment")] == ["words.txt"]
    assert not runs(chain)


def test_a_change_of_several_jobs_is_accepted_once() -> None:
    Path("words").write_text("Ann\n")
    chain = Chain(*SHARDS)
    trace = Trace(modules={"s.py": Module("a" * 32)})
    inputs = {"words": Hasher(None).file("words").md5}
    recorded = {one.name: Proof(one.action(inputs), {}, trace) for one in SHARDS}
    found = build(chain)
    Path(dvc.LOCK).write_text(yaml.safe_dump({"schema": "2.0", "stages": {"generate-up": {}}}))
    found.decision.recorded = recorded
    assert [one.what for one in accept(found, "generate-up", "a comment")] == ["s.py"]


@pytest.mark.parametrize("name", ["b", "", "a-b"])
def test_a_stage_that_is_not_in_dvc_lock_can_not_be_accepted(name: str) -> None:
    with pytest.raises(CacheError, match=r"no stage to accept\n  found:    .*\n  expected: a stage of dvc\.lock: a$"):
        accept(build(made()), name, "a comment")
    assert not Path(ACCEPTED).exists()


def test_where_nothing_changed_nothing_is_accepted() -> None:
    with pytest.raises(CacheError, match=r"nothing to accept\n(.|\n)*hint: values and inputs can't be accepted"):
        accept(build(made()), "a", "a comment")
    assert not Path(ACCEPTED).exists()


def test_values_can_not_be_accepted() -> None:
    from test_cache_decide import given

    chain = made()
    chain.steps = [given(A, rate=2)]
    with pytest.raises(CacheError, match="nothing to accept"):
        accept(build(chain), "a", "a comment")


def test_a_module_that_is_gone_can_not_be_accepted() -> None:
    chain = made()
    Path("s.py").unlink()
    with pytest.raises(CacheError, match=r"^s\.py can't be accepted\n(.|\n)*hint: build the stage"):
        accept(build(chain), "a", "a comment")
    assert not Path(ACCEPTED).exists()


# --- The file --------------------------------------------------------------------------------------------------------


def test_without_a_file_there_is_no_acceptance() -> None:
    assert Acceptances.read().entries == []
    Path(ACCEPTED).write_text("# none any more\n")
    assert Acceptances.read().entries == []


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[" * 5000,
        "0",
        "1",
        "a: b",
        "- a",
        "- {what: a}",
        "- {what: a, now: b, was: 1, reason: d}",
        "- {what: [], now: b, was: c, reason: d}",
        "- {what: a, now: b, was: c, reason: d, more: e}",
        "- {what: a, now: b, was: c, reason: ''}",
        "- {what: '', now: b, was: c, reason: d}",
    ],
)
def test_acceptances_of_another_shape_are_refused(text: str) -> None:
    Path(ACCEPTED).write_text(text)
    with pytest.raises(CacheError, match=r"code\.accepted\.yaml can't be read\n  found: (.|\n)*hint: restore it"):
        Acceptances.read()


def test_acceptances_in_bytes_that_are_no_text_are_refused() -> None:
    Path(ACCEPTED).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CacheError, match=r"code\.accepted\.yaml can't be read"):
        Acceptances.read()


def test_a_file_of_an_earlier_version_is_refused_with_the_reason() -> None:
    entry = {"code": "scripts.main", "was": "1" * 32, "now": "2" * 32, "what": ["helper"], "reason": "a comment"}
    Path(ACCEPTED).write_text(yaml.safe_dump([entry]))
    with pytest.raises(CacheError, match=r"expected: a list of what, was, now and reason\nhint: (.*)") as error:
        Acceptances.read()
    assert "entries of an earlier version don't count any more" in str(error.value)
