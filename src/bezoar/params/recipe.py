"""The recipe: params.yaml as a whole, read, checked and taken apart."""

import os
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from bezoar.params.blocks import Block, Name, Prompt
from bezoar.params.budget import Budget
from bezoar.params.check import contents_of, problems_of
from bezoar.params.data import Backend, Filter, Mix, Scheme, Source
from bezoar.params.evaluate import Eval
from bezoar.params.problems import RecipeError, lines_of, of_validation, parsed, report, text_of
from bezoar.params.resources import Resources
from bezoar.params.train import Model, Stage


def active() -> Path:
    """The params file that this process goes by: params.yaml, or the copy that a run made of it when it started."""
    return Path(os.environ.get("BEZOAR_PARAMS", "params.yaml"))


class Recipe(Block):
    """Every value that the build depends on."""

    recipe: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name, as in recipes/<name>.yaml.")
    seed: int = Field(ge=0, description="Start of every random draw.")
    shards: int = Field(ge=1, le=10_000, description="Parts that each scheme's work is split into.")
    prompt: Prompt
    budget: Budget
    resources: dict[str, Resources] = Field(
        description="What jobs ask a cluster for, by stage (train-dpo_hh), by rule (train), or `default`."
    )
    sources: dict[Name, Source] = Field(min_length=1)
    backends: dict[Name, Backend] = Field(min_length=1)
    models: dict[Name, Model] = Field(min_length=1)
    schemes: dict[Name, Scheme] = Field(min_length=1)
    filters: dict[Name, Filter]
    mixes: dict[Name, Mix] = Field(min_length=1)
    stages: dict[Name, Stage] = Field(min_length=1)
    evals: dict[Name, Eval] = Field(min_length=1)

    def model_post_init(self, _: Any) -> None:
        """Tell backends their names, by which servers of one's own are found."""
        for name, backend in self.backends.items():
            backend._name = name

    def foundation(self, stage: str) -> str:
        """The base model or stage whose full weights a stage's adapter lies on."""
        block = self.stages[stage]
        return self.foundation(block.init_from) if block.continue_adapter else block.init_from

    def chain(self, stage: str) -> list[str]:
        """A stage and all that it starts from, directly or not, without the base model; a circle is walked once."""
        found: list[str] = []
        while stage in self.stages and stage not in found:
            found.append(stage)
            stage = self.stages[stage].init_from
        return found

    def earlier_mixes(self, mix: str) -> list[str]:
        """The other mixes that stages trained on before a stage trains on this one."""
        before = {name for stage, block in self.stages.items() if block.mix == mix for name in self.chain(stage)[1:]}
        return sorted({self.stages[name].mix for name in before} - {mix})

    def asks(self, stage: str) -> Resources:
        """What a job of a stage asks a cluster for: by its own name, by its rule's, or what all ask for."""
        names = (stage, stage.partition("-")[0], "default")
        return next(self.resources[name] for name in names if name in self.resources)

    def shard_names(self) -> list[str]:
        """Names of the shards: 0000, 0001, ..."""
        return [f"{shard:04d}" for shard in range(self.shards)]


def load(path: Path | str | None = None, *, contents: bool = False) -> Recipe:
    """A params file, by default the active one, read and checked.

    Args:
        path: The file.
        contents: Whether local sources are compared with the sha256 that is pinned, too; for once a run.

    Raises:
        RecipeError: The file isn't there or isn't YAML, a block doesn't fit the schema, a name refers to nothing,
            stages form a cycle, a file that it names is missing or lies outside the repository. The message lists
            every problem with file, line, key, what was found and what was expected.
    """
    path = Path(path or active())
    text = text_of(path)
    data = parsed(text, path)
    lines = lines_of(str(path), text)
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        raise RecipeError(report(str(path), of_validation(error, data, Recipe), lines)) from error
    problems = problems_of(recipe, Path.cwd())
    if contents and not problems:
        problems = contents_of(recipe, Path.cwd())
    if problems:
        raise RecipeError(report(str(path), problems, lines))
    return recipe


def plain(path: Path | str | None = None) -> Any:
    """A params file's content as plain maps, lists and values.

    Raises:
        RecipeError: The file can't be read, or isn't YAML.
    """
    path = Path(path or active())
    return parsed(text_of(path), path)


def select(names: list[str], path: Path | str | None = None) -> list[Any]:
    """The named values of a params file, in order: `stages.dpo_hh` gives that block, `seed` the number.

    Raises:
        RecipeError: The file isn't a recipe, or it has no such name.
    """
    recipe = load(path)
    values = []
    for name in names:
        value: Any = recipe
        for part in name.split("."):
            keys = value if isinstance(value, dict) else dict(value) if isinstance(value, Block) else {}
            if part not in keys:
                raise RecipeError(
                    f"{path or active()}: {name}: no such block\n  found:    {part}\n  expected: a key of the recipe"
                )
            value = keys[part]  # None where the recipe says null
        values.append(value)
    return values
