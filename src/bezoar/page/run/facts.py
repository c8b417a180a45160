"""What a run did, from its build, the record of runs and the notes of its jobs."""

import os
import re
from collections import Counter
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import NamedTuple

from bezoar.cache import CacheError, git, history, records, signing
from bezoar.cache.build import Build
from bezoar.cache.ending import spending
from bezoar.cache.job import Step, read_run
from bezoar.cache.proofs import Proof
from bezoar.cache.records import PRIVATE
from bezoar.page.inputs import Artifact

FAILED, RUN, RESTORED, TO_RUN, UP_TO_DATE = STATES = ("failed", "run", "restored", "to run", "up to date")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
NOT_OF_THE_MACHINE = {*PRIVATE, "commit", "edited", "isolation", "time"}


class Job(NamedTuple):
    """A job of the graph.

    Attributes:
        state: What the run did with it: one of STATES.
        proof: None if it isn't made.
    """

    step: Step
    state: str
    proof: Proof | None


class Stage(NamedTuple):
    """The jobs of a rule and a block.

    Attributes:
        states: Jobs by state.
        cost: What their artifacts cost to make, whenever that was.
        ended: When the last of them was made; empty if that isn't known.
        artifact: The first output, if it is made.
    """

    name: str
    states: Counter[str]
    cost: Counter[str]
    ended: str
    artifact: Artifact | None


class Origin(NamedTuple):
    """Where the proof of a job is from.

    Attributes:
        place: In words.
        signer: Whose key signed it; empty for none.
        isolation: How its job was kept to what it declares.
        code: Commits of the code that it ran, with a mark where files differed from the commit.
    """

    place: str
    signer: str
    isolation: str
    code: str


class Facts:
    """What a run did, and what its artifacts cost.

    Args:
        build: The build, after its decision.
    """

    def __init__(self, build: Build) -> None:
        self.build = build
        found = history.last()
        self.last = found[-1] if found else None
        self.keys = signing.policy().trusted
        self.jobs = [self._job(step) for step in build.steps]

    @cached_property
    def noted(self) -> dict[str, str]:
        """By first output, what the run's jobs have noted; a job that ran may be restored later."""
        found: dict[str, str] = {}
        for output, outcome, when in history.events():
            if self.last and when >= self.last["began"] and found.get(output) != history.RUN:
                found[output] = outcome
        return found

    @property
    def has_run(self) -> bool:
        """Whether a job ran, or failed."""
        return any(one.state in (RUN, FAILED) for one in self.jobs)

    @property
    def seconds(self) -> float | None:
        """How long the run took."""
        if self.last is None:
            return None
        return max(
            0.0, datetime.fromisoformat(self.last["time"]).timestamp() - self.last["began"]
        )  # it has no fraction

    @property
    def dollars(self) -> float:
        """What the run's jobs spent on model requests."""
        return spending() if self.has_run else 0.0

    @cached_property
    def commit(self) -> dict[str, str]:
        """The commit of the run's start, and whether files differed from it; empty without one.

        Files that a build writes, such as code.lock, may differ.
        """
        if self.has_run:
            with suppress(CacheError):
                return read_run().made
        return git.state(records.GENERATED)

    @property
    def code(self) -> str:
        """The commit in words, or why there is none."""
        if self.commit:
            return code_of(self.commit)
        return "none yet: nothing is committed here" if git.in_repository() else "none: not a git repository"

    def counts(self) -> Counter[str]:
        """Jobs by state."""
        return Counter(one.state for one in self.jobs)

    def cost(self, *states: str) -> Counter[str]:
        """What the artifacts of the jobs in some states cost; of all without one."""
        found: Counter[str] = Counter()
        for one in self.jobs:
            if one.proof and (one.state in states or not states):
                found.update(one.proof.cost)
        return found

    def stages(self) -> list[Stage]:
        """The stages, in the order of the graph."""
        by_name: dict[str, list[Job]] = {}
        for job in self.jobs:
            by_name.setdefault(job.step.stage, []).append(job)
        return [_stage(name, jobs) for name, jobs in by_name.items()]

    def origins(self) -> list[tuple[Origin, int]]:
        """Where proofs are from, with the number of jobs; the most frequent first."""
        return Counter(self._origin(one, one.proof) for one in self.jobs if one.proof).most_common()

    def machines(self) -> dict[str, list[tuple[str, int]]]:
        """By fact of where artifacts were made, its values with the number of jobs; no names of people and machines."""
        found: dict[str, Counter[str]] = {}
        for one in self.jobs:
            for name, value in one.proof.made.items() if one.proof else ():
                if name not in NOT_OF_THE_MACHINE:
                    found.setdefault(name, Counter())[value] += 1
            for name, value in one.proof.action.environment.items() if one.proof else ():
                found.setdefault(name, Counter())[value] += 1
        return {name: values.most_common() for name, values in sorted(found.items())}

    def _job(self, step: Step) -> Job:
        proof, noted = self.build.decision.proofs.get(step.name), self.noted.get(step.name)
        if proof is None:
            return Job(step, FAILED if noted == history.STARTED else TO_RUN, None)
        began = history.in_utc(self.last["began"]) if self.last else ""
        if noted == history.RUN or (began and not proof.origin and ended(proof) >= began):
            return Job(step, RUN, proof)
        restored = noted == history.RESTORED or step.name in self.build.restored
        return Job(step, RESTORED if restored else UP_TO_DATE, proof)

    def _origin(self, job: Job, proof: Proof) -> Origin:
        if job.state == RUN:
            place = "this run"
        elif proof.origin:
            place = f"dvc.lock of commit {proof.origin[:12]}"
        elif os.path.isdir(self.build.proofs.path(proof.action.digest)):
            place = "an earlier run with this cache"
        else:
            place = "dvc.lock"
        key = self.keys.get(proof.signer)
        isolation = proof.made.get("isolation", "unknown")
        return Origin(place, key.name if key else proof.signer, isolation, code_of(proof.made))


def ended(proof: Proof) -> str:
    """When the job of a proof ended; empty if that isn't known."""
    return max(TIME.findall(proof.made.get("time", "")), default="")


def code_of(made: dict[str, str]) -> str:
    """The commits in a record, short, with a mark if files that no build writes differed from them."""
    commits = ", ".join(one[:12] for one in made.get("commit", "").split(", "))
    edited = "yes" in made.get("edited", "")
    return f"{commits} with edits" if commits and edited else commits or "no commit"


def _stage(name: str, jobs: list[Job]) -> Stage:
    proofs = [one.proof for one in jobs if one.proof]
    cost: Counter[str] = Counter()
    for one in proofs:
        cost.update(one.cost)
    artifact = None
    if jobs[0].proof:
        path = jobs[0].step.name
        content = jobs[0].proof.outputs[path]
        artifact = Artifact(path, content.md5, content.size)
    times = max(map(ended, proofs), default="")
    return Stage(name, Counter(one.state for one in jobs), cost, times, artifact)
