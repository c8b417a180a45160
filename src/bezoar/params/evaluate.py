"""Blocks of the evaluations."""

from typing import Annotated, Literal

from pydantic import Field

from bezoar.params.blocks import Block, Name, Path, Precision, Sampling, Share

Temperature = Annotated[float, Field(ge=0, le=2)]
CONTROL = "control_"  # in front of the names of controls, which stand beside checkpoints


class EvalBlock(Block):
    checkpoints: list[Name] = Field(min_length=1, description="Base models and stages, in the order of the report.")
    batch_size: int = Field(ge=1, description="Prompts in one batch.")
    precision: Precision


class Harness(EvalBlock):
    """lm-evaluation-harness."""

    method: Literal["harness"]
    tasks: list[Name] = Field(min_length=1)
    task_folder: Path | None = Field(description="Folder of own task files; null takes the harness's own tasks.")
    data: list[Name] = Field(description="Sources that those task files read.")
    shots: int = Field(ge=0, description="Examples in the prompt.")
    max_length: int = Field(ge=16, description="Tokens of prompt and response at most.")


class Mtbench(EvalBlock):
    """MT-Bench (Zheng et al. 2023, arXiv:2306.05685): two turns, each answer graded by itself."""

    method: Literal["mtbench"]
    questions: Name
    references: Name
    judge_prompts: Name
    judge: Name = Field(description="Backend that grades.")
    judge_sampling: Sampling
    judge_attempts: int = Field(ge=1, description="Times that an unreadable judgment is asked at most.")
    most_failed: Share = Field(
        description="Share of a model's judgments without a readable rating that a job bears; empty answers need none."
    )
    repeats: int = Field(ge=1, description="Judgments of each answer.")
    temperatures: dict[str, Temperature] = Field(description="Answer temperature of each question category.")
    top_p: float = Field(gt=0, le=1)
    max_new_tokens: int = Field(ge=1, description="Tokens of an answer at most.")
    with_reference: list[str] = Field(description="Categories whose judge sees the reference answer.")
    controls: list[Literal["empty", "filler", "spoof", "shuffled"]] = Field(
        description="Answers without a model, graded before all others; a judge that rewards them is compromised."
    )
    shuffled_from: Name | None = Field(
        None, description="Checkpoint whose answers the control `shuffled` gives to other questions."
    )
    allow_compromised: bool = Field(
        description="Judge models though controls show that the judge can't be believed; the table is stamped as such."
    )
    draws: int = Field(ge=100, description="Bootstrap draws of an interval.")


Eval = Annotated[Harness | Mtbench, Field(discriminator="method")]
