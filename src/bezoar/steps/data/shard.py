"""Split a source into shards by each row's own key, so that a new row changes one shard only."""

import sqlite3
from pathlib import Path

from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.steps.data import accounting
from bezoar.steps.data.rows import SeedRow, line_of, read_rows
from bezoar.steps.data.spool import database


def shard_of(row_id: str, shards: int) -> int:
    """The number of a row's shard, from 0; it depends on the row's key alone."""
    return int(row_id, 16) % shards


def write_shards(rows_path: Path, shards: int, out_folder: Path) -> None:
    """Write a file for each shard of a source's rows.

    Raises:
        ValueError: There are no rows.
    """
    name, read = out_folder.name, database("rows(shard INTEGER, id TEXT, line TEXT)")
    rows = ((shard_of(row.id, shards), row.id, line_of(row)) for row in read_rows(rows_path, SeedRow))
    number = read.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows).rowcount
    read.execute("CREATE INDEX of_shard ON rows (shard, id)")
    accounting.check_some(f"shard {name}", number, 0, [], hint=f"{rows_path} is empty")
    with artifact(out_folder) as out:
        written = sum(write_shard(read, shard, out / f"{shard:04d}.jsonl") for shard in range(shards))
        accounting.check_conserved(f"shard {name}", number, written, {})
    logger.info(f"shard {name}: {written:,} rows in {shards} shards")


def write_shard(rows: sqlite3.Connection, shard: int, path: Path) -> int:
    """Write a shard's rows in the order of their ids: its bytes don't depend on the source's order."""
    lines = rows.execute("SELECT line FROM rows WHERE shard = ? ORDER BY id, rowid", (shard,))
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for (line,) in lines:
            file.write(line)
            count += 1
    return count
