"""Own tasks of the harness: every file below their folder is an input of a score."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bezoar.files import rounded
from bezoar.steps.evaluate import harness
from bezoar.steps.evaluate.tasks import MOST_BYTES, includes_outside, names_in, read_tasks, task_files


def test_every_file_below_a_task_folder_is_an_input(tmp_path):
    files = ["choices.yaml", "utils.py", "more/deep/task.yaml", "more/deep/_default_template", "more/data/items.jsonl"]
    for name in [*files, "__pycache__/utils.cpython-311.pyc", "more/.ipynb_checkpoints/task.yaml"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("task: one\n")
    assert task_files(tmp_path) == sorted(str(tmp_path / name) for name in files)


def test_functions_of_a_task_are_not_run_to_see_its_includes(tmp_path):
    (tmp_path / "utils.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "a.yaml").write_text("include: /etc/base.yaml\nprocess_docs: !function utils.changed\n")
    (tmp_path / "b.yaml").write_text("- no map\n")
    (_, a), (_, b) = read_tasks(tmp_path)
    assert list(includes_outside(tmp_path / "a.yaml", a, tmp_path)) == ["/etc/base.yaml"]
    assert b == {}


def test_a_group_is_defined_as_a_task_is_and_its_members_are_not(tmp_path):
    (tmp_path / "a.yaml").write_text("? [a]\n: b\ngroup: both-2\ntask:\n  - one\ninclude: {a: b}\n")
    ((path, nodes),) = read_tasks(tmp_path)
    assert names_in(nodes) == {"both-2"}
    assert list(includes_outside(path, nodes, tmp_path)) == []


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"# caf\xe9\ntask: a\n", "utf-8"),
        (b"[" * 5000, "blocks within blocks"),
        (b"#" * (MOST_BYTES + 1), "more than"),
        (b"task: [\n", "did not find expected"),
        ("/dev/zero", "no regular file"),
        ("nowhere", "no regular file"),
    ],
)
def test_a_file_that_the_harness_can_not_read_is_named(tmp_path, content, found):
    path = tmp_path / "x.yaml"
    if isinstance(content, str):
        path.symlink_to(content)
    else:
        path.write_bytes(content)
    ((named, said),) = read_tasks(tmp_path)
    assert named == path
    assert found in said


def test_a_folder_that_is_called_like_a_task_is_looked_into(tmp_path):
    Path(tmp_path, "x.yaml").mkdir()
    Path(tmp_path, "x.yaml/y.yaml").write_text("task: y\n")
    assert [names_in(nodes) for _, nodes in read_tasks(tmp_path)] == [{"y"}]


def test_a_result_of_the_harness_is_written_alike_under_each_python(tmp_path, monkeypatch):
    found = {"results": {"odd": {"acc_stderr,none": 0.050369697187736706}}}  # ...776 since 3.12: `sum` of floats
    monkeypatch.setattr(harness, "evaluated", lambda *_: found)
    harness.write_result(tmp_path, SimpleNamespace(task_folder=None), 0, tmp_path / "odd")
    assert json.loads((tmp_path / "odd" / "result.json").read_text()) == rounded(found) != found
