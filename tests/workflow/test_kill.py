"""A build that is killed without warning continues where it was, with the same results."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from templates import answered

from bezoar.files import MARKER, files_in

pytestmark = pytest.mark.end_to_end
PROMPTS = "recipes/prompts/openbezoar-3b"
IN_FLIGHT = 4  # requests of one job
TARGETS = ("data/mixes/evol/train.jsonl", "data/adapters/sft_lamini")
FINISHED = re.compile(r"^Finished jobid: (\d+) ", re.MULTILINE)
STARTED = re.compile(r"^    output: ([^,\n]+).*?^    jobid: (\d+)$", re.MULTILINE | re.DOTALL)
TOTAL = re.compile(r"^total +(\d+)", re.MULTILINE)
# jobs that a run is allowed to finish, and seconds into the next ones: starting, working, writing
KILLS = ((2, 0.0), (3, 0.7), (3, 2.0), (2, 5.0))


def cheap() -> dict[str, Any]:
    """The embedded recipe with few rows, a short pre-training, and the model server as teacher and judge."""
    recipe = yaml.safe_load((Path(__file__).parents[2] / "recipes/tiny.yaml").read_text())
    recipe |= {"recipe": "cheap", "shards": 1}
    for name, rows in {"world_text": 400, "world_dolly": 20, "world_flan": 60, "world_preferences": 40}.items():
        recipe["sources"][name]["origin"]["rows"] = rows
    for name in ("teacher", "judge"):
        recipe["backends"][name] = {
            "kind": "openai",
            "model": name,
            "token_limit_field": "max_tokens",
            "sends_sampling": True,
            "json_schema": True,
            "max_attempts": 1,
            "max_output_tokens": None,
            "connection": {
                "base_url_env": "TEACHER_BASE_URL",
                "server": None,
                "api_key_env": "TEACHER_API_KEY",
                "concurrency": IN_FLIGHT,
                "requests_per_minute": None,
                "tokens_per_minute": None,
                "timeout": 30.0,
                "deadline": 60.0,
                "batch": False,
            },
        }
    recipe["budget"] |= {"prices": "prices.yaml", "run": {"dollars": 0.0, "tokens": None}}
    for name in ("lamini", "evol"):
        recipe["schemes"][name] |= {"prompts": f"{PROMPTS}/{name}.yaml", "max_failed_share": 0.5}
        recipe["filters"][name] |= {"prompts": f"{PROMPTS}/filter.yaml", "max_failed_share": 0.5}
    recipe["schemes"]["lamini"]["calls"] = 10
    for name in ("lamini", "evol"):
        recipe["mixes"][name] |= {"eval_rows": 2, "max_missing_share": 1.0}
    recipe["mixes"]["evol"]["parts"] = ["evol", {"name": "lamini", "rows": 400}]  # without orca's
    recipe["stages"]["sft_evol"]["init_from"] = "sft_lamini"  # else its mix would wait for what Orca's stage trains on
    return recipe


def prepare(root: Path, recipe: dict[str, Any]) -> None:
    """Write a recipe, and the prices of its models: none."""
    free = dict.fromkeys(("input", "cached", "written", "written_1h", "output"), 0) | {"batch": 1, "long_prompts": None}
    since = {"since": date(2026, 1, 1), "source": "made up"}
    prices = [{"model": name} | since | free for name in ("teacher", "judge")]
    (root / "params.yaml").write_text(yaml.safe_dump(recipe))
    (root / "prices.yaml").write_text(yaml.safe_dump({"prices": prices}))


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program and everything it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def killed_after(workspace: Any, log: Path, jobs: int, seconds: float) -> str:
    """What Snakemake said until it had finished some jobs and gone on for some seconds, or was done before that."""
    process = workspace.start("snakemake", "--verbose", "--cores", "2", *TARGETS, log=log)
    deadline = time.monotonic() + 120
    while len(FINISHED.findall(log.read_text())) < jobs:
        if process.poll() is not None:
            assert process.returncode == 0, f"failed before it could be killed:\n{log.read_text()[-3000:]}"
            return log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(seconds)
    kill(process)
    return log.read_text()


def completed(root: Path, said: str) -> dict[Path, int]:
    """When each artifact whose job a run reported as finished was completed, in nanoseconds."""
    outputs = {number: root / path for path, number in STARTED.findall(said)}
    made = [outputs[number] for number in FINISHED.findall(said)]
    folders = [path if path.is_dir() else path.parent for path in made]
    return {folder: completed_at(folder) for folder in folders}


def completed_at(folder: Path) -> int:
    """When the newest file of an artifact was written, in nanoseconds."""
    return max(path.stat().st_mtime_ns for path in files_in(folder))


def content_of(root: Path) -> dict[str, bytes]:
    """All artifacts' files."""
    files = [path for path in (root / "data").rglob("*") if path.is_file() and path.name != MARKER]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def jobs_in(said: str) -> int:
    """Jobs that a run planned; 0 where it found nothing to do."""
    return int([*TOTAL.findall(said), "0"][0])


def test_a_killed_build_goes_on_and_redoes_nothing(workspace, server):
    root = workspace.root
    prepare(root, cheap())
    planned = int(TOTAL.findall(workspace.snakemake("--dry-run", *TARGETS))[0])
    done: dict[Path, int] = {}
    for number, (jobs, seconds) in enumerate(KILLS):
        said = killed_after(workspace, root.parent / f"{number}.log", jobs, seconds)
        assert jobs_in(said) <= planned - len(done)  # one that finished unheard isn't in `done`
        done |= completed(root, said)
    said = workspace.snakemake("--verbose", *TARGETS)
    assert jobs_in(said) <= planned - len(done)
    assert len(done) >= sum(jobs for jobs, _ in KILLS[:-1])  # a fast machine leaves nothing to the last one
    assert {folder: completed_at(folder) for folder in done} == done
    assert "Nothing to be done" in workspace.snakemake(*TARGETS)

    killed = content_of(root)
    assert not list(root.rglob("*.partial"))
    asked = server.hits
    for name in ("data", ".snakemake", ".dvc", "responses"):  # without the cache, which would bring everything back
        shutil.rmtree(root / name)
    workspace.snakemake(*TARGETS)
    undisturbed = content_of(root)
    # a kill loses what two jobs have in flight, and no answer that had come
    assert asked <= (server.hits - asked) + len(KILLS) * 2 * IN_FLIGHT
    assert sorted(killed) == sorted(undisturbed)
    assert [name for name, data in killed.items() if data != undisturbed[name]] == []


@pytest.mark.short
def test_a_killed_training_resumes_to_the_same_adapter(workspace, random_llama):
    root = workspace.root
    recipe = cheap()
    recipe["stages"]["sft_lamini"] |= {"save_steps": 4, "batch_size": 2, "epochs": 2}
    prepare(root, recipe)
    texts = [f"{number} rivers run through {number + 3} valleys" for number in range(40)]
    random_llama(root / "model", texts)
    rows = [answered(f"what of {text}?", text) for text in texts]
    (root / "mix").mkdir()
    (root / "mix/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[4:]))
    (root / "mix/eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:4]))

    def command(out: str) -> list[str]:
        flags = {"base": "model", "mix": "mix", "work": "work", "out": out}
        named = [word for name, path in flags.items() for word in (f"--{name}", path)]
        script = ["python", "scripts/train/sft.py", "--params", "stages.sft_lamini", "seed", *named]
        return ["bezoar", "exec", out, "--", *script]

    workspace.run(*command("undisturbed"))
    assert not (root / "work").exists()
    process = workspace.start(*command("resumed"), log=root.parent / "train.log")
    wait_for(lambda: (root / "work/checkpoint-8/trainer_state.json").exists(), process)
    kill(process)
    assert not (root / "resumed").exists()
    # and as if it had been killed while it saved a state: one without its optimizer
    newest = max((root / "work").glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    shutil.copytree(newest, root / "work/checkpoint-35", ignore=shutil.ignore_patterns("optimizer.pt"))
    said = workspace.run(*command("resumed"))
    resumed = re.findall(r"resume from work/checkpoint-(\d+)", said)
    assert resumed in (["4"], ["8"], ["12"], ["16"])  # of 36 steps
    assert f"train resumed: from step {resumed[0]} to 36" in said
    for name in ("adapter_model.safetensors", "adapter_config.json", "history.json", "rows.json"):
        assert (root / "undisturbed" / name).read_bytes() == (root / "resumed" / name).read_bytes(), name
    assert not (root / "work").exists()


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait for something that a program does while it runs."""
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the program ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)
