"""What the methods of scoring share: their block, the rows that they write, and their flags."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from bezoar.blocks import NamedBlock, Share
from bezoar.jsonl import read_json_lines
from bezoar.script import Flags
from bezoar.steps.data.rows import FilteredRow, GeneratedRow, read_rows, row_id
from bezoar.steps.generate.scheme import SchemeName


class ScoreBlock(NamedBlock):
    """The base class of scores."""

    section: ClassVar[str] = "scores"
    rules: ClassVar[tuple[str, ...]] = ("score",)

    of: SchemeName = Field(
        description="Scheme whose rows are scored: those that its filter keeps, or all if it has none."
    )
    max_failed_share: Share = Field(0.05, description="Share of a shard's rows that may have no score.")

    def starts_from(self) -> tuple[str, str]:
        """Section and name of the block whose rows it scores."""
        return "schemes", self.of

    def checkpoints(self) -> dict[str, str]:
        """By key, the checkpoints that its jobs load, in the order of the script's flag."""
        return {}


class ScoredRow(GeneratedRow):
    """A generated row with its score."""

    score: float = Field(description="On the method's scale; a larger one is better.")
    win_rate: float = Field(ge=0, le=1, description="Expected share of wins over all scored answers to its prompt.")
    scorer: str = Field(description="Model that scored, by its server's name; or both checkpoints of a ratio.")
    scorer_prompt_hash: str = Field(description="sha256 of the judge's prompt; empty without one.")


def flags(description: str | None) -> Flags:
    """The flags of every score script."""
    parser = Flags(description)
    parser.path("rows", "rows of a scheme's shard: rows.jsonl, or kept.jsonl of its filter")
    parser.path("prompts", "prompt file of the judge", optional=True)
    parser.path("models", "model directories: a local judge's, or the strong and the weak checkpoint", many=True)
    parser.folder("out", "folder of the shard for rows.jsonl, dropped.jsonl and report.json; named by its number")
    return parser


def rows_of(path: Path) -> Iterator[GeneratedRow]:
    """The rows of a scheme's shard, without the verdicts of its filter."""
    first: dict[str, object] = next((row for _, row in read_json_lines(path)), {})
    kind = FilteredRow if "judge_prompt_hash" in first else GeneratedRow
    own = set(GeneratedRow.model_fields)
    return (GeneratedRow.model_validate(row.model_dump(include=own)) for row in read_rows(path, kind))


def prompt_key(row: GeneratedRow) -> str:
    """A key that all answers to one prompt share."""
    return row_id(row.system or "", row.instruction)
