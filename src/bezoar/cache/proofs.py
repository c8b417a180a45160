"""Proofs: what went into a job and what came out of it.

A proof says that a job with this rule, these parameters, this code and inputs of these contents made outputs of those
contents. It is a JSON file in the cache, found by its key, which is a digest of all that went in and of the outputs'
paths. A proof is written after its outputs were stored, whole or not at all.
"""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from bezoar.cache import foreign
from bezoar.cache.hashing import Content, content_of, digest_of
from bezoar.cache.objects import unwritable


@dataclass(frozen=True)
class Key:
    """All that a job's result depends on.

    Attributes:
        rule: The rule's name.
        inputs: MD5 by path, of everything the rule takes but its script.
        roles: Digest of which of them plays which part.
        params: Values of params.yaml by dotted name.
        code: Fingerprints by name: of the rule's command and of the script with all that it imports.
        outputs: Paths, sorted.
    """

    rule: str
    inputs: dict[str, str]
    roles: str
    params: dict[str, Any]
    code: dict[str, str]
    outputs: list[str]

    @property
    def digest(self) -> str:
        """Sha256 of the key as canonical JSON."""
        return digest_of(asdict(self))


@dataclass(frozen=True)
class Proof:
    """A key, the contents that came out, and what that cost.

    Attributes:
        cost: `seconds` of wall time, and what the script counted itself: `prompt_tokens`, `completion_tokens`,
            `dollars`. Empty where only dvc.lock knows of the job.
    """

    key: Key
    outputs: dict[str, Content]
    cost: dict[str, float] = field(default_factory=dict)


class Proofs:
    """The proofs in a DVC cache folder."""

    def __init__(self, cache: str) -> None:
        self.folder = os.path.join(cache, "proofs")

    def path(self, key: str) -> str:
        """Where the proof for a key's digest lies, or would."""
        return os.path.join(self.folder, key[:2], f"{key}.json")

    def find(self, key: Key) -> Proof | None:
        """The proof for a key; None if there is none, or it can't be read."""
        path = self.path(key.digest)
        try:
            data = foreign.table(foreign.from_json(foreign.read(path)))
            outputs = {name: content_of(one) for name, one in foreign.table(data["outputs"]).items()}
            cost = {name: foreign.quantity(value) for name, value in foreign.table(data["cost"]).items()}
            if digest_of(foreign.plain(data["key"])) != key.digest or sorted(outputs) != sorted(key.outputs):
                raise foreign.Malformed("of another key")
            return Proof(key, outputs, cost)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, foreign.Malformed, KeyError):
            print(f"{path}: not the proof for its key; it is ignored, and its job runs again", file=sys.stderr)
            return None

    def add(self, proof: Proof) -> None:
        """Write a proof; it takes the place of an older one with the same key.

        Raises:
            CacheError: The disk is full, or the cache can't be written.
        """
        path = self.path(proof.key.digest)
        partial = f"{path}.{os.urandom(6).hex()}.partial"  # of this process alone, on any machine
        data = {"key": asdict(proof.key), "outputs": proof.outputs, "cost": proof.cost}
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(partial, "w", encoding="utf-8") as file:
                json.dump(data, file, sort_keys=True, ensure_ascii=False, indent=1)
            os.replace(partial, path)
        except OSError as error:
            raise unwritable(self.folder, error) from error
        finally:
            with suppress(OSError):
                os.unlink(partial)
