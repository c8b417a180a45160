"""The action cache: an artifact is up to date only if a proof records its origin (docs/contributing/cache.md)."""

from bezoar.errors import BezoarError


class CacheError(BezoarError):
    """Something in the cache, or that should be there, can't be used; the message says what, and what to do."""


class Unwritable(CacheError):
    """The cache can't be written: no room, no permission."""
