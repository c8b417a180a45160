"""Write a shard of a model's answers to prompts."""

from bezoar.script import run
from bezoar.steps.data.rows import read_rows
from bezoar.steps.generate.sample import Sample, sampled
from bezoar.steps.generate.scheme import write_shard
from bezoar.steps.generate.scripts import flags, takes
from bezoar.steps.generate.seeds import PromptRow


def main(argv: list[str] | None = None) -> None:
    parser = flags(__doc__)
    args, block, backend, prompt, seed, budget = parser.start(argv, **takes(Sample))
    seeds, seed = list(read_rows(args.seeds, PromptRow)), block.own_seed(seed)
    teacher = backend.open(checkpoint=args.teacher, system=prompt.system, seed=seed, budget=budget)
    rows, dropped = sampled(seeds, teacher, block, args.out.parent.name)
    write_shard(args.out, rows, dropped, len(seeds) * block.n, block)


if __name__ == "__main__":
    run(main)
