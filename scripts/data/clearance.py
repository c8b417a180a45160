"""Write a file of constant content if a mix may be trained on; its certificate says so, or why not."""

from bezoar.script import Flags, run
from bezoar.steps.data.contamination.certified import write_clearance


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("certificate", "the mix's certificate")
    flags.path("out", "file to write to")
    (args,) = flags.start(argv)
    write_clearance(args.certificate, args.out)


if __name__ == "__main__":
    run(main)
