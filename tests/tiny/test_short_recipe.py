"""Fifteen lines of recipe: one's own rows, one's own model, a checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Workspace

pytestmark = [pytest.mark.end_to_end, pytest.mark.short]

RECIPE = """\
recipe: my-sft
models:
  base: {method: local, path: models/mine}
sources:
  mine: {path: rows/mine.jsonl}
mixes:
  mine: {parts: [mine]}
stages:
  sft: {init_from: base, mix: mine}
evals: {}
"""


def test_a_short_recipe_trains_a_checkpoint(workspace: Workspace, random_llama: Callable[..., Path]) -> None:
    rows = [{"instruction": f"Double {n}.", "response": f"{2 * n}"} for n in range(120)]
    (workspace.root / "rows").mkdir()
    (workspace.root / "rows/mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    random_llama(workspace.root / "models/mine", [row["instruction"] for row in rows])
    (workspace.root / "params.yaml").write_text(RECIPE)
    workspace.snakemake()
    checkpoint = workspace.root / "data/checkpoints/sft"
    names = {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}
    assert names <= {path.name for path in checkpoint.iterdir()}
    report = json.loads((workspace.root / "data/mixes/mine/report.json").read_text())
    assert (report["train"], report["eval"]) == (70, 50)  # 120 rows, of which 50 are held out by default
    assert "format chat, detected by its columns" in (workspace.root / "logs/source/mine.log").read_text()
    assert "Nothing to be done" in workspace.snakemake()
