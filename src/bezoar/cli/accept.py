"""`bezoar accept`: a change of code that can't change results."""

import argparse
from typing import TYPE_CHECKING

from bezoar.cli.dvc import generate
from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("accept", help="record that a code change is cosmetic, so that proofs stay valid")
    parser.add_argument("stage", help="stage of dvc.yaml, such as train-dpo_hh")
    parser.add_argument("--reason", required=True, help="why results can't differ, for reviewers")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Record an acceptance, and update the generated files."""
    from bezoar.cache.accept import accept  # slow to import: they bring Snakemake
    from bezoar.cache.acceptances import ACCEPTED
    from bezoar.cache.graph import loaded

    with loaded() as attached:
        changed = accept(attached.build, args.stage, args.reason)
    generate()  # an input of the stage `code`
    for one in changed:
        show(f"accepted: {one.what} ({one.was[:12]} -> {one.now[:12]})")
    show(f"commit {ACCEPTED}, code.lock and dvc.yaml, so that others can review it")
    return 0
