"""`bezoar verify`: check artifacts against their proofs."""

import argparse
import sys
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "verify", help="check the proofs from sources to results, and name the first broken link"
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="files or rules; all results by default")
    parser.add_argument("--rerun", metavar="STAGE", help="also run a stage again, elsewhere, and compare the bytes")
    parser.add_argument(
        "--trace", action="store_true", help="name what rules were seen to read beyond their declared inputs"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print broken links; 1 if there are any, or if a rerun differs."""
    from bezoar.cache.verify import rerun, verify  # slow to import: it brings Snakemake

    if args.trace:
        return _trace(args.targets)
    if args.rerun:
        return 0 if rerun(args.rerun, show) else 1
    broken, remarks = verify(args.targets)
    show("\n".join(remarks), end="\n" if remarks else "")
    if broken:
        show(f"first broken link: {broken[0]}", file=sys.stderr)
        show("".join(f"  also: {line}\n" for line in broken[1:]), end="", file=sys.stderr)
        return 1
    show("every artifact found here is consistent with its record, from sources to results")
    show("Only `bezoar verify --rerun STAGE` shows that a record is true.")
    return 0


def _trace(targets: list[str]) -> int:
    from bezoar.cache.declared import beyond

    undeclared, remarks = beyond(targets)
    show("\n".join(remarks))
    if undeclared:
        show("\n".join(undeclared), file=sys.stderr)
        return 1
    show("no job was seen to read a file of the project beyond its declared inputs")
    return 0
