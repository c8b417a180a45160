"""Evaluations through a checkpoint's managed server, by whole builds with `bezoar serve` beside them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Workspace
from desk import PRICE
from test_serve import TRANSFORMERS, once

from bezoar import serving
from bezoar.requests.ledger import totals
from bezoar.steps.evaluate.answers import Answers

pytestmark = pytest.mark.end_to_end
QUESTIONS = 3
PENALTY = {"repetition_penalty": 1.3}
SERVERS = {
    "transformers": ([TRANSFORMERS, "serve", "{checkpoint}", "--host", "{host}", "--device", "cpu"], "/health"),
    "own": ([sys.executable, str(ROOT / "tests/completions.py"), "{checkpoint}"], "/health"),
}


def recipe_with(server: str) -> dict[str, Any]:
    """Two evaluations of one local model, each through a server and by loading it."""
    command, health = SERVERS[server]
    own = {"command": [*command, "--port", "{port}"], "health": health, "start": 240.0, "idle": 240.0}
    connection = {"api_key_env": "TEACHER_API_KEY", "server": own, "concurrency": 2}
    sources = yaml.safe_load((ROOT / "recipes/tiny.yaml").read_text())["sources"]
    sources = {name: sources[name] for name in ("world_questions", "world_choices", "world_generation")}
    for source in sources.values():
        source["origin"]["rows"] = 80
        source["limit"] = QUESTIONS
    loading = {"dtype": "float32", "batch_size": 2}
    temperatures = dict.fromkeys(Answers.model_fields["temperatures"].default, 0.0)
    answers = loading | {"questions": "world_questions", "max_new_tokens": 12, "temperatures": temperatures}
    data = ["world_choices", "world_generation"]
    harness = {"method": "harness", "tasks": data, "task_folder": "tasks", "data": data, "max_length": 512, **loading}
    model = str(serving.FOLDER / "student.model") if server == "transformers" else "student"  # it has its path as name
    kind = answers if server == "transformers" else harness | {"checkpoints": ["student"]}
    blocks = {"loaded": kind, "served": kind | {"served_by": ["student"]}}
    shown = {name: {"method": "answers", "checkpoints": ["student"], "answers": name} for name in blocks}
    made = {"answers": blocks, "evals": shown} if server == "transformers" else {"evals": blocks}
    return {
        "recipe": "served",
        "sources": sources,
        "models": {"student": {"method": "local", "path": "weights"}},
        "backends": {
            "student": {
                "kind": "openai",
                "model": model,
                "checkpoint": "student",
                "token_limit_field": "max_tokens",
                "connection": connection,
            }
        },
        **made,
        "budget": {"prices": "prices.yaml", "run": {"dollars": 0.0}},
    }


@pytest.fixture
def place(workspace: Workspace, random_llama: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with a model whose own settings would change most answers."""
    weights = random_llama(workspace.root / "weights", ["name the rivers of the world ."] * 9)
    settings = json.loads((weights / "generation_config.json").read_text())
    (weights / "generation_config.json").write_text(json.dumps(settings | PENALTY))
    tasks = workspace.root / "tasks"
    tasks.mkdir()
    for name in ("world_choices", "world_generation"):
        (tasks / f"{name}.yaml").write_text((ROOT / f"recipes/tasks/tiny/{name}.yaml").read_text())
    free = dict.fromkeys(("input", "cached", "written", "written_1h", "output"), 0.0)
    names = ("student", str(serving.FOLDER / "student.model"))
    prices = [PRICE | free | {"model": name} for name in names]
    (workspace.root / "prices.yaml").write_text(yaml.safe_dump({"prices": prices}))
    del workspace.environment["TEACHER_BASE_URL"]
    monkeypatch.chdir(workspace.root)
    return workspace


def prepared(place: Workspace, server: str) -> None:
    """Write the recipe."""
    Path("params.yaml").write_text(yaml.safe_dump(recipe_with(server)))


def served(place: Workspace, log: Path) -> Iterator[None]:
    """Run `bezoar serve` until its address is there, and end it afterwards."""
    process = place.start("bezoar", "serve", "student", log=log)
    try:
        once(lambda: serving.read_address("student"), process)
        yield
    finally:
        process.terminate()
        process.wait(60)


def both(folder: str, name: str) -> tuple[str, str]:
    """What was made by loading the checkpoint, and through its server."""
    return Path(folder, "loaded", "student", name).read_text(), Path(folder, "served", "student", name).read_text()


def test_greedy_answers_of_a_real_server_are_the_loaded_checkpoints_and_are_asked_for_once(place, tmp_path):
    prepared(place, "transformers")
    targets = [f"data/answers/{name}/student/turns.jsonl" for name in ("loaded", "served")]
    place.snakemake("data/base/student", "data/source/world_questions/rows.jsonl")
    plan = place.run("bezoar", "plan", *targets)
    assert "model requests of answers-served-student: at most 6 calls" in plan
    assert "answers-loaded-student: at most" not in plan

    def build() -> int:
        """Answers that a build asks for."""
        before = totals()["answers-served-student"].answers if Path("responses").exists() else 0
        for _ in served(place, tmp_path / "serve"):
            place.snakemake(*targets)
        return totals()["answers-served-student"].answers - before

    assert build() == 2 * QUESTIONS
    assert both("data/answers", "answers.jsonl")[0] == both("data/answers", "answers.jsonl")[1]
    loaded, through = ([json.loads(line) for line in one.splitlines()] for one in both("data/answers", "turns.jsonl"))
    assert [one | {"logprob": None} for one in loaded] == through  # a server says no log-probability
    assert build() == 0
    recipe = recipe_with("transformers")
    recipe["backends"]["student"] |= {"thinking": [], "max_attempts": 9, "json_schema": False}
    Path("params.yaml").write_text(yaml.safe_dump(recipe))  # no answer of a checkpoint depends on it
    assert "nothing to run" in place.run("bezoar", "plan", *targets)
    place.snakemake("--force", targets[1])  # without a server: all answers are stored
    assert both("data/answers", "answers.jsonl")[0] == both("data/answers", "answers.jsonl")[1]
    config = json.loads(Path("weights/config.json").read_text())
    Path("weights/config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.1}))
    assert build() == 2 * QUESTIONS
    assert both("data/answers", "answers.jsonl")[0] == both("data/answers", "answers.jsonl")[1]


def test_all_tasks_of_a_checkpoint_use_its_one_server(place, tmp_path):
    prepared(place, "own")
    place.snakemake("data/base/student")
    for _ in served(place, tmp_path / "serve"):
        secret = serving.read_address("student").secret
        place.snakemake("results/loaded.json", "results/served.json")
    loaded, through = (json.loads(Path(f"results/{name}.json").read_text()) for name in ("loaded", "served"))
    assert through == loaded | {"evaluation": "served"}
    result = Path("data/harness/served/student/world_choices/result.json").read_text()
    assert json.loads(result)["config"]["model"] == "ServedCheckpoint"
    logs = [path.read_text() for path in Path("logs").rglob("*.log")]
    assert all(secret not in text and place.environment["TEACHER_API_KEY"] not in text for text in [*logs, result])
    assert serving.log_path("student").read_text().count("--- ") == 1  # it was started once
