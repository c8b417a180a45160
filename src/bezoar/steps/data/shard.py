"""Deal a scheme's work to shards: each seed row by its own key, or what a scheme draws from all of them.

A shard's file depends on what was dealt to it alone, so a new seed row changes few shards.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.steps.data import accounting
from bezoar.steps.data.rows import Row, SeedRow, line_of, read_rows
from bezoar.steps.data.spool import database


def shard_of(row_id: str, shards: int) -> int:
    """The number of a row's shard, from 0; it depends on the row's key alone."""
    return int(row_id, 16) % shards


def write_shards(rows_path: Path, shards: int, out_folder: Path) -> None:
    """Write a file for each shard of a source's rows.

    Raises:
        ValueError: There are no rows.
    """
    dealt = ((shard_of(row.id, shards), row.id, row) for row in read_rows(rows_path, SeedRow))
    deal(dealt, shards, out_folder, {}, hint=f"{rows_path} is empty")


def deal(
    dealt: Iterable[tuple[int, str, Row]], shards: int, out_folder: Path, unused: Mapping[str, int], hint: str
) -> None:
    """Write a file for each shard, and a report.

    Args:
        dealt: Rows, each with its shard's number and its place in the shard.
        shards: Their number.
        out_folder: Where to.
        unused: Seed rows that aren't dealt, by reason.
        hint: What to do if there is no row.

    Raises:
        ValueError: There are no rows.
    """
    name, spool = out_folder.name, database("rows(shard INTEGER, place TEXT, line TEXT)")
    lines = ((shard, place, line_of(row)) for shard, place, row in dealt)
    number = spool.executemany("INSERT INTO rows VALUES (?, ?, ?)", lines).rowcount
    spool.execute("CREATE INDEX of_shard ON rows (shard, place)")
    accounting.check_some(f"shard {name}", max(0, number), 0, [], hint=hint)
    with artifact(out_folder) as out:
        written = sum(_write(spool, shard, out / f"{shard:04d}.jsonl") for shard in range(shards))
        accounting.check_conserved(f"shard {name}", number, written, {})
        write_json(out / "report.json", {"rows": number, "unused": dict(unused)})
    logger.info(f"shard {name}: {written:,} rows in {shards} shards, unused: {accounting.text_of(unused, 'none')}")


def _write(spool: sqlite3.Connection, shard: int, path: Path) -> int:
    """Write a shard's rows in their order: its bytes don't depend on the source's order."""
    lines = spool.execute("SELECT line FROM rows WHERE shard = ? ORDER BY place, rowid", (shard,))
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for (line,) in lines:
            file.write(line)
            count += 1
    return count
