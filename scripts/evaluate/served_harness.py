"""Run one task of lm-evaluation-harness on one checkpoint that a server has loaded."""

from bezoar.requests.blocks import Budget
from bezoar.requests.openai import OpenAiBackend
from bezoar.requests.server_locator import kept
from bezoar.script import Flags, run
from bezoar.steps.evaluate.harness import Asking, write_result
from bezoar.steps.evaluate.served_harness import asked


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("checkpoint", "model directory that the server loads")
    flags.path("task", "folder with settings.json and data.zip of the task")
    flags.folder("out", "folder to write result.json to; named by the task")
    takes = {"eval": Asking, "backend": OpenAiBackend, "seed": int, "budget": Budget}
    args, evaluation, backend, seed, budget = flags.start(argv, **takes)
    with kept(backend):
        model = asked(args.checkpoint, backend, evaluation, seed, budget)
        write_result(model, evaluation, args.task, seed, args.out)


if __name__ == "__main__":
    run(main)
