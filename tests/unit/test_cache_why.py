"""What an artifact was made of and where it comes from, and proofs that are dropped."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_cache_decide import CACHE, SCRIPT, TRACE, A, B, C, Chain, step

from bezoar.cache import CacheError, git
from bezoar.cache.forget import _forget, forget_from
from bezoar.cache.hashing import Hasher
from bezoar.cache.proofs import Proof, Proofs
from bezoar.cache.stages import stages_of
from bezoar.cache.trace import Distribution, Trace
from bezoar.cache.why import text, unmade, why

MADE = {"host": "ada", "python": "3.11"}
USED = replace(TRACE, distributions={"numpy": Distribution("0.0.1", ("numpy",))}, reads={"words.txt": "absent"})


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("source").write_text("source")
    Path("s.py").write_bytes(SCRIPT)
    return tmp_path


def build(chain: Chain) -> Any:
    """As much of a build as the commands need."""
    return SimpleNamespace(
        cache=CACHE,
        steps=chain.steps,
        stages=stages_of(chain.steps),
        decision=chain.decide(targets=()),
        proofs=Proofs(CACHE),
        hasher=Hasher(None),
    )


@pytest.fixture
def chain() -> Chain:
    made = Chain()
    made.prove_all()
    return made


def add(one: Any, trace: Trace, **facts: Any) -> Proof:
    """A proof with facts about a job that ran here."""
    inputs = {path: Hasher(None).file(path).md5 for path in one.inputs}
    proof = Proof(one.action(inputs), {one.name: Hasher(None).file(one.name)}, trace, **facts)
    Proofs(CACHE).add(proof)
    return proof


# --- why -------------------------------------------------------------------------------------------------------------


def test_an_artifact_is_told_back_to_its_sources_the_last_job_first(chain: Chain) -> None:
    found = why(build(chain), "c")
    assert [(one["step"], one["stage"], one["proven"]) for one in found] == [(name, name, True) for name in "cba"]
    assert [one["inputs"] for one in found] == [
        [{"path": "b", "md5": Hasher(None).file("b").md5, "from": "b"}],
        [{"path": "a", "md5": Hasher(None).file("a").md5, "from": "a"}],
        [{"path": "source", "md5": Hasher(None).file("source").md5, "from": None}],
    ]


def test_a_job_that_two_others_take_from_is_told_once() -> None:
    chain = Chain(A, B, step("c", ("a", "b")))
    chain.prove_all()
    assert [one["step"] for one in why(build(chain), "c")] == ["c", "a", "b"]


def test_a_file_inside_an_output_and_a_folder_of_outputs_name_its_jobs() -> None:
    shards = [replace(A, block=(name,), outputs=(f"d/{name}/rows",), outs=("d",), parts=2) for name in "xy"]
    found = build(Chain())
    found.steps, found.stages = shards, {}
    assert [one["step"] for one in why(found, "d/x/rows")] == ["d/x/rows"]
    assert [one["step"] for one in why(found, "d/x/rows/inside")] == ["d/x/rows"]
    assert [one["step"] for one in why(found, "d/")] == ["d/x/rows", "d/y/rows"]


@pytest.mark.parametrize("path", ["source", "nowhere", "", "/"])
def test_what_no_rule_makes_is_an_error_with_a_hint(chain: Chain, path: str) -> None:
    with pytest.raises(CacheError, match=rf"no rule makes {path}\n  found: (.|\n)*\n  expected: (.|\n)*\nhint: "):
        why(build(chain), path)


def test_a_target_that_no_rule_makes_is_told_the_outputs_of_its_folder_or_stage() -> None:
    steps = [replace(A, block=(str(n),), outputs=(f"d/{n}/b", f"d/{n}/a"), outs=(f"d/{n}",)) for n in range(9)]
    assert str(unmade("3", steps, "a file")) == (
        "no rule makes 3\n  found:    a source file, or nothing\n  expected: a file\n"
        "hint: did you mean `d/3/a` or `d/3/b`?"
    )
    assert str(unmade(steps[4].stage, steps, "a file")).endswith("did you mean `d/4/a` or `d/4/b`?")
    many = [replace(one, block=("x",)) for one in steps]
    assert str(unmade(many[0].stage, many, "a file")).count("`d/") == 4
    assert str(unmade("x", [], "a file")).endswith("hint: `bezoar costs` lists all stages")


def test_a_job_or_a_stage_may_be_named_and_a_last_part_of_a_path_is_a_hint() -> None:
    shards = [replace(A, block=(name,), outputs=(f"d/{name}/rows",), outs=(f"d/{name}",)) for name in "xy"]
    found = build(Chain())
    found.steps, found.stages = shards, {}
    assert [one["step"] for one in why(found, shards[1].stage)] == [shards[1].name]
    with pytest.raises(CacheError, match=r"hint: did you mean `d/y/rows`\?"):
        why(found, "y")


def test_what_a_job_used_and_where_it_ran_is_told(chain: Chain) -> None:
    add(A, replace(USED, distributions={}), made=MADE, cost={"seconds": 2.0})
    (found,) = why(build(chain), "a")
    assert (found["made"], found["cost"], found["origin"]) == (MADE, {"seconds": 2.0}, "")
    assert (found["modules"], found["distributions"], found["reads"]) == (["s.py"], {}, {"words.txt": "absent"})
    assert (found["values"], found["command"]) == ({"rate": 1}, A.form)
    lines = text([found]).splitlines()
    assert lines[0] == "a  (a): up to date"
    assert "  made: host ada, python 3.11" in lines
    assert "  value rate: 1" in lines
    assert "  code: 1 modules, 0 packages (--all names them)" in lines
    assert "  also read words.txt" in lines


def test_an_artifact_that_is_not_up_to_date_tells_why_with_its_last_record() -> None:
    chain = Chain(A)
    chain.prove(A, "made", locked=True, trace=USED)
    (found,) = why(build(chain), "a")
    assert (found["proven"], found["reasons"]) == (False, ["code changed: numpy (package)"])
    assert found["distributions"] == {"numpy": "0.0.1"}
    everything = text([found], everything=True)
    assert everything.startswith("a  (a): code changed: numpy (package)\n")
    assert "  packages: numpy 0.0.1" in everything


def test_an_artifact_without_any_record_tells_its_inputs(chain: Chain) -> None:
    found = why(build(Chain(A, step("new", ("a",)))), "new")
    assert found[0]["reasons"] == ["never built"]
    assert "modules" not in found[0]
    assert "  input a  not made yet  from a" in text(found)


def test_of_many_inputs_the_first_ones_are_shown() -> None:
    names = tuple(f"words/{number}" for number in range(9))
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    chain = Chain(step("a", names))
    chain.prove_all()
    found = why(build(chain), "a")
    assert text(found).count("  input words/") == 6
    assert text(found).endswith("  and 3 more inputs")
    assert text(found, everything=True).count("  input words/") == 9


def test_an_artifact_of_dvc_lock_tells_the_commit(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "in_history", lambda commit: True)
    add(C, TRACE, origin="1" * 40)
    assert "  taken from dvc.lock of commit 111111111111" in text(why(build(chain), "c"))


# --- forget ----------------------------------------------------------------------------------------------------------


def proofs() -> list[str]:
    return sorted(str(path) for path in Path(CACHE, "proofs").rglob("*.json"))


def test_a_forgotten_proof_makes_its_job_run_and_leaves_the_others_and_the_artifact(chain: Chain) -> None:
    before = Path("b").read_bytes()
    assert _forget(build(chain), B)
    assert len(proofs()) == 2
    assert set(chain.decide().reasons) == {"b", "c"}
    assert Path("b").read_bytes() == before
    assert not _forget(build(chain), B)  # a second time there is nothing


def test_all_proofs_of_the_action_are_forgotten_whatever_the_jobs_used(chain: Chain) -> None:
    add(B, replace(TRACE, reads={"words.txt": "absent"}))
    assert len(proofs()) == 4
    assert _forget(build(chain), B)
    assert len(proofs()) == 2


def test_a_proof_whose_trace_does_not_hold_is_forgotten_too(chain: Chain) -> None:
    Path("s.py").write_text("x = 2\n")
    assert "b" in chain.decide().reasons
    assert _forget(build(chain), B)
    assert len(proofs()) == 2


def test_what_dvc_lock_says_counts_on_after_the_proof_made_here_is_forgotten() -> None:
    chain = Chain(A)
    theirs = chain.prove(A, "theirs", locked=True)
    chain.prove(A, "ours")
    assert chain.decide(targets=("a",)).contradictions != []
    assert _forget(build(chain), A)
    decision = chain.decide(targets=("a",))
    assert decision.contradictions == []
    assert decision.proofs["a"].outputs["a"].md5 == theirs


def test_proofs_of_one_commit_are_forgotten(chain: Chain) -> None:
    for one, origin in ((A, "1"), (B, "1"), (C, "2")):
        add(one, TRACE, origin=origin * 40)
    damaged = Path(CACHE, "imported", "ab", "damaged.json")
    damaged.parent.mkdir(parents=True)
    damaged.write_text("[")
    assert forget_from(build(chain), "1" * 40) == 2
    left = [
        json.loads(path.read_text())["origin"] for path in Path(CACHE, "imported").rglob("*.json") if path != damaged
    ]
    assert left == ["2" * 40]
    assert damaged.exists()
    assert len(proofs()) == 3  # those made here stay
    assert forget_from(build(chain), "1" * 40) == 0


def test_in_an_empty_cache_nothing_is_forgotten() -> None:
    assert forget_from(build(Chain()), "1" * 40) == 0
    assert not _forget(build(Chain()), A)
