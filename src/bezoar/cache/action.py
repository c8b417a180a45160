"""Actions: all that is known of a job before it runs. What it uses beyond that is its trace (bezoar.cache.trace)."""

import datetime
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bezoar.cache import CacheError
from bezoar.cache.hashing import digest_of
from bezoar.errors import problem

MADE = "made."  # before the name of a fact of the machine, in an action's environment


@dataclass(frozen=True)
class Action:
    """A job before it runs. Code isn't part of it.

    Attributes:
        rule: The rule's name.
        form: Digest of the expanded command, of the paths of inputs in order under their roles, of the outputs in
            order, and of the software environment that the rule names.
        inputs: MD5 by path, of all inputs but the script.
        values: Digest of the values that the job reads, with names and types.
        environment: Values of the environment variables that results depend on, by name, and facts of the machine that
            the project takes as a reason to run again.
        outputs: Paths, sorted.
        params: The values by dotted name, for messages; `values` is what counts.
    """

    rule: str
    form: str
    inputs: dict[str, str]
    values: str
    environment: dict[str, str]
    outputs: list[str]
    params: dict[str, Any] = field(default_factory=dict, compare=False)

    def data(self) -> dict[str, Any]:
        """What the digest covers."""
        return {
            "rule": self.rule,
            "form": self.form,
            "inputs": self.inputs,
            "values": self.values,
            "environment": self.environment,
            "outputs": self.outputs,
        }

    @cached_property
    def digest(self) -> str:
        """Sha256 of the action as canonical JSON."""
        return digest_of(self.data())


def typed_digest(value: Any) -> str:
    """Digest of a value from YAML with all types: 1, 1.0, true and "1" differ, also as keys of a map.

    Raises:
        CacheError: The value has a type that YAML doesn't have, or contains itself.
    """
    digest = hashlib.sha256()
    try:
        for word in _words(value):
            digest.update(f"{len(word)}:{word}".encode())  # with lengths, so that no two sequences read the same
    except RecursionError as error:
        raise CacheError(problem("a value contains itself", found="an alias", expected="plain values")) from error
    return digest.hexdigest()


def _words(value: Any) -> Iterator[str]:
    """A value as words: its type, and then its text or its parts."""
    if isinstance(value, dict):
        yield f"map {len(value)}"
        for key, one in sorted(((tuple(_words(key)), one) for key, one in value.items()), key=lambda item: item[0]):
            yield from key
            yield from _words(one)
    elif isinstance(value, list | tuple):
        yield f"list {len(value)}"
        for one in value:
            yield from _words(one)
    elif value is None or isinstance(value, bool | int | float | str):
        yield from (type(value).__name__, hex(value) if type(value) is int else repr(value))
    elif isinstance(value, datetime.date):
        yield from (type(value).__name__, value.isoformat())
    else:
        raise CacheError(
            problem(
                "a value of a rule has no type of YAML",
                found=f"{value!r:.80}, a {type(value).__name__}",
                expected="text, number, true or false, null, date, list, map",
                hint="convert it in the rule, for example by str()",
            )
        )
