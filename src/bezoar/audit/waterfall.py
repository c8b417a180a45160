"""The waterfall: for each step, how many rows went in, how many came out, and why the others didn't."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bezoar.audit.chain import Step
from bezoar.errors import InputError, problem
from bezoar.jsonl import read_lines
from bezoar.steps.data.accounting import Ledger
from bezoar.steps.data.rows import DroppedRow, read_rows
from bezoar.terminal import cut
from bezoar.text import printable

WIDTH = 80
SPLITS = ("train", "eval")


@dataclass(frozen=True)
class Line:
    """A step's ledger; None if nothing of it is here.

    Attributes:
        missing: Its folders that aren't here, such as those of other shards.
        splits: Rows by split, of a mix.
        of: Kind and name of the step whose rows it reads, one by one: of a selection, of scores, and of some pairs.
    """

    kind: str
    name: str
    ledger: Ledger | None
    missing: tuple[Path, ...] = ()
    splits: tuple[tuple[str, int], ...] = ()
    of: tuple[str, str] | None = None

    def data(self) -> dict[str, Any]:
        """The line for programs."""
        counts = self.ledger.model_dump() if self.ledger else {"read": None, "kept": None, "reasons": {}}
        missing = [str(path) for path in self.missing]
        return {"step": self.kind, "name": self.name, **counts, "splits": dict(self.splits), "missing": missing}


def waterfall(steps: list[Step]) -> list[Line]:
    """The lines of a chain; a step that isn't built has no ledger.

    Raises:
        ValueError: A report isn't one, or rows got lost.
    """
    return [line for step in steps for line in _lines_of(step)]


def gaps(lines: list[Line]) -> list[str]:
    """Steps that read another number of rows than the steps before them wrote: they are of different builds."""
    kept = {(line.kind, line.name): line.ledger.kept for line in lines if line.ledger and not line.missing}
    found = []
    for line in lines:
        before = _before(line, lines)
        wrote = [kept.get(one) for one in before]
        if line.ledger and not line.missing and before and None not in wrote:
            total = sum(filter(None, wrote))
            if total != line.ledger.read:
                names = ", ".join(f"{kind} {name}" for kind, name in before)
                read = f"{line.kind} {line.name} read {line.ledger.read:,} rows"
                found.append(f"{read}, but now {names} has {total:,}: build again")
    return found


def table(lines: list[Line]) -> str:
    """The waterfall as text, 80 columns wide."""
    shown = [f"{'step':<41}{'in':>13}{'out':>13}{'left out':>13}"]
    for line in lines:
        name = printable(f"{line.kind} {line.name}", lines=False)
        if line.ledger is None:
            shown.append(f"{cut(name, 54):<54}{'not built here':>26}")
            continue
        read, kept = line.ledger.read, line.ledger.kept
        shown.append(f"{cut(name, 41):<41}{read:>13,}{kept:>13,}{read - kept:>13,}")
        ordered = sorted(line.ledger.reasons.items(), key=lambda one: (-one[1], one[0]))
        shown += [f"{count:>12,}  {cut(printable(reason, lines=False), WIDTH - 14)}" for reason, count in ordered]
        shown += [f"{count:>12,}  rows in {split}.jsonl" for split, count in line.splits]
        if line.missing:
            shown.append(cut(f"{len(line.missing):>12,}  shards are not here, such as {line.missing[0]}", WIDTH))
    return "\n".join(shown)


def _lines_of(step: Step) -> Iterator[Line]:
    missing = tuple(step.missing)
    if len(missing) == len(step.folders):
        yield Line(step.kind, step.name, None, missing)
    elif step.kind == "mix":
        yield from _of_mix(step)
    elif step.kind == "certificate":
        yield _of_certificate(step)
    else:
        reports = [folder / "report.json" for folder in step.folders if folder.is_dir()]
        ledgers = [Ledger.of_report(step.kind, _report(path), str(path)) for path in reports]
        yield Line(step.kind, step.name, sum(ledgers[1:], start=ledgers[0]), missing, of=step.of)


def _of_mix(step: Step) -> Iterator[Line]:
    """A line for each part, and one for the mix: all that its parts gave is in one of the splits."""
    path = step.folders[0] / "report.json"
    report = _report(path)
    parts = report.get("parts")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise InputError(problem(f"{path}: not the report of a mix", found=f"parts: {parts!r:.80}", expected="a list"))
    ledgers = [Ledger.of_report("part", part, f"{path}: part {number}") for number, part in enumerate(parts, start=1)]
    for part, ledger in zip(parts, ledgers, strict=True):
        yield Line(f"part ({part.get('kind')})", str(part.get("name")), ledger)
    splits = tuple((name, count) for name in SPLITS if isinstance(count := report.get(name), int))
    taken, kept = sum(one.kept for one in ledgers), sum(count for _, count in splits)
    if taken != kept:
        found, expected = f"{kept:,} in train and eval", f"{taken:,}, as the parts gave"
        raise InputError(problem(f"{path}: rows got lost", found=found, expected=expected))
    yield Line(step.kind, step.name, Ledger(read=taken, kept=kept, reasons={}), splits=splits)


def _of_certificate(step: Step) -> Line:
    """Rows of the mix that the certificate lets pass, counted in the files."""
    splits = tuple((path.stem, sum(1 for _ in read_lines(path))) for path in step.kept)
    kept = sum(count for _, count in splits)
    reasons = Counter(row.reason for path in step.left_out for row in read_rows(path, DroppedRow))
    ledger = Ledger(read=kept + reasons.total(), kept=kept, reasons=dict(reasons))
    return Line(step.kind, step.name, ledger, splits=splits)


def _report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(problem(f"{path}: not JSON", found=error, expected="a step's report")) from error
    if not isinstance(report, dict):
        raise InputError(problem(f"{path}: not a step's report", found=type(report).__name__, expected="a map"))
    return report


def _before(line: Line, lines: list[Line]) -> list[tuple[str, str]]:
    """The steps whose rows a step reads all of; none for a source, and for a scheme, which makes candidates."""
    match line.kind:
        case "filter":
            return [(one.kind, one.name) for one in lines[: lines.index(line)] if one.kind == "generate"][-1:]
        case "select" | "score" | "pairs":
            return [line.of] if line.of else []
        case "part (selected)":
            return [("select", line.name)]
        case "part (scheme)":
            return [("filter", line.name)]
        case "part (source)":
            return [("source", line.name)]
        case "part (pairs)":
            return [("pairs", line.name)]
        case "certificate":
            return [("mix", line.name)]
    return []
