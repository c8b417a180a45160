"""`bezoar attest`: how an artifact was made, as an in-toto statement with SLSA's provenance.

Other tools read these formats: in-toto's Statement v1, the predicate https://slsa.dev/provenance/v1 and, if signed, a
DSSE envelope. docs/how-to/remotes.md says what our own fields mean.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bezoar.cache import CacheError, foreign
from bezoar.cache.build import Build
from bezoar.cache.environment import SIGNING_KEY
from bezoar.cache.graph import loaded
from bezoar.cache.hashing import Content, canonical, digest_of, files_below
from bezoar.cache.job import Step
from bezoar.cache.signing import encoded, key_id, public_bytes, signing_key
from bezoar.cache.trace.record import ABSENT
from bezoar.errors import problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:bezoar:stage:v1"
BUILDER = "urn:bezoar:local:v1"
PAYLOAD = "application/vnd.in-toto+json"  # type of a statement in an envelope
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Job:
    """What the proof of a job says.

    Attributes:
        action: Digest of what was asked.
        values: Values of params.yaml by dotted name.
        inputs: MD5 by path.
        modules: Digests of their meaning by name.
        packages: Versions of distributions by name.
        reads: MD5 of each file that it read beyond its inputs, by name.
        made: Where and how it was made.
        here: Whether it ran with this cache.
    """

    stage: str
    action: str
    values: dict[str, Any]
    inputs: dict[str, str]
    outputs: dict[str, Content]
    modules: dict[str, str]
    packages: dict[str, str]
    here: bool
    reads: dict[str, str] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)


def job_of(step: Step, build: Build) -> Job:
    """The job of a step that is up to date. Nothing else here knows the form of proofs.

    Raises:
        CacheError: It isn't up to date.
    """
    proof = build.decision.proofs.get(step.name)
    if proof is None:
        raise CacheError(
            problem(
                f"{step.name} has no proof to attest",
                found="; ".join(map(str, build.decision.reasons[step.name])),
                expected="an artifact that is up to date",
                hint="build it first",
            )
        )
    own = next(build.proofs.made_here(proof.action), None)
    here = own is not None and own.outputs == proof.outputs
    assert proof.trace
    return Job(
        stage=step.stage,
        action=proof.action.digest,
        values=proof.action.params,
        inputs=proof.action.inputs,
        outputs=proof.outputs,
        modules={label.removeprefix("~"): one.meaning for label, one in proof.trace.modules.items()},
        packages={name: one.version for name, one in proof.trace.distributions.items()},
        here=here,
        reads={label.removeprefix("~"): md5 for label, md5 in proof.trace.reads.items() if md5 != ABSENT},
        made=own.made if own and here else proof.made,
    )


def attest(artifact: str, *, signed: bool) -> dict[str, Any]:
    """The statement about an artifact that is up to date; if signed, in an envelope.

    Args:
        artifact: A file or folder: outputs of one stage, or part of them.
        signed: Whether to sign it with the key that `BEZOAR_SIGNING_KEY` names.

    Raises:
        CacheError: No stage, or more than one, makes it, it isn't up to date, its bytes aren't here, or it can't be
            signed.
    """
    key = _key() if signed else None
    path = os.path.relpath(artifact)
    with loaded() as attached:
        build = attached.build
        jobs = _jobs(path, build)
        if key:
            _check_here(path, jobs)
        made = statement(jobs, _subjects(path, jobs, build))
    return envelope(made, key) if key else made


def subjects_of(artifact: str, build: Build) -> list[dict[str, Any]]:
    """The files of an artifact that is up to date, with their digests.

    Raises:
        CacheError: No stage, or more than one, makes it, it isn't up to date, or its bytes aren't here.
    """
    return _subjects(artifact, _jobs(artifact, build), build)


def _jobs(artifact: str, build: Build) -> list[Job]:
    return [job_of(step, build) for step in _steps(artifact, build)]


def statement(jobs: list[Job], subjects: list[dict[str, Any]]) -> dict[str, Any]:
    """The statement about files that the jobs of one stage made.

    Raises:
        CacheError: It doesn't have the form that in-toto and SLSA define.
    """
    actions = {min(job.outputs): job.action for job in jobs}
    values = {name: value for job in jobs for name, value in job.values.items()}
    made = {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PROVENANCE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"stage": jobs[0].stage, "values": values},
                "internalParameters": {"actions": actions},
                "resolvedDependencies": _dependencies(jobs),
            },
            "runDetails": {
                "builder": {"id": BUILDER},
                "metadata": {"invocationId": digest_of(actions), **_finished(jobs)},
            },
        },
    }
    _check_form(made)
    return made


def envelope(statement: dict[str, Any], key: "Ed25519PrivateKey") -> dict[str, Any]:
    """A statement in a DSSE envelope, signed."""
    payload = canonical(statement)
    signature = {"keyid": key_id(public_bytes(key)), "sig": _base64(key.sign(encoded(PAYLOAD, payload)))}
    return {"payloadType": PAYLOAD, "payload": _base64(payload), "signatures": [signature]}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _dependencies(jobs: list[Job]) -> list[dict[str, Any]]:
    """Commits, inputs and discovered reads by content, modules by meaning, and distributions by version."""
    reads = {name: md5 for job in jobs for name, md5 in job.reads.items() if name not in job.inputs}
    inputs = {path: md5 for job in jobs for path, md5 in job.inputs.items()}
    modules = {name: meaning for job in jobs for name, meaning in job.modules.items()}
    packages = {name: version for job in jobs for name, version in job.packages.items()}
    return [
        *_commits(jobs),
        *({"name": path, "digest": _digest(md5)} for path, md5 in sorted({**reads, **inputs}.items())),
        *({"name": name, "digest": {"bezoarMeaning": meaning}} for name, meaning in sorted(modules.items())),
        *({"name": name, "uri": _purl(name, version)} for name, version in sorted(packages.items())),
    ]


def _commits(jobs: list[Job]) -> list[dict[str, Any]]:
    """The commits that the jobs ran at, and whether tracked files differed from them."""
    edited: dict[str, bool] = {}
    for job in jobs:
        for commit in job.made.get("commit", "").split(", "):
            if foreign.COMMIT.fullmatch(commit):
                edited[commit] = edited.get(commit, False) or job.made.get("edited") != "no"
    return [
        {"name": "commit", "digest": {"gitCommit": commit}, "annotations": {"edited": edited[commit]}}
        for commit in sorted(edited)
    ]


def _finished(jobs: list[Job]) -> dict[str, str]:
    """When the last job ended, if its record says so."""
    times = [one for job in jobs for one in job.made.get("time", "").split(", ") if TIME.fullmatch(one)]
    return {"finishedOn": max(times)} if times else {}


def _digest(md5: str) -> dict[str, str]:
    """MD5 of a file, or of DVC's list of a directory's files."""
    return {"dvcDirectory" if md5.endswith(".dir") else "md5": md5.removesuffix(".dir")}


def _purl(name: str, version: str) -> str:
    """The package URL of a distribution."""
    return f"pkg:pypi/{re.sub(r'[-_.]+', '-', name).lower()}@{quote(version, safe='')}"


def _check_form(made: dict[str, Any]) -> None:
    """Compare a statement with the definitions of in-toto and SLSA.

    It isn't written by their classes, since these turn each whole number among the values into a float.
    """
    from google.protobuf.json_format import ParseDict, ParseError
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    try:
        json.dumps(made, allow_nan=False)
        ParseDict(made["predicate"], Provenance())
        Statement.copy_from_pb(ParseDict(made, Message())).validate()
    except (ParseError, ValueError) as error:
        what = f"stage {made['predicate']['buildDefinition']['externalParameters']['stage']} can't be attested"
        raise CacheError(problem(what, found=error, expected="values that JSON has")) from error


def _key() -> "Ed25519PrivateKey":
    key = signing_key()
    if key is None:
        raise CacheError(
            problem(
                "no key to sign with",
                found=f"{SIGNING_KEY} is not set",
                expected="the path of a private key",
                hint="`bezoar key new NAME` makes one",
            )
        )
    return key


def _check_here(artifact: str, jobs: Iterable[Job]) -> None:
    """Refuse to sign what others made: a signature says that the signer has seen the job run."""
    others = [min(job.outputs) for job in jobs if not job.here]
    if others:
        raise CacheError(
            problem(
                f"{artifact} wasn't made here, so it isn't signed",
                found=f"a record of {others[0]} from others",
                expected="a job that ran with this cache",
                hint="sign it where it was made, or run the stage here: `snakemake --force`",
            )
        )


def _steps(artifact: str, build: Build) -> list[Step]:
    """The steps that make an artifact.

    Raises:
        CacheError: None does, or those of more than one stage.
    """
    found = [step for step in build.steps if any(_overlap(artifact, output) for output in step.outputs)]
    stages = sorted({step.stage for step in found})
    if len(stages) != 1:
        raise CacheError(
            problem(
                f"{artifact} is no artifact of one stage",
                found=f"outputs of {', '.join(stages)}" if stages else "no output of a stage",
                expected="an output, a file in it, or a folder with outputs of one stage",
                hint="`bezoar costs` lists artifacts",
            )
        )
    return found


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _subjects(artifact: str, jobs: list[Job], build: Build) -> list[dict[str, Any]]:
    """The files of an artifact with their digests; each is read."""
    files = {
        path: md5
        for job in jobs
        for output, content in job.outputs.items()
        if _overlap(artifact, output)
        for path, md5 in _files(output, content, build).items()
        if path == artifact or path.startswith(f"{artifact}/")
    }
    if not files:
        raise CacheError(
            problem(f"{artifact} has no files to attest", found="none in its record", expected="one at least")
        )
    return [
        {"name": path, "digest": {"md5": md5, "sha256": _sha256(path, md5, build)}}
        for path, md5 in sorted(files.items())
    ]


def _files(output: str, content: Content, build: Build) -> dict[str, str]:
    """MD5s of an output's files by path."""
    if not content.md5.endswith(".dir"):
        return {output: content.md5}
    listed = build.objects.listing(content.md5)
    if listed is not None:
        return {f"{output}/{one.relpath}": one.md5 for one in listed}
    if not build.hasher.holds(output, content.md5):
        raise _absent(output)
    return {f"{output}/{name}": build.hasher.file(f"{output}/{name}").md5 for name in files_below(output)}


def _sha256(path: str, md5: str, build: Build) -> str:
    """Sha256 of the bytes that have an MD5: of the file, or of its object in the cache."""
    for place in (path, build.objects.path(md5)):
        with suppress(OSError), open(place, "rb", buffering=0) as file:
            found, wanted = hashlib.md5(usedforsecurity=False), hashlib.sha256()
            while part := file.read(1 << 20):
                found.update(part)
                wanted.update(part)
            if found.hexdigest() == md5:
                return wanted.hexdigest()
    raise _absent(path)


def _absent(path: str) -> CacheError:
    return CacheError(
        problem(
            f"{path} can't be read",
            found="neither the recorded file nor its object in the cache",
            expected="one of them",
            hint=f"`snakemake {path}` restores an output",
        )
    )
