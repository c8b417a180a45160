"""Models that write and judge, behind one interface; a block of params.yaml says which."""

from pathlib import Path

from bezoar.backends.base import Backend, Completion, Request, Subject, ask
from bezoar.params.budget import Budget
from bezoar.params.data import AnthropicBackend, LocalBackend, OpenAiBackend, VerifierBackend

__all__ = ["Backend", "Completion", "Request", "Subject", "ask", "open_backend"]


def open_backend(
    block: LocalBackend | OpenAiBackend | AnthropicBackend | VerifierBackend,
    *,
    checkpoint: Path | None,
    system: str,
    seed: int,
    budget: Budget,
) -> Backend:
    """The backend that a block describes.

    Args:
        block: A block of `backends`.
        checkpoint: Model directory, for a local backend.
        system: The student prompt's default system text, for a local backend.
        seed: Start of a local backend's draws.
        budget: What an API backend may spend.

    Raises:
        ValueError: A local backend without a model directory.
    """
    match block:  # each kind is imported only where it is used: torch and the API clients take seconds
        case LocalBackend():
            from bezoar.backends.local import Local

            if checkpoint is None:
                raise ValueError(f"a local backend needs the model directory of {block.checkpoint}")
            return Local(checkpoint, block, system=system, seed=seed)
        case OpenAiBackend() | AnthropicBackend():
            from bezoar.llm import provider_of
            from bezoar.llm.client import Client

            return Client(provider_of(block), block, budget)
        case VerifierBackend():
            from bezoar.backends.verifier import Verifier

            return Verifier()
