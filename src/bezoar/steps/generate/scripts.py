"""Flags and values of the generate scripts. It imports every backend, and shard scripts need none."""

from typing import Any

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.script import Flags
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.generate.scheme import SchemeBlock


def flags(description: str | None) -> Flags:
    """The flags of every generate script."""
    parser = Flags(description)
    parser.path("seeds", "what was dealt to the shard: seed rows, prompts, or calls with their examples")
    parser.path("prompts", "prompt file of the scheme", optional=True)
    parser.path("teacher", "model directory of a local teacher", optional=True)
    parser.path(
        "judge", "model directory of a local model that compares rewrites, or criticises answers", optional=True
    )
    parser.folder("out", "folder of the shard for rows.jsonl, dropped.jsonl and report.json; named by its number")
    return parser


def takes(scheme: type[SchemeBlock], backend: Any = AnyBackend) -> dict[str, Any]:
    """The values that every generate script takes; `dict[str, AnyBackend]` takes several backends by name."""
    return {"scheme": scheme, "backend": backend, "prompt": Prompt, "seed": int, "budget": Budget}
