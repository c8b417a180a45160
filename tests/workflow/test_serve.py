"""A second real server, `transformers serve`, as a teacher: any server with OpenAI's protocol works."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from desk import CONNECTION, PRICE, addresses, block, ceilings
from test_kill import cheap, prepare

from bezoar import serving
from bezoar.blocks import Sampling
from bezoar.requests.base import ask
from bezoar.requests.ledger import totals

pytestmark = pytest.mark.end_to_end
TRANSFORMERS = str(Path(sys.executable).with_name("transformers"))
ASKED = re.compile(r"POST /v1/chat/completions.* 200")
TEMPLATE = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=8)


@pytest.fixture
def model(tmp_path: Path, random_llama: Any) -> Path:
    """A model that says anything."""
    from transformers import AutoTokenizer

    folder: Path = random_llama(tmp_path / "model", ["Name three rivers."] * 9)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def address(tmp_path: Path, model: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", str(model), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HOME": str(tmp_path)}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([TRANSFORMERS, *words], env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, tmp_path / "log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a server answers."""
    for _ in range(240):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"no answer from {url}\n{log.read_text()}")


def test_a_real_server_is_a_teacher_and_is_asked_once(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in addresses(address.removesuffix("/v1")).items():
        monkeypatch.setenv(name, value)
    model, log = str(tmp_path / "model"), tmp_path / "log"
    Path("prices.yaml").write_text(yaml.safe_dump({"prices": [PRICE | {"model": model}]}))
    teacher = block("openai", {"concurrency": 2, "timeout": 60.0, "deadline": 60.0}, model=model, max_attempts=1)
    requests = [ask(f"{number}", f"Name {number} rivers", SAMPLING, "be brief") for number in range(3)]

    def answers():
        return teacher.open(checkpoint=None, system="", seed=0, budget=ceilings()).complete(requests, "ask")

    first = answers()
    assert [one.finish_reason for one in first] == ["length"] * 3  # a random model never ends
    assert all(one.model.startswith(model) for one in first)
    assert log.read_text().count("POST /v1/chat/completions") == 3
    assert answers() == first
    assert log.read_text().count("POST /v1/chat/completions") == 3


SHARDS, CANDIDATES, IN_FLIGHT = 2, 120, 2


def recipe_with(model: Path) -> dict[str, Any]:
    """The embedded recipe with a self-hosted server as the teacher of one scheme, which writes a few words a row."""
    recipe: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "recipes/tiny.yaml").read_text())
    recipe |= {"recipe": "served", "shards": SHARDS}
    command = [TRANSFORMERS, "serve", str(model), "--host", "{host}", "--port", "{port}", "--device", "cpu"]
    server = {"command": command, "health": "/health", "start": 120.0, "idle": 120.0}
    own = {"base_url_env": "TEACHER_BASE_URL", "api_key_env": "TEACHER_API_KEY", "server": server}
    limits = {"concurrency": IN_FLIGHT, "timeout": 60.0, "deadline": 60.0}
    teacher = block("openai", CONNECTION | own | limits, model=str(model), max_attempts=1)
    recipe["backends"]["writer"] = teacher.model_dump()
    recipe["schemes"]["orca"] |= {
        "teacher": "writer",
        "candidates": CANDIDATES,
        "shares": None,
        "max_failed_share": 1.0,
    }
    recipe["schemes"]["orca"]["max_dropped_share"] = 1.0  # a random model never ends
    recipe["schemes"]["orca"]["sampling"]["max_new_tokens"] = 8
    recipe["budget"] |= {"prices": "prices.yaml", "run": {"dollars": 1.0, "tokens": None}, "approve_above": None}
    return recipe


def once(there: Callable[[], Any], *processes: "subprocess.Popen[bytes]") -> Any:
    """What a function gives once that is something; meanwhile the processes have to be alive."""
    for _ in range(1200):
        if found := there():
            return found
        assert [process.poll() for process in processes] == [None] * len(processes)
        time.sleep(0.1)
    return pytest.fail("nothing came")


def test_shards_are_written_though_their_server_is_killed_half_way(workspace, model, tmp_path, monkeypatch):
    monkeypatch.chdir(workspace.root)
    Path("params.yaml").write_text(yaml.safe_dump(recipe_with(model)))
    Path("prices.yaml").write_text(yaml.safe_dump({"prices": [PRICE | {"model": str(model)}]}))
    del workspace.environment["TEACHER_BASE_URL"]
    workspace.environment["BEZOAR_SERVER_HOST"] = "127.0.0.1"
    shards = [f"data/generated/orca/{number:04}" for number in range(SHARDS)]
    targets = [f"{shard}/rows.jsonl" for shard in shards]
    log, asked = serving.log_path("writer"), lambda: len(ASKED.findall(log.read_text()))

    run = workspace.start("snakemake", "--cores", "2", *targets, log=tmp_path / "run")
    started = [run]
    try:
        once(serving.lease_path("writer").exists, run)  # a job waits: only now somebody starts the server
        for number in range(2):
            serve = workspace.start("bezoar", "serve", "writer", log=tmp_path / f"serve{number}")
            started.append(serve)
            once(lambda: serving.read_address("writer"), run, serve)
            if number == 0:  # it dies, and is started again elsewhere, as after a requeue
                once(lambda: asked() > CANDIDATES / 10, run, serve)
                os.killpg(int(Path(f"/proc/{serve.pid}/task/{serve.pid}/children").read_text()), signal.SIGKILL)
                assert serve.wait(30) == 137  # 128 + 9
                assert not serving.address_path("writer").exists()
        assert run.wait(120) == 0, (tmp_path / "run").read_text()
        serve.terminate()
        assert serve.wait(30) == 143
    finally:
        for process in started:
            process.terminate()
            process.wait()

    reports = [json.loads(Path(shard, "report.json").read_text()) for shard in shards]
    assert sum(report["candidates"] for report in reports) == CANDIDATES
    for report in reports:
        assert report["failed"].keys() <= {"failed: length"}  # a random model never ends; none had no answer
    total = totals()["generate-orca"]
    assert total.answers == CANDIDATES
    assert total.outcomes["transient"] <= 2 * IN_FLIGHT * SHARDS
    # every answer came from a server, and what was in flight at its end may have been asked twice
    assert CANDIDATES <= asked() <= CANDIDATES + IN_FLIGHT * SHARDS


@pytest.mark.parametrize("front_end", ["snakemake", "dvc"])
def test_new_weights_of_a_served_checkpoint_are_asked_anew(workspace, server, random_llama, front_end):
    root, row = workspace.root, "data/generated/lamini/0000/rows.jsonl"
    weights = random_llama(root / "weights", ["Name three rivers."] * 9) / "generation_config.json"
    recipe = cheap()
    recipe["models"]["served"] = {"method": "local", "path": "weights"}
    recipe["backends"]["teacher"]["checkpoint"] = "served"
    prepare(root, recipe)
    if front_end == "dvc":
        shutil.copyfile(ROOT / ".gitignore", root / ".gitignore")
        shutil.copy(ROOT / "constraints.txt", root)
        for words in ("git init -q", "dvc init -q", "bezoar fingerprint", "bezoar dvc"):
            workspace.run(*words.split())

    def build() -> int:
        """Calls that a build sends."""
        before = server.hits
        workspace.snakemake(row) if front_end == "snakemake" else workspace.run("dvc", "repro", "generate-lamini")
        return server.hits - before

    asked = build()
    assert asked > 10
    assert build() == 0
    old = weights.read_text()
    weights.write_text(old.replace('"pad_token_id": 0', '"pad_token_id": 1'))
    assert weights.read_text() != old
    assert build() == asked  # the same calls, to other weights under the same name
    weights.write_text(old)
    assert build() == 0


@pytest.mark.cluster
def test_on_a_cluster_the_server_is_a_job_that_may_be_queued_again(workspace, model, slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(workspace.root)
    Path("params.yaml").write_text(yaml.safe_dump(recipe_with(model)))
    Path("prices.yaml").write_text(yaml.safe_dump({"prices": [PRICE | {"model": str(model)}]}))
    del workspace.environment["TEACHER_BASE_URL"]
    workspace.environment |= slurm.environment | {"BEZOAR_SERVER_HOST": "127.0.0.1"}
    shards = [f"data/generated/orca/{number:04}" for number in range(SHARDS)]
    targets = [f"{shard}/rows.jsonl" for shard in shards]
    often = ["--bezoar-slurm-init-seconds-before-status-checks", "1", "--bezoar-slurm-group-cores", "2"]
    site = ["--set-resources", "server:slurm_partition=gpu", "server-writer:gpu=1"]
    log, asked = serving.log_path("writer"), lambda: len(ASKED.findall(log.read_text()))

    run = workspace.start(
        "snakemake", "--profile", "profiles/slurm", *often, *site, "--", *targets, log=tmp_path / "run"
    )
    try:
        first = once(lambda: serving.read_address("writer"), run)
        shown = slurm.ask("scontrol", "show", "job", first.job)
        assert "Partition=gpu" in shown
        assert "gres/gpu=1" in shown
        once(lambda: asked() > CANDIDATES / 10, run)
        slurm.ask("scontrol", "requeue", first.job)
        second = once(lambda: (now := serving.read_address("writer")) and now != first and now, run)
        assert second.job == first.job
        assert run.wait(180) == 0, (tmp_path / "run").read_text()
    finally:
        run.terminate()
        run.wait()

    for _ in range(100):
        if not slurm.queued():
            break
        time.sleep(0.2)
    assert slurm.queued() == []  # the server has gone with its run
    reports = [json.loads(Path(shard, "report.json").read_text()) for shard in shards]
    assert sum(report["candidates"] for report in reports) == CANDIDATES
    assert totals()["generate-orca"].answers == CANDIDATES
