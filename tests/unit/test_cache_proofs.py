"""A proof is found by its action and a trace that holds; nothing but a complete proof of that action is taken."""

import datetime
import json
import os
import shutil
from dataclasses import replace
from typing import Any

import pytest

from bezoar.cache import CacheError, git
from bezoar.cache.action import Action, typed_digest
from bezoar.cache.hashing import Content, digest_of
from bezoar.cache.proofs import Proof, Proofs, differences
from bezoar.cache.trace import Module, Trace

PARAMS = {"seed": 0, "rate": 0.5}
FORM = digest_of(["python", "mix.py"])
ACTION = Action("mix", FORM, {"in": "1" * 32}, typed_digest(PARAMS), {}, ["out/report", "out/rows"], PARAMS)
MADE = {"out/rows": Content("2" * 32, 10), "out/report": Content("3" * 32, 3)}
TRACE = Trace(modules={"mix.py": Module("a" * 32)})
OTHER_TRACE = Trace(modules={"mix.py": Module("b" * 32)})
PROOF = Proof(ACTION, MADE, TRACE, {"seconds": 1.5}, {"host": "here"})


@pytest.fixture
def proofs(tmp_path):
    found = Proofs(str(tmp_path / "cache"))
    found.add(PROOF)
    return found


def again(proofs):
    """The same proofs, read by another process."""
    return Proofs(proofs.cache)


def find(proofs, action=ACTION, holds=lambda trace: True):
    """A proof with a trace that holds."""
    return proofs.find(action, holds)


def place(proofs, trace=TRACE):
    """The file of the proof with a trace."""
    return f"{proofs.path(ACTION.digest)}/{trace.digest}.json"


def spoil(proofs, text):
    with open(place(proofs), "w") as file:
        file.write(text)


def read(proofs):
    with open(place(proofs)) as file:
        return json.load(file)


# --- Actions ---------------------------------------------------------------------------------------------------------


def given(**params):
    """The action with other values."""
    return replace(ACTION, params=params, values=typed_digest(params))


@pytest.mark.parametrize(
    "other",
    [
        replace(ACTION, rule="mixed"),
        replace(ACTION, form=digest_of(["python", "mix.py", "--more"])),
        replace(ACTION, inputs={"in": "4" * 32}),
        replace(ACTION, inputs={"other": "1" * 32}),
        replace(ACTION, environment={"MODE": "fast"}),
        replace(ACTION, outputs=["out/rows"]),
        given(seed=0, rate=0.25),
        given(seed=0.5, rate=0),
        given(seed=False, rate=0.5),
        given(seed=0.0, rate=0.5),
        given(seed="0", rate=0.5),
        given(seed=0),
    ],
)
def test_an_action_that_differs_in_anything_has_no_proof(proofs, other):
    assert find(proofs, other) is None
    assert other.digest != ACTION.digest


def test_the_order_of_names_does_not_matter(proofs):
    assert find(proofs, given(rate=0.5, seed=0)) is not None
    assert replace(ACTION, inputs={"b": "1", "a": "2"}).digest == replace(ACTION, inputs={"a": "2", "b": "1"}).digest


def test_two_inputs_with_each_others_contents_are_another_action():
    one = replace(ACTION, inputs={"a": "1", "b": "2"})
    assert one.digest != replace(ACTION, inputs={"a": "2", "b": "1"}).digest


def test_a_variables_value_is_part_of_an_action():
    digests = {replace(ACTION, environment=given).digest for given in ({}, {"A": ""}, {"A": "x"}, {"B": "x"})}
    assert len(digests) == 4


DATE = datetime.date(2026, 1, 2)
VALUES: list[Any] = [
    *(3, 3.0, True, "3", None, "", "None", [], {}, [3], ["3"], [[3]], [3, []], 0, 0.0, -0.0, False),
    *({"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {1: "a"}, {"1": "a"}, {1.0: "a"}, {True: "a"}, {None: "a"}),
    *({"a": {"b": 1}}, {"a": [{"b": 1}]}, ["a", "b"], ["ab"], ["a", ["b"]], {"a": "b", "c": "d"}, {"a": "b:c:d"}),
    *(1e300, 10**300, 1 << 70, "x" * 3, "text 3:xxx", "2026-01-02", DATE, datetime.datetime(2026, 1, 2), float("inf")),
    *({1: "a", "b": 2}, {"1": "a", "b": 2}, {DATE: 1}, {"2026-01-02": 1}, "\0", "\ud800"),
]


def test_all_values_of_different_types_have_different_digests():
    digests = {typed_digest(value): repr(value) for value in VALUES}
    assert len(digests) == len(VALUES)


def test_equal_values_have_equal_digests_in_any_order_of_their_names():
    assert typed_digest({1: "a", "b": [1, {"c": None}]}) == typed_digest({"b": [1, {"c": None}], 1: "a"})
    assert typed_digest((1, 2)) == typed_digest([1, 2])
    assert typed_digest(10**5000)  # Python refuses to print such a number


def test_a_value_without_a_type_of_yaml_is_refused_and_one_that_contains_itself():
    with pytest.raises(CacheError, match=r"no type of YAML\n  found:    .*, a set\n  expected: (.|\n)*hint: "):
        typed_digest({"a": {1, 2}})
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(CacheError, match="a value contains itself"):
        typed_digest(loop)


# --- Proofs by action and trace --------------------------------------------------------------------------------------


def test_a_proof_is_found_as_it_was_added(proofs):
    assert find(proofs) == PROOF
    assert find(again(proofs)) == PROOF


def test_of_several_proofs_the_first_whose_trace_holds_is_found(proofs):
    later = replace(PROOF, outputs={**MADE, "out/rows": Content("4" * 32, 1)}, trace=OTHER_TRACE)
    proofs.add(later)
    os.utime(place(proofs), ns=(1, 1))
    assert list(proofs.all(ACTION)) == [later, PROOF]  # the latest first
    assert find(again(proofs)) == later
    assert find(again(proofs), holds=TRACE.__eq__) == PROOF
    assert find(again(proofs), holds=lambda trace: False) is None


def test_two_proofs_with_one_trace_share_its_file(proofs):
    other = given(seed=1, rate=0.5)
    proofs.add(replace(PROOF, action=other))
    (file,) = [name for _, _, names in os.walk(proofs.traces.folder) for name in names]
    assert file == f"{TRACE.digest}.json"
    assert find(again(proofs), other).trace == find(again(proofs)).trace == TRACE


def trace_file(proofs):
    return os.path.join(proofs.traces.folder, TRACE.digest[:2], f"{TRACE.digest}.json")


@pytest.mark.parametrize("text", [None, "", "{}", "[]", "\x00", json.dumps(OTHER_TRACE.to_json())])
def test_a_proof_whose_trace_is_missing_or_damaged_proves_nothing(proofs, text):
    os.unlink(trace_file(proofs))
    if text is not None:
        with open(trace_file(proofs), "w") as file:
            file.write(text)
    assert find(again(proofs)) is None
    learned = again(proofs)
    learned.traces.learn({TRACE.digest: TRACE})  # from traces.lock
    assert find(learned) == PROOF


def test_a_damaged_proof_leaves_the_others_of_its_action(proofs, capsys):
    later = replace(PROOF, trace=OTHER_TRACE)
    proofs.add(later)
    spoil(proofs, "garbage")
    assert list(again(proofs).all(ACTION)) == [later]
    assert f"{TRACE.digest}.json: not the proof of its action" in capsys.readouterr().err


def test_files_of_other_names_are_no_proofs(proofs):
    for name in ("notes.txt", f"{'0' * 64}.json.12.partial"):
        shutil.copyfile(place(proofs), f"{proofs.path(ACTION.digest)}/{name}")
    assert len(list(again(proofs).all(ACTION))) == 1


def test_a_proof_of_another_action_in_its_place_is_ignored(proofs, capsys):
    other = given(seed=1, rate=0.5)
    shutil.copytree(proofs.path(ACTION.digest), proofs.path(other.digest))
    assert find(proofs, other) is None
    assert "it is ignored, and its job runs again" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "garbage", "[]", "null", "{}", '{"outputs": {}, "cost": {}}', "\x00", "1"])
def test_garbage_is_ignored(proofs, text, capsys):
    spoil(proofs, text)
    assert find(proofs) is None
    assert place(proofs) in capsys.readouterr().err


def test_a_proof_cut_off_anywhere_is_ignored(proofs):
    with open(place(proofs)) as file:
        text = file.read()
    for length in range(0, len(text), 7):
        spoil(proofs, text[:length])
        assert find(proofs) is None


@pytest.mark.parametrize(
    "outputs", [[], {}, {"out/rows": ["2" * 32, 10]}, {"out/rows": 1, "out/report": 2}, {"out/rows": {}, "x": []}]
)
def test_a_proof_without_exactly_its_outputs_is_ignored(proofs, outputs):
    spoil(proofs, json.dumps({**read(proofs), "outputs": outputs}))
    assert find(proofs) is None


def test_bytes_that_are_no_text_are_ignored(proofs):
    with open(place(proofs), "wb") as file:
        file.write(b"\xff\xfe\x00")
    assert find(proofs) is None


def test_a_folder_in_its_place_is_ignored(proofs):
    os.unlink(place(proofs))
    os.mkdir(place(proofs))
    assert find(proofs) is None


def test_a_cache_below_a_file_holds_no_proof_and_takes_none(tmp_path):
    (tmp_path / "file").write_text("")
    proofs = Proofs(str(tmp_path / "file" / "cache"))
    assert find(proofs) is None
    with pytest.raises(CacheError, match=r"the cache can't be written to\n  found:    Not a directory"):
        proofs.add(PROOF)


def test_a_later_proof_takes_the_place_of_an_earlier_one(proofs):
    later = replace(PROOF, cost={"seconds": 2.5})
    proofs.add(later)
    assert find(proofs) == later
    assert os.listdir(proofs.path(ACTION.digest)) == [f"{TRACE.digest}.json"]


def test_a_proof_that_can_not_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments, **options):
        arguments[1].write('{"action"')
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    proofs = Proofs(str(tmp_path / "cache"))
    with pytest.raises(CacheError, match="No space left on device"):
        proofs.add(PROOF)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_was_taken_from_a_lock_leaves_what_was_made_here_beside_it(proofs, monkeypatch):
    history = {"1" * 40}
    monkeypatch.setattr(git, "in_history", lambda commit: commit in history)
    theirs = Proof(ACTION, {**MADE, "out/rows": Content("4" * 32, 1)}, TRACE, origin="1" * 40)
    proofs.add(theirs)
    assert (find(proofs), list(proofs.made_here(ACTION))) == (theirs, [PROOF])
    assert differences(theirs, PROOF) == [("out/rows", "4" * 32, "2" * 32)]
    history.clear()  # the branch that said so is gone
    assert find(again(proofs)) == PROOF


def test_what_is_made_here_afterwards_is_the_last_word(proofs, monkeypatch):
    monkeypatch.setattr(git, "in_history", lambda commit: True)
    proofs.add(replace(PROOF, origin="1" * 40))
    proofs.add(PROOF)
    assert find(proofs) == PROOF
    assert os.listdir(proofs.imported) == [ACTION.digest[:2]]  # without a proof in it
    assert list(proofs.all(ACTION)) == [PROOF]


@pytest.mark.parametrize("origin", ["", "main", "../x", "1" * 39, 7, None, "--all"])
def test_an_origin_that_is_no_commit_makes_no_proof(proofs, origin):
    spoil(proofs, json.dumps({**read(proofs), "origin": origin}))
    assert find(proofs) is None


def test_a_proof_that_names_its_origin_is_not_taken_for_one_that_was_made_here(proofs):
    spoil(proofs, json.dumps({**read(proofs), "origin": "1" * 40}))
    assert list(proofs.made_here(ACTION)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"made": {"host": 1}},
        {"made": []},
        {"trace": "../../x"},
        {"trace": None},
        {"action": []},
        {"action": {"rule": "mix"}},
        {"cost": {"seconds": -1}},
    ],
    ids=str,
)
def test_a_proof_with_other_fields_than_proofs_have_is_ignored(proofs, change):
    spoil(proofs, json.dumps({**read(proofs), **change}))
    assert find(proofs) is None


def test_values_are_kept_for_people_whatever_their_types(proofs):
    action = given(seed={1: DATE, "b": [None, (1,)]})
    proofs.add(replace(PROOF, action=action))
    with open(f"{proofs.path(action.digest)}/{TRACE.digest}.json") as file:
        assert json.load(file)["params"] == {"seed": {"1": "2026-01-02", "b": [None, [1]]}}
    assert find(proofs, action) is not None
