"""Copy a base model from a directory under another chat template, or dequantise a GGUF file."""

from bezoar.script import Flags, run
from bezoar.steps.base.local import LocalModel, make


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("source", "model directory, or a GGUF file")
    flags.path("template", "file of the chat template; without it, the tokenizer's own", optional=True)
    flags.folder("out", "folder to write the model to")
    args, *_ = flags.start(argv, model=LocalModel, seed=int)
    make(args.source, args.template, args.out)


if __name__ == "__main__":
    run(main)
