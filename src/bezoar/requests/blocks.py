"""Blocks of params.yaml on how to reach models over a network, and how much to spend on them."""

import os
from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from bezoar.blocks import Block, EnvironmentName, FilePath, Licence, NamedBlock

AT_ONCE = 4096  # requests: enough to keep a server busy, and few enough to hold


class Ceiling(Block):
    """The most that may be spent; null for no ceiling."""

    dollars: float | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0, description="Prompts and answers together.")


class Budget(Block):
    """Ceilings. Each request reserves its worst case before it is sent; its response reports the usage."""

    prices: FilePath | None = Field(
        None,
        description="Price table; null takes the one that comes with bezoar. A model without a price gets no requests.",
    )
    run: Ceiling = Field(Ceiling(), description="Of all jobs of one run together.")
    stages: dict[str, Ceiling] = Field({}, description="Of single stages in one run, by name: generate-lamini, ...")
    approve_above: float | None = Field(
        0.0,
        ge=0,
        description="Dollars that a run may cost without BEZOAR_APPROVE=<dollars>; null for any. It is also a ceiling "
        "for runs that need no approval.",
    )


class ManagedServer(Block):
    """A self-hosted server: what `bezoar serve` starts, and how long it runs."""

    command: list[str] = Field(
        min_length=1, description="Program and arguments; {host}, {port} and {checkpoint} are filled in."
    )
    health: str = Field("/health", pattern=r"^/", description="Path that answers 200 once it is ready.")
    start: float = Field(900.0, gt=0, description="Seconds that it may take to be ready, and that a job waits for it.")
    idle: float = Field(300.0, gt=0, description="Seconds without a client after which it stops.")

    @field_validator("command")
    @classmethod
    def _somewhere(cls, command: list[str]) -> list[str]:
        if not any("{port}" in word for word in command):
            raise PydanticCustomError("command", "words of which one holds {port}", {"port": "{port}"})
        return command

    @property
    def loads_checkpoint(self) -> bool:
        """Whether its command names the weights by {checkpoint}."""
        return any("{checkpoint}" in word for word in self.command)


class Connection(Block):
    """How a model server is reached; no result depends on it."""

    base_url_env: EnvironmentName | None = Field(
        None, description="Variable with the address; null for the provider's own."
    )
    server: ManagedServer | None = Field(
        None, description="Used if that variable isn't set; null for no self-hosted server."
    )
    api_key_env: EnvironmentName
    concurrency: int = Field(
        16, ge=1, description="Most requests in flight per job; fewer while the server answers 429."
    )
    requests_per_minute: int | None = Field(None, ge=1, description="Per job; null for no limit but the server's own.")
    tokens_per_minute: int | None = Field(
        None, ge=1, description="Per job, prompt and answer together; null for no limit."
    )
    timeout: float = Field(600.0, gt=0, description="Seconds for one try, from sending to the last byte.")
    deadline: float = Field(3600.0, gt=0, description="Seconds for all tries of one request.")
    batch: bool = Field(False, description="Use the provider's batch API: half the price, within 24 hours.")

    @property
    def self_hosted(self) -> bool:
        """Whether requests go to a self-hosted server: there is one, and no variable sets another address."""
        return self.server is not None and not (self.base_url_env and os.environ.get(self.base_url_env))


class BackendBlock(NamedBlock):
    """A model that answers requests.

    Attributes:
        writes: Whether it generates text, and so can be a teacher.
        remote: Whether its requests go over a network, and may cost money.
        weights_from: Key that names the checkpoint that its jobs load; empty if they load none.
    """

    section: ClassVar[str] = "backends"
    rules: ClassVar[tuple[str, ...]] = ("server",)
    writes: ClassVar[bool] = True
    remote: ClassVar[bool] = False
    weights_from: ClassVar[str] = ""

    terms: Licence | None = Field(
        None,
        description="What its answers may be used for: an SPDX id, or a name with what it permits; null takes the "
        "licences of the checkpoint that answers.",
    )

    @property
    def serves(self) -> bool:
        """Whether an evaluation may ask it about a checkpoint of the recipe."""
        return False

    @property
    def gives_logprobs(self) -> bool:
        """Whether it tells the log-probabilities of a token's alternatives."""
        return False

    @property
    def at_once(self) -> int | None:
        """Requests that it should get at once; None for all of a job's."""
        return AT_ONCE

    def identity(self) -> dict[str, Any]:
        """What its answers depend on: every value but its connection and terms."""
        return self.model_dump(exclude={"connection", "terms"})

    @property
    def weights(self) -> str | None:
        """The checkpoint that its jobs load, if any."""
        return getattr(self, self.weights_from) if self.weights_from else None


Marker = Annotated[str, Field(min_length=1)]


class ChatBackend(BackendBlock):
    """A backend that writes free text."""

    thinking: list[Annotated[list[Marker], Field(min_length=2, max_length=2)]] = Field(
        default=[["<think>", "</think>"]],
        description="Pairs of markers around the model's thinking, which isn't part of its answer; [] for none.",
    )
