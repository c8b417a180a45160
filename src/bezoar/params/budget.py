"""The block of params.yaml that says what may be spent; no result depends on it."""

from pydantic import Field

from bezoar.params.blocks import Block, Path


class Ceiling(Block):
    """What may be spent at most; null for no ceiling."""

    dollars: float | None = Field(ge=0)
    tokens: int | None = Field(ge=0, description="Prompts and answers together.")


class Budget(Block):
    """Ceilings, which are reserved against before a request is sent, and settled by what its answer says it used."""

    prices: Path = Field(description="Price table; a model without a price is not asked.")
    run: Ceiling = Field(description="Of all jobs of one run together.")
    stages: dict[str, Ceiling] = Field(description="Of single stages in one run, by name: generate-lamini, ...")
    approve_above: float | None = Field(
        ge=0,
        description="Dollars that a run may cost, at most, without BEZOAR_APPROVE=<dollars>; null for any. A run that "
        "nobody was asked about, since it may cost less, has it as a ceiling, beside `run`.",
    )
