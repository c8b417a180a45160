"""Write the folder of a mix for others: Parquet, a card, statistics, Croissant metadata and checksums."""

from bezoar.script import Flags, run
from bezoar.steps.dataset.card import Card
from bezoar.steps.dataset.folder import Inputs, counter_of, write_dataset


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("rows", "folder with train.jsonl and eval.jsonl")
    flags.path("origins", "where each row of the mix is from")
    flags.path("data", "folder of all artifacts, with the reports of all steps")
    flags.path("certificate", "the mix's contamination certificate", optional=True)
    flags.path("tokenizer", "model directory whose tokenizer counts", optional=True)
    flags.folder("out", "folder to write to; named by the mix")
    args, card = flags.start(argv, card=Card)
    inputs = Inputs(args.rows, args.origins, args.data, args.certificate)
    write_dataset(card, inputs, counter_of(args.tokenizer) if args.tokenizer else None, args.out)


if __name__ == "__main__":
    run(main)
