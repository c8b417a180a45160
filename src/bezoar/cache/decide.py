"""Decide which jobs run, which outputs are restored, and why, by contents and proofs alone, before anything runs."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bezoar.cache import recover
from bezoar.cache.code import parts_of
from bezoar.cache.hashing import Hasher, digest_of
from bezoar.cache.job import Step
from bezoar.cache.lock import LockEntry
from bezoar.cache.objects import Objects
from bezoar.cache.proofs import Key, Proof, Proofs, differences
from bezoar.cache.stages import DvcStage
from bezoar.text import printable


class Reason(NamedTuple):
    """One reason for a job to run.

    Attributes:
        kind: `forced`, `unrecorded`, `missing` (an object), `rule`, `code`, `param`, `input`, or `upstream`: an input
            is made again, and the job runs unless the input comes out the same.
        name: Name of the change: a parameter, a module, a package, a path.
        was: The recorded value; None if unknown.
        now: The current value; None if unknown.
    """

    kind: str
    name: str
    was: Any = None
    now: Any = None

    def __str__(self) -> str:
        return printable(self._text(), lines=False)

    def _text(self) -> str:
        if self.kind == "param":
            return f"{self.name}: {self.was!r} -> {self.now!r}"
        text = {
            "forced": "forced",
            "unrecorded": "never built",
            "missing": f"{self.name} is neither in the cache nor on a remote",
            "rule": f"command of {self.name} changed",
            "code": f"code changed: {self.name}",
            "input": f"{self.name} {'changed' if self.was and self.now else 'is new' if self.now else 'is gone'}",
            "upstream": f"{self.name} is made again",
        }[self.kind]
        return f"{text} ({self.was} -> {self.now})" if self.kind == "code" and "==" in str(self.now) else text


class Contradiction(NamedTuple):
    """An output with different contents in two records of the same job.

    Attributes:
        locked: MD5 by dvc.lock.
        made: MD5 by the proof of a job that ran here.
        hint: What to do.
    """

    path: str
    locked: str
    made: str
    hint: str

    def __str__(self) -> str:
        path = printable(self.path, lines=False)
        return (
            f"{path} is on record with two different contents\n  dvc.lock:  {self.locked}\n"
            f"  made here: {self.made}\nhint: {self.hint}"
        )


@dataclass
class Decision:
    """The decision of a run.

    Attributes:
        proofs: By step name: the proof of each step that is up to date.
        reasons: By step name: why each other step runs, in topological order.
        recorded: By step name: the proof in dvc.lock.
        recorded_match: The same, for current parameters and code only.
        restore: Names of proven steps with outputs that are needed on disk and aren't there.
        fetch: Contents of these outputs that the local cache lacks.
        contradictions: Outputs on which two records of one job disagree.
    """

    proofs: dict[str, Proof] = field(default_factory=dict)
    reasons: dict[str, list[Reason]] = field(default_factory=dict)
    recorded_match: dict[str, Proof] = field(default_factory=dict)
    recorded: dict[str, Proof] = field(default_factory=dict)
    restore: list[str] = field(default_factory=list)
    fetch: list[str] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)


class Decider:
    """Decides for one graph.

    Args:
        steps: The steps, in topological order.
        stages: Their stages, by name.
        locked: The entries of dvc.lock.
        parts: The current parts of the scripts' fingerprints, to name changes.
    """

    def __init__(
        self,
        steps: list[Step],
        stages: dict[str, DvcStage],
        locked: dict[str, Any],
        hasher: Hasher,
        objects: Objects,
        proofs: Proofs,
        parts: dict[str, dict[str, str]] | None = None,
    ) -> None:
        self.steps = steps
        self.hasher = hasher
        self.objects = objects
        self.proofs = proofs
        self.parts = parts or {}
        self.producers = {output: step for step in steps for output in step.outputs}
        self.entries = {
            name: LockEntry(locked[name], objects)
            for name, stage in stages.items()
            if locked.get(name, {}).get("cmd") == stage.command  # another command means other roles of the inputs
        }
        recover.lists((one for entry in self.entries.values() for one in entry.folders()), hasher, objects)

    def lists(self) -> list[str]:
        """The directory lists that dvc.lock names and the cache lacks."""
        named = {md5 for one in self.entries.values() for md5 in one.lists()}
        return sorted(md5 for md5 in named if self.objects.listing(md5) is None)

    def decide(
        self,
        targets: Iterable[str],
        forced: set[str],
        lost: set[str] | None = None,
        made: frozenset[str] = frozenset(),
    ) -> Decision:
        """Decide what runs.

        Args:
            targets: Paths of outputs that have to be on disk at the end.
            forced: Names of steps that run even if they are proven.
            lost: Objects that the remote lacks; it is assumed to have all others, and those that the local cache lacks
                are in the decision's `fetch`. None without a remote.
            made: Names of steps that have just run: their outputs on disk beat dvc.lock.
        """
        wanted = [self.producers[path] for path in targets if path in self.producers]
        unmade: dict[str, str] = {}
        useless: list[Proof] = []
        while True:
            decision = self._proven(forced, unmade, useless, made)
            more = self._needed(decision, wanted, lost)
            if not more:
                return decision
            unmade |= more
            useless += [decision.proofs[name] for name in more]

    def _proven(self, forced: set[str], lost: dict[str, str], useless: list[Proof], made: frozenset[str]) -> Decision:
        """Proofs and reasons, step by step, by the contents on disk and earlier proofs."""
        decision = Decision()
        for step in self.steps:
            entry = self.entries.get(step.stage)
            last = entry.proof(step) if entry else None
            if last:
                decision.recorded[step.name] = last
                if _same(last.key.params, step.params) and last.key.code == step.code:
                    decision.recorded_match[step.name] = last
            inputs, pending = self._inputs(step, decision)
            if step.name in forced:
                decision.reasons[step.name] = [Reason("forced", step.name)]
            elif pending and step.name in lost:
                decision.reasons[step.name] = [Reason("missing", lost[step.name])]
            elif pending:
                own = self._own_reasons(step, last) if last else []
                decision.reasons[step.name] = [*own, *(Reason("upstream", path) for path in pending)]
            else:
                key = step.key(inputs)
                proof = self._find(key, decision.recorded_match.get(step.name), useless, step.name in made)
                if step.name not in made:
                    decision.contradictions += self._contradictions(step, key, decision, proof)
                if proof:
                    decision.proofs[step.name] = proof
                elif step.name in lost:
                    decision.reasons[step.name] = [Reason("missing", lost[step.name])]
                else:
                    decision.reasons[step.name] = self._reasons(step, key, last)
        return decision

    def _inputs(self, step: Step, decision: Decision) -> tuple[dict[str, str], list[str]]:
        inputs, pending = {}, []
        for path in step.inputs:
            producer = self.producers.get(path)
            if producer:
                proof = decision.proofs.get(producer.name)
                content = proof.outputs[path] if proof else None
            else:
                content = self.hasher.content(path)
            if content:
                inputs[path] = content.md5
            else:
                pending.append(path)
        return inputs, pending

    def _contradictions(self, step: Step, key: Key, decision: Decision, found: Proof | None) -> list[Contradiction]:
        """Outputs on which dvc.lock, now or earlier, and the proof of a job that ran here disagree."""
        known = decision.recorded_match.get(step.name)
        counts = known if known and known.key.digest == key.digest else found if found and found.origin else None
        if counts:
            own = self.proofs.made_here(key)
            hint = (
                f"dvc.lock counts; `bezoar verify --rerun {step.stage}` shows which one comes out; if it is that of "
                f"dvc.lock, remove {self.proofs.path(key.digest)}"
            )
            return [Contradiction(*one, hint) for one in (differences(counts, own) if own else [])]
        entry = self.entries.get(step.stage)
        unknown = entry.unknown_list(key) if entry and found and step.name not in decision.recorded else None
        if unknown is None or unknown[0] in {one.path for one in decision.contradictions}:
            return []
        hint = "the local one counts; to get the other one, ask the author of that entry to run `dvc push`"
        locked = f"{unknown[1]}, which is neither in the cache nor on a remote"
        return [Contradiction(unknown[0], locked, "other files", hint)]

    def _find(self, key: Key, known: Proof | None, useless: list[Proof], made: bool) -> Proof | None:
        if known and known.key.digest == key.digest and known not in useless:
            own = self.proofs.made_here(key) if made else None
            if own and all(self.hasher.holds(path, one.md5) for path, one in own.outputs.items()):
                return own  # of a forced run
            return known  # first, so that everyone gets the same checkpoint
        proof = self.proofs.find(key)
        return None if proof in useless else proof

    def _needed(self, decision: Decision, wanted: list[Step], away: set[str] | None) -> dict[str, str]:
        """Set `restore` and `fetch`; returns steps that can't be restored, each with a missing object."""
        lost: dict[str, str] = {}
        todo = [
            *wanted,
            *(step for step in self.steps if step.name in decision.reasons or self._altered(step, decision)),
        ]
        seen: set[str] = set()
        while todo:
            step = todo.pop()
            if step.name in seen:
                continue
            seen.add(step.name)
            proof = decision.proofs.get(step.name)
            if proof is None:
                todo += [self.producers[path] for path in step.inputs if path in self.producers]
                continue
            absent = [(path, one.md5) for path, one in proof.outputs.items() if not self.hasher.holds(path, one.md5)]
            # files that are there among links and empty folders are stored before they are restored
            away_from_here = [md5 for path, md5 in absent if not self.hasher.reads(path, md5)]
            lacking = [one for md5 in away_from_here for one in self.objects.missing(md5)]
            gone = [md5 for md5 in lacking if away is None or md5 in away]
            if gone:
                lost[step.name] = gone[0]
            elif absent:
                decision.restore.append(step.name)
                decision.fetch += [md5 for md5 in away_from_here if self.objects.missing(md5)]
        return lost

    def _altered(self, step: Step, decision: Decision) -> bool:
        """Whether a proven output's path has other content."""
        for path, content in decision.proofs[step.name].outputs.items():
            if not self.hasher.holds(path, content.md5) and os.path.exists(path):
                return True
        return False

    def _reasons(self, step: Step, key: Key, last: Proof | None) -> list[Reason]:
        """Differences between the key of a step without a proof and its key in dvc.lock."""
        if last is None:
            return [Reason("unrecorded", key.outputs[0])]
        found = [*self._own_reasons(step, last), *_differences("input", last.key.inputs, key.inputs)]
        return found or [Reason("unrecorded", key.outputs[0])]

    def _own_reasons(self, step: Step, last: Proof) -> list[Reason]:
        """Differences of a step's code and parameters from the last record."""
        was = last.key.code
        code = [reason for name, now in step.code.items() for reason in self._code(name, was.get(name), now)]
        return [*code, *_differences("param", last.key.params, step.params)]

    def _code(self, name: str, was: str | None, now: str) -> list[Reason]:
        if was == now:
            return []
        if name.startswith("rules."):
            return [Reason("rule", name.removeprefix("rules."), was, now)]
        before, after = parts_of(was or "", os.path.dirname(self.proofs.folder)), self.parts.get(name)
        if before is None or after is None:
            return [Reason("code", name, was, now)]
        return _differences("code", before, after)


def _differences(kind: str, was: Any, now: Any, name: str = "") -> list[Reason]:
    """Leaves that differ between two values; maps are compared by key, at any depth."""
    if isinstance(was, dict) and isinstance(now, dict):
        return [
            reason
            for key in sorted({*was, *now}, key=str)
            for reason in _differences(kind, was.get(key), now.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if _same(was, now) else [Reason(kind, name, was, now)]


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal in a key; for Python, 1, 1.0 and True are equal."""
    return digest_of(one) == digest_of(other)


def bytes_of(decision: Decision) -> int:
    """Total size of all outputs to restore."""
    return sum(one.size for name in decision.restore for one in decision.proofs[name].outputs.values())
