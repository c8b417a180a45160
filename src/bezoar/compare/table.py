"""A comparison as text, and for programs."""

import json
from dataclasses import asdict

from bezoar.compare.differences import Comparison, Difference
from bezoar.files import rounded
from bezoar.steps.evaluate.significance import LEVEL
from bezoar.text import printable

HEAD = ("evaluation", "checkpoint", "metric", "A", "B", "B - A", "95 % interval", "p", "Holm", "items")
WORDS = 3  # columns of words


def as_json(made: Comparison) -> str:
    """For programs."""
    found = [{**asdict(one), "paired": one.paired, "significant": one.significant} for one in made.differences]
    about = {"a": made.a, "b": made.b, "level": LEVEL, "comparisons": len(found)}
    return json.dumps(rounded({**about, "differences": found, "notes": made.notes}), indent=2)


def as_text(made: Comparison) -> str:
    """A table, a line on the number of comparisons, and notes."""
    rows = [HEAD, *map(_row, made.differences)]
    empty = [place for place in range(WORDS) if not any(row[place] for row in rows[1:])]  # of two checkpoints
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEAD))]
    lines = [
        "  ".join(
            cell.ljust(width) if place < WORDS else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            if place not in empty
        ).rstrip()
        for row in rows
    ]
    beyond = sum(one.significant for one in made.differences)
    few = "1 comparison" if len(made.differences) == 1 else f"{len(made.differences)} comparisons"
    about = f"{few}; {beyond} beyond chance among all of them (*, Holm's p below {LEVEL})"
    notes = [*_reasons(made), *made.notes]
    head = f"A: {made.a}\nB: {made.b}\n"
    return "\n".join([head, *lines, "", about, *(f"note: {printable(note, lines=False)}" for note in notes)])


def _row(one: Difference) -> tuple[str, ...]:
    ends = "unknown" if one.low is None or one.high is None else f"{one.low:+.3f} to {one.high:+.3f}"
    chances = ["" if p is None else f"{p:.3f}" if p >= 0.001 else "<.001" for p in (one.p, one.holm)]
    items = "unpaired" if one.n is None else f"{one.n:,}"
    words = (one.evaluation, one.checkpoint or "", one.metric)
    numbers = (f"{one.a:.3f}", f"{one.b:.3f}", f"{one.difference:+.3f}", ends, chances[0])
    return *words, *numbers, chances[1] + ("*" if one.significant else " "), items


def _reasons(made: Comparison) -> list[str]:
    """The notes of single differences, each once."""
    found: dict[str, list[str]] = {}
    for one in made.differences:
        if one.note:
            name = " ".join(filter(None, (one.evaluation, one.checkpoint, one.metric)))
            found.setdefault(one.note if one.paired else f"unpaired: {one.note}", []).append(name)
    return [f"{note}: {', '.join(names)}" for note, names in found.items()]
