"""The action cache: an artifact is up to date only if a proof says what it was made from (docs/architecture.md)."""

from bezoar.errors import BezoarError


class CacheError(BezoarError):
    """Something that the cache holds, or should hold, can't be used; the message says what, and the way out."""


class Unwritable(CacheError):
    """The cache takes nothing more: no room, no permission."""
