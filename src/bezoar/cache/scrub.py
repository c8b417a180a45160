"""`bezoar cache --scrub`: read the whole cache again, and move what is damaged out of the way."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bezoar.cache import foreign
from bezoar.cache.hashing import md5_of
from bezoar.cache.inventory import DAMAGED, Inventory, quietly
from bezoar.cache.modes import make_folder
from bezoar.cache.objects import unwritable

READERS = 4  # threads; MD5 of one takes longer than a disk needs
BATCH = 1000  # objects that wait for them


def wrong(inventory: Inventory) -> Iterator[tuple[str, str]]:
    """Each object, and why it can't be used; an empty text if it is sound.

    Every byte is read again. That doesn't count as a use.
    """
    md5s = sorted(inventory.objects)
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(md5s), BATCH):
            batch = md5s[start : start + BATCH]
            yield from zip(batch, readers.map(lambda md5: _wrong(inventory, md5), batch), strict=True)


def _wrong(inventory: Inventory, md5: str) -> str:
    try:
        found = md5_of(inventory.objects[md5].path, quietly)
    except FileNotFoundError:  # dropped meanwhile
        return ""
    except OSError as error:
        return error.strerror or str(error)
    if found != md5.removesuffix(".dir"):
        return f"bytes with MD5 {found}"
    if md5.endswith(".dir") and inventory.listing(md5) is None:
        return "not a list of a directory's files"
    return ""


def move_away(inventory: Inventory, md5: str) -> None:
    """Move an object to the folder of damaged ones, so that a sound one can take its place.

    Raises:
        CacheError: The cache can't be written.
    """
    folder = os.path.join(inventory.cache, DAMAGED)
    try:
        make_folder(folder, inventory.cache)
        os.replace(inventory.objects[md5].path, os.path.join(folder, md5))
    except OSError as error:
        raise unwritable(inventory.cache, error) from error


def unreadable(inventory: Inventory) -> dict[str, str]:
    """Proofs and traces that can't be read, with the reason; a run ignores them, and their jobs run again."""
    _ = inventory.proofs  # reads them all
    for entry in inventory.records["traces"]:
        try:
            foreign.table(foreign.from_json(foreign.read(entry.path, quietly)))
        except (OSError, foreign.Malformed) as error:
            inventory.unreadable[entry.path] = f"no trace: {error}"
    return dict(sorted(inventory.unreadable.items()))
