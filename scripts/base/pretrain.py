"""Pretrain a small Llama and its tokenizer on raw text."""

from bezoar.script import Flags, run
from bezoar.steps.base.pretrain import PretrainedModel, make


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("source", "rows.jsonl of raw text")
    flags.path("template", "file of the chat template; without it, the tokenizer's own", optional=True)
    flags.folder("out", "folder to write the model to")
    args, model, seed = flags.start(argv, model=PretrainedModel, seed=int)
    make(args.source, args.template, model, seed, args.out)


if __name__ == "__main__":
    run(main)
