"""The action cache: an artifact is up to date only if a proof says what it was made from (docs/architecture.md)."""

from bezoar.text import printable


class CacheError(Exception):
    """Something that the cache holds, or should hold, can't be used; the message says what, and the way out."""

    def __str__(self) -> str:
        return printable(super().__str__())  # names and words of others are in it


class Unwritable(CacheError):
    """The cache takes nothing more: no room, no permission."""
