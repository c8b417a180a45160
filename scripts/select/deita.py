"""Select complex rows with good answers, none of which is too similar to another."""

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.script import run
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.select.deita import Deita, chosen, opener
from bezoar.steps.select.selection import flags, pooled, write_selection


def main(argv: list[str] | None = None) -> None:
    takes = {"selection": Deita, "backend": dict[str, AnyBackend], "prompt": Prompt, "seed": int, "shards": int}
    args, block, backends, prompt, seed, shards, budget = flags(__doc__).start(argv, **takes, budget=Budget)
    pool = pooled(block, args.filtered, args.source, seed, shards)
    weights = {"complexity": args.complexity, "quality": args.quality}
    open_scorer = opener(block, backends, weights, system=prompt.system, seed=block.own_seed(seed), budget=budget)
    write_selection(block, pool, chosen(block, pool, args.prompts, open_scorer, args.checkpoint), args.out)


if __name__ == "__main__":
    run(main)
