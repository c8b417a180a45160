"""Write a shard of instructions and answers by LaMini's scheme."""

from bezoar.script import run
from bezoar.steps import prompts
from bezoar.steps.data.rows import read_rows
from bezoar.steps.generate.lamini import Lamini, ListingCall, made
from bezoar.steps.generate.scheme import write_shard
from bezoar.steps.generate.scripts import flags, takes
from bezoar.steps.generate.templates import LAMINI


def main(argv: list[str] | None = None) -> None:
    parser = flags(__doc__)
    args, block, backend, prompt, seed, budget = parser.start(argv, **takes(Lamini))
    calls = list(read_rows(args.seeds, ListingCall))
    teacher = backend.open(checkpoint=args.teacher, system=prompt.system, seed=block.own_seed(seed), budget=budget)
    templates = prompts.load(args.prompts, LAMINI)
    rows, dropped, candidates = made(calls, teacher, block, templates, args.out.parent.name)
    write_shard(args.out, rows, dropped, candidates, block)


if __name__ == "__main__":
    run(main)
