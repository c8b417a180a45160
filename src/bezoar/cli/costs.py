"""`bezoar costs`: what artifacts cost to make."""

import argparse
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("costs", help="what artifacts cost to make, including their inputs")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="files or rules; all results by default")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what artifacts cost."""
    from bezoar.cache.costs import table
    from bezoar.cache.graph import loaded  # slow to import: it brings Snakemake

    with loaded(args.targets) as attached:
        show(table(attached.build))
    return 0
