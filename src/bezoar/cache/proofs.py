"""Proofs: inputs and outputs of a job that has run.

A proof says that a job with this rule, these parameters, this code and inputs of these contents made outputs of those
contents. It is a JSON file in the cache; its name is the job's key, a digest of everything that the job depends on and
of the outputs' paths. A proof is written after its outputs are stored, completely or not at all.
"""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from bezoar.cache import foreign, git
from bezoar.cache.hashing import Content, content_of, digest_of
from bezoar.cache.modes import make_folder, settle
from bezoar.cache.objects import unwritable
from bezoar.text import show


@dataclass(frozen=True)
class Key:
    """All that a job's result depends on.

    Attributes:
        rule: The rule's name.
        inputs: MD5 by path, of all inputs but the script.
        roles: Digest of the inputs' roles.
        params: Values of params.yaml by dotted name.
        code: Fingerprints by name: of the rule's command, and of the script with its imports.
        outputs: Paths, sorted.
    """

    rule: str
    inputs: dict[str, str]
    roles: str
    params: dict[str, Any]
    code: dict[str, str]
    outputs: list[str]

    @cached_property
    def digest(self) -> str:
        """Sha256 of the key as canonical JSON."""
        return digest_of(asdict(self))


@dataclass(frozen=True)
class Proof:
    """A key, the contents of the outputs, and the cost.

    Attributes:
        cost: `seconds` of wall time, `cpu_seconds`, and what the script counted: `prompt_tokens`, `completion_tokens`,
            `dollars`. Empty if the proof comes from dvc.lock.
        origin: The commit of that dvc.lock; empty if the job ran with this cache.
    """

    key: Key
    outputs: dict[str, Content]
    cost: dict[str, float] = field(default_factory=dict)
    origin: str = ""


class Proofs:
    """The proofs in a DVC cache folder: those made here, and those from a commit's dvc.lock.

    The latter count while their commit is part of this folder's history, so a branch's records leave with the branch.
    They have priority over those made here, so that everyone gets the same artifact.
    """

    def __init__(self, cache: str) -> None:
        self.folder = os.path.join(cache, "proofs")
        self.imported = os.path.join(cache, "imported")
        self._in_history: dict[str, bool] = {}  # by commit
        self._reported: set[str] = set()

    def path(self, key: str) -> str:
        """The path of the proof for a key's digest, which may not exist."""
        return _path(self.folder, key)

    def find(self, key: Key) -> Proof | None:
        """The proof for a key; None if it is missing or can't be read."""
        imported = self._load(_path(self.imported, key.digest), key)
        return imported if imported and self._counts(imported) else self.made_here(key)

    def made_here(self, key: Key) -> Proof | None:
        """The proof for a key by a job of this cache."""
        found = self._load(self.path(key.digest), key)
        return None if found and found.origin else found

    def _counts(self, proof: Proof) -> bool:
        if proof.origin not in self._in_history:
            self._in_history[proof.origin] = git.in_history(proof.origin)
        return self._in_history[proof.origin]

    def _load(self, path: str, key: Key) -> Proof | None:
        try:
            data = foreign.table(foreign.from_json(foreign.read(path)))
            outputs = {name: content_of(one) for name, one in foreign.table(data["outputs"]).items()}
            cost = {name: foreign.quantity(value) for name, value in foreign.table(data["cost"]).items()}
            origin = foreign.commit(data["origin"]) if "origin" in data else ""
            if digest_of(foreign.plain(data["key"])) != key.digest or sorted(outputs) != sorted(key.outputs):
                raise foreign.Malformed("of another key")
            return Proof(key, outputs, cost, origin)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, foreign.Malformed, KeyError):
            if path not in self._reported:
                show(f"{path}: not the proof for its key; it is ignored, and its job runs again", file=sys.stderr)
            self._reported.add(path)
            return None

    def add(self, proof: Proof) -> None:
        """Write a proof; it replaces an older one with the same key.

        One of dvc.lock leaves the one made here in its place, beside it; one made here is the last word.

        Raises:
            CacheError: The disk is full, or the cache can't be written.
        """
        digest = proof.key.digest
        path = _path(self.imported if proof.origin else self.folder, digest)
        partial = f"{path}.{os.urandom(6).hex()}.partial"  # unique to this process on any machine
        data: dict[str, Any] = {"key": asdict(proof.key), "outputs": proof.outputs, "cost": proof.cost}
        if proof.origin:
            data["origin"] = proof.origin
        try:
            make_folder(os.path.dirname(path), os.path.dirname(self.folder))
            with open(partial, "w", encoding="utf-8") as file:
                json.dump(data, file, sort_keys=True, ensure_ascii=False, indent=1)
            settle(partial, os.path.dirname(self.folder))
            os.replace(partial, path)
            if not proof.origin:
                with suppress(FileNotFoundError, NotADirectoryError):
                    os.unlink(_path(self.imported, digest))
        except OSError as error:
            raise unwritable(self.folder, error) from error
        finally:
            with suppress(OSError):
                os.unlink(partial)


def _path(folder: str, key: str) -> str:
    return os.path.join(folder, key[:2], f"{key}.json")


def differences(one: Proof, other: Proof) -> list[tuple[str, str, str]]:
    """Outputs with different contents in two proofs: the path and both MD5s."""
    return [
        (path, content.md5, other.outputs[path].md5)
        for path, content in one.outputs.items()
        if path in other.outputs and other.outputs[path].md5 != content.md5
    ]
