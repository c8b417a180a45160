"""The memory that planned stages need on their devices, for `bezoar plan`."""

from collections.abc import Iterable
from pathlib import Path

from bezoar.cache.job import Step
from bezoar.recipe.recipe import Recipe
from bezoar.steps.train import devices, memory


def lines(recipe: Recipe, steps: Iterable[Step]) -> list[str]:
    """A line for each planned training: its most memory on one device, with rows of `max_length` tokens."""
    return [
        f"memory of {step.stage}: {of_stage(recipe, step.block[0], recipe.resources_of(step.stage).gpus)}"
        for step in steps
        if step.rule == "train"
    ]


def of_stage(recipe: Recipe, name: str, gpus: int) -> str:
    """The memory of a stage's job with so many GPUs."""
    stage = recipe.stages[name]
    model = recipe.base_model(name)
    folders = [Path(f"data/base/{model}"), *map(Path, recipe.models[model].files())]
    shape = next(filter(None, map(memory.shape_of, folders)), None)
    if shape is None:
        return f"known when {folders[0]} is there"
    count = max(1, gpus)
    rows, _ = devices.split(stage, count)
    found = memory.estimate(shape, stage, rows=rows, length=stage.max_length, devices=count, autocast=gpus > 0)
    return f"at most about {found}" + f", on each of {count} devices" * (count > 1)
