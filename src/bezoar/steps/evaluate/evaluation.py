"""The base classes of evaluations."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import Field

from bezoar.blocks import Dtype, Name, NamedBlock, Reference, Sampling
from bezoar.problems import Problem, unknown
from bezoar.requests.demand import Demand, Known

if TYPE_CHECKING:
    from bezoar.requests.blocks import BackendBlock

CheckpointName = Annotated[Name, Reference(("models", "stages"), "scores an unknown checkpoint")]
ServerName = Annotated[Name, Reference(("backends",), "no backend that serves a checkpoint", trait="serves")]
AnswersName = Annotated[Name, Reference(("answers",), "no such answers")]
SERVED = "served_by"  # the key
ANSWERS = "answers"  # the rule
QUESTIONS = "questions"  # the one task of a set of questions


class Scores(NamedTuple):
    """What a model card says of a checkpoint: a text, and perhaps a table."""

    text: str
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str | int | None, ...], ...] = ()


class EvalBlock(NamedBlock):
    """The base class of evaluations.

    Attributes:
        rates: Whether a judge rates each answer by itself, on the method's scale.
    """

    section: ClassVar[str] = "evals"
    rates: ClassVar[bool] = False

    checkpoints: list[CheckpointName] = Field(
        min_length=1, description="Base models and stages, in the order of the report."
    )

    def downloads(self) -> bool:
        """Whether its jobs need something that comes over a network."""
        return False

    def scores_of(self, checkpoint: str, report: Any) -> Scores:
        """A checkpoint's scores for its model card, from results/<name>.json; by default its part as it is."""
        part = report.get("checkpoints", report).get(checkpoint)
        return Scores(f"as reported:\n\n```json\n{json.dumps(part, indent=2, sort_keys=True)}\n```")

    def targets(self) -> dict[str, str]:
        """What training rows are compared with: by task, the texts in words."""
        return {}

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """Problems of this block in the whole recipe, with keys below the block's."""
        yield from ()


class LoadingBlock(NamedBlock):
    """The base class of blocks whose jobs load a checkpoint."""

    batch_size: int = Field(16, ge=1, description="Prompts in one batch.")
    dtype: Dtype = "bfloat16"


class LoadedEval(LoadingBlock, EvalBlock):
    """The base class of evaluations whose jobs load a checkpoint."""


class ServedBlock(LoadingBlock):
    """The base class of blocks whose jobs load a checkpoint, or ask the server of a backend that has loaded it.

    Attributes:
        served_rule: Rule of these jobs, one or more for each checkpoint.
        server_keys: Keys of a backend that a result through its server depends on.
    """

    served_rule: ClassVar[str]
    server_keys: ClassVar[tuple[str, ...]] = ("kind", "model", "checkpoint")

    served_by: list[ServerName] = Field(
        [],
        description="Backends with a `checkpoint` that is evaluated: their servers answer for it. Jobs load the other "
        "checkpoints themselves. A server has its own dtype and batches, so `dtype` and `batch_size` don't matter.",
    )

    def servers(self, backends: Mapping[str, "BackendBlock"], checkpoints: list[str]) -> dict[str, "BackendBlock"]:
        """By checkpoint, the backend whose server answers for it."""
        named = [backends[name] for name in self.served_by if name in backends]
        return {one.weights: one for one in named if one.weights in checkpoints}

    def demand(self, inputs: Iterable[str], known: Known, key: str) -> Demand:
        """The requests of one job for a served checkpoint: their number isn't known before the job runs."""
        return Demand(None, 0, Sampling())

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """Servers of checkpoints that aren't evaluated, and second ones of those that are."""
        checkpoints = recipe.checkpoints_of(self)
        seen: dict[str, str] = {}
        for position, name in enumerate(self.served_by):
            weights = recipe.backends[name].weights if name in recipe.backends else None
            if weights is None:
                continue
            if weights not in checkpoints:
                what, expected = (
                    "the backend serves a checkpoint that isn't evaluated here",
                    ", ".join(checkpoints) or "an evaluation of it",
                )
                yield Problem((SERVED, position), what, f"{name}, which serves {weights}", expected)
            elif weights in seen:
                what, found = "two backends serve one checkpoint", f"{seen[weights]} and {name}, for {weights}"
                yield Problem((SERVED, position), what, found, "one of them")
            seen.setdefault(weights, name)


class ServedEval(ServedBlock, EvalBlock):
    """The base class of evaluations whose jobs load a checkpoint, or ask the server that has loaded it."""


def source_of(role: str) -> Reference:
    """Marks the name of a source for a role in an evaluation."""
    return Reference(("sources",), "no such source", formats=(role,))


class AnsweredEval(EvalBlock):
    """The base class of evaluations of checkpoints' answers, which a block of `answers` says how to make.

    Attributes:
        turns: Turns that each question must have; None for any number.
    """

    turns: ClassVar[int | None] = None

    answers: AnswersName = Field(description="Block of `answers`: its questions, and how checkpoints answer them.")

    def targets(self) -> dict[str, str]:
        """All turns of its questions."""
        return {QUESTIONS: f"all turns of the questions of answers.{self.answers}"}

    def stage_names(self) -> list[str]:
        """What its questions ask, and the answers of each checkpoint."""
        answers = [f"{ANSWERS}-{self.answers}-{one}" for one in self.checkpoints]
        return [f"question_targets-{self.name}", *answers]

    def shuffled_problems(self, shuffled: bool, checkpoint: str | None, recipe: Any) -> Iterator[Problem]:
        """Problems of the control `shuffled`, which needs a checkpoint's answers to several questions.

        The checkpoint is named, since the last one of a list changes when one is appended.

        Args:
            shuffled: Whether it is a control of this evaluation.
            checkpoint: The value of `shuffled_from`.
            recipe: The whole recipe.
        """
        if shuffled and checkpoint is None:
            expected = f"a checkpoint of {', '.join(self.checkpoints)}"
            yield Problem(("shuffled_from",), "the control `shuffled` has no answers", "nothing", expected)
        elif checkpoint is not None and checkpoint not in self.checkpoints:
            yield unknown(("shuffled_from",), "no answers of this checkpoint are made", checkpoint, self.checkpoints)
        answers = recipe.answers.get(self.answers)
        asked = recipe.sources.get(answers.questions) if answers else None
        if shuffled and asked and 1 in (asked.limit, asked.sample):
            what = "the control `shuffled` needs answers to other questions"
            yield Problem(("controls",), what, "one question", "more questions, or no such control")
