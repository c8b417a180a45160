"""Write a shard of instructions and answers by LaMini's scheme."""

from bezoar.script import run
from bezoar.steps import prompts
from bezoar.steps.data.rows import SeedRow, read_rows
from bezoar.steps.generate.lamini import Lamini, made, read_topics
from bezoar.steps.generate.scheme import flags, takes, write_shard
from bezoar.steps.generate.templates import LAMINI


def main(argv: list[str] | None = None) -> None:
    parser = flags(__doc__)
    args, block, backend, prompt, seed, shard_count, budget = parser.start(argv, **takes(Lamini))
    seeds, topics = list(read_rows(args.seeds, SeedRow)), read_topics(args.topics) if args.topics else []
    rows, dropped, candidates = made(
        seeds,
        topics,
        backend.open(checkpoint=args.teacher, system=prompt.system, seed=seed, budget=budget),
        block,
        prompts.load(args.prompts, LAMINI),
        seed=seed,
        shard=int(args.out.name),
        shard_count=shard_count,
        scheme=args.out.parent.name,
    )
    write_shard(args.out, rows, dropped, candidates, block)


if __name__ == "__main__":
    run(main)
