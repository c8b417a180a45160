"""Own tasks of the harness: every file below their folder is an input of a score."""

from bezoar.tasks import includes_outside, task_files


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
    assert list(includes_outside(tmp_path)) == [(tmp_path / "a.yaml", "/etc/base.yaml")]
