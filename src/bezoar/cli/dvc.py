"""`bezoar dvc`: write the generated files."""

import argparse
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("dvc", help="write the generated files: dvc.yaml, code.lock and params.resolved.yaml")
    parser.add_argument(
        "--resolve",
        action="store_true",
        help="after a merge with conflicts: also write dvc.lock, from both sides",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write all generated files; after a merge with conflicts, dvc.lock too."""
    if args.resolve:
        from bezoar.cache.resolve import resolve  # slow to import: it brings Snakemake

        show("\n".join(resolve()))
    else:
        generate()
    return 0


def generate() -> None:
    """Update generated files, and say which ones changed."""
    from bezoar.cache import dvc, generated
    from bezoar.cache.graph import loaded  # slow to import: it brings Snakemake

    dvc.read(dvc.LOCK)  # in a merge with conflicts, the user has to use `--resolve`
    with loaded(decide=False) as attached:
        for path in (*generated.write(attached.build), *generated.write_templates(attached.build)):
            show(f"wrote {path}")
        if generated.write_pipeline(attached.build):
            show(f"wrote {dvc.PIPELINE}: {len(attached.build.stages) + 1} stages")
        else:
            show(f"{dvc.PIPELINE} is up to date")
        attached.build.hasher.save()
