"""A base model like the paper's, with PyTorch weights and a SentencePiece tokenizer, from hub to harness."""

import json
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Workspace
from hub import Hub
from sentences import write_llama

from bezoar.steps import models, tokenizers

pytestmark = pytest.mark.end_to_end
ROWS = {"world_lessons": 24, "world_choices": 8, "world_generation": 4}


def test_the_papers_kind_of_base_is_trained_merged_and_scored(workspace: Workspace, tmp_path: Path) -> None:
    paper = yaml.safe_load((ROOT / "recipes" / "openbezoar-3b.yaml").read_text())
    recipe = yaml.safe_load((ROOT / "recipes" / "tiny.yaml").read_text())
    block = paper["models"]["open_llama_3b_v2"]
    published = write_llama(tmp_path / "hub" / "models" / block["repository"], tokenizers.TEXTS)
    assert not [*published.glob("*.safetensors"), *published.glob("tokenizer.json")]

    recipe["models"]["tiny_llama"] = block
    for name, rows in ROWS.items():
        recipe["sources"][name]["origin"]["rows"] = rows
    recipe["mixes"]["teacher"]["eval_rows"] = 4
    as_published = {
        name: paper["stages"]["sft_lamini"][name] for name in ("lora", "quantization", "compute_dtype", "merged_dtype")
    }
    recipe["stages"]["teacher"] |= as_published | {"max_length": 512, "batch_size": 8}
    recipe["evals"]["harness"] |= {
        "checkpoints": ["teacher"],
        "tasks": ["world_choices", "world_generation"],
        "data": ["world_choices", "world_generation"],
    }
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    with Hub(tmp_path / "hub") as hub:
        workspace.environment |= {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        workspace.snakemake("results/harness.json")

    for folder in ("base/tiny_llama", "checkpoints/teacher"):
        tokenizers.check_tokenizer(models.load_tokenizer(workspace.root / "data" / folder), published)
    history = json.loads((workspace.root / "data/adapters/teacher/history.json").read_text())
    assert 0 < history[-1]["eval_loss"] < 20
    rows = json.loads((workspace.root / "data/adapters/teacher/rows.json").read_text())
    assert rows["train"]["rows"] + rows["eval"]["rows"] > 4
    assert rows["train"]["dropped"] == rows["eval"]["dropped"] == 0
    scores = json.loads((workspace.root / "results/harness.json").read_text())["checkpoints"]["teacher"]
    assert scores["world_choices"]["questions"] == 8
    assert 0 <= scores["world_choices"]["metrics"]["acc"]["score"] <= 1
    assert "exact_match (strip)" in scores["world_generation"]["metrics"]
