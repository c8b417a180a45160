"""Own tasks of the harness: an edit of their code is a new score; those of a checkpoint share one process."""

import json
import re
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


TASKS = ("drawn", "other", "written")
SHARED = {
    "_base": "dataset_path: json\ndataset_kwargs: {data_files: {test: tasks/items.jsonl}}\ntest_split: test\n",
    "_drawn": (
        "include: _base\noutput_type: multiple_choice\ndoc_to_text: !function utils.asked\n"
        "doc_to_choice: ['a', 'bee']\ndoc_to_target: 0\n"
        "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
    ),
    "drawn.yaml": "task: drawn\ninclude: _drawn\n",
    "other.yaml": "task: other\ninclude: _drawn\n",
    "written.yaml": (
        "task: written\ninclude: _base\noutput_type: generate_until\ndoc_to_text: '{{question}}'\n"
        "doc_to_target: '{{question}}'\ngeneration_kwargs: {do_sample: true, temperature: 1.0, max_gen_toks: 8}\n"
        "process_results: !function utils.length\n"
        "metric_list: [{metric: length, aggregation: mean, higher_is_better: true}]\n"
    ),
    "utils.py": (  # code with a state, which the next task must not find
        "import random\n\nDRAWS = random.Random(0)\n\n\ndef asked(doc):\n"
        "    return f\"{doc['question']} {DRAWS.random()}\"\n\n\ndef length(doc, results):\n"
        "    return {'length': sum(map(ord, results[0])) + DRAWS.random()}\n"
    ),
    "items.jsonl": "".join(json.dumps({"question": f"question {number}"}) + "\n" for number in range(12)),
}


def test_tasks_of_a_checkpoint_share_a_process_and_score_as_in_processes_of_their_own(workspace, random_llama):
    root: Path = workspace.root
    random_llama(root / "weights", ["Name three rivers, question 1 2 3."] * 9)
    (root / "tasks").mkdir()
    for name, text in SHARED.items():
        (root / "tasks" / name).write_text(text)
    shared = recipe()
    shared["evals"]["own"]["tasks"] = list(TASKS)
    (root / "params.yaml").write_text(yaml.safe_dump(shared))
    results = [f"data/harness/own/served/{task}/result.json" for task in TASKS]

    def build(*builds: list[str]) -> tuple[list[bytes], str]:
        """What several builds make, and say."""
        said = "".join(workspace.snakemake(*one, "--cores", "2") for one in builds)
        return [(root / path).read_bytes() for path in results], said

    alone, said = build(*([path] for path in results))
    assert "in the same process" not in said
    shutil.rmtree(root / ".dvc/cache")
    shutil.rmtree(root / "data/harness")
    together, said = build(results)
    assert together == alone
    assert len(re.findall("^data/harness/.* was made in the same process", said, re.MULTILINE)) == 2
    assert "waiting for it" not in said  # jobs that a running process makes, too, aren't started beside it
    assert len(re.findall("^restored data/harness/", said, re.MULTILINE)) == 2
    logs = {path.stem: path.read_text() for path in (root / "logs/harness/own/served").glob("*.log")}
    assert {task for task, text in logs.items() if f"'alias': '{task}'" in text} == set(TASKS)  # each its own
    # A second run asks the model nothing, and a change of one task asks it for that task alone.
    _, said = build(results)
    assert "Nothing to be done" in said
    shared["evals"]["own"]["tasks"] = ["drawn", {"name": "other", "chat_template": False, "limit": 5}, "written"]
    (root / "params.yaml").write_text(yaml.safe_dump(shared))
    times = {task: (root / f"logs/harness/own/served/{task}.log").stat().st_mtime_ns for task in TASKS}
    changed, _ = build(results)
    assert [one == before for one, before in zip(changed, together, strict=True)] == [True, False, True]
    assert json.loads(changed[1])["n-samples"]["other"]["effective"] == 5
    ran = [task for task, then in times.items() if logs_of(root)[task].stat().st_mtime_ns != then]
    assert ran == ["other"]


def logs_of(root: Path) -> dict[str, Path]:
    """The log of each task's score."""
    return {path.stem: path for path in (root / "logs/harness/own/served").glob("*.log")}
