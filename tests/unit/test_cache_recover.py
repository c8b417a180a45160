"""What the cache has lost is taken from sound artifacts on disk, and from nothing else."""

import os
import shutil
from pathlib import Path

import pytest
from test_cache_dvc import step

from bezoar.cache import recover
from bezoar.cache.hashing import Content, Hasher
from bezoar.cache.lock import LockEntry
from bezoar.cache.objects import Objects
from bezoar.cache.proofs import Proof, Traces


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def objects():
    return Objects("cache", Hasher(None))


def write(path, text):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


def stored(objects, path="model"):
    """A stored directory of two files."""
    write(f"{path}/a", "Ann\n")
    write(f"{path}/deep/b", "Bob\n")
    content = objects.hasher.content(path)
    objects.store(path, content)
    return content


def proof(made: dict[str, Content]) -> Proof:
    one = step("train", outputs=tuple(made))
    return Proof(one.action({}), made)


def emptied(objects):
    """The same cache without any object, as another process sees it."""
    shutil.rmtree("cache")
    return Objects("cache", Hasher(None))


def test_a_list_is_computed_from_its_folder_and_written_when_asked(objects):
    md5, bare = stored(objects).md5, emptied(objects)
    recover.lists([("model", md5)], bare.hasher, bare)
    assert [one.relpath for one in bare.listing(md5)] == ["a", "deep/b"]
    assert not os.path.exists("cache")
    bare.keep_lists()
    assert Objects("cache", Hasher(None)).listing(md5) == bare.listing(md5)


@pytest.mark.parametrize("change", ["edited", "gone", "unreadable"])
def test_a_list_of_other_files_stays_missing(objects, change):
    md5, bare = stored(objects).md5, emptied(objects)
    os.unlink("model/a")
    if change == "edited":
        write("model/a", "Amy\n")
    elif change == "unreadable":
        os.symlink("nowhere", "model/a")
    recover.lists([("model", md5), ("nothing", md5)], bare.hasher, bare)
    assert bare.listing(md5) is None


def test_sound_outputs_are_stored_again_and_others_are_not(objects):
    write("rows", "Cid\n")
    write("more", "Dan\n")
    made = {"model": stored(objects), "rows": objects.hasher.content("rows"), "more": objects.hasher.content("more")}
    bare = emptied(objects)
    write("more", "altered\n")
    assert recover.outputs([proof(made)], bare.hasher, bare) == 2
    assert [bare.missing(one.md5) for one in made.values()] == [[], [], [made["more"].md5]]
    assert recover.outputs([proof(made)], bare.hasher, bare) == 0


def test_only_what_is_missing_of_a_directory_is_stored(objects):
    content = stored(objects)
    lacking = objects.path(objects.listing(content.md5)[0].md5)
    kept = objects.path(objects.listing(content.md5)[1].md5)
    before = os.stat(kept).st_ino
    os.unlink(lacking)
    assert recover.outputs([proof({"model": content})], objects.hasher, objects) == 1
    assert os.path.exists(lacking)
    assert os.stat(kept).st_ino == before


def test_a_cache_that_can_not_be_written_hinders_nobody(objects):
    content, bare = stored(objects), emptied(objects)
    write("cache", "a file in its place")
    recover.lists([("model", content.md5)], bare.hasher, bare)
    assert recover.outputs([proof({"model": content})], bare.hasher, bare) == 0


def test_an_object_that_is_gone_is_noticed_at_any_level(objects):
    content = stored(objects)
    assert not recover.lost([content.md5], objects)
    os.unlink(objects.path(objects.listing(content.md5)[0].md5))
    assert recover.lost([content.md5], objects)
    assert recover.lost([content.md5], emptied(objects))


def test_a_directory_in_a_recorded_folder_is_restored_without_a_list_of_its_own(objects):
    inside = stored(objects, "gen/up/0/model")
    around = objects.hasher.content("gen/up")
    objects.store("gen/up", around)
    os.unlink(objects.path(inside.md5))  # as after `dvc gc`, and in a clone: DVC knows the list of gen/up only
    shutil.rmtree("gen")
    bare = Objects("cache", Hasher(None))
    entry = LockEntry({"outs": [{"path": "gen/up", "md5": around.md5}]}, None, bare, Traces("cache"))
    found = entry.proof(step("generate", outputs=("gen/up/0/model",)))
    assert found.outputs["gen/up/0/model"].md5 == inside.md5
    assert bare.missing(inside.md5) == []
    bare.restore(inside.md5, "gen/up/0/model")
    assert Hasher(None).content("gen/up/0/model") == inside
