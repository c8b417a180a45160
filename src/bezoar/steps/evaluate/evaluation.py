"""The base class of evaluations."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from bezoar.blocks import Dtype, Name, NamedBlock, Reference
from bezoar.problems import Problem

CheckpointName = Annotated[Name, Reference(("models", "stages"), "scores an unknown checkpoint")]


class EvalBlock(NamedBlock):
    """The base class of evaluations."""

    section: ClassVar[str] = "evals"

    checkpoints: list[CheckpointName] = Field(
        min_length=1, description="Base models and stages, in the order of the report."
    )
    batch_size: int = Field(16, ge=1, description="Prompts in one batch.")
    dtype: Dtype = "bfloat16"

    def downloads(self) -> bool:
        """Whether its jobs need something that comes over a network."""
        return False

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """Problems of this block in the whole recipe, with keys below the block's."""
        yield from ()
