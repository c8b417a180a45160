"""The block of params.yaml that says how a scheme's rows are filtered."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from bezoar.blocks import BackendName, FilePath, NamedBlock, Sampling, Share, SourceName
from bezoar.requests.demand import Demand, Known


class Filter(NamedBlock):
    """Cheap rules, then a judge; the block has the name of the scheme that it filters."""

    section: ClassVar[str] = "filters"
    rules: ClassVar[tuple[str, ...]] = ("filter",)
    asks: ClassVar[dict[str, str]] = {"filter": "judge"}

    judge: BackendName
    prompts: FilePath
    sampling: Sampling = Sampling()
    max_attempts: int = Field(2, ge=1, description="Times that an unreadable verdict is asked at most.")
    refusal_phrases: list[str] = Field([], description="Texts that no response may say, but for a quotation.")
    drop_refusals: bool = Field(
        True,
        description="Whether a response that opens as refusals do is dropped; false for data that is to have some.",
    )
    leaked_markers: list[str] = Field(["### "], description="Texts of prompts that no row may contain.")
    max_repetition: Share = Field(
        0.5, description="Share of repeated word triples, or of characters in a loop, at most."
    )
    decontaminate_against: list[SourceName] = Field(
        [], description="Sources of evaluation items that no row may repeat."
    )
    max_failed_share: Share = Field(
        0.05, description="Share of judged rows without a readable verdict that a job bears."
    )
    max_dropped_share: Share = Field(
        0.95, description="Share of a shard's rows that rules and judge may reject; of 20 rows or more."
    )
    quota: int | None = Field(
        None,
        ge=1,
        description="Rows to accept over all shards, exactly, each shard its own part: then its judging ends. Null "
        "takes all that are good.",
    )

    def demand(self, inputs: Iterable[str], known: Known) -> Demand:
        """What a shard asks of the judge: a verdict for each row."""
        calls = known.lines(path for path in inputs if path.endswith("/rows.jsonl") and "/generated/" in path)
        if calls is None:
            calls = known.candidates(self.name)
        return Demand(calls, known.tokens(self.prompts) + 2 * known.longest_answer(self.name), self.sampling)
