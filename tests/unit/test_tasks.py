"""Own tasks of the harness: every file below their folder is an input of a score."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from harness_data import write_settings

from bezoar.files import rounded
from bezoar.steps.evaluate import harness
from bezoar.steps.evaluate.tasks import MOST_BYTES, names_in, outside, read_tasks, task_files, undeclared_data

INCLUDES, RUNS = "a task includes a file from outside", "a task runs code from outside"


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
    assert list(outside(tmp_path / "a.yaml", a, tmp_path)) == [(INCLUDES, "/etc/base.yaml")]
    assert b == {}


def test_a_group_is_defined_as_a_task_is_and_its_members_are_not(tmp_path):
    (tmp_path / "a.yaml").write_text("? [a]\n: b\ngroup: both-2\ntask:\n  - one\ninclude: {a: b}\n")
    ((path, nodes),) = read_tasks(tmp_path)
    assert names_in(nodes) == {"both-2"}
    assert list(outside(path, nodes, tmp_path)) == []


def strangers(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """By file, what is no input."""
    found = {path: list(outside(path, nodes, folder)) for path, nodes in read_tasks(folder) if isinstance(nodes, dict)}
    return {path.relative_to(folder).as_posix(): texts for path, texts in found.items() if texts}


def written(folder: Path, **files: str) -> Path:
    """A folder with files by name, `__` for `/`."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_an_included_file_of_any_name_is_read_with_what_it_includes_itself(tmp_path):
    folder = written(tmp_path / "tasks", _base="include: deep/_base\n", deep___base="include: ../../other.yaml\n")
    (folder / "one.yaml").write_text("task: one\ninclude: _base\n")
    assert [path.name for path, _ in read_tasks(folder)] == ["one.yaml", "_base", "_base"]
    assert strangers(folder) == {"deep/_base": [(INCLUDES, "../../other.yaml")]}


def test_what_is_reached_through_a_link_is_no_input(tmp_path):
    written(tmp_path / "shared", base="output_type: generate_until\n", utils="", task="include: base\n")
    (tmp_path / "shared/utils.py").write_text("")
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "shared")
    (folder / "a.yaml").write_text("task: a\ninclude: linked/base\nprocess_docs: !function linked.utils.f\n")
    (folder / "b.yaml").symlink_to(tmp_path / "shared/task")  # its content is an input, what is beside it is not
    (folder / "base").symlink_to(tmp_path / "shared/base")
    (folder / "c.yaml").write_text("task: c\ninclude: base\n")
    assert strangers(folder) == {
        "a.yaml": [(INCLUDES, "linked/base"), (RUNS, "linked.utils.f")],
        "b.yaml": [(INCLUDES, "base")],
    }


def test_code_beside_a_task_and_of_packages_is_known(tmp_path):
    folder = written(tmp_path / "tasks", more__utils="", own__helpers="")
    for name in ("more/utils.py", "own/helpers.py"):
        (folder / name).write_text("")
    (tmp_path / "away.py").write_text("")
    named = ["utils.f", "lm_eval.utils.f", "json.dumps", f"{tmp_path}/away.f"]
    tasks = "".join(f"  - !function {name}\n" for name in named)
    (folder / "more/a.yaml").write_text(
        f"group: g\ntask:\n{tasks}class: {{deep: [!function '{folder}/own/helpers.g']}}\n"
    )
    assert strangers(folder) == {"more/a.yaml": [(RUNS, f"{tmp_path}/away.f")]}


FILES = {
    "json": ("dataset_path: json\ndataset_kwargs: {data_files: {test: DATA}}\n", True),
    "list": ("dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: [DATA]\n", True),
    "included": ("include: _base\ndataset_kwargs: {data_files: DATA}\n", True),
    "pattern": ("dataset_path: json\ndataset_kwargs: {data_files: 'here*.jsonl'}\n", True),
    "folder": ("dataset_path: ./local\n", True),
    "dir": ("dataset_path: imagefolder\ndataset_kwargs: {data_dir: local}\n", True),
    "hub": ("dataset_path: someone/something\ndataset_kwargs: {data_files: {test: DATA}}\n", False),
    "hub included": ("include: _hub\ndataset_kwargs: {data_files: {test: DATA}}\n", False),
    "web": ("dataset_path: json\ndataset_kwargs: {data_files: 'hf://datasets/a/b/c.jsonl'}\n", False),
    "own": ("dataset_path: json\ndataset_kwargs: {data_files: [tasks/items.jsonl, './tasks/*.jsonl']}\n", False),
    "declared": ("dataset_path: json\ndataset_kwargs: {data_files: data/source/known/rows.jsonl}\n", False),
    "absent": ("dataset_path: json\ndataset_kwargs: {data_files: nowhere.jsonl}\n", False),
}


def undeclared(*tasks: str) -> list[str]:
    """Data of tasks that is no input."""
    folder = Path("tasks")
    nodes = {path: one for path, one in read_tasks(folder) if isinstance(one, dict)}
    return [text for _, text in undeclared_data(tasks, nodes, folder, {"data/source/known/rows.jsonl"})]


@pytest.mark.parametrize("data", ["here.jsonl", "data/source/other/rows.jsonl", "data/source/known/dropped.jsonl"])
@pytest.mark.parametrize("kind", FILES)
def test_data_that_no_source_and_no_task_folder_has_is_found(tmp_path, monkeypatch, kind, data):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.jsonl").write_text("{}\n")
    (tmp_path / "local").mkdir()
    written(tmp_path / "tasks", _base="dataset_path: json\n", _hub="dataset_path: someone/something\n")
    (tmp_path / "tasks/items.jsonl").write_text("{}\n")
    (tmp_path / "tasks/link.jsonl").symlink_to(tmp_path / "here.jsonl")  # its content is an input
    text, found = FILES[kind]
    (tmp_path / "tasks/one.yaml").write_text("task: one\n" + text.replace("DATA", data))
    assert len(undeclared("one")) == found
    assert undeclared("another") == []


def test_the_data_of_a_groups_members_and_of_a_tag_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = "dataset_path: json\ndataset_kwargs: {data_files: "
    written(
        tmp_path,
        tasks__all="group: all\ntask:\n  - inner\n  - {task: two, dataset_kwargs: {data_files: data/c.jsonl}}\n",
        tasks__inner="group: inner\ntask: [one, inner]\n",
        tasks__one=f"task: one\ntag: [some]\n{own}data/a.jsonl}}\n",
        tasks__two=f"task: two\n{own}data/b.jsonl}}\n",
    )
    for path in list(Path("tasks").iterdir()):
        path.rename(path.with_suffix(".yaml"))
    assert undeclared("all") == ["data/c.jsonl", "data/b.jsonl", "data/a.jsonl"]
    assert undeclared("some") == undeclared("one") == ["data/a.jsonl"]


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
    task = write_settings(tmp_path / "task")
    harness.write_result(tmp_path, SimpleNamespace(task_folder=None), task, 0, tmp_path / "odd")
    assert json.loads((tmp_path / "odd" / "result.json").read_text()) == rounded(found) != found
