"""Average the weights of checkpoints."""

from bezoar.script import Flags, run
from bezoar.steps.base.soup import Soup, make


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("source", "model directories, in the order of the block", many=True)
    flags.path("template", "file of the chat template; without it, that of the first", optional=True)
    flags.folder("out", "folder to write the model to")
    args, model, _ = flags.start(argv, model=Soup, seed=int)
    make(args.source, args.template, model, args.out)


if __name__ == "__main__":
    run(main)
