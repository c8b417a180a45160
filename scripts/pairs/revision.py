"""Pair the revised answers of a scored shard with their originals."""

from bezoar.script import run
from bezoar.steps.data.rows import read_rows
from bezoar.steps.pairs.block import flags, write_shard
from bezoar.steps.pairs.revision import Revision, candidates_of
from bezoar.steps.score.block import ScoredRow


def main(argv: list[str] | None = None) -> None:
    args, block = flags(__doc__).start(argv, pairs=Revision)
    originals = {row.id: row for row in read_rows(args.against, ScoredRow)}
    write_shard(args.out, candidates_of(read_rows(args.rows, ScoredRow), originals), block)


if __name__ == "__main__":
    run(main)
