"""Prices of tokens: a dated table, and costs in integer millionths of a dollar."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from math import ceil
from pathlib import Path

from pydantic import Field

from bezoar.blocks import Block
from bezoar.errors import InputError, problem
from bezoar.problems import read_yaml

SHIPPED = Path(__file__).with_name("usd.yaml")


@dataclass(frozen=True)
class Usage:
    """Tokens as a server counts them; `prompt` doesn't include those in a cache.

    Attributes:
        prompt: Read, and not from a cache.
        cached: Read from the provider's cache.
        written: Written to a cache that lasts five minutes, or as long as the provider likes.
        written_1h: Written to a cache that lasts an hour.
        completion: Written as answer, thinking included.
    """

    prompt: int
    completion: int
    cached: int = 0
    written: int = 0
    written_1h: int = 0

    @property
    def read(self) -> int:
        """All tokens of the input."""
        return self.prompt + self.cached + self.written + self.written_1h

    @property
    def negative(self) -> bool:
        """Whether a count is below 0; a count that can't be read is -1."""
        return min(self.prompt, self.cached, self.written, self.written_1h, self.completion) < 0


class LongPrompts(Block):
    """Other prices for a request whose prompt has more tokens."""

    above: int = Field(ge=1, description="Tokens of the prompt.")
    input: float = Field(ge=1, description="Factor on input.")
    output: float = Field(ge=1, description="Factor on output.")


class Price(Block):
    """Dollars for a million tokens, or millionths of a dollar for one."""

    model: str
    since: date = Field(strict=False, description="Day from which the price holds, or on which it was looked up.")
    source: str
    input: float = Field(ge=0)
    cached: float = Field(ge=0, description="Read from a cache.")
    written: float = Field(ge=0, description="Written to a cache.")
    written_1h: float = Field(ge=0, description="Written to a cache for an hour.")
    output: float = Field(ge=0)
    batch: float = Field(ge=0, le=1, description="Factor on all prices in a batch.")
    long_prompts: LongPrompts | None

    @property
    def free(self) -> bool:
        """Whether all prices are 0."""
        return not any((self.input, self.cached, self.written, self.written_1h, self.output))

    def micro(self, usage: Usage, *, batch: bool) -> int:
        """Millionths of a dollar, rounded up."""
        long = self.long_prompts if self.long_prompts and usage.read > self.long_prompts.above else None
        going_in = (
            usage.prompt * self.input
            + usage.cached * self.cached
            + usage.written * self.written
            + usage.written_1h * self.written_1h
        )
        total = going_in * (long.input if long else 1) + usage.completion * self.output * (long.output if long else 1)
        return ceil(round(total * (self.batch if batch else 1), 6))


class Prices(Block):
    """A price table. A model's current price is the newest one whose day has come."""

    prices: list[Price]

    @cached_property
    def newest(self) -> dict[str, Price]:
        """The price of each model, today."""
        begun = [price for price in self.prices if price.since <= date.today()]
        return {price.model: price for price in sorted(begun, key=lambda price: price.since)}

    def of(self, model: str, path: Path | str | None) -> Price:
        """A model's price.

        Raises:
            ValueError: The table has none; without a price nothing is sent.
        """
        if model not in self.newest:
            raise InputError(
                problem(
                    f"{path or SHIPPED.name}: no price for the model {model}",
                    found=f"prices of {', '.join(sorted(self.newest))}",
                    expected="a price; zeros for a self-hosted server",
                    hint="add it, with its date and source",
                )
            )
        return self.newest[model]


def load_prices(path: Path | str | None) -> Prices:
    """A price table; None takes the one that comes with bezoar.

    Raises:
        ValueError: The file isn't one; the message has every problem with its line.
    """
    return read_yaml(path or SHIPPED, Prices)
