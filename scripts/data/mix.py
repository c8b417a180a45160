"""Mix kept rows and sources into one training set, in TRL's column formats, with an eval split of whole families."""

from bezoar.blocks import Prompt
from bezoar.script import Flags, run
from bezoar.steps.data.examples import Window
from bezoar.steps.data.mix import Mix
from bezoar.steps.data.mixing import write_mix
from bezoar.steps.data.pool import Folders


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("filtered", "folder of filtered schemes")
    flags.path("source", "folder of sources")
    flags.path("selected", "folder of selections")
    flags.path("pairs", "folder of pairs")
    flags.path("earlier", "train.jsonl of each mix that a stage on this mix comes after", many=True)
    flags.path("tokenizer", "model directory whose tokenizer counts", optional=True)
    flags.folder("out", "folder to write train.jsonl, eval.jsonl, origins.jsonl, dropped.jsonl and report.json to")
    args, mix, prompt, seed, shards = flags.start(argv, mix=Mix, prompt=Prompt, seed=int, shards=int)
    window = Window.of_model(args.tokenizer, mix.limit, prompt.system) if mix.limit else None
    folders = Folders(args.filtered, args.source, args.selected, shards, args.pairs)
    write_mix(mix, folders, window, args.earlier, prompt.system, mix.own_seed(seed), args.out)


if __name__ == "__main__":
    run(main)
