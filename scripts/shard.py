"""Split a source into shards by each row's own key, so that a new row changes one shard only."""

from bezoar import accounting
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.rows import SeedRow, read_rows, write_rows
from bezoar.script import Flags, run


def shard_of(row_id: str, shards: int) -> int:
    """Number of the shard that a row belongs to, from 0; it depends on the row's key alone."""
    return int(row_id, 16) % shards


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="shards")
    flags.path("rows", "rows.jsonl of the source")
    flags.folder("out", "folder to write one file a shard to")
    args, (shards,) = flags.start(argv)
    name, rows = args.out.name, list(read_rows(args.rows, SeedRow))
    accounting.check_some(f"shard {name}", len(rows), 0, [], hint=f"{args.rows} is empty")
    members: list[list[SeedRow]] = [[] for _ in range(shards)]
    for row in rows:
        members[shard_of(row.id, shards)].append(row)
    accounting.check_conserved(f"shard {name}", len(rows), sum(map(len, members)), {})
    with artifact(args.out) as out:
        for number, some in enumerate(members):
            some.sort(key=lambda row: row.id)  # a shard's bytes don't depend on the source's order
            write_rows(out / f"{number:04d}.jsonl", some)
    logger.info(f"shard {name}: {len(rows):,} rows in {shards} shards")


if __name__ == "__main__":
    run(main)
