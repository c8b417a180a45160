"""Write a shard of explained answers by Orca's scheme."""

from bezoar.script import run
from bezoar.steps.data.rows import SeedRow, read_rows
from bezoar.steps.generate.orca import Orca, drawn, explained, system_messages, unused
from bezoar.steps.generate.scheme import flags, takes, write_shard


def main(argv: list[str] | None = None) -> None:
    parser = flags(__doc__)
    args, block, backend, prompt, seed, shard_count, budget = parser.start(argv, **takes(Orca))
    seeds = list(read_rows(args.seeds, SeedRow))
    queries = drawn(seeds, block, shard_count, seed)
    messages = system_messages(args.prompts)
    teacher = backend.open(checkpoint=args.teacher, system=prompt.system, seed=seed, budget=budget)
    rows, dropped = explained(queries, messages, teacher, block, seed, args.out.parent.name)
    write_shard(args.out, rows, dropped, len(queries), block, unused(seeds, queries, block))


if __name__ == "__main__":
    run(main)
