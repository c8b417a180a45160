"""Tasks of the harness: each with settings of its own, with pinned data that are fetched once, and with packages."""

import json
import logging
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from harness_data import STAND_INS, write_harness_data, write_settings
from hub import Hub
from mains import script
from pydantic import ValidationError

from bezoar.errors import InputError
from bezoar.recipe.load import load
from bezoar.recipe.pin import pinned, pins_of
from bezoar.steps.evaluate import task_data, task_settings
from bezoar.steps.evaluate.evaluation import Scores
from bezoar.steps.evaluate.harness import Harness
from bezoar.steps.evaluate.samples import item_scores
from bezoar.steps.evaluate.task import DATA, SETTINGS, read_task
from bezoar.steps.evaluate.task_settings import GROUPS, KNOWN
from bezoar.steps.report.harness import compare, write_report
from bezoar.steps.results.summary import summary

ROOT = Path(__file__).parents[2]
BLOCK = {"method": "harness", "checkpoints": ["base"]}
OWN = "task: NAME\ndataset_path: json\ndataset_kwargs: {data_files: {test: tasks/rows.jsonl}}\n"


def harness(**keys: Any) -> Harness:
    return Harness.model_validate(BLOCK | keys)


# --- Settings of each task -------------------------------------------------------------------------------------------


def test_a_task_has_its_own_settings_over_those_of_its_evaluation() -> None:
    tasks = ["piqa", {"name": "gsm8k", "num_fewshot": 5, "limit": None}, {"name": "wic", "chat_template": True}]
    block = harness(tasks=tasks, num_fewshot=1, limit=10)
    assert {name: tuple(one.model_dump(exclude={"revisions"}).values()) for name, one in block.tasks.items()} == {
        "piqa": (1, False, None, 10),
        "gsm8k": (5, False, None, None),
        "wic": (1, True, None, 10),
    }
    assert harness(tasks=["piqa"]).tasks["piqa"].num_fewshot is None  # that of its own file
    again = Harness.model_validate(block.model_dump())  # as a job reads the values of a run
    assert again.tasks == block.tasks
    assert list(harness(tasks={"piqa": None, "wic": {"limit": 3}}).tasks) == ["piqa", "wic"]


@pytest.mark.parametrize("name", ["tiny", "smollm2-135m", "openbezoar-3b"])
def test_the_shipped_recipes_show_no_solved_example(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = yaml.safe_load((ROOT / f"recipes/{name}.yaml").read_text())["evals"]["harness"]
    assert {one.num_fewshot for one in Harness.model_validate(found).tasks.values()} == {0}


def test_a_group_brings_its_tasks_with_their_numbers_of_examples() -> None:
    leaderboard = {"arc_challenge": 25, "hellaswag": 10, "mmlu": 5, "truthfulqa_mc2": 0, "winogrande": 5, "gsm8k": 5}
    block = harness(tasks=[{"name": "open_llm_leaderboard_v1", "limit": 7}, "piqa"], num_fewshot=2)
    assert {name: one.num_fewshot for name, one in block.tasks.items()} == {**leaderboard, "piqa": 2}
    assert [one.limit for one in block.tasks.values()] == [7] * 6 + [None]
    own = harness(tasks=["open_llm_leaderboard_v1"], task_folder="tasks")
    assert list(own.tasks) == ["open_llm_leaderboard_v1"]  # it names a task of the folder


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (["wic", "wic"], "each task once"),
        (["openllama", "wic"], "each task once"),
        ([{"num_fewshot": 5}], "a block with `name`"),
        ("wic", "a list of tasks"),
        ([{"name": "wic", "shots": 5}], "Extra inputs"),
        ([{"name": "wic", "limit": 0}], "greater than or equal to 1"),
        ([], "at least 1"),
    ],
)
def test_tasks_that_do_not_fit_are_refused(tasks: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        harness(tasks=tasks)


def test_the_harness_has_all_tasks_of_the_groups() -> None:
    index = task_data.manager_of(None).task_index
    assert {task for group in GROUPS.values() for task in group} <= index.keys()
    data = ["Rowan/hellaswag", "allenai/ai2_arc", "allenai/winogrande", "cais/mmlu", "openai/gsm8k"]
    assert task_data.data_sets(GROUPS["open_llm_leaderboard_v1"], None) == [*data, "truthfulqa/truthful_qa"]
    known = {task: [data for data, tasks in task_settings.DATA.items() if task in tasks] for task in KNOWN}
    assert {task: task_data.data_sets([task], None) for task in KNOWN} == known
    assert {task for group in GROUPS.values() for task in group} == KNOWN


def test_a_commit_concerns_the_tasks_that_may_read_its_data() -> None:
    commits = {"allenai/ai2_arc": "a" * 40, "baber/piqa": "b" * 40, "some/data": "c" * 40}
    tasks: list[Any] = ["arc_easy", "piqa", "other", {"name": "wic", "revisions": {"my/wic": "d" * 40}}]
    block = harness(tasks=tasks, revisions=commits)
    assert {name: "".join(one[0] for one in found.revisions.values()) for name, found in block.tasks.items()} == {
        "arc_easy": "ac",  # some/data may be where its data are by now
        "piqa": "bc",
        "other": "abc",
        "wic": "d",
    }
    more = harness(tasks=[*tasks, "rte"], revisions={**commits, "nyu-mll/glue": "e" * 40})
    assert [more.tasks[name] == block.tasks[name] for name in block.tasks] == [True, True, False, True]
    own = harness(tasks=["piqa"], revisions=commits, task_folder="tasks")  # a task of the folder, which may read others
    assert own.tasks["piqa"].revisions == commits


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a recipe of two own tasks."""
    monkeypatch.chdir(tmp_path)
    Path("tasks").mkdir()
    Path("tasks/rows.jsonl").write_text('{"question": "one"}\n')
    for name in ("first", "second"):
        Path(f"tasks/{name}.yaml").write_text(OWN.replace("NAME", name))
    return tmp_path


def written(folder: str, **keys: Any) -> dict[str, bytes]:
    """All files of the tasks' artifacts, for a recipe with these keys."""
    block = harness(**{"task_folder": "tasks", "tasks": ["first", "second"], **keys})
    recipe = {"prompt": {"system": "Be kind."}, "evals": {"own": block.model_dump(mode="json")}}
    Path("params.yaml").write_text(json.dumps(recipe))
    for task, settings in block.tasks.items():
        names = [f"evals.own.tasks.{task}", "evals.own.task_folder", *(["prompt"] if settings.takes_prompt else [])]
        script("evaluate/harness_tasks").main(["--params", *names, "--out", f"{folder}/{task}"])
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*.*"))}


def test_a_change_of_one_tasks_settings_changes_its_artifact_alone(project: Path) -> None:
    before = written("a")
    assert before.keys() == {f"{task}/{name}" for task in ("first", "second") for name in (SETTINGS, DATA)}
    assert written("b", tasks=["second", "first"]) == before
    after = written("c", tasks=["first", {"name": "second", "num_fewshot": 3, "limit": 5}])
    assert [name for name, content in after.items() if content != before[name]] == [f"second/{SETTINGS}"]
    assert (read_task(Path("c/second")).num_fewshot, read_task(Path("c/second")).limit) == (3, 5)


def test_a_system_text_counts_only_through_a_chat_template(project: Path) -> None:
    tasks = ["first", {"name": "second", "chat_template": True}]
    written("a", tasks=tasks)
    assert [read_task(Path("a", name)).system for name in ("first", "second")] == [None, "Be kind."]
    tasks[1] = {"name": "second", "chat_template": True, "system": ""}
    written("b", tasks=tasks)
    assert read_task(Path("b/second")).system is None
    tasks[1] = {"name": "second", "chat_template": True, "system": "Be short."}
    written("c", tasks=tasks)
    assert read_task(Path("c/second")).system == "Be short."


def test_a_report_says_how_tasks_were_asked_and_not_what_the_recipe_says(tmp_path: Path) -> None:
    tasks = [{"name": "group", "limit": 3}, {"name": "zero", "chat_template": True}, "five"]
    block = harness(tasks=tasks, num_fewshot=5)
    # what the harness showed: tasks whose file says 0 keep it, and those of a group may differ
    shots = {"group": {"one": 5, "two": 0}, "zero": {"zero": 0}, "five": {"five": 5}}
    for task, shown in shots.items():
        chat_template = block.tasks[task].chat_template
        system = "Be kind." if chat_template else None  # of `prompt.system`
        settings = {"num_fewshot": 5, "limit": block.tasks[task].limit}
        write_settings(tmp_path / "tasks" / task, chat_template=chat_template, system=system, **settings)
        folder = tmp_path / "results" / "base" / task
        folder.mkdir(parents=True)
        result = {"results": {task: {"acc,none": 0.5, "acc_stderr,none": 0.1}}, "versions": {task: 1}}
        result |= {"n-samples": {task: {"effective": 9}}, "n-shot": shown}
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "items.jsonl").write_text("")
    write_report(tmp_path / "results", tmp_path / "tasks", block, tmp_path / "bench.json", {})
    found = json.loads((tmp_path / "bench.json").read_text())
    plain = {"num_fewshot": 5, "chat_template": False, "system": None, "limit": None}
    assert found["tasks"] == {
        "group": plain | {"num_fewshot": None, "limit": 3},
        "zero": plain | {"num_fewshot": 0, "chat_template": True, "system": "Be kind."},
        "five": plain,
    }
    shown_of = block.scores_of("base", found)
    assert isinstance(shown_of, Scores)
    assert "lm-evaluation-harness, 0-shot (zero), 5-shot (five), mixed-shot (group); " in shown_of.text


def test_a_score_that_is_no_finite_number_is_null_with_the_reason(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.INFO, logger="bezoar")
    found = {"acc,none": math.nan, "acc_stderr,none": math.nan, "ppl,none": math.inf, "ppl_stderr,none": "N/A"}
    found |= {"chrf,none": 3, "chrf_stderr,none": math.nan}
    write_settings(tmp_path / "tasks/odd")
    items = item_scores({"odd": [{"doc_id": 0, "filter": "none", "metrics": ["acc", "f1"], "acc": math.nan, "f1": 1}]})
    assert items[0]["scores"] == {"f1": 1.0}
    for checkpoint in ("base", "tuned"):
        folder = tmp_path / "data/harness/bench" / checkpoint / "odd"
        folder.mkdir(parents=True)
        result = {"results": {"odd": found}, "versions": {"odd": 1}, "n-samples": {"odd": {"effective": 1}}}
        (folder / "result.json").write_text(json.dumps(result | {"n-shot": {"odd": 0}}))
        (folder / "items.jsonl").write_text(json.dumps(items[0] | {"scores": {"acc": math.nan}}))
    expected = {"source": "a table", "decimals": 2, "scores": {"base": {"odd": {"acc": 0.5}}}}
    block = harness(checkpoints=["base", "tuned"], tasks=["odd"], expected=expected)
    out = tmp_path / "results/bench.json"
    write_report(tmp_path / "data/harness/bench", tmp_path / "tasks", block, out, {})
    report = json.loads(out.read_text())
    metrics = report["checkpoints"]["tuned"]["odd"]["metrics"]
    assert metrics == {
        "acc": {"score": None, "standard_error": None, "why": "the harness says nan"},
        "ppl": {"score": None, "standard_error": None, "why": "the harness says inf"},
        "chrf": {"score": 3, "standard_error": None},
    }
    assert report["checkpoints"]["tuned"]["odd"]["clean"]["metrics"] == dict.fromkeys(metrics)
    differ = "base odd acc: no score (the harness says nan) ± 0.000, published 0.5"
    assert report["expected"]["differ"] == [differ]
    assert "tuned: odd acc no score (the harness says nan), odd ppl" in caplog.text
    assert json.loads((tmp_path / "results/metrics/bench/base.json").read_text()) == {}  # no average
    assert {one.metric: (one.score, one.withheld) for one in summary([out])} == {
        "odd: acc": (None, "the harness says nan"),
        "odd: ppl": (None, "the harness says inf"),
        "odd: chrf": (3.0, None),
    }
    shown = block.scores_of("base", report)
    assert isinstance(shown, Scores)
    assert shown.rows[0] == ("odd", "acc", None, None, 1)


# --- Data of the hub -------------------------------------------------------------------------------------------------

FETCH = """
import json, sys
from pathlib import Path
from bezoar.errors import InputError
from bezoar.steps.evaluate.task_data import fetch
revisions = {"allenai/ai2_arc": sys.argv[1]}
for task, pins, out in (("arc_challenge", revisions, "one"), ("arc_challenge", revisions, "two"),
                        ("arc_challenge", {}, "none"), ("arc_chalenge", revisions, "none")):
    try:
        print(json.dumps(fetch(task, "tasks", pins, Path(out, "data.zip"))))
    except InputError as error:
        print(json.dumps(str(error)))
"""
READ = """
import json, sys
from pathlib import Path
from bezoar.errors import InputError
from bezoar.steps.evaluate.task_data import manager_of, offline
for name in ("arc_challenge", "arc_easy"):
    with offline(Path("one/data.zip")):
        try:
            (task,) = manager_of("tasks").load([name])["tasks"].values()
            print(json.dumps([list(task.eval_docs), list(task.fewshot_docs())]))
        except InputError as error:
            print(json.dumps(str(error)))
"""


def lines_of(code: str, folder: Path, *words: str, **variables: str) -> list[Any]:
    """The JSON lines that a Python process writes."""
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1", **variables}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line[:1] in '{["']


def test_data_are_fetched_at_a_commit_once_and_read_without_a_network(tmp_path: Path) -> None:
    import lm_eval

    shutil.copytree(Path(lm_eval.__file__).parent / "tasks/arc", tmp_path / "tasks")
    write_harness_data(tmp_path / "hub/datasets")
    with Hub(tmp_path / "hub") as hub:
        online = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
        found, _, unpinned, unknown = lines_of(FETCH, tmp_path, hub.commit, **online)
    assert found["versions"] == {"arc_challenge": 1.0}
    assert found["data"] == [{"path": "allenai/ai2_arc", "name": "ARC-Challenge", "revision": hub.commit}]
    assert (tmp_path / "one" / DATA).read_bytes() == (tmp_path / "two" / DATA).read_bytes()
    assert "the data set allenai/ai2_arc has no commit" in unpinned
    assert "the harness has no such task" in unknown
    assert "did you mean `arc_challenge`?" in unknown
    assert not (tmp_path / "none" / DATA).exists()
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
    documents, other = lines_of(READ, tmp_path, **offline)
    assert documents == [[STAND_INS["arc_challenge"][2]] * 2] * 2
    assert "a task reads a data set that wasn't fetched for it" in other


def test_all_types_of_a_data_set_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    label = datasets.ClassLabel(names=["no", "yes"])
    inner = {"text": datasets.List(datasets.Value("string")), "score": datasets.Value("float32")}
    features = datasets.Features({"id": datasets.Value("int64"), "label": label, "choices": inner})
    rows = [
        {"id": 1, "label": 1, "choices": {"text": ["a", "é"], "score": 0.1}},
        {"id": 2, "label": 0, "choices": None},
    ]
    table = datasets.Dataset.from_list(rows, features=features)
    whole = datasets.DatasetDict({"train": table, "test": table.select([0])})
    monkeypatch.setattr(
        datasets, "load_dataset", lambda path, name=None, split=None, **_: whole[split] if split else whole
    )

    class Task:
        VERSION = 2

    class Manager:
        task_index: ClassVar[dict[str, None]] = {"odd": None}

        def load(self, names: list[str]) -> Any:
            datasets.load_dataset("org/odd")
            datasets.load_dataset(path="org/odd", name="more", split="test")
            return {"tasks": {"odd": Task()}}

    monkeypatch.setattr(task_data, "manager_of", lambda folder: Manager())
    task_data.fetch("odd", None, {"org/odd": "a" * 40}, tmp_path / DATA)
    with task_data.offline(tmp_path / DATA):
        found = datasets.load_dataset("org/odd", name=None)
        assert found.keys() == whole.keys()
        assert found["train"].features == features
        assert [list(found[name]) for name in found] == [list(whole[name]) for name in found]
        assert list(datasets.load_dataset("org/odd", "more", split="test")) == list(whole["test"])
        with pytest.raises(InputError, match="org/even"):
            datasets.load_dataset("org/even")


RECIPE = """\
recipe: mine
evals:
  own:
    method: harness   # a comment
    checkpoints: [base]
    tasks:
      - arc_easy
      - {name: rte, num_fewshot: 2}
  flow: {method: harness, checkpoints: [base], tasks: [piqa]}
  part:
    method: harness
    checkpoints: [base]
    tasks: [arc_easy, piqa, wic]
    revisions:
      allenai/ai2_arc: main
      baber/piqa: ONES
""".replace("ONES", f'"{"1" * 40}"')


def test_pin_writes_the_commits_of_the_data_sets_that_tasks_read(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "c" * 40
    asked = []
    monkeypatch.setattr(
        "bezoar.recipe.pin._commit", lambda kind, name, at, key: asked.append((kind, name, at)) or commit
    )
    text = pinned(RECIPE, pins_of(RECIPE, Path("params.yaml")), Path("params.yaml"))
    found = yaml.safe_load(text)["evals"]
    assert found["own"]["revisions"] == {"allenai/ai2_arc": commit, "nyu-mll/glue": commit}
    assert found["flow"]["revisions"] == {"baber/piqa": commit}
    revisions = {"allenai/ai2_arc": commit, "aps/super_glue": commit, "baber/piqa": "1" * 40}
    assert found["part"]["revisions"] == revisions
    assert {kind for kind, _, _ in asked} == {"dataset"}
    assert "method: harness   # a comment\n    revisions:\n      allenai/ai2_arc: ccc" in text
    assert pins_of(text, Path("params.yaml")) == []


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The paper's recipe, to be changed."""
    monkeypatch.chdir(ROOT)
    found: dict[str, Any] = yaml.safe_load((ROOT / "recipes/openbezoar-3b.yaml").read_text())
    return found


def refusal(recipe: dict[str, Any], folder: Path) -> str:
    """What is wrong with a recipe; nothing if it is sound."""
    (folder / "params.yaml").write_text(yaml.safe_dump(recipe))
    try:
        load(folder / "params.yaml")
    except InputError as error:
        return str(error)
    return ""


def test_a_recipe_says_before_it_runs_what_its_tasks_lack(paper, tmp_path: Path, monkeypatch) -> None:
    block = paper["evals"]["harness"]
    assert refusal(paper, tmp_path) == ""
    revisions = block.pop("revisions")
    assert "evals.harness.revisions: the tasks read data sets of the hub" in refusal(paper, tmp_path)
    assert "`bezoar recipe pin` finds them out" in refusal(paper, tmp_path)
    block["revisions"] = {**revisions, "baber/piqa": "main"}
    assert "a branch or a tag can move" in refusal(paper, tmp_path)
    block["revisions"] = revisions
    block["tasks"] = [*block["tasks"], "ifeval"]
    monkeypatch.setattr(task_settings, "find_spec", lambda name: None if name == "langdetect" else name)
    said = refusal(paper, tmp_path)
    assert "evals.harness.tasks.ifeval: packages of this task aren't installed\n  found:    no langdetect" in said
    assert "pip install 'bezoar[ifeval]'" in said
    monkeypatch.setattr(task_settings, "find_spec", lambda name: name)
    assert refusal(paper, tmp_path) == ""
    block["tasks"][-1] = {"name": "ifeval", "system": "Be kind."}
    assert "evals.harness.tasks.ifeval.system: a system text is sent through a chat template only" in refusal(
        paper, tmp_path
    )


# --- Published scores ------------------------------------------------------------------------------------------------


def test_a_score_differs_by_two_standard_errors_and_what_rounding_can_make() -> None:
    def differs(score: float, error: float | None, published: float = 0.34) -> bool:
        metrics = {"acc": {"score": score, "standard_error": error}}
        found = compare(metrics, {"acc": published}, 2)
        assert metrics["acc"]["expected"]["score"] == published
        assert metrics["acc"]["expected"]["differs"] == bool(found)
        return bool(found)

    assert not differs(0.34 + 2 * 0.014 + 0.005, 0.014)
    assert differs(0.34 + 2 * 0.014 + 0.0051, 0.014)
    assert not differs(0.34 - 2 * 0.014 - 0.005, 0.014)
    assert differs(0.34 - 2 * 0.014 - 0.0051, 0.014)
    assert differs(0.3451, None)
    assert not differs(0.345, None)


def test_result_and_log_say_which_published_scores_are_not_met(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, logger="bezoar")
    expected = {"source": "a table", "decimals": 2, "scores": {"base": {"wic": {"acc": 0.50}, "rte": {"acc": 0.55}}}}
    block = BLOCK | {"checkpoints": ["base", "tuned"], "tasks": ["wic", {"name": "rte", "num_fewshot": 2}]}
    scores = {"wic": 0.51, "rte": 0.65}
    write_settings(Path("tasks_of/wic"))
    write_settings(Path("tasks_of/rte"), num_fewshot=2)
    for checkpoint in block["checkpoints"]:
        for task, score in scores.items():
            folder = Path("results_of", checkpoint, task)
            folder.mkdir(parents=True)
            result = {"results": {task: {"acc,none": score, "acc_stderr,none": 0.02}}, "versions": {task: 1}}
            result["n-shot"] = {task: 2 if task == "rte" else 0}
            (folder / "result.json").write_text(json.dumps(result | {"n-samples": {task: {"effective": 600}}}))
            (folder / "items.jsonl").write_text("")

    def report(**keys: Any) -> Any:
        Path("params.yaml").write_text(json.dumps({"seed": 0, "evals": {"bench": block | keys}}))
        flags = ["--results", "results_of", "--tasks", "tasks_of", "--out", "bench.json", "--certificates"]
        script("report/harness").main(["--params", "evals.bench", "seed", *flags])
        return json.loads(Path("bench.json").read_text())

    found = report(expected=expected)
    assert found["expected"] == {
        "source": "a table",
        "differ": ["base rte acc: 0.650 ± 0.020, published 0.55"],
    }
    assert found["checkpoints"]["base"]["wic"]["metrics"]["acc"]["expected"]["differs"] is False
    assert "expected" not in found["checkpoints"]["tuned"]["rte"]["metrics"]["acc"]
    assert "base rte acc: 0.650 ± 0.020, published 0.55 (a table)" in caplog.text
    assert found["tasks"]["rte"]["num_fewshot"] == 2
    shown = Harness.model_validate(block).scores_of("base", found)
    assert isinstance(shown, Scores)
    assert shown.text == "lm-evaluation-harness, 0-shot (wic), 2-shot (rte); ± is one standard error."
    expected["scores"]["base"]["rte"]["acc"] = 0.66
    assert report(expected=expected)["expected"]["differ"] == []
    assert "all published scores are met: a table" in caplog.text
    assert "expected" not in report()
    expected["scores"]["base"]["rte"] = {"accuracy": 0.66}
    with pytest.raises(InputError, match=r"bench.expected.scores.base.rte: no such metric\n  found: .*accuracy"):
        report(expected=expected)
