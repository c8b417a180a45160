"""`bezoar why`: what an artifact was made of."""

import argparse
import json
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "why",
        help="what an artifact was made of: inputs, values, code and packages, and who made it where",
        description="Goes from an artifact back to the sources: each job with its inputs, values, code and packages, "
        "and where, by whom and how it was made.",
    )
    parser.add_argument("path", help="artifact, such as results/mtbench.json, or stage, such as train-sft")
    parser.add_argument("--all", action="store_true", help="name all modules, packages and inputs, and whole values")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the jobs that the artifact is made by, the last one first."""
    from bezoar.cache.graph import loaded  # slow to import: it brings Snakemake
    from bezoar.cache.why import text, why

    with loaded() as attached:
        jobs = why(attached.build, args.path)
    show(json.dumps(jobs, indent=2, default=str) if args.json else text(jobs, everything=args.all))
    return 0
