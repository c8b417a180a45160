"""The block of a model behind an API; in its own module, since it imports the whole request layer."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from bezoar.blocks import Name, Reference
from bezoar.requests.blocks import Budget, ChatBackend, Connection


class ApiBackend(ChatBackend):
    """A model behind an API."""

    remote: ClassVar[bool] = True
    weights_from: ClassVar[str] = "checkpoint"

    model: str
    checkpoint: Annotated[Name, Reference(("models", "stages"), "serves an unknown checkpoint")] | None = Field(
        None,
        description="The base model or stage of this recipe whose weights its self-hosted server loads; null for other "
        "weights, of which only `model` tells.",
    )
    json_schema: bool = Field(True, description="Whether the server enforces a JSON schema on verdicts.")
    max_attempts: int = Field(3, ge=1, description="Most requests for an answer that is refused, cut or empty.")
    max_output_tokens: int | None = Field(
        None,
        ge=1,
        description="The token limit of a cut answer doubles with each try, up to this; null for any.",
    )
    connection: Connection

    @property
    def at_once(self) -> int | None:
        """Requests that it should get at once; None for all of a job's, as a batch may take a day."""
        return None if self.connection.batch else super().at_once

    def open(self, *, checkpoint: Path | None, system: str | None, seed: int, budget: Budget) -> Any:
        """A client that answers requests (bezoar.requests.base.Backend).

        Args:
            checkpoint: Model directory that its server loads, if it is one of the recipe.
            system: The student prompt's default system text.
            seed: Start of draws that are made here.
            budget: The ceilings.

        Raises:
            ValueError: It serves a checkpoint, and there is no model directory.
        """
        from bezoar.cache.folders import content_of  # slow to import, as is the client; only jobs that send need them
        from bezoar.requests.client import Client

        if self.checkpoint and checkpoint is None:
            raise ValueError(f"a backend that serves {self.checkpoint} needs its model directory")
        return Client(self.provider(content_of(checkpoint) if self.checkpoint and checkpoint else ""), self, budget)

    def provider(self, weights: str = "") -> Any:
        """The API, a bezoar.requests.provider.Provider.

        Args:
            weights: MD5 of the checkpoint that its server loads; empty for other weights.
        """
        raise NotImplementedError
