"""The subcommands of `bezoar` that read or write the graph and its proofs."""

import argparse
import os
import sys
from pathlib import Path

from bezoar.cache import dvc
from bezoar.cache.build import STAGE
from bezoar.cache.graph import loaded


def build(args: argparse.Namespace) -> int:
    """Make one stage through Snakemake; the environment chooses profile and cores."""
    os.environ[STAGE] = "-".join((args.rule, *args.block))
    snakemake = Path(sys.executable).with_name("snakemake")
    os.execv(snakemake, [str(snakemake)])


def write_dvc(args: argparse.Namespace) -> int:
    """Write dvc.yaml."""
    with loaded() as attached:
        text = dvc.pipeline(attached.build.stages, attached.plots)
    if not Path(dvc.PIPELINE).exists() or Path(dvc.PIPELINE).read_text(encoding="utf-8") != text:
        Path(dvc.PIPELINE).write_text(text, encoding="utf-8")
        print(f"wrote {dvc.PIPELINE}: {len(attached.build.stages) + 1} stages")
    else:
        print(f"{dvc.PIPELINE} is as the rules say")
    return 0


def fingerprint(args: argparse.Namespace) -> int:
    """Write code.lock."""
    with loaded(graph=False) as attached:
        attached.build.code.write(attached.build.cache)
        attached.build.hasher.save()
    return 0


COMMANDS = {"build": build, "dvc": write_dvc, "fingerprint": fingerprint}
