"""Write a mix without the rows that repeat evaluation items, as its certificate says."""

from bezoar.script import Flags, run
from bezoar.steps.data.contamination.certified import write_certified


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("mix", "folder with train.jsonl and eval.jsonl")
    flags.path("certificate", "the mix's certificate")
    flags.folder("out", "folder to write train.jsonl, eval.jsonl and dropped.jsonl to")
    (args,) = flags.start(argv)
    write_certified(args.mix, args.certificate, args.out)


if __name__ == "__main__":
    run(main)
