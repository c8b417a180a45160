"""Draw the listing calls of LaMini's scheme from all seed rows, and deal them to shards."""

from bezoar.script import run
from bezoar.steps.data.rows import SeedRow, read_rows
from bezoar.steps.data.shard import deal
from bezoar.steps.generate.lamini import Listing, dealt, read_topics
from bezoar.steps.generate.scheme import shard_flags


def main(argv: list[str] | None = None) -> None:
    flags = shard_flags(__doc__)
    args, block, seed, shards = flags.start(argv, scheme=Listing, seed=int, shards=int)
    topics = read_topics(args.topics) if args.topics else []
    calls = dealt(read_rows(args.rows, SeedRow), topics, block, block.own_seed(seed), shards)
    deal(calls, shards, args.out, {}, hint=f"{args.rows} is empty")


if __name__ == "__main__":
    run(main)
