"""`bezoar build`: make a stage for `dvc repro`."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("build", help="make one stage of dvc.yaml, for `dvc repro`")
    parser.add_argument("rule")
    parser.add_argument("block", nargs="*", help="block names in params.yaml")
    parser.add_argument("--roles", help=argparse.SUPPRESS)  # in dvc.yaml before there were traces
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Make one stage by Snakemake; its profile sets where and on how many cores."""
    from bezoar.cache import dvc, stages
    from bezoar.cache.ahead import bring_back
    from bezoar.cache.build import STAGE
    from bezoar.cache.plan import PARAMS_VARIABLE  # slow to import: it brings Snakemake
    from bezoar.cache.runs import RUN_VARIABLE, of_dvc

    name = "-".join((args.rule, *args.block))
    if args.roles:
        raise stages.stale(f"stage {name} of an earlier version")
    if os.path.exists(dvc.RESOLVED):  # edits of params.yaml affect stages by the stage `code`
        os.environ[PARAMS_VARIABLE] = dvc.RESOLVED
    named = of_dvc()
    if named:
        os.environ.setdefault(RUN_VARIABLE, named)
    bring_back(name, named)
    os.environ[STAGE] = name
    snakemake = Path(sys.executable).with_name("snakemake")
    os.execv(snakemake, [str(snakemake)])
