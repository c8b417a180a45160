"""Write a shard of answers that are revised by a critique."""

from bezoar.script import run
from bezoar.steps import prompts
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.data.rows import read_rows
from bezoar.steps.generate.revise import Revise, revised
from bezoar.steps.generate.scheme import write_shard
from bezoar.steps.generate.scripts import flags, takes
from bezoar.steps.generate.seeds import PromptRow
from bezoar.steps.generate.templates import REVISE


def main(argv: list[str] | None = None) -> None:
    parser = flags(__doc__)
    args, block, backends, prompt, seed, budget = parser.start(argv, **takes(Revise, dict[str, AnyBackend]))
    seeds, templates = list(read_rows(args.seeds, PromptRow)), prompts.load(args.prompts, REVISE)
    seed = block.own_seed(seed)
    common = {"system": prompt.system, "seed": seed, "budget": budget}
    teacher = backends.pop(block.teacher).open(checkpoint=args.teacher, **common)
    critic = backends[block.critic].open(checkpoint=args.judge, **common) if backends else teacher
    rows, dropped = revised(seeds, teacher, critic, block, templates, args.out.parent.name)
    write_shard(args.out, rows, dropped, len(seeds), block)


if __name__ == "__main__":
    run(main)
