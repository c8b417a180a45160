"""A proof is found by its key alone, and nothing else than a whole proof of that key is taken for one."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from bezoar.cache import CacheError, git
from bezoar.cache.hashing import Content
from bezoar.cache.proofs import Key, Proof, Proofs, differences

KEY = Key(
    "mix", {"in": "1" * 32}, "roles", {"seed": 0, "rate": 0.5}, {"rules.mix": "f" * 32}, ["out/report", "out/rows"]
)
MADE = {"out/rows": Content("2" * 32, 10), "out/report": Content("3" * 32, 3)}
PROOF = Proof(KEY, MADE, {"seconds": 1.5})


@pytest.fixture
def proofs(tmp_path):
    found = Proofs(str(tmp_path / "cache"))
    found.add(PROOF)
    return found


def spoil(proofs, text):
    with open(proofs.path(KEY.digest), "w") as file:
        file.write(text)


def read(proofs):
    with open(proofs.path(KEY.digest)) as file:
        return json.load(file)


def test_a_proof_is_found_as_it_was_added(proofs):
    assert proofs.find(KEY) == PROOF


@pytest.mark.parametrize(
    "other",
    [
        replace(KEY, rule="mixed"),
        replace(KEY, inputs={"in": "4" * 32}),
        replace(KEY, inputs={"other": "1" * 32}),
        replace(KEY, params={"seed": 0, "rate": 0.25}),
        replace(KEY, params={"seed": 0.5, "rate": 0}),
        replace(KEY, params={"seed": False, "rate": 0.5}),
        replace(KEY, params={"seed": 0.0, "rate": 0.5}),
        replace(KEY, params={"seed": "0", "rate": 0.5}),
        replace(KEY, params={"seed": 0}),
        replace(KEY, code={"rules.mix": "e" * 32}),
        replace(KEY, outputs=["out/rows"]),
    ],
)
def test_a_key_that_differs_in_anything_has_no_proof(proofs, other):
    assert proofs.find(other) is None


def test_the_order_of_names_does_not_matter(proofs):
    assert proofs.find(replace(KEY, params={"rate": 0.5, "seed": 0})) is not None


def test_two_inputs_with_each_others_contents_are_another_key():
    one = replace(KEY, inputs={"a": "1", "b": "2"})
    assert one.digest != replace(KEY, inputs={"a": "2", "b": "1"}).digest


def test_a_proof_of_another_key_in_its_place_is_ignored(proofs, capsys):
    other = replace(KEY, params={"seed": 1, "rate": 0.5})
    os.makedirs(os.path.dirname(proofs.path(other.digest)), exist_ok=True)
    shutil.copyfile(proofs.path(KEY.digest), proofs.path(other.digest))
    assert proofs.find(other) is None
    assert "it is ignored, and its job runs again" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "garbage", "[]", "null", "{}", '{"outputs": {}, "cost": {}}', "\x00", "1"])
def test_garbage_is_ignored(proofs, text, capsys):
    spoil(proofs, text)
    assert proofs.find(KEY) is None
    assert proofs.path(KEY.digest) in capsys.readouterr().err


def test_a_proof_cut_off_anywhere_is_ignored(proofs):
    with open(proofs.path(KEY.digest)) as file:
        text = file.read()
    for length in range(0, len(text), 7):
        spoil(proofs, text[:length])
        assert proofs.find(KEY) is None


@pytest.mark.parametrize(
    "outputs", [[], {}, {"out/rows": ["2" * 32, 10]}, {"out/rows": 1, "out/report": 2}, {"out/rows": {}, "x": []}]
)
def test_a_proof_without_exactly_its_outputs_is_ignored(proofs, outputs):
    spoil(proofs, json.dumps({**read(proofs), "outputs": outputs}))
    assert proofs.find(KEY) is None


def test_bytes_that_are_no_text_are_ignored(proofs):
    with open(proofs.path(KEY.digest), "wb") as file:
        file.write(b"\xff\xfe\x00")
    assert proofs.find(KEY) is None


def test_a_folder_in_its_place_is_ignored(proofs):
    os.unlink(proofs.path(KEY.digest))
    os.mkdir(proofs.path(KEY.digest))
    assert proofs.find(KEY) is None


def test_a_cache_below_a_file_holds_no_proof_and_takes_none(tmp_path):
    (tmp_path / "file").write_text("")
    proofs = Proofs(str(tmp_path / "file" / "cache"))
    assert proofs.find(KEY) is None
    with pytest.raises(CacheError, match=r"the cache can't be written to\n  found:    Not a directory"):
        proofs.add(PROOF)


def test_a_later_proof_takes_the_place_of_an_earlier_one(proofs):
    later = replace(PROOF, cost={"seconds": 2.5})
    proofs.add(later)
    assert proofs.find(KEY) == later
    assert os.listdir(os.path.dirname(proofs.path(KEY.digest))) == [f"{KEY.digest}.json"]


def test_a_proof_that_can_not_be_written_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments, **options):
        arguments[1].write('{"key"')
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    proofs = Proofs(str(tmp_path / "cache"))
    with pytest.raises(CacheError, match="No space left on device"):
        proofs.add(PROOF)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_was_taken_from_a_lock_leaves_what_was_made_here_beside_it(proofs, monkeypatch):
    history = {"1" * 40}
    monkeypatch.setattr(git, "in_history", lambda commit: commit in history)
    theirs = Proof(KEY, {**MADE, "out/rows": Content("4" * 32, 1)}, origin="1" * 40)
    proofs.add(theirs)
    assert (proofs.find(KEY), proofs.made_here(KEY)) == (theirs, PROOF)
    assert differences(theirs, PROOF) == [("out/rows", "4" * 32, "2" * 32)]
    history.clear()  # the branch that said so is gone
    assert Proofs(os.path.dirname(proofs.folder)).find(KEY) == PROOF


def test_what_is_made_here_afterwards_is_the_last_word(proofs, monkeypatch):
    monkeypatch.setattr(git, "in_history", lambda commit: True)
    proofs.add(replace(PROOF, origin="1" * 40))
    proofs.add(PROOF)
    assert proofs.find(KEY) == PROOF


@pytest.mark.parametrize("origin", ["", "main", "../x", "1" * 39, 7, None, "--all"])
def test_an_origin_that_is_no_commit_makes_no_proof(proofs, origin):
    spoil(proofs, json.dumps({**read(proofs), "origin": origin}))
    assert proofs.find(KEY) is None


def test_a_proof_that_names_its_origin_is_not_taken_for_one_that_was_made_here(proofs):
    spoil(proofs, json.dumps({**read(proofs), "origin": "1" * 40}))
    assert proofs.made_here(KEY) is None
