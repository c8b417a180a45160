"""Fifteen lines of recipe: one's own rows in ShareGPT's form, one's own model, both where they lie, a checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Workspace

pytestmark = [pytest.mark.end_to_end, pytest.mark.short]

RECIPE = """\
recipe: my-sft
models:
  base: {method: local, path: ../models/mine, chat_template: chatml.jinja}
sources:
  mine: {path: ../chats.json}
mixes:
  mine: {parts: [mine]}
stages:
  sft: {init_from: base, mix: mine}
evals: {}
"""
CHATML = """\
{%- for message in messages -%}
<|start|>{{ message.role }}
{{ message.content }}<|end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|start|>assistant
{% endif -%}
"""


def turns(number: int) -> list[tuple[str, str]]:
    """A conversation of two questions with their answers."""
    asked = [("human", f"Double {number}."), ("gpt", f"{2 * number}")]
    return [*asked, ("human", "Again."), ("gpt", f"{4 * number}")]


def test_a_short_recipe_trains_a_checkpoint(workspace: Workspace, random_llama: Callable[..., Path]) -> None:
    chats = [
        {"id": n, "conversations": [{"from": speaker, "value": text} for speaker, text in turns(n)]} for n in range(120)
    ]
    (workspace.root.parent / "chats.json").write_text(json.dumps(chats, indent=2))
    random_llama(workspace.root.parent / "models/mine", [text for n in range(120) for _, text in turns(n)])
    (workspace.root / "chatml.jinja").write_text(CHATML)
    (workspace.root / "params.yaml").write_text(RECIPE)
    workspace.snakemake()
    checkpoint = workspace.root / "data/checkpoints/sft"
    names = {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}
    assert names <= {path.name for path in checkpoint.iterdir()}
    report = json.loads((workspace.root / "data/mixes/mine/report.json").read_text())
    assert (report["train"], report["eval"]) == (70, 50)  # 120 rows, of which 50 are held out by default
    assert (
        "source mine: 120 of 120 rows, format sharegpt; none left out"
        in (workspace.root / "logs/source/mine.log").read_text()
    )
    row = json.loads((workspace.root / "data/mixes/mine/train.jsonl").read_text().splitlines()[0])
    assert [turn["role"] for turn in (*row["prompt"], *row["completion"])] == ["user", "assistant"] * 2
    assert "Nothing to be done" in workspace.snakemake()
