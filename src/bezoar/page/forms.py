"""The forms of artifacts that the page reads, as far as it shows them; their files may have been written by anyone."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Portion = Annotated[float, Field(ge=0, le=1)]


class Form(BaseModel):
    """A part of an artifact; keys that aren't shown may be there."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class Point(Form):
    """A line of data/adapters/<stage>/history.json: a step with a loss or a reward, or with one on held-out rows."""

    step: Count
    epoch: float | int | None = None
    loss: float | int | None = None
    eval_loss: float | int | None = None
    reward: float | int | None = None
    eval_reward: float | int | None = None


class Split(Form):
    """Rows of a split, as a stage trains on them or is evaluated by them."""

    rows: Count
    cut: Count = Field(description="Rows that are cut at the length of the stage.")
    dropped: Count = Field(description="Rows that are too long for an answer.")
    tokens: Count | None = Field(None, description="Tokens of all rows; None where an earlier version wrote them.")
    trained_tokens: Count | None = Field(None, description="Tokens that the loss is taken on.")


class Rows(Form):
    """data/adapters/<stage>/rows.json."""

    train: Split
    eval: Split


class Part(Form):
    """A part of a mix, which is the ledger of its rows, too."""

    model_config = ConfigDict(extra="allow", strict=True)

    kind: str
    name: str

    def ledger(self) -> dict[str, Any]:
        """Its counts."""
        return self.model_dump()


class Mixed(Form):
    """data/mixes/<mix>/report.json."""

    train: Count
    eval: Count
    parts: list[Part]


class Bounded(Form):
    """How many items of a task rows repeat, and the 95 % interval of their share."""

    items: Count
    matched: Count
    low: Portion
    high: Portion


class Sizes(Form):
    """Rows by split."""

    train: Count
    eval: Count

    def total(self) -> int:
        """Both splits."""
        return self.train + self.eval


class Certificate(Form):
    """data/certificates/<mix>.json."""

    policy: str
    passes: bool
    rows: Sizes
    matching_rows: Sizes
    evaluations: dict[str, dict[str, Bounded]]

    def dropped(self) -> Sizes:
        """Rows that nothing is trained on, since they repeat items."""
        return self.matching_rows if self.policy == "drop" else Sizes(train=0, eval=0)

    def left(self) -> Sizes:
        """Rows without those: data/certified/<mix>."""
        gone = self.dropped()
        return Sizes(train=self.rows.train - gone.train, eval=self.rows.eval - gone.eval)

    def compared(self) -> int:
        """Evaluation items that rows were compared with; 0 for a recipe without an evaluation that has any."""
        return sum(one.items for tasks in self.evaluations.values() for one in tasks.values())
