"""Files and artifacts that are written whole or not at all, and their hashes."""

import hashlib
import os
import re
import time

import pytest

from bezoar import files
from bezoar.errors import InputError
from bezoar.files import MARKER, SEEN, artifact, digest, files_in, remembered_sha256, rounded, sha256, whole, write_json


def build(folder, text="one"):
    """A small artifact."""
    with artifact(folder) as out:
        (out / "sub").mkdir()
        (out / "sub" / "rows.jsonl").write_text(text)
        (out / "report.json").write_text("{}")
    return folder


def test_a_file_appears_once_it_is_whole(tmp_path):
    path = tmp_path / "new" / "report.json"
    with whole(path) as partial:
        partial.write_text("half")
        assert not path.exists()
        partial.write_text("all")
    assert path.read_text() == "all"
    assert list(path.parent.iterdir()) == [path]


def break_off(writing, name=""):
    """Leave a `whole` or an `artifact` half-way, with an exception."""
    with writing as partial:
        (partial / name).write_text("half")
        raise RuntimeError("no disk")


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="no disk"):
        break_off(whole(path))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_no_artifact(tmp_path):
    with pytest.raises(RuntimeError, match="no disk"):
        break_off(artifact(tmp_path / "mix"), "rows.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_appears_once_it_is_whole(tmp_path):
    folder = tmp_path / "new" / "mix"
    with artifact(folder) as out:
        (out / "rows.jsonl").write_text("one")
        assert not folder.exists()
    assert (folder / "rows.jsonl").read_text() == "one"
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["chapter.txt"], "chapter.txt"),
        (["d", MARKER, "c", "b", "a"], "a, b, c and more"),
    ],
)
def test_a_folder_that_holds_files_is_not_replaced(tmp_path, names, found):
    folder = tmp_path / "thesis"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("years of work")
    message = (
        f"{folder} is not empty and would be replaced\n  found:    {found}\n  expected: an empty folder or none\n"
        "hint: remove the folder, or name another"
    )
    entered = []
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"), artifact(folder):
        entered.append("the block")
    assert entered == []
    assert {path.name: path.read_text() for path in folder.iterdir()} == dict.fromkeys(names, "years of work")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_finished_artifact_is_not_replaced(tmp_path):
    folder = build(tmp_path / "mix")
    with pytest.raises(InputError, match=r"found:    report\.json, sub\n"):
        build(folder, text="two")
    assert (folder / "sub" / "rows.jsonl").read_text() == "one"


def test_files_that_came_meanwhile_are_not_replaced(tmp_path):
    def overtaken():
        with artifact(tmp_path / "mix"):
            build(tmp_path / "elsewhere").rename(tmp_path / "mix")

    with pytest.raises(InputError, match=r"found:    report\.json, sub\n"):
        overtaken()
    assert len(files_in(tmp_path / "mix")) == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "mix"]


@pytest.mark.parametrize("names", [[], [MARKER]])
def test_an_empty_folder_is_filled(tmp_path, names):
    folder = tmp_path / "mix"
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    assert [path.name for path in build(folder).iterdir() if path.is_file()] == ["report.json"]
    assert len(files_in(folder)) == 2


def test_a_folder_that_is_not_written_stays_empty(tmp_path):
    (tmp_path / "mix").mkdir()
    with pytest.raises(RuntimeError, match="no disk"):
        break_off(artifact(tmp_path / "mix"), "rows.jsonl")
    assert list(tmp_path.rglob("*")) == [tmp_path / "mix"]


def test_what_a_killed_run_left_is_no_part_of_an_artifact(tmp_path):
    (tmp_path / ".mix.partial").mkdir()
    (tmp_path / ".mix.partial" / "half.jsonl").write_text("half")
    assert [path.name for path in files_in(build(tmp_path / "mix"))] == ["report.json", "rows.jsonl"]


def test_digest_of_a_folder_depends_on_names_and_contents_only(tmp_path):
    first, second = build(tmp_path / "first"), build(tmp_path / "second")
    (second / MARKER).touch()
    assert digest(first) == digest(second)
    assert digest(first) != digest(build(tmp_path / "third", text="two"))
    (second / "report.json").rename(second / "other.json")
    assert digest(first) != digest(second)
    assert digest(first / "report.json") == hashlib.sha256(b"{}").hexdigest()


def test_nothing_has_no_digest(tmp_path):
    with pytest.raises(FileNotFoundError):
        digest(tmp_path / "gone")


def test_json_is_written_with_sorted_keys(tmp_path):
    write_json(tmp_path / "report.json", {"b": "東", "a": 1})
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == '{\n  "a": 1,\n  "b": "東"\n}\n'


def test_figures_that_python_versions_add_in_different_ways_are_written_alike():
    # the standard error of 31 right answers of 90, as lm-eval computes it under Python 3.11 and 3.12
    one, other = 0.050369697187736706, 0.050369697187736776
    assert rounded([{"error": one}]) == rounded([{"error": other}]) == [{"error": 0.0503697}]


def test_figures_keep_their_size_and_kind():
    kept = {"count": 123_456_789, "rate": 2e-5, "big": 1.5e30, "text": "0.123456789", "none": None, "flag": True}
    assert rounded(kept) == kept
    assert repr(rounded([0.1, -0.0, float("inf"), float("nan")])) == "[0.1, -0.0, inf, nan]"


@pytest.mark.parametrize("text", ["[1, 2]", "[" * 100_000, "{", "1", "null", '{"PATH": 1}', '{"PATH": [[], 1]}'])
def test_a_memory_of_hashes_that_is_garbage_is_ignored(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rows"
    path.write_text("a")
    SEEN.parent.mkdir(parents=True)
    SEEN.write_text(text.replace("PATH", str(path)))
    assert remembered_sha256(path) == sha256(path)


def test_a_file_that_was_exchanged_with_its_time_kept_is_read_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rows"
    path.write_text("a")
    os.utime(path, ns=(1, 1))
    monkeypatch.setattr(files, "TICK", 0)
    before = remembered_sha256(path)
    assert SEEN.exists()
    time.sleep(0.02)  # the clock of ctime
    path.write_text("b")
    os.utime(path, ns=(1, 1))
    assert remembered_sha256(path) == sha256(path) != before
