"""Write a shard of explained answers by Orca's scheme."""

from bezoar.script import run
from bezoar.steps.data.rows import SeedRow, read_rows
from bezoar.steps.generate.orca import Orca, explained, system_messages
from bezoar.steps.generate.scheme import write_shard
from bezoar.steps.generate.scripts import flags, takes


def main(argv: list[str] | None = None) -> None:
    parser = flags(__doc__)
    args, block, backend, prompt, seed, budget = parser.start(argv, **takes(Orca))
    queries, messages = list(read_rows(args.seeds, SeedRow)), system_messages(args.prompts)
    seed = block.own_seed(seed)
    teacher = backend.open(checkpoint=args.teacher, system=prompt.system, seed=seed, budget=budget)
    rows, dropped = explained(queries, messages, teacher, block, seed, args.out.parent.name)
    write_shard(args.out, rows, dropped, len(queries), block)


if __name__ == "__main__":
    run(main)
