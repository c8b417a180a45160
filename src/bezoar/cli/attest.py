"""`bezoar attest`: how an artifact was made, as a statement that other tools read."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("attest", help="how an artifact was made, as an in-toto statement (SLSA provenance)")
    parser.add_argument("targets", nargs=1, metavar="ARTIFACT", help="an output of a stage, a part of it or a folder")
    parser.add_argument(
        "--out", type=lambda path: Path(path).absolute(), metavar="FILE", help="write it there, not to the terminal"
    )
    parser.add_argument("--sign", action="store_true", help="in an envelope, signed by the key in BEZOAR_SIGNING_KEY")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print or write the statement."""
    from bezoar.cache.attest import attest  # slow to import: it brings Snakemake
    from bezoar.files import write_json

    made = attest(args.targets[0], signed=args.sign)
    if args.out:
        write_json(args.out, made)
    else:
        sys.stdout.write(json.dumps(made, indent=2, sort_keys=True) + "\n")
    return 0
