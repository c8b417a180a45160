"""Split a source into shards by each row's own key, so that a new row changes one shard only."""

from pathlib import Path

from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.steps.data import accounting
from bezoar.steps.data.rows import SeedRow, read_rows, write_rows


def shard_of(row_id: str, shards: int) -> int:
    """The number of a row's shard, from 0; it depends on the row's key alone."""
    return int(row_id, 16) % shards


def write_shards(rows_path: Path, shards: int, out_folder: Path) -> None:
    """Write a file for each shard of a source's rows.

    Raises:
        ValueError: There are no rows.
    """
    name, rows = out_folder.name, list(read_rows(rows_path, SeedRow))
    accounting.check_some(f"shard {name}", len(rows), 0, [], hint=f"{rows_path} is empty")
    members: list[list[SeedRow]] = [[] for _ in range(shards)]
    for row in rows:
        members[shard_of(row.id, shards)].append(row)
    accounting.check_conserved(f"shard {name}", len(rows), sum(map(len, members)), {})
    with artifact(out_folder) as out:
        for number, some in enumerate(members):
            some.sort(key=lambda row: row.id)  # a shard's bytes don't depend on the source's order
            write_rows(out / f"{number:04d}.jsonl", some)
    logger.info(f"shard {name}: {len(rows):,} rows in {shards} shards")
