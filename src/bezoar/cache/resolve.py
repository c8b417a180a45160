"""`bezoar dvc --resolve`: write dvc.lock and the other generated files after a merge with conflicts.

No merged text of dvc.lock is read: it may join parts of two records into one that was never proven. The whole versions
come from git's index, their records become proofs, and the merged graph's records are made from these.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bezoar.cache import CacheError, dvc, generated, git, lock, records
from bezoar.cache.acceptances import ACCEPTED
from bezoar.cache.build import Build
from bezoar.cache.decide import Decider, Decision
from bezoar.cache.graph import Attached, loaded
from bezoar.cache.proofs import Proof, Proofs
from bezoar.cache.records import GENERATED, TRACES_LOCK, Records
from bezoar.cache.stages import DvcStage
from bezoar.errors import problem

NEXT = (
    f"next: `git add {' '.join(GENERATED)}`, build, commit, `dvc push`; `bezoar plan` says why a stage will run "
    "(in a rebase, ours is what you rebase onto)"
)
SIDES = (git.BASE, git.THEIRS, git.OURS)
Entries = dict[str, Any]  # of dvc.lock, by stage


class Side(NamedTuple):
    """The records of one side of a merge: dvc.lock and traces.lock."""

    entries: Entries
    records: Records

    def over(self, other: "Side") -> "Side":
        """Both, this one's records first."""
        stages = {**other.records.stages, **self.records.stages}
        traces = {**other.records.traces, **self.records.traces}
        return Side({**other.entries, **self.entries}, Records(stages, traces))

    def write(self) -> None:
        """Write both files."""
        lock.write(self.entries)
        records.write(self.records)


def resolve() -> list[str]:
    """Write the generated files for the merged parameters and code; returns lines for the user.

    Raises:
        CacheError: This isn't a git repository, another file has conflicts, the merged graph can't be made, or the
            remote can't be read. The files are unchanged then.
    """
    conflicts = git.unmerged()
    _check_others(set(conflicts))
    if not any(path in conflicts or _marker(path) for path in GENERATED):
        return [f"nothing to resolve: there is no conflict in {', '.join(GENERATED)}"]
    sides = _sides(conflicts)
    with _restored_on_error(dvc.LOCK), _restored_on_error(TRACES_LOCK):
        sides[git.OURS].over(sides[git.THEIRS]).write()  # they have to be readable to make the graph
        with loaded() as attached:
            return _resolve(attached, sides)


def _check_others(conflicts: set[str]) -> None:
    """Refuse if a file that has to be merged by hand has conflicts."""
    for path in sorted({*conflicts, dvc.PARAMS, ACCEPTED} - set(GENERATED)):
        if line := _marker(path):
            raise CacheError(
                problem(
                    f"{path}:{line}: a merge conflict",
                    found="its markers",
                    expected="your choice of the merged content",
                    hint="edit it, then run `bezoar dvc --resolve` again",
                )
            )


def _marker(path: str) -> int:
    return dvc.marker(Path(path).read_bytes()) if os.path.isfile(path) else 0


def _sides(conflicts: dict[str, dict[str, str]]) -> dict[str, Side]:
    """The versions of dvc.lock and traces.lock, later ones with priority; a side may have none."""
    entries = _versions(dvc.LOCK, conflicts, lambda data: dvc.stages_in(data, dvc.LOCK), {})
    recorded = _versions(TRACES_LOCK, conflicts, records.parsed, Records())
    return {side: Side(entries[side], recorded[side]) for side in SIDES}


def _versions(path: str, conflicts: dict[str, dict[str, str]], read: Callable[[bytes], Any], none: Any) -> Any:
    """The content of a file in base, theirs and ours; the merged one for all where it has no conflict."""
    if path in conflicts:
        found = {side: _content(path, side, conflicts[path].get(side), read) for side in SIDES}
        return {side: none if one is None else one for side, one in found.items()}
    if line := _marker(path):
        raise CacheError(
            problem(
                f"{path}:{line}: a merge conflict that is marked as resolved",
                found="its markers",
                expected="none, or a conflict in `git status`",
                hint=f"`git checkout --merge {path}` brings it back before the commit, `git checkout COMMIT -- {path}` "
                "an earlier version after it",
            )
        )
    merged = read(Path(path).read_bytes()) if os.path.exists(path) else none
    return {git.BASE: none, git.THEIRS: merged, git.OURS: merged}


def _content(path: str, side: str, blob: str | None, read: Callable[[bytes], Any]) -> Any:
    try:
        return read(git.content(blob)) if blob else None
    except CacheError as error:
        raise CacheError(
            problem(
                f"{path} of {side} can't be read",
                found=str(error).splitlines()[0],
                expected="what a build writes",
                hint=f"take the other side's, by `git checkout --ours {path}` or `--theirs`, and `git add {path}`",
            )
        ) from error


@contextmanager
def _restored_on_error(path: str) -> Iterator[None]:
    before = Path(path).read_bytes() if os.path.exists(path) else None
    try:
        yield
    except BaseException:
        Path(path).unlink(missing_ok=True)
        if before is not None:
            Path(path).write_bytes(before)
        raise


def _resolve(attached: Attached, sides: dict[str, Side]) -> list[str]:
    build = attached.build
    deciders = {side: build.decider(*one) for side, one in sides.items()}
    if build.remote and (lists := {md5 for decider in deciders.values() for md5 in decider.lists()}):
        from bezoar.cache.remote import fetch_objects  # slow to import

        fetch_objects(sorted(lists), build.objects)
    recorded = {side: _recorded(decider) for side, decider in deciders.items()}
    heads = git.heads()
    ours = heads.get(git.OURS, "")
    trusted = {side: _trusted(deciders[side], proofs) for side, proofs in recorded.items()}
    for side, proofs in trusted.items():
        _keep(proofs, build.proofs, ours if side == git.OURS else heads.get(git.THEIRS, ours))
    either = sides[git.OURS].over(sides[git.THEIRS])
    decision = build.decider(*either).decide([], set(), set())
    taken = {name: _taken(stage, trusted, decision) for name, stage in build.stages.items()}
    for name, found in taken.items():
        if found:
            either.entries[name] = sides[found].entries[name]
            either.records.stages[name] = sides[found].records.stages[name]
    either.write()
    build.decision = decision
    generated.write_pipeline(build)
    generated.write(build)
    build.fold()
    build.hasher.save()
    return [*_summary(build, sides, taken, decision), *_unread(deciders, recorded), NEXT]


def _recorded(decider: Decider) -> dict[str, Proof]:
    """The records of a side's dvc.lock for the merged graph's steps, by step name."""
    found = {
        step.name: decider.entries[step.stage].proof(step) for step in decider.steps if step.stage in decider.entries
    }
    return {name: proof for name, proof in found.items() if proof}


def _trusted(decider: Decider, recorded: dict[str, Proof]) -> dict[str, Proof]:
    """Those of a side's records that count."""
    stages = {step.name: step.stage for step in decider.steps}
    return {name: proof for name, proof in recorded.items() if stages[name] not in decider.untrusted}


def _keep(recorded: dict[str, Proof], proofs: Proofs, commit: str) -> None:
    """Make proofs of a side's records: they have priority over this cache's own, as in a build.

    Args:
        commit: The side's commit; records count only with a commit.
    """
    for proof in recorded.values():
        own = proofs.find(proof.action, proof.trace.__eq__) if proof.trace else None
        if proof.trace and (own is None or not _same(own, proof)):
            proofs.add(replace(proof, origin=commit))


def _same(one: Proof, other: Proof) -> bool:
    made, made_ = ({path: content.md5 for path, content in proof.outputs.items()} for proof in (one, other))
    return one.action.digest == other.action.digest and made == made_


def _taken(stage: DvcStage, recorded: dict[str, dict[str, Proof]], decision: Decision) -> str | None:
    """The side whose record is the stage's proof, if any."""
    for side in reversed(recorded):
        found = [(recorded[side].get(step.name), decision.proofs.get(step.name)) for step in stage.steps]
        if all(one and proof and _same(one, proof) for one, proof in found):
            return side
    return None


def _summary(build: Build, sides: dict[str, Side], taken: dict[str, str | None], decision: Decision) -> list[str]:
    """A line for each stage that differs between the sides, and the number of equal ones."""
    ours, theirs = sides[git.OURS].entries, sides[git.THEIRS].entries
    texts = {
        name: _text(stage, taken[name], decision)
        for name, stage in build.stages.items()
        if taken[name] is None or ours.get(name) != theirs.get(name)
    }
    width = max(map(len, texts), default=0)
    same = f"{len(build.stages)} stages, {len(build.stages) - len(texts)} of them equal on both sides"
    return [f"{dvc.LOCK}: {same}", *(f"  {name:<{width}}  {text}" for name, text in texts.items())]


def _text(stage: DvcStage, side: str | None, decision: Decision) -> str:
    reasons = [decision.reasons[step.name] for step in stage.steps if step.name in decision.reasons]
    if not reasons:
        return side if side in (git.OURS, git.THEIRS) else "proven for the merged parameters"
    count = f", {len(reasons)} of {len(stage.steps)} jobs" if len(stage.steps) > 1 else ""
    certain = any(one.kind != "upstream" for found in reasons for one in found)
    return f"will run{count}" if certain else f"will run if its inputs change{count}"


def _unread(deciders: dict[str, Decider], recorded: dict[str, dict[str, Proof]]) -> list[str]:
    """Messages on records that can't be used because the lists of their directories weren't pushed."""
    return [
        f"{side} has a record of {name}, but its list of files is neither in the cache nor on a remote: ask its author "
        "for `dvc push`, then run this again"
        for side in (git.OURS, git.THEIRS)
        for name in sorted({step.stage for step in deciders[side].steps if step.name not in recorded[side]})
        if name in deciders[side].entries
        and not all(map(deciders[side].objects.sound, deciders[side].entries[name].lists()))
    ]
