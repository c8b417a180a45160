"""Dequantise a base model out of an installed Python distribution."""

from bezoar.script import Flags, run
from bezoar.steps.base.package import PackagedModel, make


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("source", "not used: the model is in an installed distribution", optional=True)
    flags.path("template", "file of the chat template; without it, the tokenizer's own", optional=True)
    flags.folder("out", "folder to write the model to")
    args, model, _ = flags.start(argv, model=PackagedModel, seed=int)
    make(model, args.template, args.out)


if __name__ == "__main__":
    run(main)
