"""`bezoar fingerprint`: write code.lock and params.resolved.yaml; the command of the stage `code`."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("fingerprint", help="write code.lock and params.resolved.yaml, as stage `code` does")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write code.lock and params.resolved.yaml; as the command of stage `code` it refuses an outdated dvc.yaml.

    It adds new files with code to dvc.yaml: DVC looks at them from its next run on.
    """
    from bezoar.cache import dvc, generated, stages
    from bezoar.cache.graph import loaded  # slow to import: it brings Snakemake

    with loaded(decide=False) as attached:
        generated.write(attached.build)
        attached.build.hasher.save()
        attached.resolved.check_unedited()
        written = dvc.read(dvc.PIPELINE)
        stages.check_whole(attached.build.stages, written)
        if written:
            generated.write_pipeline(attached.build)
    return 0
