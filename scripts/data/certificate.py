"""Compare a mix with the items of all evaluations; write what was found, and the mix without rows that repeat one."""

from bezoar.script import Flags, run
from bezoar.steps.data.contamination.block import Contamination
from bezoar.steps.data.contamination.certificate import write_certificate


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("mix", "folder with train.jsonl and eval.jsonl")
    flags.path("targets", "files with evaluation items", many=True)
    flags.path("out", "file to write the certificate to")
    flags.path("rows", "folder to write train.jsonl, eval.jsonl and dropped.jsonl to")
    args, block = flags.start(argv, contamination=Contamination)
    write_certificate(args.mix, args.targets, block, args.out, args.rows)


if __name__ == "__main__":
    run(main)
