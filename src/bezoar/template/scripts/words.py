"""Count the words of the rows that a stage trains on."""

from bezoar.files import write_json
from bezoar.jsonl import read_json_lines
from bezoar.script import Flags, run


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__)
    flags.path("rows", "train.jsonl of a mix")
    flags.path("out", "file to write the counts to")
    [args] = flags.start(argv)
    dialogues = (row["prompt"] + row["completion"] for _, row in read_json_lines(args.rows))
    words = [sum(len(message["content"].split()) for message in dialogue) for dialogue in dialogues]
    write_json(args.out, {"rows": len(words), "words": sum(words), "longest": max(words)})


if __name__ == "__main__":
    run(main)
