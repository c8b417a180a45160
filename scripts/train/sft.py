"""Fine-tune an adapter on prompts and their responses."""

from bezoar.script import Flags, run
from bezoar.steps.train.sft import Sft, trainer_of
from bezoar.steps.train.stage import Paths


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("base", "model directory that the adapter is trained on")
    flags.path("adapter", "adapter to carry on", optional=True)
    flags.path("mix", "folder with train.jsonl and eval.jsonl")
    flags.path("work", "folder for saved states, which a killed run resumes from")
    flags.folder("out", "folder to write the adapter to; named by the stage")
    args, stage, seed = flags.start(argv, stage=Sft, seed=int)

    from bezoar.steps.train import training  # slow to import: not for --help

    paths = Paths(args.base, args.adapter, args.mix, args.work, args.out)
    training.run(trainer_of(paths, stage, seed), paths, stage, seed)


if __name__ == "__main__":
    run(main)
