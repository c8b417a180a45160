"""Write a shard of explained answers by Orca's scheme."""

from bezoar.script import run
from bezoar.steps.data.rows import SeedRow, read_rows
from bezoar.steps.generate import shards
from bezoar.steps.generate.orca import Orca, drawn, explained, system_messages, unused


def main(argv: list[str] | None = None) -> None:
    flags = shards.flags(__doc__)
    args, scheme, backend, prompt, seed, shard_count, budget = flags.start(argv, **shards.takes(Orca))
    seeds = list(read_rows(args.seeds, SeedRow))
    queries = drawn(seeds, scheme, shard_count, seed)
    messages = system_messages(args.prompts)
    teacher = backend.open(checkpoint=args.teacher, system=prompt.system, seed=seed, budget=budget)
    rows, dropped = explained(queries, messages, teacher, scheme, seed, args.out.parent.name)
    shards.write_shard(args.out, rows, dropped, len(queries), scheme, unused(seeds, queries, scheme))


if __name__ == "__main__":
    run(main)
