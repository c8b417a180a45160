"""Write a shard of instructions that combine random skills, and their answers, by Instruct-SkillMix."""

from bezoar.script import run
from bezoar.steps import prompts
from bezoar.steps.data.rows import read_rows
from bezoar.steps.generate.scheme import write_shard
from bezoar.steps.generate.scripts import flags, takes
from bezoar.steps.generate.skill_list import NEEDS
from bezoar.steps.generate.skillmix import Draw, Skillmix, made


def main(argv: list[str] | None = None) -> None:
    parser = flags(__doc__)
    args, block, backend, prompt, seed, budget = parser.start(argv, **takes(Skillmix))
    draws, templates = list(read_rows(args.seeds, Draw)), prompts.load(args.prompts, NEEDS)
    teacher = backend.open(checkpoint=args.teacher, system=prompt.system, seed=block.own_seed(seed), budget=budget)
    rows, dropped = made(draws, teacher, block, templates, args.out.parent.name)
    write_shard(args.out, rows, dropped, len(draws), block)


if __name__ == "__main__":
    run(main)
