"""Merge an adapter into its base weights."""

from bezoar.script import Flags, run
from bezoar.steps.train.merge import Merging, merge


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("base", "model directory with the adapter's base weights")
    flags.path("adapter", "adapter of the stage")
    flags.folder("out", "folder to write the checkpoint to")
    args, stage = flags.start(argv, stage=Merging)
    merge(args.base, args.adapter, stage, args.out)


if __name__ == "__main__":
    run(main)
