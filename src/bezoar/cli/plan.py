"""`bezoar plan`: what to run, why, and the cost."""

import argparse
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("plan", help="what to run and why, what is restored, and the cost; runs nothing")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="files or rules; all results by default")
    parser.add_argument(
        "-S",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="plan as if params.yaml had this value; may be given more than once; +NAME=VALUE is the same",
    )
    parser.add_argument("--all", action="store_true", help="every job with all its reasons, not a line for each rule")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the plan."""
    from bezoar import terminal
    from bezoar.cache.plan import plan  # slow to import: it brings Snakemake
    from bezoar.cache.plan_table import drawn

    found = plan(args.targets, args.settings)
    if args.json or not terminal.is_terminal():
        show(found.json() if args.json else found.text(every=args.all))
    else:
        terminal.draw(*drawn(found, every=args.all))
    return 0
