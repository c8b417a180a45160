"""`bezoar label`: a sample of a filter's rows for people, and what their labels say of the filter."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.audit.chain import Step
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "label",
        help="a sample of a filter's rows for people, and how far they agree with it",
        description="Writes a sheet with kept and rejected rows, without the filter's verdicts; people fill in the "
        "column `verdict`: accept, reject or unsure. --read compares what they wrote with the filter, and with each "
        "other.",
    )
    parser.add_argument("name", metavar="SCHEME", help="the scheme whose filter is looked at")
    parser.add_argument(
        "--rows", type=int, default=100, help="rows to draw, half of them rejected ones; 100 by default"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other rows")
    parser.add_argument("--out", type=Path, help="the sheet; labels/SCHEME.csv by default")
    parser.add_argument("--read", type=Path, nargs="+", metavar="SHEET", help="filled-in sheets, one for each person")
    parser.add_argument(
        "--sample", type=Path, help="the sample; by default the file of that kind beside the first sheet"
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write a sheet, or read sheets."""
    from bezoar import recipe as recipes  # slow to import, and every job starts exec
    from bezoar.audit.chain import chain
    from bezoar.errors import InputError, problem

    recipe, name = recipes.load(), args.name.removeprefix("schemes.").removeprefix("filters.")
    if name not in recipe.filters:
        expected = ", ".join(recipe.filters) or "a recipe with schemes"
        raise InputError(problem("no scheme with a filter", found=args.name, expected=expected))
    step = chain("filters", name, recipe)[-1]
    return _read(args, step) if args.read else _write(args, step)


def _write(args: argparse.Namespace, step: "Step") -> int:
    from bezoar.audit.sample import beside, draw, write_sheet
    from bezoar.errors import InputError, problem

    if args.rows < 2:
        raise InputError(problem("--rows", found=args.rows, expected="2 or more"))
    sheet = args.out or Path("labels", f"{step.name}.csv")
    sample, texts = draw(step, args.rows, args.seed)
    write_sheet(sample, texts, sheet)
    kept = sum(len(one.sampled) for one in sample.strata if one.kept)
    show(f"{sheet}: {len(texts):,} rows, {kept:,} of them kept by filter {step.name}")
    show(f"fill in the column `verdict` (accept, reject, unsure), and keep {beside(sheet)} beside it; then")
    show(f"bezoar label {step.name} --read {sheet}")
    return 0


def _read(args: argparse.Namespace, step: "Step") -> int:
    from bezoar.audit import labels
    from bezoar.audit.sample import beside, read_sample, read_sheet

    known = [beside(args.read[0]), beside(args.read[0].with_name(f"{step.name}.csv"))]
    sample = read_sample(args.sample or next((path for path in known if path.exists()), known[0]), step.name)
    people = [read_sheet(sheet, sample) for sheet in args.read]
    each = [labels.with_filter(one, sample) for one in people]
    pairs = [
        labels.between(first, second, sample) for number, first in enumerate(people) for second in people[number + 1 :]
    ]
    changed = labels.changed(step, sample)
    if args.json:
        show(json.dumps({"filter": step.name, "people": each, "pairs": pairs, "changed": changed}, indent=2))
        return 0
    show("\n\n".join([*(labels.text_of(one, step.name) for one in each), *map(labels.text_between, pairs)]))
    if changed:
        show(f"note: of {changed:,} rows the verdict is another one now; the figures are about the filter as it was")
    return 0
