"""Layerwise importance sampled AdamW (Pan et al. 2024, arXiv:2403.17919): a few layers of a model train at a time.

Which ones is drawn evenly, as in the paper's experiments, from seed and period, so a resumed run draws the same. All
weights are in the optimizer from the start; a layer that rests has no gradient, and its moments are dropped, so it
doesn't move and needs no memory beside its weights.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bezoar.errors import InputError, problem
from bezoar.steps.train import devices

if TYPE_CHECKING:
    from bezoar.steps.train.stage import StageBlock


class LayerSampling(TrainerCallback):
    """Draws the layers that train, at the first step of each period.

    Raises:
        InputError: The model has fewer layers, or several processes train, which have to agree on gradients.
    """

    def __init__(self, model: Any, stage: StageBlock, seed: int) -> None:
        assert stage.lisa
        self.block, self.seed, self.period = stage.lisa, seed, -1
        self.layers = layers_of(model)
        if len(self.layers) < self.block.layers or devices.world() > 1:
            what = f"stages.{stage.name}: {self.block.layers} layers can't be drawn at a time"
            found = f"{len(self.layers)} layers, {devices.world()} processes"
            raise InputError(problem(what, found=found, expected="as many layers or more, and one process"))

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, optimizer: Any = None, **_: Any
    ) -> None:
        period = state.global_step // self.block.steps
        if period == self.period:
            return
        self.period = period
        drawn = chosen(len(self.layers), self.block.layers, self.seed, period)
        for place, layer in enumerate(self.layers):
            for parameter in layer.parameters():
                parameter.requires_grad_(place in drawn)
                if place not in drawn:
                    optimizer.state.pop(parameter, None)


def chosen(layers: int, count: int, seed: int, period: int) -> set[int]:
    """The layers that train in a period, by number from 0."""
    return set(random.Random(f"{seed}:lisa:{period}").sample(range(layers), count))


def layers_of(model: Any) -> torch.nn.ModuleList:
    """The decoder layers of a model: the longest list of modules below its base model; empty if it has none."""
    lists = [one for one in model.base_model.children() if isinstance(one, torch.nn.ModuleList)]
    return max(lists, key=len, default=torch.nn.ModuleList())
