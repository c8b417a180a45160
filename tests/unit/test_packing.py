"""Packing: the loss and the step of rows by themselves, also where a model would let them see each other."""
# ruff: noqa: F401, F811  (fixtures of another file)

import json

import pytest
import torch
from test_training import folder, mixes, paths_of, sft_stage, signals
from transformers import AutoModelForCausalLM, BloomConfig, LlamaConfig, MambaConfig, Qwen2Config

from bezoar.errors import InputError
from bezoar.steps import models
from bezoar.steps.train import packing, sft, training

ONE_STEP = {"batch_size": 4, "epochs": 1, "lora": {"rank": 4, "alpha": 8, "dropout": 0.0}, "learning_rate": 1e-2}


def trainer_of(folder, mixes, root, **changes):
    return sft.trainer_of(paths_of(folder, mixes / "sft", root), sft_stage(**ONE_STEP | changes), 0)


def test_packed_rows_are_one_sequence_without_a_mask(folder, mixes, tmp_path):
    (batch,) = trainer_of(folder, mixes, tmp_path, packing=True).get_train_dataloader()
    (unpacked,) = trainer_of(folder, mixes, tmp_path, packing=False).get_train_dataloader()
    assert "attention_mask" not in batch
    assert len(batch["input_ids"]) == 1
    assert (batch["position_ids"] == 0).sum() == 4  # rows
    assert batch["input_ids"].numel() == unpacked["attention_mask"].sum()
    assert (batch["labels"] != -100).sum() == (unpacked["labels"] != -100).sum()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_rows_have_the_loss_and_the_step_of_rows_by_themselves(folder, mixes, tmp_path, signals, attention):
    found = {}
    for packed in (False, True):
        trainer = trainer_of(folder, mixes, tmp_path, packing=packed, attention=attention, save_steps=1)
        paths = paths_of(folder, mixes / "sft", tmp_path / str(packed))
        training.run(trainer, paths, sft_stage(**ONE_STEP, packing=packed, save_steps=1), 0)
        history = json.loads((paths.out / "history.json").read_text())
        found[packed] = next(line for line in history if line["loss"] is not None)
        assert trainer.model.config._attn_implementation == attention
        found[packed]["weights"] = [one.detach().clone() for one in trainer.model.parameters() if one.requires_grad]
    for name in ("loss", "grad_norm", "entropy"):
        assert found[True][name] == pytest.approx(found[False][name], rel=1e-5), name
    # Adam's first step divides each gradient by itself, so tiny ones are compared by their sum
    for one, other in zip(found[True]["weights"], found[False]["weights"], strict=True):
        assert (one - other).abs().mean() < 1e-5


def small(kind):
    torch.manual_seed(0)
    sizes = {"vocab_size": 64, "hidden_size": 32}
    config = {
        "llama": LlamaConfig(**sizes, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4),
        "window": Qwen2Config(
            **sizes, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            use_sliding_window=True, sliding_window=4, max_window_layers=0,
        ),
        "mamba": MambaConfig(**sizes, num_hidden_layers=2, state_size=4),
        "bloom": BloomConfig(**sizes, n_layer=2, n_head=4),
    }[kind]  # fmt: skip
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("kind", ["llama", "window"])
def test_models_that_keep_rows_apart_are_trained(kind):
    assert packing.difference(small(kind)) < 1e-4
    packing.check(small(kind), sft_stage(packing=True))


@pytest.mark.parametrize("kind", ["mamba", "bloom"])
def test_models_that_would_mix_rows_are_refused(kind):
    with pytest.raises(InputError, match="rows of a packed sequence would see each other") as refused:
        packing.check(small(kind), sft_stage(packing=True))
    assert f"{kind} with attention: sdpa" in str(refused.value)
    assert "packing: false" in str(refused.value)


def test_a_model_that_was_tried_trains_on(folder):
    model = models.load(folder, "float32").train()
    packing.check(model, sft_stage(packing=True))
    assert model.training
    assert all(one.grad is None for one in model.parameters())
