"""Ask a teacher once for the skills that a scheme combines."""

from bezoar.blocks import Prompt
from bezoar.requests.blocks import Budget
from bezoar.script import Flags, run
from bezoar.steps import prompts
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.data.rows import SeedRow, read_rows
from bezoar.steps.generate.skill_list import NEEDS, Listing, list_skills, write_skills


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("rows", "rows.jsonl of the seeds' source")
    flags.path("prompts", "prompt file of the scheme")
    flags.path("teacher", "model directory of a local teacher", optional=True)
    flags.folder("out", "folder to write skills.jsonl, dropped.jsonl and report.json to; named by the scheme")
    takes = {"scheme": Listing, "backend": AnyBackend, "prompt": Prompt, "seed": int, "budget": Budget}
    args, block, backend, prompt, seed, budget = flags.start(argv, **takes)
    teacher = backend.open(checkpoint=args.teacher, system=prompt.system, seed=block.own_seed(seed), budget=budget)
    seeds, templates = list(read_rows(args.rows, SeedRow)), prompts.load(args.prompts, NEEDS)
    write_skills(*list_skills(seeds, teacher, block, templates, block.own_seed(seed)), args.out)


if __name__ == "__main__":
    run(main)
