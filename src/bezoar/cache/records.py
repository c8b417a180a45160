"""traces.lock: what DVC's lock file can't hold of the proofs of its entries, so that a clone can verify them.

It has a record for each stage of dvc.lock: the forms of its jobs' commands, their traces, their cost, and where they
were made. A record counts only beside the entry that it was written for: `entry` is that entry's digest. The file is
generated, and committed with dvc.lock. It is JSON, since a clone reads it at every start.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bezoar.cache import CacheError, foreign
from bezoar.cache.action import typed_digest
from bezoar.cache.dvc import CODE_LOCK, LOCK, PIPELINE, RESOLVED, as_list, as_map, marker
from bezoar.cache.hashing import digest_of
from bezoar.cache.job import Step
from bezoar.cache.proofs import Proof
from bezoar.cache.trace import Trace
from bezoar.errors import problem
from bezoar.files import whole

TRACES_LOCK = "traces.lock"
GENERATED = (LOCK, TRACES_LOCK, PIPELINE, CODE_LOCK, RESOLVED)  # a build writes them, so they aren't edits
PRIVATE = {"host", "user"}
ALL = "*"  # for all jobs of a stage, if they have the same


@dataclass(frozen=True)
class Record:
    """What traces.lock says of a stage.

    Attributes:
        entry: Digest of the stage's entry in dvc.lock.
        forms: The form of each job's command, by the job's first output, or under `*` for all.
        traces: The digest of each job's trace, likewise.
        environment: Values of the environment variables that results depend on.
        cost: The total of all jobs.
        made: Where and how they were made; several values are joined by `, `.
        signature: By a key, over everything else.
    """

    entry: str
    forms: dict[str, str]
    traces: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    signature: dict[str, str] = field(default_factory=dict)

    def form(self, step: Step) -> str:
        """The recorded form of a job's command; empty if the record lacks it."""
        return self.forms.get(ALL) or self.forms.get(step.name, "")

    def trace(self, step: Step) -> str:
        """The digest of a job's trace; empty if the record lacks it."""
        return self.traces.get(ALL) or self.traces.get(step.name, "")


@dataclass
class Records:
    """The content of traces.lock: records by stage, and traces by digest."""

    stages: dict[str, Record] = field(default_factory=dict)
    traces: dict[str, Trace] = field(default_factory=dict)

    def of(self, stage: str, entry: dict[str, Any]) -> Record | None:
        """The record of a stage, if it was written for this entry of dvc.lock."""
        found = self.stages.get(stage)
        return found if found and found.entry == digest_of_entry(entry) else None

    @property
    def text(self) -> str:
        """The content of the file."""
        used = {digest for record in self.stages.values() for digest in record.traces.values()}
        data = {
            "stages": {name: {k: v for k, v in asdict(one).items() if v} for name, one in self.stages.items()},
            "traces": {digest: self.traces[digest].to_json() for digest in used & self.traces.keys()},
        }
        return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def digest_of_entry(entry: dict[str, Any]) -> str:
    """Digest of an entry of dvc.lock: contents of inputs and outputs, and values."""
    contents = [sorted((one["path"], one["md5"]) for one in as_list(entry, name)) for name in ("deps", "outs")]
    return digest_of([*contents, typed_digest(as_map(as_map(entry.get("params")).get(RESOLVED)))])


def record_of(entry: dict[str, Any], steps: Iterable[Step], proofs: dict[str, Proof]) -> Record:
    """The record of a stage whose jobs all have proofs with traces."""
    found = {step.name: proofs[step.name] for step in steps}
    total: dict[str, float] = {}
    for proof in found.values():
        for name, value in proof.cost.items():
            total[name] = round(total.get(name, 0.0) + value, 6)
    return Record(
        entry=digest_of_entry(entry),
        forms=_joined({name: proof.action.form for name, proof in found.items()}),
        traces=_joined({name: proof.trace.digest for name, proof in found.items() if proof.trace}),
        environment=next(iter(found.values())).action.environment,
        cost=total,
        made=_merged([_public(proof.made) for proof in found.values()]),
    )


def _joined(by_name: dict[str, str]) -> dict[str, str]:
    values = set(by_name.values())
    return {ALL: values.pop()} if len(values) == 1 else by_name


def _public(made: dict[str, str]) -> dict[str, str]:
    """Where a proof was made, without the names of people and machines: the file is committed."""
    return {name: value for name, value in made.items() if name not in PRIVATE}


def _merged(made: list[dict[str, str]]) -> dict[str, str]:
    """One map of several; times as the first and the last one."""
    found: dict[str, set[str]] = {}
    for one in made:
        for name, value in one.items():
            found.setdefault(name, set()).update(value.split(", "))
    return {
        name: ", ".join([min(all_), max(all_)] if name == "time" and len(all_) > 1 else sorted(all_))
        for name, all_ in found.items()
    }


def read() -> Records:
    """The content of traces.lock; empty if it doesn't exist.

    Raises:
        CacheError: It isn't what a build writes, as after a merge with conflicts.
    """
    try:
        return parsed(foreign.read(TRACES_LOCK))
    except FileNotFoundError:
        return Records()


def parsed(data: bytes) -> Records:
    """The records in the bytes of traces.lock.

    Raises:
        CacheError: They aren't what a build writes, as after a merge with conflicts.
    """
    try:
        found = foreign.table(foreign.from_json(data), "stages", "traces")
        traces = {digest: _trace(digest, one) for digest, one in foreign.table(found["traces"]).items()}
        return Records({name: _record(one) for name, one in foreign.table(found["stages"]).items()}, traces)
    except foreign.Malformed as error:
        line = marker(data)
        raise CacheError(
            problem(
                f"{TRACES_LOCK}:{line or 1}: can't be read",
                found="a merge conflict" if line else error,
                expected="what a build writes",
                hint="run `bezoar dvc --resolve`"
                if line
                else f"`git checkout {TRACES_LOCK}` brings the last commit's back; or remove it: the next build "
                "writes it again from the proofs in the cache",
            )
        ) from error


def _trace(digest: str, found: Any) -> Trace:
    trace = Trace.from_json(found)
    if trace.digest != digest:
        raise foreign.Malformed(f"another trace than {foreign.shown(digest)}")
    return trace


def _record(found: Any) -> Record:
    data = foreign.table(found)
    return Record(
        entry=foreign.sha256(data.get("entry")),
        forms={name: foreign.sha256(one) for name, one in foreign.table(data.get("forms", {})).items()},
        traces={name: foreign.sha256(one) for name, one in foreign.table(data.get("traces", {})).items()},
        environment={name: foreign.text(one) for name, one in foreign.table(data.get("environment", {})).items()},
        cost={name: foreign.quantity(one) for name, one in foreign.table(data.get("cost", {})).items()},
        made={name: foreign.text(one) for name, one in foreign.table(data.get("made", {})).items()},
        signature={name: foreign.text(one) for name, one in foreign.table(data.get("signature", {})).items()},
    )


def write(records: Records) -> bool:
    """Write traces.lock if it differs; returns whether it did."""
    file = Path(TRACES_LOCK)
    if file.exists() and file.read_bytes() == records.text.encode():
        return False
    if not records.stages and not file.exists():
        return False
    with whole(file) as partial:
        partial.write_text(records.text, encoding="utf-8")
    return True
