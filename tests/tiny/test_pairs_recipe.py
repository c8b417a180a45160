"""A model's own answers, scored and paired without a judge, train it by DPO: a whole build through the real rules."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Workspace

pytestmark = [pytest.mark.end_to_end]

RECIPE = """\
recipe: play
shards: 2
prompt: {system: ""}
models:
  base: {method: local, path: mine}
sources:
  mine: {path: rows.jsonl, format: chat}
schemes: {}
mixes:
  sft: {parts: [mine], eval_rows: 20, near_duplicates: null}
stages:
  sft: &stage
    init_from: base
    mix: sft
    compute_dtype: float32
    merged_dtype: float32
    learning_rate: 0.01
    epochs: 6
    batch_size: 10
    max_length: 128
    lora: {rank: 32, alpha: 64, dropout: 0.0}
loops:
  own:
    rounds: 1
    start: sft
    blocks:
      backends: {own: {kind: local, checkpoint: "{before}", batch_size: 64, dtype: float32}}
      schemes:
        own:
          method: sample
          seeds: {kind: source, name: mine}
          teacher: "own_{round}"
          n: 4
          sampling: {temperature: 1.0, max_new_tokens: 16}
      scores: {own: {method: logratio, of: "own_{round}", strong: "{before}", weak: base, dtype: float32}}
      pairs:
        play: {method: self_play, of: "own_{round}"}
        best: {method: best_of_n, of: "own_{round}"}
      mixes:
        own:
          format: preference
          parts: [{kind: pairs, name: "play_{round}"}, {kind: pairs, name: "best_{round}"}]
          eval_rows: 10
          near_duplicates: null
      stages:
        own: {<<: *stage, method: dpo, init_from: "{before}", mix: "own_{round}", learning_rate: 1.0e-3, epochs: 1}
evals: {}
"""


def read(root: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(root.glob(pattern)) for line in path.read_text().splitlines()]


def test_own_answers_are_sampled_scored_paired_and_trained_on(
    workspace: Workspace, random_llama: Callable[..., Path]
) -> None:
    rows = [{"instruction": f"Double {n}.", "response": f"It is {2 * n}."} for n in range(120)]
    (workspace.root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    random_llama(workspace.root / "mine", [text for row in rows for text in row.values()])
    (workspace.root / "params.yaml").write_text(RECIPE)
    workspace.snakemake()
    answers = read(workspace.root, "data/generated/own_1/*/rows.jsonl")
    dropped = read(workspace.root, "data/generated/own_1/*/dropped.jsonl")
    assert len(answers) + len(dropped) == 120 * 4  # what is cut at the token limit, or empty, is counted
    scored = read(workspace.root, "data/scored/own_1/*/rows.jsonl")
    assert len(scored) == len(answers)
    best = read(workspace.root, "data/pairs/best_1/*/rows.jsonl")
    assert best
    assert all(pair["score_chosen"] > pair["score_rejected"] for pair in best)
    assert all(pair["win_rate_chosen"] > 0.5 > pair["win_rate_rejected"] for pair in best)
    told = {row["instruction"]: row["response"] for row in rows}
    play = read(workspace.root, "data/pairs/play_1/*/rows.jsonl")
    assert all(pair["chosen"] == told[pair["messages"][-1]["content"]] for pair in play)
    report = json.loads((workspace.root / "data/mixes/own_1/report.json").read_text())
    taken = sum(part["taken"] for part in report["parts"])
    assert taken == report["train"] + report["eval"]
    assert (workspace.root / "data/checkpoints/own_1/model.safetensors").exists()
    history = json.loads((workspace.root / "data/adapters/own_1/history.json").read_text())
    losses = [point["eval_loss"] for point in history if point.get("eval_loss") is not None]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)  # before the first step, policy and reference agree
    assert losses[-1] < losses[0]
    assert "Nothing to be done" in workspace.snakemake()
