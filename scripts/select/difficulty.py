"""Select the rows whose answers a model finds hard to follow from their prompts."""

from bezoar.blocks import Prompt
from bezoar.script import run
from bezoar.steps.select.difficulty import Difficulty, chosen
from bezoar.steps.select.selection import flags, pooled, write_selection


def main(argv: list[str] | None = None) -> None:
    takes = {"selection": Difficulty, "prompt": Prompt, "seed": int, "shards": int}
    args, block, prompt, seed, shards = flags(__doc__).start(argv, **takes)
    pool = pooled(block, args.filtered, args.source, seed, shards)
    write_selection(block, pool, chosen(block, pool, args.checkpoint, prompt.system), args.out)


if __name__ == "__main__":
    run(main)
