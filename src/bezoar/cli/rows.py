"""`bezoar rows`: how many rows each step took and left out, and those that it left out."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.text import printable, show

if TYPE_CHECKING:
    from bezoar.audit.chain import Step
    from bezoar.cli import Commands

WIDTH = 80


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "rows",
        help="how many rows each step took and left out, and why",
        description="For a mix, pairs, scores, a scheme or a source: the rows that went into each step, those that "
        "came out, and the others by reason. `bezoar trace` goes on from one row.",
    )
    parser.add_argument("name", metavar="MIX|SCHEME|SOURCE", help="its name, or section and name, such as schemes.NAME")
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
    from bezoar.audit.redact import without_secrets

    built = [step for step in steps if not step.missing] or steps
    rows = kept(built[-1]) if args.kept else left_out(steps, args.reason)
    if args.export:
        number = export(rows, args.export)
    else:
        number = 0
        for one in rows:
            number += 1
            shown = without_secrets(record(one))
            show(json.dumps(shown) if args.json else _text(shown))
    if number == 0 and args.kept:
        raise _nothing(steps)
    if number == 0 and args.reason:
        raise _unknown(steps, args.reason)
    if args.export:
        show(f"{args.export}: {number:,} rows")
    return 0


def _text(one: dict[str, Any]) -> str:
    """A row on two lines: where it is written and why it was left out, and its content as far as a line goes."""
    head = ": ".join(filter(None, (one["place"], one["reason"], one["detail"])))
    content = printable(json.dumps(one["row"], ensure_ascii=False), lines=False)
    return f"{printable(head, lines=False)}\n    {content[: WIDTH - 4]}"


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
