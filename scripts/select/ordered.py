"""Select rows at random, or those with the longest answers."""

from bezoar.script import run
from bezoar.steps.select.ordered import Ordered, chosen
from bezoar.steps.select.selection import flags, pooled, write_selection


def main(argv: list[str] | None = None) -> None:
    args, block, seed, shards = flags(__doc__).start(argv, selection=Ordered, seed=int, shards=int)
    pool = pooled(block, args.filtered, args.source, seed, shards)
    write_selection(block, pool, chosen(block, pool), args.out)


if __name__ == "__main__":
    run(main)
