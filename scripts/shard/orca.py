"""Draw the queries of Orca's scheme from all seed rows, and deal them to shards, each by its own key."""

from bezoar.script import run
from bezoar.steps.data.rows import SeedRow, read_rows
from bezoar.steps.data.shard import deal, shard_of
from bezoar.steps.generate.orca import Drawing, Query, drawn, unused
from bezoar.steps.generate.scheme import shard_flags


def main(argv: list[str] | None = None) -> None:
    flags = shard_flags(__doc__)
    args, block, seed, shards = flags.start(argv, scheme=Drawing, seed=int, shards=int)
    queries = [Query.of(row) for row in read_rows(args.rows, SeedRow)]
    chosen = drawn(queries, block, block.own_seed(seed))
    wanted = {query.id for query in chosen}
    rows = (row for row in read_rows(args.rows, SeedRow) if row.id in wanted)
    dealt = ((shard_of(row.id, shards), row.id, row) for row in rows)
    deal(dealt, shards, args.out, unused(queries, chosen, block), hint=f"{args.rows} has no row that is wanted")


if __name__ == "__main__":
    run(main)
