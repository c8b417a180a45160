"""Split a source into shards by each row's own key, so that a new row changes one shard only."""

from bezoar.script import Flags, run
from bezoar.steps.data.shard import write_shards


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("rows", "rows.jsonl of the source")
    flags.folder("out", "folder to write one file per shard to")
    args, shards = flags.start(argv, shards=int)
    write_shards(args.rows, shards, args.out)


if __name__ == "__main__":
    run(main)
