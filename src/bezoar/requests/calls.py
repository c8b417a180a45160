"""A call to a provider. Its key covers all that can change the answer, and nothing else."""

import hashlib
import json
import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

CHARS_PER_TOKEN = 3  # fewer than most languages have, so that an estimate isn't too low
MOST_DEPTH = 100  # of JSON from outside; an answer has five levels
LONGEST_NUMBER = 20  # digits
SCHEMA = 1  # of the key; a new number invalidates every stored answer


@dataclass(frozen=True)
class Call:
    """One request to a provider.

    The server's address, keys, time limits and the requesting job are not part of it.

    Attributes:
        provider: `openai` or `anthropic`.
        endpoint: Path of the API.
        api_version: The API's version, where its provider has one.
        body: JSON body; keys are sent in this order.
        sample: Tells repeated draws of one body apart.
        ordered: Whether the order of the body's keys can change the answer. With a JSON schema it can: models write the
            fields in the schema's order.
        weights: MD5 of the checkpoint of the recipe that answers; empty for a model from elsewhere.
    """

    provider: str
    endpoint: str
    api_version: str | None
    body: dict[str, Any]
    sample: str
    ordered: bool = False
    weights: str = ""

    @cached_property
    def key(self) -> str:
        """Sha256 of all of it, in 64 hexadecimal digits."""
        whole = {
            "schema": SCHEMA,
            "provider": self.provider,
            "endpoint": self.endpoint,
            "api_version": self.api_version,
            "body": self.data.decode() if self.ordered else self.body,
            "sample": self.sample,
            **({"weights": self.weights} if self.weights else {}),
        }
        return hashlib.sha256(encoded(whole)).hexdigest()

    @cached_property
    def data(self) -> bytes:
        """The body as it is sent, and as the store has it."""
        return compact(self.body)

    @property
    def said(self) -> bytes:
        """The texts of its messages alone."""
        messages = self.body["messages"]
        return "".join(str(one["content"]) for one in messages).encode()


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
    """Data as canonical JSON: sorted keys, no whitespace, UTF-8; raises ValueError for NaN and infinity."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def compact(data: Any) -> bytes:
    """Data as JSON: keys in their own order, no whitespace, UTF-8; raises ValueError for NaN and infinity."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def decoded(text: str | bytes) -> Any:
    """JSON from outside. A number that isn't finite, or has too many digits for a count, is returned as its text.

    Raises:
        ValueError: It is no JSON, or is nested deeper than MOST_DEPTH.
    """
    try:
        data = json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=str)
    except RecursionError:
        raise ValueError(f"nested deeper than {MOST_DEPTH} levels") from None
    level = [data]
    for _ in range(MOST_DEPTH):
        level = [child for one in level for child in _children(one)]
        if not level:
            return data
    raise ValueError(f"nested deeper than {MOST_DEPTH} levels")


def _children(data: Any) -> Iterable[Any]:
    match data:
        case dict():
            return data.values()
        case list():
            return data
    return ()


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_NUMBER else digits


def _finite(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits
