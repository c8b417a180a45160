"""Deal the seed rows of Evol-Instruct to shards, each by its own key, so that a new row changes one shard only."""

from bezoar.script import run
from bezoar.steps.data.shard import write_shards
from bezoar.steps.generate.scheme import shard_flags


def main(argv: list[str] | None = None) -> None:
    flags = shard_flags(__doc__)
    args, shards = flags.start(argv, shards=int)
    write_shards(args.rows, shards, args.out)


if __name__ == "__main__":
    run(main)
