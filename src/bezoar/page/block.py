"""What the page knows of the recipe: which blocks there are, and what they are made of."""

from pydantic import Field

from bezoar.blocks import Block


def _is_empty(value: object) -> bool:
    """Whether a value is left out: a recipe without such blocks keeps the key of its page."""
    return not value


class PageModel(Block):
    """A base model."""

    method: str
    sources: list[str] = Field(description="Sources that it is trained on here; [] if it comes from elsewhere.")


class PageStage(Block):
    """A stage of training."""

    method: str
    init_from: str
    mix: str


class PageScheme(Block):
    """A scheme of generated rows."""

    method: str
    seeds: str = Field(description="The source, or the scheme, of its seed rows.")
    weights: str | None = Field(None, description="The checkpoint of this recipe that the backend has, if it has one.")


class PagePart(Block):
    """A part of a mix: rows of a scheme, as its filter or a baseline keeps them, of a source, or of a selection."""

    kind: str
    name: str


class PageEval(Block):
    """An evaluation."""

    method: str
    checkpoints: list[str]
    models: list[str] = Field(description="Whose answers are judged: controls and checkpoints; [] without a judge.")
    answers: str | None = Field(description="Block of `answers`, if checkpoints answer questions.")
    questions: str | None = Field(description="The source of these questions.")


class Page(Block):
    """The values of the page; `params.resolved.yaml` has them."""

    recipe: str
    shards: int
    models: dict[str, PageModel] = Field(description="Base models.")
    schemes: dict[str, PageScheme]
    unfiltered: list[str] = Field([], exclude_if=_is_empty, description="Schemes without a filter.")
    follows: list[str] = Field([], exclude_if=_is_empty, description="Schemes whose seeds are rows of another scheme.")
    scores: dict[str, str] = Field(
        {}, exclude_if=_is_empty, description="By block of scores, the scheme whose rows are scored."
    )
    pairs: dict[str, list[list[str]]] = Field(
        {},
        exclude_if=_is_empty,
        description="By block of pairs, section and name of the blocks whose rows are paired.",
    )
    filters: dict[str, str] = Field(description="By filter, or baseline, the scheme whose rows it keeps.")
    selections: dict[str, PagePart] = Field(
        {}, description="By selection, the rows that it is made from.", exclude_if=lambda blocks: not blocks
    )
    mixes: dict[str, list[PagePart]]
    stages: dict[str, PageStage]
    evals: dict[str, PageEval]
    matrices: list[str] = Field(
        [], exclude_if=lambda names: not names, description="Matrices, each with a file in results/."
    )

    def shard_names(self) -> list[str]:
        """Names of the shards: 0000, 0001, ..."""
        return [f"{shard:04d}" for shard in range(self.shards)]

    def made(self) -> list[str]:
        """The schemes of all rows that models wrote."""
        return list(dict.fromkeys([*self.filters.values(), *self.unfiltered]))

    def checkpoints(self) -> list[str]:
        """Base models and stages."""
        return [*self.models, *self.stages]
