"""Own tasks of the harness: an edit of their code, or of a file that they include, is a new score."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

pytestmark = pytest.mark.end_to_end
RESULT = "data/harness/own/served/choice/result.json"
FILES = {
    "choice.yaml": "task: choice\ninclude: _base\nprocess_results: !function utils.score\n",
    "_base": "include: more/_deeper\ndataset_path: json\ndataset_kwargs: {data_files: {test: tasks/items.jsonl}}\n",
    "more/_deeper": (
        "test_split: test\noutput_type: multiple_choice\ndoc_to_text: '{{question}}'\ndoc_to_choice: ['a', 'b']\n"
        "doc_to_target: 0\nmetric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
        "metadata: {version: 1.0}\n"
    ),
    "utils.py": "def score(doc, results):\n    return {'acc': 0.25}\n",
    "items.jsonl": '{"question": "one"}\n',
}


def recipe() -> dict[str, Any]:
    """One model, scored by one task."""
    scoring = {"task_folder": "tasks", "max_length": 64, "batch_size": 1, "dtype": "float32", "chat_template": True}
    return {
        "recipe": "own",
        "prompt": {"system": "Be kind."},
        "models": {"served": {"method": "local", "path": "weights"}},
        "evals": {"own": {"method": "harness", "checkpoints": ["served"], "tasks": ["choice"], **scoring}},
    }


@pytest.mark.parametrize("front_end", ["snakemake", "dvc"])
def test_nested_files_and_code_of_a_task_are_inputs_of_its_score(workspace, random_llama, front_end):
    root: Path = workspace.root
    random_llama(root / "weights", ["Name three rivers."] * 9)
    for name, text in FILES.items():
        (root / "tasks" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "tasks" / name).write_text(text)
    (root / "params.yaml").write_text(yaml.safe_dump(recipe()))
    if front_end == "dvc":
        shutil.copyfile(ROOT / ".gitignore", root / ".gitignore")
        shutil.copy(ROOT / "constraints.txt", root)
        for words in ("git init -q", "dvc init -q", "bezoar fingerprint", "bezoar dvc"):
            workspace.run(*words.split())

    def score() -> tuple[float, float]:
        """What a build says: the score, and the task's version."""
        workspace.snakemake(RESULT) if front_end == "snakemake" else workspace.run("dvc", "repro", "harness-own-served")
        result = json.loads((root / RESULT).read_text())
        return result["results"]["choice"]["acc,none"], result["versions"]["choice"]

    def edit(name: str, old: str, new: str) -> None:
        path = root / "tasks" / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    assert score() == (0.25, 1.0)
    edit("utils.py", "0.25", "0.75")
    edit("more/_deeper", "1.0", "2.0")
    assert score() == (0.75, 2.0)
    edit("utils.py", "0.75", "0.25")
    edit("more/_deeper", "2.0", "1.0")
    done = (root / "logs/harness/own/served/choice.log").stat().st_mtime_ns
    assert score() == (0.25, 1.0)
    assert (root / "logs/harness/own/served/choice.log").stat().st_mtime_ns == done  # restored, not run
