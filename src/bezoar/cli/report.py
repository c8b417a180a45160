"""`bezoar report`: the page about the last run."""

import argparse
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="write results/run.html, the page about the last run",
        description="Commit, times, tokens and money, where proofs are from, and the graph with states. `snakemake` "
        "writes the page when a run ends; after `dvc repro` this command does. It is no artifact, and in no cache; "
        "what was made is in results/report.html, which is one.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    from bezoar import recipe as recipes  # slow to import, and every job starts exec
    from bezoar.cache.graph import loaded
    from bezoar.page.run.page import write

    with loaded() as attached:
        path = write(attached.build, recipes.load().page())
    show(str(path))
    return 0
