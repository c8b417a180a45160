"""Proofs: what a job was given, what it was seen to use, and what it made.

A proof says that a job with this action (command, inputs, values) and this trace (code, packages, files that it was
seen to use) made outputs of these contents. It holds while everything in its trace is as it was. It is a JSON file in
the cache, `proofs/<2 digits>/<action>/<trace>.json`; the trace itself is in `traces/`, since many jobs share one. A
proof is written after its outputs are stored, completely or not at all.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bezoar.cache import foreign, git
from bezoar.cache.action import Action
from bezoar.cache.hashing import Content, content_of, digest_of
from bezoar.cache.modes import make_folder, settle
from bezoar.cache.objects import unwritable
from bezoar.cache.signing import Policy, policy
from bezoar.cache.trace import Trace
from bezoar.text import show

PROOFS, IMPORTED, TRACES = "proofs", "imported", "traces"


@dataclass(frozen=True)
class Proof:
    """An action, the trace of the job that ran, and the contents of its outputs.

    Attributes:
        trace: What the job was seen to use; None for a record without one, which proves nothing.
        cost: `seconds` of wall time, `cpu_seconds`, and what the script counted: `prompt_tokens`, `completion_tokens`,
            `dollars`. Empty if unknown.
        made: Where and how it was made: host, user, commit, isolation, device and so on. No result depends on it.
        origin: The commit of the dvc.lock that it comes from; empty if the job ran with this cache.
        signer: ID of the trusted key that signed its record; empty without one.
    """

    action: Action
    outputs: dict[str, Content]
    trace: Trace | None = None
    cost: dict[str, float] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    origin: str = ""
    signer: str = ""


class Traces:
    """The traces in a DVC cache folder, by digest."""

    def __init__(self, cache: str) -> None:
        self.folder = os.path.join(cache, TRACES)
        self._cache = cache
        self._known: dict[str, Trace | None] = {}

    def learn(self, traces: dict[str, Trace]) -> None:
        """Take traces from traces.lock, which the cache may lack."""
        self._known |= traces

    def find(self, digest: str) -> Trace | None:
        """A trace; None if it is missing or can't be read."""
        if digest not in self._known:
            self._known[digest] = self._load(digest)
        return self._known[digest]

    def _path(self, digest: str) -> str:
        return os.path.join(self.folder, digest[:2], f"{digest}.json")

    def _load(self, digest: str) -> Trace | None:
        path = self._path(digest)
        try:
            trace = Trace.from_json(foreign.from_json(foreign.read(path)))
        except (OSError, foreign.Malformed):
            return None
        return trace if trace.digest == digest else None

    def add(self, trace: Trace) -> None:
        """Write a trace, unless it is there.

        Raises:
            CacheError: The disk is full, or the cache can't be written.
        """
        path = self._path(trace.digest)
        self._known[trace.digest] = trace
        if not os.path.exists(path):
            _write(path, trace.to_json(), self._cache)


class Proofs:
    """The proofs in a DVC cache folder: those made here, and those from a commit's dvc.lock.

    The latter count while their commit is part of this folder's history, so a branch's records leave with the branch,
    and as long as the policy doesn't require a signature that they lack. They have priority over those made here, so
    that everyone gets the same artifact.
    """

    def __init__(self, cache: str) -> None:
        self.cache = cache
        self.folder = os.path.join(cache, PROOFS)
        self.imported = os.path.join(cache, IMPORTED)
        self.traces = Traces(cache)
        self._in_history: dict[str, bool] = {}  # by commit
        self._reported: set[str] = set()

    def path(self, action: str) -> str:
        """The folder with the proofs of an action, which may not exist."""
        return _sharded(self.folder, action)

    def all(self, action: Action) -> Iterator[Proof]:
        """The proofs of an action, those of a commit's dvc.lock first; the traces may not hold any more."""
        yield from (one for one in self._load(self.imported, action) if self._counts(one))
        yield from self.made_here(action)

    def find(self, action: Action, holds: Callable[[Trace], bool]) -> Proof | None:
        """The first proof of an action with a trace that holds."""
        return next((one for one in self.all(action) if one.trace and holds(one.trace)), None)

    def made_here(self, action: Action) -> Iterator[Proof]:
        """The proofs of an action by jobs of this cache, the latest first."""
        return (one for one in self._load(self.folder, action) if not one.origin)

    def _counts(self, proof: Proof) -> bool:
        if proof.origin not in self._in_history:
            self._in_history[proof.origin] = bool(proof.origin) and git.in_history(proof.origin)
        return self._in_history[proof.origin] and self._policy.takes(proof.signer)

    @cached_property
    def _policy(self) -> Policy:
        return policy()

    def _load(self, folder: str, action: Action) -> Iterator[Proof]:
        place = _sharded(folder, action.digest)
        try:
            names = [name for name in os.listdir(place) if name.endswith(".json")]
        except OSError:
            return
        if len(names) > 1:
            names.sort(key=lambda name: -_time(f"{place}/{name}"))
        for name in names:
            if proof := self._read(f"{place}/{name}", action):
                yield proof

    def _read(self, path: str, action: Action) -> Proof | None:
        try:
            data = foreign.table(foreign.from_json(foreign.read(path)))
            outputs = {name: content_of(one) for name, one in foreign.table(data["outputs"]).items()}
            cost = {name: foreign.quantity(value) for name, value in foreign.table(data["cost"]).items()}
            made = {name: foreign.text(value) for name, value in foreign.table(data["made"]).items()}
            origin = foreign.commit(data["origin"]) if "origin" in data else ""
            signer = foreign.text(data.get("signer", ""))
            if digest_of(foreign.plain(data["action"])) != action.digest or sorted(outputs) != sorted(action.outputs):
                raise foreign.Malformed("of another action")
            trace = self.traces.find(foreign.sha256(data["trace"]))
            return Proof(action, outputs, trace, cost, made, origin, signer)
        except FileNotFoundError:
            return None
        except (OSError, foreign.Malformed, KeyError):
            if path not in self._reported:
                show(f"{path}: not the proof of its action; it is ignored, and its job runs again", file=sys.stderr)
            self._reported.add(path)
            return None

    def add(self, proof: Proof) -> None:
        """Write a proof; it replaces an older one of the same action and trace.

        One of dvc.lock leaves the one made here in its place, beside it; one made here is the last word.

        Raises:
            CacheError: The disk is full, or the cache can't be written.
        """
        assert proof.trace
        self.traces.add(proof.trace)
        name = f"{proof.trace.digest}.json"
        data: dict[str, Any] = {
            "action": proof.action.data(),
            "params": _shown(proof.action.params),
            "trace": proof.trace.digest,
            "outputs": proof.outputs,
            "cost": proof.cost,
            "made": proof.made,
        }
        if proof.origin:
            data |= {"origin": proof.origin, "signer": proof.signer}
        _write(_sharded(self.imported if proof.origin else self.folder, proof.action.digest, name), data, self.cache)
        if not proof.origin:
            with suppress(OSError):
                os.unlink(_sharded(self.imported, proof.action.digest, name))


def _write(path: str, data: Any, cache: str) -> None:
    """Write JSON completely or not at all."""
    partial = f"{path}.{os.urandom(6).hex()}.partial"  # unique to this process on any machine
    try:
        make_folder(os.path.dirname(path), cache)
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(data, file, sort_keys=True, ensure_ascii=False, indent=1, default=str)
        settle(partial, cache)
        os.replace(partial, path)
    except OSError as error:
        raise unwritable(cache, error) from error
    finally:
        with suppress(OSError):
            os.unlink(partial)


def _shown(value: Any) -> Any:
    """A value with texts as keys, for people."""
    if isinstance(value, dict):
        return {str(key): _shown(one) for key, one in value.items()}
    return [_shown(one) for one in value] if isinstance(value, list | tuple) else value


def _time(path: str) -> float:
    with suppress(OSError):
        return os.stat(path).st_mtime
    return 0.0


def _sharded(folder: str, digest: str, *names: str) -> str:
    return os.path.join(folder, digest[:2], digest, *names)


def differences(one: Proof, other: Proof) -> list[tuple[str, str, str]]:
    """Outputs with different contents in two proofs: the path and both MD5s."""
    return [
        (path, content.md5, other.outputs[path].md5)
        for path, content in one.outputs.items()
        if path in other.outputs and other.outputs[path].md5 != content.md5
    ]
