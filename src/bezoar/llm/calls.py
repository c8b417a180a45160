"""A call as it is sent: canonical JSON, named by all that can change its answer and by nothing that can't."""

import hashlib
import json
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Any

CHARACTERS_A_TOKEN = 3  # fewer than languages have, so that a guess isn't too low
SCHEMA = 1  # of the key; another number makes every stored answer unknown


@dataclass(frozen=True)
class Call:
    """One request to a provider.

    Not part of it: the server's address, keys, time limits, who asks and why.

    Attributes:
        provider: `openai` or `anthropic`.
        endpoint: Path of the API.
        api_version: The API's version, where its provider has one.
        body: JSON body in its canonical form, which is the form that is sent.
        sample: Tells repeated draws of one body apart.
    """

    provider: str
    endpoint: str
    api_version: str | None
    body: dict[str, Any]
    sample: str

    @cached_property
    def key(self) -> str:
        """Sha256 of all of it, in 64 hexadecimal digits."""
        whole = {
            "schema": SCHEMA,
            "provider": self.provider,
            "endpoint": self.endpoint,
            "api_version": self.api_version,
            "body": self.body,
            "sample": self.sample,
        }
        return hashlib.sha256(encoded(whole)).hexdigest()

    @cached_property
    def data(self) -> bytes:
        """The body as it is sent."""
        return encoded(self.body)


def canonical(data: Any) -> Any:
    """Data with every text in Unicode's normal form C, so that what looks equal is equal."""
    match data:
        case str():
            return unicodedata.normalize("NFC", data)
        case dict():
            return {canonical(key): canonical(value) for key, value in data.items()}
        case list() | tuple():
            return [canonical(value) for value in data]
    return data


def encoded(data: Any) -> bytes:
    """Data as JSON in one spelling: keys sorted, no blanks, UTF-8; raises ValueError for a number that JSON lacks."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
