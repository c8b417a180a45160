"""`bezoar forget`: drop proofs of this cache."""

import argparse
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "forget",
        help="drop proofs of this cache: those of a stage's jobs that ran here, or all from a commit's dvc.lock",
        description="Drops proofs of this cache. Artifacts and dvc.lock stay. A stage whose only proof is dropped runs "
        "again, unless dvc.lock has it.",
    )
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="stage of dvc.yaml, such as train-dpo_hh")
    parser.add_argument("--from", dest="commit", metavar="COMMIT", help="drop what comes from this commit's dvc.lock")
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Drop proofs, and say which."""
    if bool(args.stages) == bool(args.commit):
        args.parser.error("needs stages, or --from COMMIT")
    from bezoar.cache import git
    from bezoar.cache.forget import forget_from, forget_stages  # slow to import: it brings Snakemake
    from bezoar.cache.graph import loaded

    if args.commit:
        with loaded(graph=False) as attached:
            count = forget_from(attached.build, git.commit(args.commit))
        show(f"dropped {count} proofs from {args.commit}")
        return 0
    dropped = forget_stages(args.stages)
    show("\n".join(f"dropped the proof of {name}" for name in dropped) or "nothing to drop: no proof was made here")
    return 0
