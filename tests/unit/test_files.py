"""Files that are written whole or not at all, and artifacts with what they were made from."""

import hashlib
import json

import pytest

from bezoar.files import PROVENANCE, artifact, digest, files_in, whole, write_json


def build(folder, text="one", inputs=()):
    """A small artifact."""
    with artifact(folder, rule="mix", block={"b": 1, "a": [2]}, inputs=inputs) as out:
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
        break_off(artifact(tmp_path / "mix", rule="mix", block={}, inputs=[]), "rows.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_an_exception_leaves_the_old_artifact(tmp_path):
    folder = build(tmp_path / "mix")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(RuntimeError, match="no disk"):
        break_off(artifact(folder, rule="mix", block={}, inputs=[]), "rows.jsonl")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert list(tmp_path.iterdir()) == [folder]


def test_a_missing_input_leaves_no_artifact(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.jsonl"):
        build(tmp_path / "mix", inputs=[tmp_path / "gone.jsonl"])
    assert list(tmp_path.iterdir()) == []


def test_provenance_is_written_last(tmp_path):
    with artifact(tmp_path / "mix", rule="mix", block={}, inputs=[]) as out:
        (out / "rows.jsonl").write_text("one")
        assert not (out / PROVENANCE).exists()
    assert (tmp_path / "mix" / PROVENANCE).exists()


def test_provenance_names_rule_params_inputs_files_and_packages(tmp_path):
    given = tmp_path / "seed.jsonl"
    given.write_text("seed")
    with artifact(tmp_path / "mix", rule="mix", block={"a": 1}, inputs=[given], packages=["pytest"]) as out:
        (out / "rows.jsonl").write_text("one")
    assert json.loads((tmp_path / "mix" / PROVENANCE).read_text()) == {
        "rule": "mix",
        "params": {"a": 1},
        "inputs": {str(given): hashlib.sha256(b"seed").hexdigest()},
        "files": {"rows.jsonl": hashlib.sha256(b"one").hexdigest()},
        "packages": {"pytest": pytest.__version__},
    }


def test_equal_runs_have_equal_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").write_text("2")
    (tmp_path / "a").write_text("1")
    first = build(tmp_path / "first" / "mix", inputs=["a", "b"])
    second = build(tmp_path / "second" / "mix", inputs=["b", "a"])
    for path in [*files_in(first), first / PROVENANCE]:
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes(), path.name


def test_an_artifact_replaces_an_older_one_whole(tmp_path):
    folder = build(tmp_path / "mix")
    with artifact(folder, rule="mix", block={}, inputs=[]) as out:
        (out / "other.jsonl").write_text("two")
    assert [path.name for path in files_in(folder)] == ["other.jsonl"]


def test_a_folder_that_is_no_artifact_is_not_replaced(tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"thesis is not an artifact and would be replaced\n  found: "):
        build(folder)
    assert (folder / "chapter.txt").read_text() == "years of work"
    assert list(tmp_path.iterdir()) == [folder]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "mix").mkdir()
    assert len(files_in(build(tmp_path / "mix"))) == 2


def test_digest_of_a_folder_is_the_same_with_and_without_provenance(tmp_path):
    folder = build(tmp_path / "mix")
    recorded = digest(folder)
    (folder / PROVENANCE).unlink()
    (folder / ".snakemake_timestamp").write_text("")
    assert digest(folder) == recorded


def test_digest_depends_on_names_and_contents_only(tmp_path):
    first, second = build(tmp_path / "first"), tmp_path / "second"
    with artifact(second, rule="other", block={"other": 1}, inputs=[first]) as out:
        (out / "sub").mkdir()
        (out / "sub" / "rows.jsonl").write_text("one")
        (out / "report.json").write_text("{}")
    assert digest(first) == digest(second)
    assert digest(first) != digest(build(tmp_path / "third", text="two"))
    assert digest(first / "report.json") == hashlib.sha256(b"{}").hexdigest()


def test_nothing_has_no_digest(tmp_path):
    with pytest.raises(FileNotFoundError):
        digest(tmp_path / "gone")


def test_json_is_written_with_sorted_keys(tmp_path):
    write_json(tmp_path / "report.json", {"b": "東", "a": 1})
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == '{\n  "a": 1,\n  "b": "東"\n}\n'
