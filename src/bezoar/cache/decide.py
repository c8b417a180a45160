"""Decide which jobs run, which outputs are restored, and why, by contents and proofs alone, before anything runs."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bezoar.cache import recover
from bezoar.cache.absent import is_absent
from bezoar.cache.acceptances import Acceptances, shown
from bezoar.cache.action import MADE, Action, typed_digest
from bezoar.cache.hashing import Hasher
from bezoar.cache.job import Step
from bezoar.cache.lock import LockEntry
from bezoar.cache.objects import Objects
from bezoar.cache.proofs import Proof, Proofs, differences
from bezoar.cache.records import Records
from bezoar.cache.signed import verdict
from bezoar.cache.signing import policy
from bezoar.cache.stages import DvcStage
from bezoar.cache.trace import Change, Trace, Verifier
from bezoar.text import printable


class Reason(NamedTuple):
    """One reason for a job to run.

    Attributes:
        kind: `forced`, `unrecorded`, `untraced` (by an earlier version), `missing` (an object), `rule`, `code`,
            `environment`, `param`, `input`, `untrusted`: the record in dvc.lock doesn't count, or `upstream`: an input
            is made again, and the job runs unless the input comes out the same.
        name: Name of the change: a parameter, a module, a package, a variable, a path.
        was: The recorded value; None if unknown. For `untrusted`, why the record doesn't count.
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
        return {
            "forced": "forced",
            "unrecorded": "never built",
            "untraced": "its record is of an earlier version, without a trace of what the job used",
            "environment": f"{_variable(self.name)}: {self.was or 'nothing'} -> {self.now or 'nothing'}",
            "missing": f"{self.name} is neither in the cache nor on a remote",
            "rule": f"command of {self.name} changed",
            "code": f"code changed: {self.name}",
            "input": f"{self.name} {'changed' if self.was and self.now else 'is new' if self.now else 'is gone'}",
            "untrusted": f"its record doesn't count: {self.was}",
            "upstream": f"{self.name} is made again",
        }[self.kind]


def _variable(name: str) -> str:
    return f"made with another {name.removeprefix(MADE)}" if name.startswith(MADE) else f"variable {name}"


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
        recorded_match: The same, for the current form and values, with a trace that holds.
        restore: Names of proven steps with outputs that are needed on disk and aren't there.
        fetch: Contents of these outputs that the local cache lacks.
        contradictions: Outputs on which two records of one job disagree.
        untrusted: By stage: why its record in dvc.lock doesn't count, if a signature lacks or is wrong.
    """

    proofs: dict[str, Proof] = field(default_factory=dict)
    reasons: dict[str, list[Reason]] = field(default_factory=dict)
    recorded_match: dict[str, Proof] = field(default_factory=dict)
    recorded: dict[str, Proof] = field(default_factory=dict)
    restore: list[str] = field(default_factory=list)
    fetch: list[str] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)
    untrusted: dict[str, str] = field(default_factory=dict)


class Decider:
    """Decides for one graph.

    Args:
        steps: The steps, in topological order.
        stages: Their stages, by name.
        locked: The entries of dvc.lock.
        records: The content of traces.lock.
        verifier: Compares traces with the code and packages as they are now.
        acceptances: Changes that count as none.
    """

    def __init__(
        self,
        steps: list[Step],
        stages: dict[str, DvcStage],
        locked: dict[str, Any],
        records: Records,
        hasher: Hasher,
        objects: Objects,
        proofs: Proofs,
        verifier: Verifier,
        acceptances: Acceptances,
    ) -> None:
        self.steps = steps
        self.hasher = hasher
        self.objects = objects
        self.proofs = proofs
        self.verifier = verifier
        self.acceptances = acceptances
        self.producers = {output: step for step in steps for output in step.outputs}
        proofs.traces.learn(records.traces)
        trusted = policy()
        self.entries = {
            name: LockEntry(
                locked[name],
                records.of(name, locked[name]),
                objects,
                proofs.traces,
                verdict(name, locked[name], records.stages.get(name), trusted),
            )
            for name in stages
            if name in locked
        }
        self.untrusted = {name: one.verdict.why for name, one in self.entries.items() if not one.verdict.counts}
        self._changes: dict[str, list[Change]] = {}  # by trace
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
        decision = Decision(untrusted=self.untrusted)
        for step in self.steps:
            entry = self.entries.get(step.stage)
            last = entry.proof(step) if entry else None
            before = last or (entry.proof(step, before=True) if entry else None)
            if last:
                decision.recorded[step.name] = last
                if step.stage not in self.untrusted and self._matches(last, step):
                    decision.recorded_match[step.name] = last
            inputs, pending = self._inputs(step, decision)
            if step.name in forced:
                decision.reasons[step.name] = [Reason("forced", step.name)]
            elif pending and step.name in lost:
                decision.reasons[step.name] = [Reason("missing", lost[step.name])]
            elif pending:
                own = [*self._own_reasons(step, before), *_new_inputs(step, before)] if before else []
                decision.reasons[step.name] = [*own, *(Reason("upstream", path) for path in pending)]
            else:
                action = step.action(inputs)
                proof = self._find(step, action, decision.recorded_match.get(step.name), useless, step.name in made)
                if step.name not in made:
                    decision.contradictions += self._contradictions(step, action, decision, proof)
                if last and proof and step.stage in self.untrusted:
                    decision.contradictions += self._refuted(step, last, proof)
                if proof:
                    decision.proofs[step.name] = proof
                elif step.name in lost:
                    decision.reasons[step.name] = [Reason("missing", lost[step.name])]
                else:
                    decision.reasons[step.name] = self._reasons(step, action, before)
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
            md5 = content.md5 if content else self._recorded(step, path)
            if md5:
                inputs[path] = md5
            else:
                pending.append(path)
        return inputs, pending

    def _recorded(self, step: Step, path: str) -> str | None:
        """MD5 of an input outside of the project that isn't on this machine."""
        entry = self.entries.get(step.stage)
        return entry.deps.get(path) if entry and is_absent(path) else None

    def _matches(self, last: Proof, step: Step) -> bool:
        """Whether a record is of a step's present form and values, with a trace that holds."""
        now = (self.acceptances.form(step), step.values, step.environment)
        was = (last.action.form, last.action.values, last.action.environment)
        return (was == (step.form, *now[1:]) or was == now) and last.trace is not None and self.holds(last.trace)

    def holds(self, trace: Trace) -> bool:
        """Whether all that a job used is as it was, or accepted as such."""
        return not self.changes(trace)

    def changes(self, trace: Trace) -> list[Change]:
        """What of a trace has changed, but for accepted changes."""
        if trace.digest not in self._changes:
            self._changes[trace.digest] = self.acceptances.without(self.verifier.changes(trace))
        return self._changes[trace.digest]

    def _contradictions(
        self, step: Step, action: Action, decision: Decision, found: Proof | None
    ) -> list[Contradiction]:
        """Outputs on which dvc.lock, now or earlier, and the proof of a job that ran here disagree."""
        known = decision.recorded_match.get(step.name)
        counts = known if known and known.action.inputs == action.inputs else found if found and found.origin else None
        if counts:
            own = self._made_here(action)
            hint = (
                f"dvc.lock counts; `bezoar verify --rerun {step.stage}` shows which one comes out; if it is that of "
                f"dvc.lock, `bezoar forget {step.stage}` drops the other one"
            )
            return [Contradiction(*one, hint) for one in (differences(counts, own) if own else [])]
        entry = self.entries.get(step.stage)
        unknown = entry.unknown_list(action) if entry and found and step.name not in decision.recorded else None
        if unknown is None or unknown[0] in {one.path for one in decision.contradictions}:
            return []
        hint = "the local one counts; to get the other one, ask the author of that entry to run `dvc push`"
        locked = f"{unknown[1]}, which is neither in the cache nor on a remote"
        return [Contradiction(unknown[0], locked, "other files", hint)]

    def _refuted(self, step: Step, last: Proof, found: Proof) -> list[Contradiction]:
        """Outputs on which a record that doesn't count and the proof of a job that ran here disagree."""
        same = self._matches(last, step) if last.trace else last.action.values == step.values
        if found.origin or last.action.inputs != found.action.inputs or not same:
            return []
        hint = f"the one made here counts; dvc.lock's is {self.untrusted[step.stage]}"
        return [Contradiction(*one, hint) for one in differences(last, found)]

    def _find(self, step: Step, action: Action, known: Proof | None, useless: list[Proof], made: bool) -> Proof | None:
        if known and known.action.inputs == action.inputs and known not in useless:
            own = self._made_here(action) if made else None
            if own and all(self.hasher.holds(path, one.md5) for path, one in own.outputs.items()):
                return own  # of a forced run
            return known  # first, so that everyone gets the same checkpoint
        for one in self._alternatives(step, action):
            proof = self.proofs.find(one, self.holds)
            if proof and proof not in useless:
                return proof
        return None

    def _made_here(self, action: Action) -> Proof | None:
        """The latest proof of a job that ran here, if its trace holds: an action says nothing of code."""
        return next((one for one in self.proofs.made_here(action) if one.trace and self.holds(one.trace)), None)

    def _alternatives(self, step: Step, action: Action) -> list[Action]:
        """The action, and the one with an earlier form of the command that an acceptance puts in its place."""
        form = self.acceptances.form(step)
        return [action] if form == step.form else [action, replace(action, form=form)]

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

    def _reasons(self, step: Step, action: Action, last: Proof | None) -> list[Reason]:
        """Differences of a step without a proof from its record in dvc.lock, else from the last proof of its action."""
        if last is None:
            last = next((one for one in self.proofs.all(action) if one.trace), None)
        if last is None:
            return [Reason("unrecorded", step.name)]
        found = [*self._own_reasons(step, last), *_differences("input", last.action.inputs, action.inputs)]
        return found or [Reason("unrecorded", step.name)]

    def _untrusted(self, step: Step, last: Proof) -> list[Reason]:
        """That a step's record in dvc.lock doesn't count, unless another proof says the same."""
        why = self.untrusted.get(step.stage)
        return [Reason("untrusted", step.name, why)] if why and not self.proofs.find(last.action, self.holds) else []

    def _own_reasons(self, step: Step, last: Proof) -> list[Reason]:
        """Differences of a step's code, command and values from the last record."""
        found = [] if last.action.values == step.values else _differences("param", last.action.params, step.params)
        if last.trace is None:
            return [*found, *(self._untrusted(step, last) or [Reason("untraced", step.stage)])]
        if last.action.form not in (step.form, self.acceptances.form(step)):
            found.insert(0, Reason("rule", step.rule, last.action.form, step.form))
        environment = _differences("environment", last.action.environment, step.environment)
        code = [Reason("code", shown(one), one.was, one.now) for one in self.changes(last.trace)]
        return [*code, *found, *environment, *self._untrusted(step, last)]


def _new_inputs(step: Step, last: Proof) -> list[Reason]:
    """The inputs that a step hadn't in its last build; what is in them isn't known yet."""
    return [Reason("input", path, None, "not made yet") for path in step.inputs if path not in last.action.inputs]


def _differences(kind: str, was: Any, now: Any, name: str = "") -> list[Reason]:
    """Leaves that differ between two values; maps are compared by key, at any depth."""
    if isinstance(was, dict) and isinstance(now, dict):
        return [
            reason
            for key in sorted({*was, *now}, key=str)
            for reason in _differences(kind, was.get(key), now.get(key), f"{name}.{key}" if name else str(key))
        ]
    return [] if typed_digest(was) == typed_digest(now) else [Reason(kind, name, was, now)]


def bytes_of(decision: Decision) -> int:
    """Total size of all outputs to restore."""
    return sum(one.size for name in decision.restore for one in decision.proofs[name].outputs.values())
