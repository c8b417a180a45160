"""What needs a GPU: four-bit training in bfloat16, and the merge of what it trained."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from bezoar.steps import models

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")]


@pytest.fixture
def trained(tmp_path: Path, random_llama: Callable[..., Path]) -> tuple[Path, Path]:
    """A random model, and an adapter after a few steps on its four-bit weights."""
    folder = random_llama(tmp_path / "base", ["one two three four five six"])
    model = models.load(folder, "bfloat16", nf4=True)
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    ids = torch.randint(3, 200, (4, 32), generator=torch.Generator().manual_seed(0)).to(models.device())
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(20):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    model.save_pretrained(tmp_path / "adapter")
    return folder, tmp_path / "adapter"


def test_a_merged_model_answers_as_its_base_with_the_adapter(trained: tuple[Path, Path]) -> None:
    folder, adapter = trained
    ids = torch.arange(3, 35, device=models.device())[None]
    with torch.no_grad():
        apart = PeftModel.from_pretrained(models.load(folder, "bfloat16", nf4=True), adapter)(input_ids=ids).logits
        merged = models.merge(folder, adapter, dtype="bfloat16", nf4=True)(input_ids=ids).logits
    # bfloat16 has 8 significant bits: a relative error of 1/256 for each of a few dozen sums
    assert (apart.float() - merged.float()).abs().max() < 0.1 * apart.float().abs().max()


def test_a_model_is_loaded_onto_the_gpu(trained: tuple[Path, Path]) -> None:
    assert next(models.load(trained[0], "bfloat16").parameters()).device.type == "cuda"
