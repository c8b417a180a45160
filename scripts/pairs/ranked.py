"""Pair the best with a worse answer to each prompt of a scored shard, by its place."""

from bezoar.script import run
from bezoar.steps.data.rows import read_rows
from bezoar.steps.pairs.block import flags, write_shard
from bezoar.steps.pairs.ranked import Ranked
from bezoar.steps.pairs.ranking import candidates_of
from bezoar.steps.score.block import ScoredRow


def main(argv: list[str] | None = None) -> None:
    args, block = flags(__doc__).start(argv, pairs=Ranked)
    write_shard(args.out, candidates_of(read_rows(args.rows, ScoredRow), block.worse), block)


if __name__ == "__main__":
    run(main)
