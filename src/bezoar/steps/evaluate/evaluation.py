"""What every evaluation says in params.yaml."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from bezoar.blocks import Dtype, Name, NamedBlock, Reference
from bezoar.problems import Problem

CheckpointName = Annotated[Name, Reference(("models", "stages"), "scores an unknown checkpoint")]


class EvalBlock(NamedBlock):
    """What all evaluations share."""

    section: ClassVar[str] = "evals"

    checkpoints: list[CheckpointName] = Field(
        min_length=1, description="Base models and stages, in the order of the report."
    )
    batch_size: int = Field(16, ge=1, description="Prompts in one batch.")
    dtype: Dtype = "bfloat16"

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """What is wrong across blocks, with keys below this one, by the whole recipe."""
        yield from ()
