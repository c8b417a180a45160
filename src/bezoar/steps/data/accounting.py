"""Checks on a step's rows: every row is counted, and an empty or decimated result is an error."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bezoar.errors import InputError, problem
from bezoar.logs import logger
from bezoar.steps.data.rows import DroppedRow

FEWEST_ROWS = 20  # shares of fewer rows mean little: a small shard may lose all of its rows by chance
PLACES = 3
DETAIL = 200  # characters of a detail in a message
# By step, the keys of its report: rows that went in, rows that came out, and the others (by reason, or their number).
LEDGERS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "source": ("read", "rows", ("dropped", "not_taken")),
    "generate": ("candidates", "rows", ("dropped", "failed")),
    "filter": ("rows", "kept", ("rejected", "failed")),
    "score": ("rows", "scored", ("failed",)),
    "pairs": ("candidates", "pairs", ("dropped",)),
    "select": ("found", "rows", ("dropped", "failed")),
    "part": ("found", "taken", ("dropped", "not_drawn")),
}
Count = Annotated[int, Field(ge=0)]


class Ledger(BaseModel):
    """What became of the rows of a step: each came out, or is counted by reason."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    read: Count = Field(description="Rows that went in; of a scheme, its candidates.")
    kept: Count = Field(description="Rows that came out.")
    reasons: dict[str, Count] = Field(description="The other rows, by reason.")

    @classmethod
    def of_report(cls, step: str, report: Any, place: str) -> "Ledger":
        """The ledger in a step's report, which may have been written by anyone.

        Args:
            step: One of LEDGERS.
            report: Its content.
            place: Its file, for errors.

        Raises:
            ValueError: It lacks a count, a count isn't a number of rows, or rows got lost.
        """
        read, kept, others = LEDGERS[step]
        try:
            counts = [_by_reason(key, report[key]) for key in others]
            reasons = {reason: count for some in counts for reason, count in some.items() if count}
            made = cls(read=report[read], kept=report[kept], reasons=reasons)
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            found = f"no {error}" if isinstance(error, KeyError) else str(error).split("\n")[0]
            expected = f"{read}, {kept} and {', '.join(others)}, as the step writes them"
            raise InputError(problem(f"{place}: not the report of a {step}", found=found, expected=expected)) from error
        check_conserved(place, made.read, made.kept, made.reasons)
        return made

    def __add__(self, other: "Ledger") -> "Ledger":
        reasons = Counter(self.reasons) + Counter(other.reasons)
        return Ledger(read=self.read + other.read, kept=self.kept + other.kept, reasons=dict(reasons))


def _by_reason(key: str, counts: Any) -> dict[str, Any]:
    """Counts by reason; a number alone is counted under its key's name."""
    return {key.replace("_", " "): counts} if isinstance(counts, int) else dict(counts.items())


class Tally:
    """Counts by reason, with the first places of each; the rows themselves aren't kept.

    Attributes:
        reasons: Counts.
    """

    def __init__(self, rows: Iterable[DroppedRow] = ()) -> None:
        self.reasons: Counter[str] = Counter()
        self._places: dict[str, list[str]] = {}
        for row in rows:
            self.add(row.reason, row.detail)

    def add(self, reason: str, place: str) -> None:
        """Count one more."""
        self.reasons[reason] += 1
        places = self._places.setdefault(reason, [])
        if place and len(places) < PLACES and place[:DETAIL] not in places:
            places.append(place[:DETAIL])

    def merge(self, other: "Tally", but: str) -> None:
        """Add another one's counts, without those of a reason."""
        for reason, count in other.reasons.items():
            if reason != but:
                self.reasons[reason] += count
                self._places.setdefault(reason, []).extend(other._places[reason])

    def __len__(self) -> int:
        return self.reasons.total()

    def __add__(self, other: "Tally") -> "Tally":
        found = Tally()
        for one in (self, other):
            found.reasons += one.reasons
            for reason, places in one._places.items():
                found._places[reason] = [*found._places.get(reason, []), *places][:PLACES]
        return found

    def first_places(self) -> dict[str, str]:
        """For each reason, the most frequent first: the first places."""
        return {reason: ", ".join(self._places[reason]) or "no details" for reason, _ in self.reasons.most_common()}

    def sorted(self) -> dict[str, int]:
        """The counts, in the order of their reasons."""
        return dict(sorted(self.reasons.items()))


def check_conserved(step: str, rows_in: int, rows_out: int, counted: Mapping[str, int]) -> None:
    """Check that every row of a step's input is in its output, or is counted by reason.

    Raises:
        ValueError: Rows got lost, or there are more than went in.
    """
    if rows_in != rows_out + sum(counted.values()):
        raise ValueError(
            problem(
                f"{step}: rows got lost",
                found=f"{rows_in:,} in, {rows_out:,} out, {sum(counted.values()):,} counted{_listed(counted)}",
                expected="in = out + counted",
            )
        )


def check_dropped(
    step: str,
    rows_in: int,
    dropped: Iterable[DroppedRow] | Tally,
    share: float,
    *,
    key: str,
    hint: str,
    fewest: int = FEWEST_ROWS,
) -> None:
    """Check that at most a share of the rows was dropped.

    Args:
        step: The step, and what it worked on.
        rows_in: Rows of its input.
        dropped: Rows that were dropped, without those that weren't wanted.
        share: The largest share that may be dropped.
        key: The bound's key in params.yaml.
        hint: What else may be wrong.
        fewest: With fewer rows than this, any share may be dropped: for a step that sees one shard of many.

    Raises:
        ValueError: More were dropped; the message has reasons, counts and first places.
    """
    dropped = dropped if isinstance(dropped, Tally) else Tally(dropped)
    if rows_in >= fewest and len(dropped) > share * rows_in:
        raise too_many_dropped(step, rows_in, dropped, f"at most a share of {share:g} ({key})", hint)


def check_some(step: str, rows_out: int, rows_in: int, dropped: Iterable[DroppedRow] | Tally, *, hint: str) -> None:
    """Check that a step that sees all rows of its block has some left.

    Raises:
        ValueError: None is left; the message has reasons, counts and first places.
    """
    if not rows_out:
        found = dropped if isinstance(dropped, Tally) else Tally(dropped)
        raise too_many_dropped(step, rows_in, found, "one row or more", hint)


def check_enough(step: str, found: int, asked: int, share: float, *, key: str, hint: str) -> None:
    """Check that at most a share of the wanted rows is missing; log missing ones.

    Raises:
        ValueError: More is missing.
    """
    if found < (1 - share) * asked:
        raise InputError(
            problem(
                f"{step}: too few rows",
                found=f"{found:,}",
                expected=f"{asked:,}; a share of {share:g} may be missing ({key})",
                hint=hint,
            )
        )
    if found < asked:
        logger.warning(f"{step}: {found:,} of {asked:,} rows")


def too_many_dropped(step: str, rows_in: int, dropped: Tally, expected: str, hint: str) -> InputError:
    """The error about dropped rows: how many, why, and the first places."""
    count = f"{len(dropped):,} of {rows_in:,} rows dropped" if rows_in else "no row at all"
    places = [f"{dropped.reasons[reason]:,} {reason}: {first}" for reason, first in dropped.first_places().items()]
    found = "\n            ".join([count, *places])
    return InputError(problem(f"{step}: too few rows are left", found=found, expected=expected, hint=hint))


def text_of(counted: Mapping[str, int], nothing: str = "none left out") -> str:
    """Counts by reason in words, the most frequent first."""
    ordered = sorted(counted.items(), key=lambda one: (-one[1], one[0]))
    return ", ".join(f"{number:,} {reason}" for reason, number in ordered if number) or nothing


def _listed(counted: Mapping[str, int]) -> str:
    found = text_of(counted, "")
    return f" ({found})" if found else ""
