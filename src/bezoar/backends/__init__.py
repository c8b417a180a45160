"""Models that write and judge, behind one interface; a block of params.yaml says which."""

from pathlib import Path

from bezoar.backends.base import Backend, Completion, Request, Subject, ask
from bezoar.params.data import AnthropicBackend, LocalBackend, OpenAiBackend, VerifierBackend

__all__ = ["Backend", "Completion", "Request", "Subject", "ask", "open_backend"]


def open_backend(
    block: LocalBackend | OpenAiBackend | AnthropicBackend | VerifierBackend,
    *,
    checkpoint: Path | None,
    system: str,
    seed: int,
) -> Backend:
    """The backend that a block describes.

    Args:
        block: A block of `backends`.
        checkpoint: Model directory, for a local backend.
        system: The student prompt's default system text, for a local backend.
        seed: Start of a local backend's draws.

    Raises:
        ValueError: A local backend without a model directory, or an API backend whose key isn't in the environment.
    """
    match block:  # each kind is imported only where it is used: torch and the API clients take seconds
        case LocalBackend():
            from bezoar.backends.local import Local

            if checkpoint is None:
                raise ValueError(f"a local backend needs the model directory of {block.checkpoint}")
            return Local(checkpoint, block, system=system, seed=seed)
        case OpenAiBackend():
            from bezoar.backends.openai import OpenAi

            return OpenAi(block)
        case AnthropicBackend():
            from bezoar.backends.anthropic import Anthropic

            return Anthropic(block)
        case VerifierBackend():
            from bezoar.backends.verifier import Verifier

            return Verifier()
