"""Fetch or make the rows of a source, check them, and write them in our own row type."""

from bezoar.script import Flags, run
from bezoar.steps.data.source import write_source
from bezoar.steps.data.sources import Source


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.folder("out", "folder to write rows.jsonl, places.jsonl, dropped.jsonl and report.json to")
    args, source, seed = flags.start(argv, source=Source, seed=int)
    write_source(source, seed, args.out)


if __name__ == "__main__":
    run(main)
