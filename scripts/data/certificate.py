"""Compare a mix with the items of all evaluations, and write which of them its rows repeat."""

from bezoar.script import Flags, run
from bezoar.steps.data.contamination.block import Contamination
from bezoar.steps.data.contamination.certificate import write_certificate


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("mix", "folder with train.jsonl and eval.jsonl")
    flags.path("targets", "files with evaluation items", many=True)
    flags.path("out", "file to write to")
    args, block = flags.start(argv, contamination=Contamination)
    write_certificate(args.mix, args.targets, block, args.out)


if __name__ == "__main__":
    run(main)
