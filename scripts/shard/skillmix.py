"""Draw the skills of each row of Instruct-SkillMix from the scheme's list, and deal the draws to shards."""

from bezoar.script import run
from bezoar.steps.data.rows import read_rows
from bezoar.steps.data.shard import deal
from bezoar.steps.generate.scheme import shard_flags
from bezoar.steps.generate.skill_list import SkillRow
from bezoar.steps.generate.skillmix import Drawing, dealt


def main(argv: list[str] | None = None) -> None:
    flags = shard_flags(__doc__)
    args, block, seed, shards = flags.start(argv, scheme=Drawing, seed=int, shards=int)
    draws = dealt(read_rows(args.rows, SkillRow), block, block.own_seed(seed), shards)
    deal(draws, shards, args.out, {}, hint=f"{args.rows} is empty")


if __name__ == "__main__":
    run(main)
