"""`bezoar rows`: how many rows each step took and left out, and those that it left out."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.audit.chain import LeftOut, Step
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "rows",
        help="how many rows each step took and left out, and why",
        description="For a mix, a selection, pairs, scores, a scheme or a source: the rows that went into each step, "
        "those that came out, and the others by reason. `bezoar trace` goes on from one row.",
    )
    parser.add_argument(
        "name", metavar="MIX|SELECTION|SCHEME|SOURCE", help="its name, or section and name, such as schemes.NAME"
    )
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--reason", metavar="R", help="show rows left out for it; `judge` takes all of its kinds")
    chosen.add_argument("--kept", action="store_true", help="show the rows that came out of the last step built here")
    parser.add_argument(
        "--export", metavar="FILE", type=Path, help="write these rows, else all left out, to .jsonl, .csv, .parquet"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the waterfall, or rows that were left out."""
    from bezoar import recipe as recipes  # slow to import, and every job starts exec
    from bezoar.audit.chain import chain, target_of

    recipe = recipes.load()
    section, name, others = target_of(args.name, recipe)
    if others:
        show(f"{section}.{name}; for the other of this name, write {' or '.join(others)}", file=sys.stderr)
    steps = chain(section, name, recipe)
    return _rows(steps, args) if args.reason or args.kept or args.export else _waterfall(steps, args)


def _waterfall(steps: "list[Step]", args: argparse.Namespace) -> int:
    from bezoar.audit.waterfall import gaps, table, waterfall

    lines = waterfall(steps)
    notes = gaps(lines)
    if args.json:
        show(json.dumps({"steps": [line.data() for line in lines], "notes": notes}, indent=2))
    else:
        show("\n".join([table(lines), *(f"note: {note}" for note in notes)]))
    return 0


def _rows(steps: "list[Step]", args: argparse.Namespace) -> int:
    from bezoar.audit.chain import kept, left_out
    from bezoar.audit.export import export, record
    from bezoar.audit.listing import listed
    from bezoar.audit.redact import without_secrets

    built = [step for step in steps if not step.missing] or steps
    rows = Counted(kept(built[-1]) if args.kept else left_out(steps, args.reason))
    if args.export:
        export(rows, args.export)
    elif args.json:
        for one in rows:
            show(json.dumps(without_secrets(record(one))))
    else:
        for line in listed(rows, steps):
            show(line)
    number = rows.number
    if number == 0 and args.kept:
        raise _nothing(steps)
    if number == 0 and args.reason:
        raise _unknown(steps, args.reason)
    if args.export:
        show(f"{args.export}: {number:,} rows")
    return 0


class Counted:
    """Rows that are counted while they are read."""

    def __init__(self, rows: "Iterable[LeftOut]") -> None:
        self._rows, self.number = rows, 0

    def __iter__(self) -> "Iterator[LeftOut]":
        for one in self._rows:
            self.number += 1
            yield one


def _unknown(steps: "list[Step]", reason: str) -> Exception:
    """The error about a reason that no row here was left out for; some are counted and not kept."""
    from bezoar.audit.waterfall import waterfall
    from bezoar.errors import InputError, problem

    known = sorted({name for line in waterfall(steps) if line.ledger for name in line.ledger.reasons})
    hint = "rows that a step didn't need are counted, but not kept" if reason in known else ""
    what = "no row here was left out for this reason"
    return InputError(problem(what, found=reason, expected="; ".join(known) or "rows that are built", hint=hint))


def _nothing(steps: "list[Step]") -> Exception:
    """The error about rows of which none came out of a step, or none is here."""
    from bezoar.errors import InputError, problem

    label = f"{steps[-1].kind} {steps[-1].name}"
    expected, hint = (
        "rows of a step that is built",
        "`snakemake` builds it; without --kept, `bezoar rows` says how many",
    )
    return InputError(problem(f"{label}: no kept row is here", found="none", expected=expected, hint=hint))
