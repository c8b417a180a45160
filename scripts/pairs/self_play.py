"""Pair the seeds' own answers with a model's answers of a shard."""

from bezoar.script import run
from bezoar.steps.data.rows import read_rows
from bezoar.steps.generate.seeds import PromptRow
from bezoar.steps.pairs.block import flags, write_shard
from bezoar.steps.pairs.self_play import SelfPlay, candidates_of
from bezoar.steps.score.block import rows_of


def main(argv: list[str] | None = None) -> None:
    args, block = flags(__doc__).start(argv, pairs=SelfPlay)
    seeds = {row.id: row for row in read_rows(args.against, PromptRow)}
    write_shard(args.out, candidates_of(rows_of(args.rows), seeds), block)


if __name__ == "__main__":
    run(main)
