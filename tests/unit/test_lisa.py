"""Layers that train a few at a time, and keys that are left out of a recipe's values while they are null."""

# ruff: noqa: F401, F811  (fixtures of another file)
import pytest
import torch
import yaml
from pydantic import ValidationError
from test_training import Stop, folder, mixes, paths_of, sft_stage, signals
from test_tuning import FULL, run
from transformers import TrainerCallback

from bezoar.errors import InputError
from bezoar.files import digest
from bezoar.recipe.recipe import Recipe
from bezoar.steps import models
from bezoar.steps.train import lisa, memory, sft
from bezoar.steps.train.merge import Merging, merge

ONE = {**FULL, "lisa": {"layers": 1, "steps": 2}}  # of two layers; 6 steps are 3 periods


class Watch(TrainerCallback):
    """Notes after each step which layers have moved since the last one, and for which the optimizer holds moments."""

    def __init__(self):
        self.moved, self.held, self.before = [], [], None

    def on_step_end(self, args, state, control, model=None, optimizer=None, **_):
        layers = list(model.model.layers)
        now = [torch.cat([one.detach().flatten() for one in layer.parameters()]) for layer in layers]
        before = self.before or now
        self.moved.append({n for n, one in enumerate(now) if not torch.equal(one, before[n])})
        held = (any(one in optimizer.state for one in layer.parameters()) for layer in layers)
        self.held.append({n for n, one in enumerate(held) if one})
        self.before = now


def test_only_the_drawn_layers_move_and_the_others_need_no_moments(folder, mixes, tmp_path, signals):
    watch = Watch()
    trainer, out = run(sft, paths_of(folder, mixes / "sft", tmp_path), sft_stage(**ONE), watch)
    drawn = [lisa.chosen(2, 1, 0, step // 2) for step in range(6)]
    assert watch.moved[1:] == drawn[1:]
    assert watch.held == drawn
    assert {frozenset(one) for one in drawn} == {frozenset({0}), frozenset({1})}  # else nothing is shown
    start = models.load(folder, "float32")
    assert not torch.equal(trainer.model.lm_head.weight, start.lm_head.weight)
    stage = sft_stage(**ONE)
    merge(folder, out, Merging(**{key: getattr(stage, key) for key in Merging.model_fields}), tmp_path / "merged")
    ids = torch.arange(3, 27)[None]
    with torch.inference_mode():
        trained = trainer.model.eval()(input_ids=ids).logits
        assert torch.equal(models.load(tmp_path / "merged", "float32")(input_ids=ids).logits, trained)


@pytest.mark.parametrize("step", [4, pytest.param(5, marks=pytest.mark.long)])  # within a period, and at its end
def test_a_killed_run_draws_the_same_layers_again(folder, mixes, tmp_path, signals, step):
    stage = sft_stage(**ONE, save_steps=1)
    _, whole = run(sft, paths_of(folder, mixes / "sft", tmp_path / "whole"), stage)
    with pytest.raises(InterruptedError, match="killed"):
        run(sft, paths_of(folder, mixes / "sft", tmp_path / "resumed"), stage, Stop(step))
    _, resumed = run(sft, paths_of(folder, mixes / "sft", tmp_path / "resumed"), stage)
    assert digest(resumed) == digest(whole)


def test_draws_are_even_and_follow_from_seed_and_period():
    draws = [lisa.chosen(8, 2, 0, period) for period in range(4000)]
    assert draws == [lisa.chosen(8, 2, 0, period) for period in range(4000)]
    assert draws != [lisa.chosen(8, 2, 1, period) for period in range(4000)]
    for layer in range(8):  # each is drawn in a quarter of the periods: 1,000 of 4,000, with a deviation of 27
        assert abs(sum(layer in one for one in draws) - 1000) < 6 * 27.4


def test_it_is_refused_where_it_can_not_work(folder, mixes, tmp_path):
    with pytest.raises(ValidationError, match="tuning: full with lisa"):
        sft_stage(lisa={"layers": 1, "steps": 2})
    trainer = sft.trainer_of(paths_of(folder, mixes / "sft", tmp_path), sft_stage(**FULL), 0)
    with pytest.raises(InputError, match=r"3 layers can't be drawn(.|\n)*found: +2 layers"):
        lisa.LayerSampling(trainer.model, sft_stage(**FULL, lisa={"layers": 3, "steps": 2}), 0)


def test_gradients_and_moments_of_the_other_layers_are_not_counted(folder):
    shape = memory.shape_of(folder)
    all_layers, one = (memory.estimate(shape, sft_stage(**changes), rows=1, length=8) for changes in (FULL, ONE))
    half = (shape.weights - shape.other) / 2
    assert all_layers.gradients - one.gradients == 4 * half
    assert all_layers.optimizer - one.optimizer == 8 * half


def test_a_key_that_is_null_is_in_no_value_of_a_recipe(tmp_path):
    for changes, keys in (({}, set()), ({"tuning": "full", "lora": {}, "lisa": {"layers": 1, "steps": 2}}, {"lisa"})):
        found = sft_stage(**changes).model_dump(mode="json")
        assert {"lisa", "init"} & {*found, *found["lora"]} == keys
    assert sft_stage(lora={"init": "orthogonal"}).model_dump()["lora"]["init"] == "orthogonal"
    with pytest.raises(ValidationError, match="an even rank"):
        sft_stage(lora={"rank": 3, "init": "orthogonal"})
