"""What needs a GPU: four-bit training in bfloat16, and the merge of what it trained."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from templates import answered

from bezoar.steps import models
from bezoar.steps.data.rows import write_rows
from bezoar.steps.train import sft, training
from bezoar.steps.train.merge import Merging, merge
from bezoar.steps.train.sft import Sft
from bezoar.steps.train.stage import Lora, Paths

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")]
STAGE = Sft(
    method="sft", init_from="base", mix="counting", quantization="nf4", lora=Lora(rank=4), learning_rate=1e-2,
    epochs=20, batch_size=4, max_length=64,
)  # fmt: skip


@pytest.fixture
def trained(tmp_path: Path, random_llama: Callable[..., Path]) -> tuple[Path, Path]:
    """A random model, and an adapter after a few steps on its four-bit weights."""
    folder = random_llama(tmp_path / "base", ["one two three four five six"])
    rows = [answered(f"one two {word}", "four five six") for word in ("three", "six", "one", "two")]
    for name in ("train", "eval"):
        write_rows(tmp_path / "mix" / f"{name}.jsonl", rows)
    paths = Paths(folder, None, tmp_path / "mix", tmp_path / "work", tmp_path / "adapter")
    training.run(sft.trainer_of(paths, STAGE, 0), paths, STAGE, 0)
    losses = [line["loss"] for line in json.loads((paths.out / "history.json").read_text()) if line["loss"] is not None]
    assert losses[-1] < losses[0]
    return folder, paths.out


def test_a_merged_model_answers_as_its_base_with_the_adapter(trained: tuple[Path, Path], tmp_path: Path) -> None:
    folder, adapter = trained
    ids = torch.arange(3, 35, device=models.device())[None]
    block = Merging(
        quantization="nf4", compute_dtype="bfloat16", merge_into="as_trained", merged_dtype=STAGE.merged_dtype
    )
    merge(folder, adapter, block, tmp_path / "merged")
    with torch.no_grad():
        apart = PeftModel.from_pretrained(models.load(folder, "bfloat16", nf4=True), adapter)(input_ids=ids).logits
        merged = models.load(tmp_path / "merged", "bfloat16")(input_ids=ids).logits
    # bfloat16 has 8 significant bits: a relative error of 1/256 for each of a few dozen sums
    assert (apart.float() - merged.float()).abs().max() < 0.1 * apart.float().abs().max()


def test_a_model_is_loaded_onto_the_gpu(trained: tuple[Path, Path]) -> None:
    assert next(models.load(trained[0], "bfloat16").parameters()).device.type == "cuda"
