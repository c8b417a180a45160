"""A small tree with paid answers and ratings, from samples to a mix of pairs, and what `rows` and `trace` say of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from mains import SCRIPTS
from server import Server
from tree import ROOT, job, seed_rows

from bezoar.cli import main
from bezoar.recipe.load import load
from bezoar.requests.store import FOLDER

SHARDS = ("0000", "0001")
N = 3
RECIPE = f"""
recipe: sampled
shards: {len(SHARDS)}
budget: {{prices: prices.yaml, run: {{dollars: 20.0, tokens: null}}, approve_above: null}}
sources:
  mine: {{path: mine.jsonl, format: dolly}}
backends:
  student: &api
    kind: openai
    model: test-teacher
    token_limit_field: max_tokens
    max_attempts: 1
    connection: {{base_url_env: MODELS_URL, api_key_env: MODELS_API_KEY, concurrency: 1}}
  judge: {{<<: *api, model: test-filter}}
schemes:
  own: {{method: sample, seeds: {{kind: source, name: mine}}, teacher: student, n: {N}, max_failed_share: 0.5}}
scores:
  own: {{method: judge, of: own, judge: judge, prompts: rating.yaml, max_failed_share: 0.5}}
pairs:
  play: {{method: self_play, of: own}}
  best: {{method: best_of_n, of: own, max_dropped_share: 1.0}}
mixes:
  pairs: {{format: preference, parts: [play], eval_rows: 4, near_duplicates: null, max_dropped_share: 1.0}}
"""
RATING = "system: rate as [[rating]] .\nuser: |\n  {fence} {instruction} {fence} {response} {fence}\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(scope="module")
def sampled_tree(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """The tree, built once; the sampling of its first shard was killed in the middle and started again."""
    folder = tmp_path_factory.mktemp("sampled")
    (folder / "prices.yaml").write_bytes((ROOT / "tests/real/prices.yaml").read_bytes())
    (folder / "rating.yaml").write_text(RATING)
    (folder / "params.yaml").write_text(RECIPE)
    (folder / "mine.jsonl").write_bytes(b"".join(line + b"\n" for line in seed_rows(24, "river")))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MODELS_URL", f"{server.address}/v1")
        patch.setenv("MODELS_API_KEY", "sk-test")
        build(server)
    return folder


def build(server: Server) -> None:
    """All steps, as their rules run them."""
    Path("params.resolved.yaml").write_text(yaml.safe_dump(load().resolved()))
    job("data/source", "--params", "sources.mine", "seed", "--out", "data/source/mine")
    job("shard/sample", "--params", "shards", "--rows", "data/source/mine/rows.jsonl", "--out", "data/seed/own")
    for shard in SHARDS:
        words = ["--seeds", f"data/seed/own/{shard}.jsonl", "--out", f"data/generated/own/{shard}"]
        takes = ["--params", "schemes.own", "backends.student", "prompt", "seed", "budget", *words]
        if shard == SHARDS[0]:
            killed(takes, server)
        job("generate/sample", *takes, stage=f"generate-own/{shard}")
        words = ["--rows", f"data/generated/own/{shard}/rows.jsonl", "--prompts", "rating.yaml"]
        takes = ["--params", "scores.own", "backends.judge", "prompt", "seed", "budget"]
        job("score/judge", *takes, *words, "--out", f"data/scored/own/{shard}", stage=f"score-own/{shard}")
        words = ["--rows", f"data/generated/own/{shard}/rows.jsonl", "--against", f"data/seed/own/{shard}.jsonl"]
        job("pairs/self_play", "--params", "pairs.play", *words, "--out", f"data/pairs/play/{shard}")
        words = ["--rows", f"data/scored/own/{shard}/rows.jsonl", "--out", f"data/pairs/best/{shard}"]
        job("pairs/best_of_n", "--params", "pairs.best", *words)
    folders = [word for name in ("filtered", "source", "selected", "pairs") for word in (f"--{name}", f"data/{name}")]
    takes = ["--params", "mixes.pairs", "prompt", "seed", "shards"]
    job("data/mix", *takes, *folders, "--out", "data/mixes/pairs")


def killed(takes: list[str], server: Server) -> None:
    """Start the sampling of a shard in a process of its own, and kill it after five of its answers."""
    words = [sys.executable, str(SCRIPTS / "generate/sample.py"), *takes, "--log", "logs/killed.log"]
    started = subprocess.Popen(words, env={**os.environ, "BEZOAR_JOB": "generate-own/0000"})
    while server.hits < 6 and started.poll() is None:
        time.sleep(0.005)
    started.send_signal(signal.SIGKILL)
    assert started.wait() == -signal.SIGKILL
    assert not Path("data/generated/own/0000").exists()


@pytest.fixture
def tree(sampled_tree: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(sampled_tree)
    return sampled_tree


def said(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def rows_of(pattern: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(Path().glob(pattern)) for line in path.read_text().splitlines()]


def test_a_kill_loses_no_paid_answer(tree: Path, server: Server) -> None:
    asked = [json.dumps(body["messages"]) for body in server.bodies if body["model"] == "test-teacher"]
    assert len(set(asked)) == 24
    answered = rows_of("data/generated/own/*/*.jsonl")
    assert len(answered) == 24 * N
    # one body for all draws of a prompt, so each came N times; a killed process may have one more in flight
    assert 24 * N <= len(asked) <= 24 * N + 1
    assert list(Path(FOLDER).rglob("*"))


def test_the_waterfall_counts_each_row_once_from_source_to_mix(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = said(capsys, "rows", "mixes.pairs")
    lines = {(line["step"], line["name"]): line for line in found["steps"]}
    assert not found["notes"]  # each step read what the one before wrote
    made = lines["generate", "own"]
    assert made["read"] == 24 * N
    assert made["read"] == made["kept"] + sum(made["reasons"].values())
    assert lines["pairs", "play"]["read"] == made["kept"]
    assert lines["part (pairs)", "play"]["read"] == lines["pairs", "play"]["kept"]
    assert sum(lines["mix", "pairs"]["splits"].values()) == lines["part (pairs)", "play"]["kept"]
    scored = said(capsys, "rows", "pairs.best")["steps"]
    assert [(line["step"], line["name"]) for line in scored] == [
        ("source", "mine"),
        ("generate", "own"),
        ("score", "own"),
        ("pairs", "best"),
    ]
    assert scored[2]["read"] == made["kept"]


def test_rows_that_pairs_left_out_are_shown_with_their_reason(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # the server's answers depend on the prompt alone, so all answers to a prompt are equal: none is the better
    assert main(["rows", "pairs.best", "--reason", "equal responses"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("equal responses") == len(rows_of("data/pairs/best/*/dropped.jsonl"))


def test_a_trained_pair_leads_to_both_answers_and_their_calls(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = rows_of("data/mixes/pairs/train.jsonl")[0]
    found = said(capsys, "trace", row["id"])
    assert [step["step"] for step in found["steps"]] == ["mix", "pairs"]
    pair = found["steps"][1]["row"]
    assert {one["row"]["id"] for one in found["ancestors"]} == {pair["chosen_id"], pair["rejected_id"]}
    assert {one["step"] for one in found["ancestors"]} == {"source", "generate"}
    assert {call["role"] for call in found["calls"]} == {"teacher"}
    assert found["missing"] == []


def test_a_scored_row_leads_to_its_rating(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = rows_of("data/scored/own/*/rows.jsonl")[0]
    found = said(capsys, "trace", row["id"])
    assert [step["step"] for step in found["steps"]] == ["score", "generate"]
    assert {call["role"] for call in found["calls"]} == {"teacher", "judge"}
    assert main(["trace", row["id"]]) == 0
    assert f"score {row['score']}, win_rate {row['win_rate']}" in capsys.readouterr().out
