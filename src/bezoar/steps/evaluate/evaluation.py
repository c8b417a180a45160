"""The base class of evaluations."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from bezoar.blocks import Dtype, Name, NamedBlock, Reference
from bezoar.problems import Problem

Temperature = Annotated[float, Field(ge=0, le=2)]
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


def source_of(role: str) -> Reference:
    """Marks the name of a source for a role in an evaluation."""
    return Reference(("sources",), "no such source", formats=(role,))


class AnsweredEval(EvalBlock):
    """The base class of evaluations for which checkpoints answer questions, in two turns each."""

    questions: Annotated[Name, source_of("questions")]
    temperatures: dict[str, Temperature] = Field(
        {
            "writing": 0.7,
            "roleplay": 0.7,
            "extraction": 0.0,
            "math": 0.0,
            "coding": 0.0,
            "reasoning": 0.0,
            "stem": 0.1,
            "humanities": 0.1,
        },
        description="Answer temperature of each question category. Default: FastChat's llm_judge.",
    )
    top_p: float = Field(1.0, gt=0, le=1)
    max_new_tokens: int = Field(1024, ge=1, description="Most tokens of an answer. Default: FastChat's llm_judge.")
