"""The block of a model behind an API; in its own module, since it imports the whole request layer."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from bezoar.requests.blocks import Budget, ChatBackend, Connection


class ApiBackend(ChatBackend):
    """A model behind an API."""

    remote: ClassVar[bool] = True

    model: str
    json_schema: bool = Field(True, description="Whether the server enforces a JSON schema on verdicts.")
    max_attempts: int = Field(3, ge=1, description="Most requests for an answer that is refused, cut or empty.")
    max_output_tokens: int | None = Field(
        None,
        ge=1,
        description="The token limit of a cut answer doubles with each try, up to this; null for any.",
    )
    connection: Connection

    def open(self, *, checkpoint: Path | None, system: str, seed: int, budget: Budget) -> Any:
        """A client that answers requests (bezoar.requests.base.Backend).

        Args:
            checkpoint: Model directory, for a backend that loads one.
            system: The student prompt's default system text.
            seed: Start of draws that are made here.
            budget: The ceilings.
        """
        from bezoar.requests.client import Client  # slow to import; only jobs that send need it

        return Client(self.provider(), self, budget)

    def provider(self) -> Any:
        """The API, a bezoar.requests.provider.Provider."""
        raise NotImplementedError
