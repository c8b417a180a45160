"""One's own model outside of the project: read in place, trained, and the checkpoint published."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Workspace
from hub import Hub

pytestmark = [pytest.mark.end_to_end, pytest.mark.short]

RECIPE = """\
recipe: my-sft
models:
  base: {{method: local, path: {path}}}
sources:
  mine: {{path: rows.jsonl}}
mixes:
  mine: {{parts: [mine], eval_rows: 8}}
stages:
  sft: {{init_from: base, mix: mine, merged_dtype: float32, licence: apache-2.0}}
"""
TEMPLATE = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


def test_a_model_outside_is_trained_in_place_and_its_checkpoint_published(
    workspace: Workspace, random_llama: Callable[..., Path], tmp_path: Path
) -> None:
    model = random_llama(tmp_path / "models/mine", ["Double the number"])
    (model / "chat_template.jinja").write_text(TEMPLATE)
    before = {path.name: path.read_bytes() for path in model.iterdir()}
    row = {"system": None, "family": "f"}
    rows = [
        {**row, "id": str(n), "family": str(n), "instruction": f"Double {n}.", "response": str(2 * n)}
        for n in range(32)
    ]
    (workspace.root / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (workspace.root / "params.yaml").write_text(RECIPE.format(path=model))
    workspace.snakemake()
    assert not (workspace.root / "data/base").exists()
    assert {path.name: path.read_bytes() for path in model.iterdir()} == before
    assert "Nothing to be done" in workspace.snakemake()

    checkpoint = workspace.root / "data/checkpoints/sft"
    assert (checkpoint / "chat_template.jinja").read_text() == TEMPLATE
    workspace.environment["HF_TOKEN"] = "hf_dummy"
    with Hub(tmp_path / "hub", "hf_dummy") as hub:
        workspace.environment |= {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        workspace.run("bezoar", "publish", "sft", "--to", "org/sft")
    made = {path.name: path.read_bytes() for path in checkpoint.iterdir() if not path.name.startswith(".")}
    sent = {path.name: path.read_bytes() for path in (tmp_path / "hub/models/org/sft").iterdir()}
    assert sent.pop("README.md").decode().startswith("---\nlibrary_name: transformers\nlicense: apache-2.0\n")
    assert sent == made

    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"rope_theta": 20_000.0}))
    said = workspace.run("snakemake", "--dry-run")
    assert "rule train" in said
    assert "rule source" not in said
