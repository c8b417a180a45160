"""The block of params.yaml about filtering a scheme's rows."""

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from bezoar.blocks import BackendName, FilePath, NamedBlock, Sampling, Share
from bezoar.requests.demand import Demand, Known


class Filter(NamedBlock):
    """Cheap rules, then a judge if there is one; the block has the name of the scheme that it filters."""

    section: ClassVar[str] = "filters"
    rules: ClassVar[tuple[str, ...]] = ("filter", "quota")  # one of them
    asks: ClassVar[dict[str, tuple[str, ...]]] = {"filter": ("judge",), "quota": ("judge",)}
    decides: ClassVar[bool] = True

    method: Literal["judge"] = Field("judge", description="Rules, then the judge.")
    judge: BackendName | None = Field(
        description="Backend that judges rows; null keeps every row that passes the rules, for example "
        "because no available model judges better than chance."
    )
    prompts: FilePath | None = Field(None, description="Prompt file of the judge.")
    sampling: Sampling = Sampling()
    max_attempts: int = Field(2, ge=1, description="Most tries of an unreadable verdict.")
    refusal_phrases: list[str] = Field([], description="Texts that no response may contain, except as a quotation.")
    drop_refusals: bool = Field(
        True,
        description="Whether to drop responses that start like refusals; false for data that should have some.",
    )
    leaked_markers: list[str] = Field(["### "], description="Texts of prompts that no row may contain.")
    max_repetition: Share = Field(
        0.5, description="Largest share of repeated word triples, or of characters in a loop."
    )
    max_failed_share: Share = Field(0.05, description="Share of judged rows that may have no readable verdict.")
    max_dropped_share: Share = Field(
        0.95, description="Share of a shard's rows that rules and judge may reject; of 20 rows or more."
    )
    quota: int | None = Field(
        None,
        ge=1,
        description="Rows to accept over all shards, exactly; a single job then judges no more rows of the scheme than "
        "that takes. Null accepts all that pass.",
    )

    @model_validator(mode="after")
    def _with_prompts(self) -> "Filter":
        if (self.judge is None) != (self.prompts is None):
            raise PydanticCustomError("prompts", "a judge with its prompts, or neither")
        return self

    @property
    def rule(self) -> str:
        """The rule of its jobs: one for each shard, or one for all of them."""
        return "quota" if self.quota else "filter"

    def asked_by(self, rule: str) -> dict[str, str]:
        """By key, the names of the backends that a rule's jobs of this block send requests to."""
        return super().asked_by(rule) if rule == self.rule else {}

    def stage_names(self) -> list[str]:
        """The name of the DVC stage that makes its artifacts."""
        return [f"{self.rule}-{self.name}"]

    def demand(self, inputs: Iterable[str], known: Known, key: str) -> Demand:
        """The requests of a job: at most one verdict per row."""
        calls = known.lines(path for path in inputs if path.endswith("/rows.jsonl") and "/generated/" in path)
        if calls is None and (candidates := known.candidates(self.name)) is not None:
            calls = candidates * (known.shards if self.quota else 1)
        assert self.prompts  # there is a judge
        return Demand(calls, known.tokens(self.prompts) + 2 * known.longest_answer(self.name), self.sampling)
