"""Write a shard of evolved instructions and their answers by Evol-Instruct."""

from bezoar.script import run
from bezoar.steps import prompts
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.data.rows import SeedRow, read_rows
from bezoar.steps.generate.evol import Evol, evolve, pool_of
from bezoar.steps.generate.scheme import write_shard
from bezoar.steps.generate.scripts import flags, takes
from bezoar.steps.generate.templates import EVOL


def main(argv: list[str] | None = None) -> None:
    parser = flags(__doc__)
    args, block, backends, prompt, seed, budget = parser.start(argv, **takes(Evol, dict[str, AnyBackend]))
    templates = prompts.load(args.prompts, EVOL)
    pool = pool_of(read_rows(args.seeds, SeedRow))
    seed = block.own_seed(seed)
    common = {"system": prompt.system, "seed": seed, "budget": budget}
    teacher = backends.pop(block.teacher).open(checkpoint=args.teacher, **common)
    judge = backends[block.equality_judge].open(checkpoint=args.judge, **common) if backends else None
    rows, dropped = evolve(pool, teacher, block, templates, seed, args.out.parent.name, judge)
    write_shard(args.out, rows, dropped, len(pool) * block.rounds, block)


if __name__ == "__main__":
    run(main)
