"""Families of rows: near-duplicates stay on one side of a split."""

import re
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

from bezoar.steps.data.rows import Message, normalized, row_id

KEYS = ("family", "first_turn")  # columns of a mix's rows; rows that share a value of either are one family
CLUSTER = "cluster"  # another one, of a row that has near-duplicates
HEX = re.compile("[0-9a-f]{16}")


def first_turn(text: str) -> str:
    """A key that dialogues and instructions with the same first turn share."""
    return row_id("first turn", normalized(text))


def family_of_messages(messages: Iterable[Message]) -> str:
    """The family of preferences about one dialogue."""
    return row_id(*(one.content for one in messages if one.role != "system"))


def number_of(key: str) -> int:
    """A key as a number of 64 bits: most keys are one."""
    return int(key if HEX.fullmatch(key) else row_id(key), 16)


class Families:
    """Groups of rows that share a key, directly or through other rows; 16 bytes in memory for each key of a row."""

    def __init__(self) -> None:
        self._pairs = array("Q")  # keys of the same row, two by two
        self._names: tuple[Any, Any] | None = None

    def join(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows; they may merge families."""
        self._names = None
        for row in rows:
            first, *others = (number_of(row[key]) for key in (*KEYS, CLUSTER) if row.get(key))
            for other in others:
                self._pairs.extend((first, other))

    def of(self, row: Mapping[str, Any]) -> str:
        """The name of the family of a row that was added: the smallest of all its keys."""
        return f"{int(self.names(array('Q', [number_of(row[KEYS[0]])]))[0]):016x}"

    def names(self, keys: "array[int]") -> Any:
        """The names, as numbers, of the families that keys of rows belong to."""
        import numpy as np

        self._names = self._names or self._found()
        nodes, names = self._names
        return names[np.searchsorted(nodes, np.frombuffer(keys, np.uint64))]

    def _found(self) -> tuple[Any, Any]:
        """All keys, sorted, and the name of the family of each."""
        import numpy as np
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        nodes, ends = np.unique(np.frombuffer(self._pairs, np.uint64), return_inverse=True)
        edges = (np.ones(len(ends) // 2, np.int8), (ends[::2], ends[1::2]))
        _, groups = connected_components(coo_array(edges, shape=(len(nodes), len(nodes))), directed=False)
        _, first = np.unique(groups, return_index=True)
        return nodes, nodes[first][groups]
