"""`bezoar responses`: the stored answers of models."""

import argparse
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "responses", help="the stored answers of models: how many, what they cost, what failed"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table of them."""
    from bezoar.requests.ledger import table

    show(table())
    return 0
