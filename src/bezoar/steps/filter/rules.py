"""The cheap rules that a generated row has to pass before it is judged."""

from dataclasses import dataclass
from pathlib import Path

from bezoar.errors import InputError, problem
from bezoar.jsonl import read_json_lines
from bezoar.steps.data.decontaminate import TEXT_FIELDS, EvaluationItems, texts_of
from bezoar.steps.data.rows import GeneratedRow, normalized, row_id
from bezoar.steps.filter.block import Filter
from bezoar.steps.filter.refusals import phrase_in, refuses
from bezoar.steps.filter.repetition import repetition


@dataclass
class Rules:
    """The cheap rules, in the order of their cost."""

    block: Filter
    items: EvaluationItems

    def __post_init__(self) -> None:
        self.seen: set[str] = set()

    def fault(self, row: GeneratedRow) -> tuple[str, str] | None:
        """The first rule that a row breaks, with its detail; None if it breaks none."""
        if not row.response.strip():
            return "empty response", ""
        if row.finish_reason != "stop":
            return f"finish reason {row.finish_reason}", ""
        if normalized(row.response) == normalized(row.instruction):
            return "echo of the instruction", ""
        for marker in self.block.leaked_markers:
            if marker in row.response or marker in row.instruction:
                return "leaked marker", marker
        if phrase := phrase_in(row.response, self.block.refusal_phrases):
            return "refusal", phrase
        if self.block.drop_refusals and refuses(row.response):
            return "refusal", row.response[:80]
        if (share := repetition(row.response)) > self.block.max_repetition:
            return "repetition", f"{share:.0%} repeated"
        key = row_id(row.system or "", normalized(row.instruction), normalized(row.response))
        if key in self.seen:
            return "duplicate", ""
        self.seen.add(key)
        if self.items.leaks_into(row.instruction) or self.items.leaks_into(row.response):
            return "evaluation item", ""
        return None


def evaluation_items(paths: list[Path]) -> EvaluationItems:
    """The evaluation items of sources, which no row may repeat.

    Raises:
        ValueError: A source has rows, but none with a text to compare.
    """
    found: list[str] = []
    for path in paths:
        rows = list(read_json_lines(path))
        texts = [text for number, row in rows for text in texts_of(row, f"{path}:{number}")]
        if rows and not texts:
            raise InputError(
                problem(
                    f"{path}: no row has a text to compare",
                    found=", ".join(rows[0][1]),
                    expected=f"one or more of {', '.join(TEXT_FIELDS)}",
                )
            )
        found += texts
    return EvaluationItems(found)
