"""Content hashes in DVC's form, and a memory of them that a write to the file always invalidates."""

import hashlib
import json
import os
import sqlite3
import time

import pytest

from bezoar.cache import CacheError, hashing
from bezoar.cache.hashing import Content, Hasher, Listing, directory, listing_bytes, listing_of, signature

EMPTY = "d41d8cd98f00b204e9800998ecf8427e"  # MD5 of no bytes
ANN = hashlib.md5(b"Ann\n").hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def reads(monkeypatch):
    """Paths that are read, in order."""
    found = []
    true = hashing.md5_of

    def counted(path):
        found.append(path)
        return true(path)

    monkeypatch.setattr(hashing, "md5_of", counted)
    return found


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def remembered(path):
    """The content of a file, hashed and saved by an earlier process."""
    hasher = Hasher()
    content = hasher.content(path)
    hasher.save()
    return content


def test_a_file_is_its_md5_and_its_size(folder):
    assert Hasher().content(write(folder / "a", "Ann\n")) == Content(ANN, 4)


def test_an_empty_file_is_the_md5_of_no_bytes(folder):
    assert Hasher().content(write(folder / "a", "")) == Content(EMPTY, 0)


def test_nothing_is_no_content():
    assert Hasher().content("absent") is None
    assert not Hasher().holds("absent", EMPTY)


def test_a_directory_is_the_md5_of_its_sorted_list(folder):
    write(folder / "d" / "b", "")
    write(folder / "d" / "a" / "x", "Ann\n")
    text = f'[{{"md5": "{ANN}", "relpath": "a/x"}}, {{"md5": "{EMPTY}", "relpath": "b"}}]'
    expected = hashlib.md5(text.encode()).hexdigest()
    assert Hasher().content("d") == Content(f"{expected}.dir", 4, 2)  # 4 + 0 bytes in two files


def test_names_outside_ascii_are_escaped_in_a_list_as_dvc_does(folder):
    assert listing_bytes([Listing(EMPTY, "é")]) == b'[{"md5": "%s", "relpath": "\\u00e9"}]' % EMPTY.encode()


def test_a_list_is_read_back_as_it_was_written():
    files = [Listing(ANN, "a/x"), Listing(EMPTY, "ü")]
    assert listing_of(listing_bytes(files)) == files


def test_the_order_of_files_does_not_matter():
    one = {"a": Content(ANN, 4), "b": Content(EMPTY, 0)}
    assert directory(one) == directory(dict(reversed(one.items())))


@pytest.mark.parametrize("name", [".snakemake_timestamp", "__pycache__/a.pyc", ".git/HEAD", ".dvc/config"])
def test_what_dvc_leaves_out_of_a_directory_is_no_content(folder, name):
    write(folder / "d" / "a", "Ann\n")
    before = Hasher().content("d")
    write(folder / "d" / name, "more")
    assert Hasher().content("d") == before


def test_a_broken_link_in_a_directory_is_an_error_and_not_an_absent_directory(folder):
    write(folder / "d" / "a", "Ann\n")
    os.symlink("nowhere", folder / "d" / "b")
    with pytest.raises(CacheError, match="d/b can't be read"):
        Hasher().content("d")


def test_an_untouched_file_is_read_once(folder, reads):
    path = write(folder / "a", "Ann\n")
    assert remembered(path) == remembered(path) == Content(ANN, 4)
    assert reads == [path]


def test_the_whole_memory_spares_reading_too(folder, reads):
    path = write(folder / "a", "Ann\n")
    remembered(path)
    hasher = Hasher()
    hasher.recall_all()
    assert hasher.content(path) == Content(ANN, 4)
    assert reads == [path]


def test_a_hasher_without_memory_writes_none(folder):
    hasher = Hasher(None)
    hasher.content(write(folder / "a", "Ann\n"))
    hasher.save()
    assert os.listdir(folder) == ["a"]


def test_a_newer_mtime_is_a_new_signature(folder):
    path = write(folder / "a", "Ann\n")
    before = signature(path)
    os.utime(path, ns=(1, before[0] + 1))
    assert signature(path) != before


def test_a_changed_file_with_its_old_mtime_is_read_again(folder):
    path = write(folder / "a", "Ann\n")
    remembered(path)
    mtime = os.stat(path).st_mtime_ns
    write(folder / "a", "Bob\n")
    os.utime(path, ns=(mtime, mtime))  # the time of change of status stays new
    assert signature(path)[0] == mtime
    assert Hasher().content(path) == Content(hashlib.md5(b"Bob\n").hexdigest(), 4)


def test_another_size_is_a_new_signature(folder):
    path = write(folder / "a", "Ann\n")
    before = signature(path)
    write(folder / "a", "Anna\n")
    assert signature(path)[2] == before[2] + 1


def test_another_file_in_its_place_is_a_new_signature(folder):
    path, other = write(folder / "a", "Ann\n"), write(folder / "b", "Bob\n")
    before = signature(path)
    os.replace(other, path)
    assert signature(path)[3] != before[3]


def test_edits_of_the_same_size_right_after_reading_are_noticed(folder):
    hasher = Hasher()
    path = str(folder / "a")
    for number in range(100, 150):  # three digits each, and no pause
        write(folder / "a", str(number))
        assert hasher.content(path).md5 == hashlib.md5(str(number).encode()).hexdigest()


def test_an_edit_of_the_same_size_within_the_clock_tick_is_not_remembered_wrongly(folder, monkeypatch):
    # a file system with a coarse clock gives both versions one signature, as long as its tick lasts
    tick = hashing.TICK // 2
    path = write(folder / "a", "Ann\n")

    def coarse(name):
        found = os.stat(name)
        return found.st_mtime_ns // tick * tick, found.st_ctime_ns // tick * tick, found.st_size, found.st_ino

    monkeypatch.setattr(hashing, "signature", coarse)
    for number in range(20):
        time.sleep(tick / 1e9 * 1.5 - time.time_ns() % tick / 1e9)  # to the middle of a tick
        write(folder / "a", f"{number:03d}\n")
        hasher = Hasher()
        hasher.content(path)
        write(folder / "a", f"{number:03d}!")
        hasher.save()
        assert Hasher().content(path).md5 == hashlib.md5(f"{number:03d}!".encode()).hexdigest()


def test_a_file_that_changed_before_the_save_is_not_remembered(folder):
    path = write(folder / "a", "Ann\n")
    hasher = Hasher()
    hasher.content(path)
    write(folder / "a", "Bob and Cid\n")
    hasher.save()
    assert Hasher().content(path).md5 == hashlib.md5(b"Bob and Cid\n").hexdigest()


@pytest.mark.parametrize("garbage", [b"", b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_memory_that_is_garbage_is_ignored(folder, garbage):
    path = write(folder / "a", "Ann\n")
    remembered(path)
    (folder / hashing.STATE).write_bytes(garbage)
    assert remembered(path) == Content(ANN, 4)
    hasher = Hasher()
    hasher.recall_all()
    assert hasher.content(path) == Content(ANN, 4)


def test_a_memory_with_another_table_is_ignored(folder):
    path = write(folder / "a", "Ann\n")
    (folder / ".dvc" / "tmp").mkdir(parents=True)
    with sqlite3.connect(hashing.STATE) as database:
        database.execute("CREATE TABLE files (path TEXT PRIMARY KEY, md5 TEXT)")
        database.execute("INSERT INTO files VALUES (?, 'wrong')", [path])
    assert remembered(path) == Content(ANN, 4)
    hasher = Hasher()
    hasher.recall_all()
    assert hasher.content(path) == Content(ANN, 4)


def test_a_memory_that_can_not_be_written_costs_nothing_but_time(folder):
    (folder / ".dvc").write_text("a file where the folder should be")
    path = write(folder / "a", "Ann\n")
    assert remembered(path) == remembered(path) == Content(ANN, 4)


def test_what_was_learned_is_not_read(folder, reads):
    path = write(folder / "a", "Ann\n")
    hasher = Hasher()
    hasher.learn(path, ANN)
    assert hasher.content(path) == Content(ANN, 4)
    assert reads == []


def test_what_was_learned_ends_with_the_next_edit(folder):
    path = write(folder / "a", "Ann\n")
    hasher = Hasher()
    hasher.learn(path, ANN)
    write(folder / "a", "Anna\n")
    assert hasher.content(path).md5 == hashlib.md5(b"Anna\n").hexdigest()


def test_a_digest_is_that_of_canonical_json():
    data = {"b": [1.5, None, True], "a": {"ü": "x"}}
    text = '{"a":{"ü":"x"},"b":[1.5,null,true]}'
    assert json.loads(text) == data
    assert hashing.digest_of(data) == hashlib.sha256(text.encode()).hexdigest()


def test_numbers_that_are_equal_in_python_have_digests_of_their_own():
    assert len({hashing.digest_of(value) for value in (1, 1.0, True, "1")}) == 4


@pytest.mark.parametrize(
    "links", [{"m/again": "."}, {"m/a/up": ".."}, {"m/a/x": "../b", "m/b/y": "../a"}, {"m/l": "l"}]
)
def test_a_cycle_of_links_in_a_folder_is_an_error_at_once(folder, links):
    for name in ("m/a", "m/b"):
        write(folder / name / "weights", "w")
    (folder / "m/beside").symlink_to("a")  # no cycle
    found = Hasher(None).content("m")
    assert found is not None
    assert found.files == 3
    for link, target in links.items():
        (folder / link).symlink_to(target)
    with pytest.raises(CacheError, match=r"(?s)m/.* can't be read\n.*without cycles of links\nhint: remove the link"):
        Hasher(None).content("m")
