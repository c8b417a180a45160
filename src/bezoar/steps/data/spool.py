"""What a step holds of all of its rows: in a temporary file, so that memory doesn't grow with them."""

import sqlite3

CACHE = 65_536  # KiB of a temporary database that are in memory; the rest is in a file below $TMPDIR


def database(*tables: str) -> sqlite3.Connection:
    """An empty database that ends with the process.

    Args:
        tables: `name(columns)` of each table.
    """
    found = sqlite3.connect("", isolation_level=None)
    for pragma in ("journal_mode = off", "synchronous = off", f"cache_size = -{CACHE}"):
        found.execute(f"PRAGMA {pragma}")
    for table in tables:
        found.execute(f"CREATE TABLE {table}")
    found.execute("BEGIN")
    return found


class Seen:
    """The keys that were there before."""

    def __init__(self) -> None:
        self._keys = database("seen(key TEXT PRIMARY KEY) WITHOUT ROWID")

    def add(self, key: str) -> bool:
        """Whether a key is new."""
        return self._keys.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount == 1
