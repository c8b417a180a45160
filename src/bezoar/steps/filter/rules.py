"""The cheap rules that a generated row has to pass before it is judged."""

from dataclasses import dataclass

from bezoar.steps.data.rows import GeneratedRow, normalized, row_id
from bezoar.steps.filter.block import Filter
from bezoar.steps.filter.refusals import phrase_in, refuses
from bezoar.steps.filter.repetition import repetition


@dataclass
class Rules:
    """The cheap rules, in the order of their cost."""

    block: Filter

    def __post_init__(self) -> None:
        self.seen: set[int] = set()  # hashes; a number takes a third of a text's memory

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
        key = int(row_id(row.system or "", normalized(row.instruction), normalized(row.response)), 16)
        if key in self.seen:
            return "duplicate", ""
        self.seen.add(key)
        return None
