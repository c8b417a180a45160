"""`bezoar accept`: record that a change can't change results, in a file that others review."""

from pathlib import Path

import yaml

from bezoar.cache import CacheError, dvc
from bezoar.cache.acceptances import ACCEPTED, COMMAND, Acceptance, shown
from bezoar.cache.build import Build
from bezoar.cache.proofs import Proof
from bezoar.errors import problem
from bezoar.files import whole

HEAD = "# Changes that somebody found to be cosmetic. `bezoar accept` adds to it; commit and review it.\n"


def accept(build: Build, name: str, reason: str) -> list[Acceptance]:
    """Accept a stage's records for its present code, packages and command; returns what changed.

    Raises:
        CacheError: The stage is unknown, isn't in dvc.lock with a trace, or nothing of this kind has changed.
    """
    stage = build.stages.get(name)
    recorded = [build.decision.recorded.get(step.name) for step in stage.steps] if stage else []
    traced = [proof for proof in recorded if proof and proof.trace]
    if not stage or not traced:
        known = ", ".join(sorted(stage for stage in dvc.read(dvc.LOCK) if stage in build.stages)) or "none"
        raise CacheError(problem("no stage to accept", found=name, expected=f"a stage of {dvc.LOCK}: {known}"))
    new = [
        Acceptance(f"{COMMAND}{name}", proof.action.form, step.form, reason)
        for step, proof in zip(stage.steps, recorded, strict=True)
        if proof and proof.action.form != step.form and build.acceptances.form(step) != proof.action.form
    ]
    new += [one for proof in traced for one in _code(build, proof, reason)]
    new = list(dict.fromkeys(new))
    if not new:
        raise CacheError(
            problem(
                "nothing to accept",
                found=f"unchanged code, packages and command of {name}",
                expected="a change of one of them",
                hint="values and inputs can't be accepted: they are what you ask for",
            )
        )
    write([*build.acceptances.entries, *new])
    return new


def _code(build: Build, proof: Proof, reason: str) -> list[Acceptance]:
    """The changes of a proof's trace."""
    assert proof.trace
    changes = build.acceptances.without(build.verifier.changes(proof.trace))
    gone = next((one for one in changes if one.kind == "found" or not one.was or not one.now), None)
    if gone:
        raise CacheError(
            problem(
                f"{shown(gone)} can't be accepted",
                found="a file that is gone, or that Python finds in another place now",
                expected="the same files with other contents",
                hint="build the stage",
            )
        )
    return [Acceptance(shown(one), one.was, one.now, reason) for one in changes]


def write(entries: list[Acceptance]) -> None:
    """Write code.accepted.yaml."""
    text = yaml.dump([one._asdict() for one in entries], Dumper=dvc.Dumper, sort_keys=False, allow_unicode=True)
    with whole(Path(ACCEPTED)) as partial:
        partial.write_text(HEAD + text, encoding="utf-8")
