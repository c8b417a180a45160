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
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the plan."""
    from bezoar.cache.plan import plan  # slow to import: it brings Snakemake

    found = plan(args.targets, args.settings)
    show(found.json() if args.json else found.text())
    return 0
