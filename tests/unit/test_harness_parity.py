"""Scores of the harness through us and by its own command line, on one checkpoint: equal to the last digit."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from harness_data import write_settings
from mains import script

from bezoar import yaml12
from bezoar.files import rounded
from bezoar.steps.data.contamination.items import Item
from bezoar.steps.data.rows import read_rows
from bezoar.steps.evaluate import harness
from bezoar.steps.evaluate.targets import write_harness_targets
from bezoar.steps.evaluate.task import read_task

SEED, SHOTS, SYSTEM = 3, 2, "Be kind."
WORDS = ["Name three rivers.", "Why is the sky blue?", "Say what melts ice.", "Tell me a tale.", "Count to three."]
DATA = "dataset_path: json\ndataset_kwargs: {data_files: {test: ROWS, train: ROWS}}\n"
SPLITS = "test_split: test\nfewshot_split: train\nmetadata: {version: 1.0}\n"
TASKS = {
    "choices": "output_type: multiple_choice\ndoc_to_text: '{{question}}'\ndoc_to_choice: '{{choices}}'\n"
    "doc_to_target: answer\nmetric_list: [{metric: acc}, {metric: acc_norm}]\n",
    "written": "output_type: generate_until\ndoc_to_text: '{{question}}'\ndoc_to_target: '{{reply}}'\n"
    "generation_kwargs: {until: ['e'], do_sample: false, max_gen_toks: 12}\n"
    "metric_list: [{metric: exact_match}, {metric: chrf}]\n",
    "likely": "output_type: loglikelihood\ndoc_to_text: '{{question}}'\ndoc_to_target: '{{reply}}'\n"
    "metric_list: [{metric: perplexity, aggregation: perplexity, higher_is_better: false}, {metric: acc}]\n",
    "rolling": "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{question}}'\n"
    "metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]\n",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, random_llama: Any) -> Path:
    """A folder with a checkpoint, and tasks over rows."""
    root = tmp_path_factory.mktemp("parity")
    random_llama(root / "weights", [*WORDS, SYSTEM] * 9)
    rows = root / "rows.jsonl"
    row = {"choices": [" Yangtze, Lena, Ob", " no", " why ?"], "reply": " no"}
    lines = ({"question": text, "answer": place % 3, **row} for place, text in enumerate(WORDS * 2))
    rows.write_text("".join(json.dumps(one) + "\n" for one in lines))
    (root / "tasks").mkdir()
    for name, text in TASKS.items():
        data = DATA.replace("ROWS", str(rows))
        (root / "tasks" / f"{name}.yaml").write_text(f"task: {name}\n{data}{SPLITS}{text}")
    return root


def by_command_line(root: Path, out: Path, *, chat_template: bool, limit: int | None) -> dict[str, Any]:
    """The results of `lm_eval`, in a process of its own."""
    flags = {
        "model": "hf",
        "model_args": f"pretrained={root / 'weights'},dtype=float32,max_length=256",
        "tasks": ",".join(TASKS),
        "include_path": root / "tasks",
        "num_fewshot": SHOTS,
        "batch_size": 2,
        "device": "cpu",
        "seed": SEED,
        "output_path": out,
        **({"system_instruction": SYSTEM, "apply_chat_template": "true"} if chat_template else {}),
        **({"limit": limit} if limit else {}),
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    done = subprocess.run([sys.executable, "-m", "lm_eval", *words], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr[-4000:]
    (path,) = out.rglob("results_*.json")
    found: dict[str, Any] = json.loads(path.read_text())["results"]
    return found


@pytest.mark.parametrize(("chat_template", "limit"), [(False, None), (True, 7)])
def test_scores_are_those_of_the_harness_own_command_line_to_the_last_digit(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chat_template: bool, limit: int | None
) -> None:
    wanted = by_command_line(place, tmp_path / "theirs", chat_template=chat_template, limit=limit)
    assert wanted.keys() == TASKS.keys()
    raw: dict[str, Any] = {}
    evaluated = harness.evaluated

    def kept(model: Any, name: str, *given: Any) -> dict[str, Any]:
        raw[name] = evaluated(model, name, *given)
        return dict(raw[name])

    monkeypatch.setattr(harness, "evaluated", kept)
    monkeypatch.chdir(tmp_path)
    block = {"max_length": 256, "batch_size": 2, "dtype": "float32", "task_folder": str(place / "tasks")}
    Path("params.yaml").write_text(json.dumps({"seed": SEED, "evals": {"own": block}}))
    system = SYSTEM if chat_template else None
    for name in TASKS:
        shots = {"num_fewshot": SHOTS, "chat_template": chat_template, "system": system, "limit": limit}
        task = write_settings(tmp_path / "tasks" / name, **shots)
        flags = ["--checkpoint", str(place / "weights"), "--task", str(task), "--out", f"ours/{name}"]
        names = [f"evals.own.{key}" for key in block]
        script("evaluate/harness").main(["--params", *names, "seed", *flags])
        assert json.loads(json.dumps(raw[name]["results"][name])) == wanted[name]  # every bit of every float
        written = json.loads(Path(f"ours/{name}/result.json").read_text())["results"][name]
        assert written == rounded(wanted[name])
    numbers = [one for found in wanted.values() for one in found.values() if isinstance(one, float)]
    assert len({*numbers}) > 9  # scores and their errors differ from each other


def test_samples_have_all_prompts_responses_and_metrics(place: Path, tmp_path: Path) -> None:
    model = harness.loaded(place / "weights", 2, 256, "float32")
    block = harness.Asking(max_length=256, task_folder=str(place / "tasks"))
    found = {}
    for name in TASKS:
        task = write_settings(tmp_path / "tasks" / name, num_fewshot=1, limit=4)
        harness.write_result(model, block, task, SEED, tmp_path / "own" / name)
        found[name] = pyarrow.parquet.read_table(tmp_path / "own" / name / "samples.parquet").to_pylist()
        items = [yaml12.load(line) for line in (tmp_path / "own" / name / "items.jsonl").read_text().splitlines()]
        assert [(one["task"], one["id"]) for one in items] == [(one["task"], one["id"]) for one in found[name]]
        assert len(items) == 4
    first = found["choices"][0]
    assert (first["task"], first["id"], first["filter"]) == ("choices", "0", "none")
    assert first["prompts"][0].endswith(WORDS[0])  # one prompt for three choices
    assert len(first["prompts"]) == 1
    assert len(first["prompts"][0]) > len(WORDS[0])  # the solved example is in it
    assert [text.strip() for text in first["continuations"]] == ["Yangtze, Lena, Ob", "no", "why ?"]
    assert len(json.loads(first["filtered"])) == 3
    assert json.loads(first["metrics"]).keys() >= {"acc", "acc_norm"}
    assert json.loads(first["document"])["question"] == WORDS[0]
    written = found["written"][0]
    assert json.loads(written["settings"])["max_gen_toks"] == 12
    ((response,),) = json.loads(written["responses"])
    assert isinstance(response, str)
    assert written["target"].strip() == "no"
    assert "exact_match" in json.loads(written["metrics"])
    assert found["rolling"][0]["prompts"] == [WORDS[0]]


OWN_SHOTS = {"two": "num_fewshot: 2\n", "zero": "num_fewshot: 0\n", "none": ""}


@pytest.mark.parametrize(
    ("asked", "shown"),
    [(None, {"two": 2, "zero": 0, "none": 0}), (1, {"two": 1, "zero": 0, "none": 1})],
)
def test_a_task_has_its_own_number_of_examples_unless_a_recipe_says_another(
    place: Path, tmp_path: Path, asked: int | None, shown: dict[str, int]
) -> None:
    for name, own in OWN_SHOTS.items():
        data = DATA.replace("ROWS", str(place / "rows.jsonl"))
        text = f"task: {name}\n{own}{data}{SPLITS}{TASKS['choices']}"
        (tmp_path / "tasks").mkdir(exist_ok=True)
        (tmp_path / f"tasks/{name}.yaml").write_text(text)
    model = harness.loaded(place / "weights", 2, 256, "float32")
    settings = read_task(write_settings(tmp_path / "settings", num_fewshot=asked, limit=2))
    for name, count in shown.items():
        result = harness.evaluated(model, name, settings, str(tmp_path / "tasks"), SEED)
        assert result["n-shot"] == {name: count}
        prompt = result["samples"][name][0]["arguments"][0][0]
        assert sum(prompt.count(one) for one in WORDS) == count + 1  # and the question itself
        write_harness_targets(None, tmp_path / "settings", str(tmp_path / "tasks"), tmp_path / f"own/{name}.jsonl")
        items = read_rows(tmp_path / f"own/{name}.jsonl", Item)
        assert any(item.fewshot for item in items) == (count > 0)
