"""Draws by lot that stay as they are when other items come or go.

For each draw every item has a lot, a hash of both, and the lowest ones win. A new item wins few draws, and changes only
these. `random.sample` would draw anew each time.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # of splitmix64 (Steele et al. 2014)


class Lots:
    """Items to draw from.

    Args:
        names: Their names, each once.
    """

    def __init__(self, names: Sequence[str]) -> None:
        import numpy as np

        self._items = np.array([_hash(name) for name in names], np.uint64)

    def draw(self, name: str, count: int) -> list[int]:
        """The places of at most so many items, without repeats, in a random order.

        Args:
            name: The name of the draw.
            count: How many.
        """
        import numpy as np

        lots = _mixed(self._items ^ np.uint64(_hash(name)))
        count = min(count, len(lots))
        lowest = np.argpartition(lots, count - 1)[:count] if count else np.empty(0, np.int64)
        return [int(place) for place in lowest[np.argsort(lots[lowest], kind="stable")]]


def _mixed(numbers: "NDArray[np.uint64]") -> "NDArray[np.uint64]":
    import numpy as np

    for shift, factor in ((30, FIRST), (27, SECOND)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    mixed: NDArray[np.uint64] = numbers ^ (numbers >> np.uint64(31))
    return mixed


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
