"""The block of a model behind an API; apart from the other blocks, since it brings the whole request layer."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from bezoar.requests.blocks import Budget, ChatBackend, Connection


class ApiBackend(ChatBackend):
    """A model behind an API."""

    remote: ClassVar[bool] = True

    model: str
    json_schema: bool = Field(True, description="Whether the server enforces a JSON schema on verdicts.")
    max_attempts: int = Field(3, ge=1, description="Times that a refused, cut or empty answer is asked at most.")
    max_output_tokens: int | None = Field(
        None, ge=1, description="Tokens up to which a cut answer's limit is doubled for its next try; null for any."
    )
    connection: Connection

    def open(self, *, checkpoint: Path | None, system: str, seed: int, budget: Budget) -> Any:
        """What answers requests (bezoar.requests.base.Backend).

        Args:
            checkpoint: Model directory, for a backend that loads one.
            system: The student prompt's default system text.
            seed: Start of draws that are made here.
            budget: What may be spent.
        """
        from bezoar.requests.client import Client  # slow to import, and only jobs that ask need it

        return Client(self.provider(), self, budget)

    def provider(self) -> Any:
        """What knows the API's bodies and answers; bezoar.requests.provider.Provider."""
        raise NotImplementedError
