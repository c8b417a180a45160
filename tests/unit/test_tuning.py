"""What is trained, an adapter or all weights, and what evaluation during training does: nothing but to choose."""

# ruff: noqa: F401, F811  (fixtures of another file)

import json
import math

import pytest
import torch
from pydantic import ValidationError
from test_training import Stop, dpo_stage, folder, mixes, paths_of, sft_stage, signals

from bezoar.files import digest
from bezoar.steps import models
from bezoar.steps.train import curves, dpo, sft, training, tuning
from bezoar.steps.train.merge import Merging, merge

FULL = {"tuning": "full", "lora": {}, "learning_rate": 1e-3}
WEIGHTS = {"lora": "adapter_model.safetensors", "full": "model.safetensors"}


def run(method, paths, stage, stop=None):
    """A stage, run to its end or until a callback ends it."""
    trainer = method.trainer_of(paths, stage, 0)
    if stop:
        trainer.add_callback(stop)
    training.run(trainer, paths, stage, 0)
    return trainer, paths.out


def history_of(out):
    return json.loads((out / "history.json").read_text())


# --- All weights ----------------------------------------------------------------------------------------------------


def test_full_tuning_moves_every_weight_and_its_checkpoint_is_what_was_trained(folder, mixes, tmp_path, signals):
    stage = sft_stage(**FULL)
    _, out = run(sft, paths_of(folder, mixes / "sft", tmp_path), stage)
    before, after = models.load(folder, "float32"), models.load(out, "float32")
    assert all(not torch.equal(one, after.get_parameter(name)) for name, one in before.named_parameters())
    merging = {key: getattr(stage, key) for key in Merging.model_fields}
    merge(folder, out, Merging(**merging | {"merged_dtype": "bfloat16"}), tmp_path / "merged")
    merged = models.load(tmp_path / "merged", "bfloat16")
    for name, one in after.named_parameters():
        assert torch.equal(merged.get_parameter(name), one.to(torch.bfloat16)), name
    assert (
        models.load_tokenizer(tmp_path / "merged")("Name").input_ids == models.load_tokenizer(folder)("Name").input_ids
    )
    history = history_of(out)
    assert history[-1]["eval_loss"] < history[0]["eval_loss"]


def test_full_tuning_resumed_equals_uninterrupted(folder, mixes, tmp_path, signals):
    stage = sft_stage(**FULL)
    _, whole = run(sft, paths_of(folder, mixes / "sft", tmp_path / "whole"), stage)
    with pytest.raises(InterruptedError, match="killed"):
        run(sft, paths_of(folder, mixes / "sft", tmp_path / "resumed"), stage, Stop(5))
    _, resumed = run(sft, paths_of(folder, mixes / "sft", tmp_path / "resumed"), stage)
    assert digest(resumed) == digest(whole)


def test_a_full_stage_that_continues_starts_from_the_weights_in_float32(folder, mixes, tmp_path, signals):
    _, first = run(sft, paths_of(folder, mixes / "sft", tmp_path / "first"), sft_stage(**FULL))
    stage = sft_stage(**FULL, continue_adapter=True)
    model = tuning.starting_model(folder, first, stage)
    assert torch.equal(model.lm_head.weight, models.load(first, "float32").lm_head.weight)
    assert model.dtype == torch.float32


def test_full_dpo_starts_at_log_2_and_its_reference_stays(folder, mixes, tmp_path, signals):
    stage = dpo_stage(**FULL, sft_weight=0.0, epochs=3)
    trainer, out = run(dpo, paths_of(folder, mixes / "dpo", tmp_path), stage)
    history = history_of(out)
    assert (history[0]["step"], history[0]["eval_loss"]) == (0, pytest.approx(math.log(2), abs=1e-6))
    assert history[-1]["eval_loss"] < math.log(2)
    start = models.load(folder, "float32")
    assert torch.equal(trainer.ref_model.lm_head.weight, start.lm_head.weight)
    assert not torch.equal(trainer.model.lm_head.weight, start.lm_head.weight)


@pytest.mark.parametrize("variant", ["rslora", "dora", "init"])
def test_variants_of_lora_are_trained_and_merged(folder, mixes, tmp_path, signals, variant):
    value = "orthogonal" if variant == "init" else True
    stage = sft_stage(lora={"rank": 4, "alpha": 8, "dropout": 0.0, variant: value}, learning_rate=1e-2)
    trainer, out = run(sft, paths_of(folder, mixes / "sft", tmp_path), stage)
    block = Merging(**{key: getattr(stage, key) for key in Merging.model_fields})
    merge(folder, out, block, tmp_path / "merged")
    ids = torch.arange(3, 27)[None]
    with torch.inference_mode():
        trained = trainer.model.eval()(input_ids=ids).logits
        merged = models.load(tmp_path / "merged", "float32")(input_ids=ids).logits
        base = models.load(folder, "float32")(input_ids=ids).logits
    assert (trained - merged).abs().max() < 1e-4
    assert (trained - base).abs().max() > 1e-2
    with trainer.model.disable_adapter(), torch.inference_mode():  # DPO's reference
        assert torch.equal(trainer.model(input_ids=ids).logits, base)
    scale = {"rslora": 8 / math.sqrt(4)}.get(variant, 8 / 4)
    assert {layer.scaling["default"] for layer in trainer.model.modules() if hasattr(layer, "lora_A")} == {scale}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantization": "nf4"}, "quantization: none with tuning: full"),
        ({"lora": {"rank": 4}}, "lora: its default with tuning: full"),
        ({"lora": {}, "merge_into": "original"}, "merge_into: as_trained with tuning: full"),
    ],
)
def test_full_tuning_refuses_keys_that_it_would_ignore(changes, said):
    with pytest.raises(ValidationError, match=said):
        sft_stage(**{"tuning": "full", "lora": {}} | changes)


# --- Evaluation -----------------------------------------------------------------------------------------------------


def test_evaluation_changes_nothing_that_is_trained(folder, mixes, tmp_path, signals):
    _, without = run(sft, paths_of(folder, mixes / "sft", tmp_path / "without"), sft_stage())  # dropout is 0.1
    _, often = run(sft, paths_of(folder, mixes / "sft", tmp_path / "often"), sft_stage(eval_steps=1))
    assert (often / WEIGHTS["lora"]).read_bytes() == (without / WEIGHTS["lora"]).read_bytes()
    steps = [line["step"] for line in history_of(often) if line["eval_loss"] is not None]
    assert steps == [0, 1, 2, 3, 4, 5, 6]
    assert [line["step"] for line in history_of(without) if line["eval_loss"] is not None] == [0, 6]


@pytest.mark.parametrize("tuned", ["lora", "full"])
def test_the_best_weights_are_kept_also_by_a_resumed_run(folder, mixes, tmp_path, signals, tuned):
    # at this learning rate the loss rises after a few steps
    changes = {"lora": {"learning_rate": 0.3}, "full": {**FULL, "learning_rate": 0.02}}[tuned]
    stage = sft_stage(**changes, keep="best", eval_steps=1, lr_scheduler="constant_with_warmup", warmup=0)
    _, last = run(sft, paths_of(folder, mixes / "sft", tmp_path / "last"), stage.model_copy(update={"keep": "last"}))
    trainer, best = run(sft, paths_of(folder, mixes / "sft", tmp_path / "best"), stage)
    losses = {line["step"]: line["eval_loss"] for line in history_of(best) if line["eval_loss"] is not None}
    lowest = min(range(1, 7), key=losses.get)
    assert lowest < 6  # or the last weights are the best ones, and nothing is shown
    assert trainer.evaluate()["eval_loss"] == pytest.approx(losses[lowest], rel=1e-5)
    assert (best / WEIGHTS[tuned]).read_bytes() != (last / WEIGHTS[tuned]).read_bytes()
    with pytest.raises(InterruptedError, match="killed"):
        run(sft, paths_of(folder, mixes / "sft", tmp_path / "resumed"), stage, Stop(5))
    _, resumed = run(sft, paths_of(folder, mixes / "sft", tmp_path / "resumed"), stage)
    assert digest(resumed) == digest(best)


def test_training_ends_after_evaluations_without_a_lower_loss(folder, mixes, tmp_path, signals):
    stage = sft_stage(
        learning_rate=0.3, eval_steps=1, patience=2, epochs=10, lr_scheduler="constant_with_warmup", warmup=0
    )
    trainer, out = run(sft, paths_of(folder, mixes / "sft", tmp_path / "whole"), stage)
    losses = [line["eval_loss"] for line in history_of(out) if line["eval_loss"] is not None][1:]
    assert curves.since_best(losses) == 2
    assert trainer.state.global_step == len(losses) < trainer.state.max_steps
    with pytest.raises(InterruptedError, match="killed"):
        run(sft, paths_of(folder, mixes / "sft", tmp_path / "resumed"), stage, Stop(len(losses) - 1))
    _, resumed = run(sft, paths_of(folder, mixes / "sft", tmp_path / "resumed"), stage)
    assert digest(resumed) == digest(out)


@pytest.mark.parametrize(
    ("losses", "since"),
    [([], 0), ([3.0], 0), ([3.0, 2.0, 2.0], 1), ([1.0, math.nan, 2.0], 2), ([math.nan, 2.0], 0)],
)
def test_evaluations_since_the_lowest_loss(losses, since):
    assert curves.since_best(losses) == since


def test_best_and_patience_need_evaluations():
    for change in ({"keep": "best"}, {"patience": 1}):
        with pytest.raises(ValidationError, match="eval_steps beside"):
            sft_stage(**change)


def test_the_curve_of_a_running_stage_is_in_its_work_folder(folder, mixes, tmp_path, signals):
    with pytest.raises(InterruptedError, match="killed"):
        run(sft, paths_of(folder, mixes / "sft", tmp_path), sft_stage(), Stop(5))
    found = json.loads((tmp_path / "work" / "history.json").read_text())
    assert [line["step"] for line in found] == [0, 2, 4]


def test_shares_of_rows_that_are_too_long_are_reported(folder, mixes, tmp_path, signals):
    _, out = run(sft, paths_of(folder, mixes / "sft", tmp_path), sft_stage(max_length=44, epochs=1))
    report = json.loads((out / "rows.json").read_text())
    assert report["train"]["cut"] + report["train"]["dropped"] > 0
    for name, rows in (("train", 4), ("eval", 2)):
        found = report[name]
        assert found["rows"] == rows
        assert (found["cut_share"], found["dropped_share"]) == (found["cut"] / rows, found["dropped"] / rows)
