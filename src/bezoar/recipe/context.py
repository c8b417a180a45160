"""The most tokens that a stage's model can read, as far as it is known before anything is built."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.problems import Problem
from bezoar.steps.base.pretrain import PretrainedModel

if TYPE_CHECKING:
    from bezoar.recipe.recipe import Recipe


def problems(recipe: "Recipe") -> Iterator[Problem]:
    """Stages that let their model write past its last position."""
    for name, stage in recipe.stages.items():
        positions = context_of(recipe, name)
        if stage.drawn_tokens() and positions is not None and stage.max_length > positions:
            what = "prompts with their answers may be longer than the model's context"
            found = f"max_length {stage.max_length:,}"
            yield Problem(("stages", name, "max_length"), what, found, f"at most {positions:,} tokens")


def context_of(recipe: "Recipe", stage: str) -> int | None:
    """Positions of the base model of a stage; None if that isn't known yet, or it has no limit."""
    name = recipe.stages[recipe.chain(stage)[-1]].init_from
    model = recipe.models.get(name)
    if isinstance(model, PretrainedModel):
        return model.architecture.max_position_embeddings
    folders = [f"data/base/{name}", *(model.files() if model else ())]
    return next(filter(None, map(_positions, folders)), None)


def _positions(folder: str) -> int | None:
    config: Any = None
    with suppress(OSError, ValueError):
        config = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        return None
    text = config.get("text_config")
    found = (text if isinstance(text, dict) else config).get("max_position_embeddings")
    return found if isinstance(found, int) and found > 0 else None
