"""What a run plans: written once by Snakemake's process, read by the process of each job."""

import json
import os
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from typing import Any

from bezoar.cache import CacheError, foreign
from bezoar.cache.hashing import Content, content_of, files_below
from bezoar.cache.proofs import Key, Proof
from bezoar.errors import problem

FOLDER = ".snakemake/bezoar"
RUN = f"{FOLDER}/run.json"


@dataclass(frozen=True)
class Step:
    """A job of the graph as the cache sees it.

    Attributes:
        rule: The rule's name.
        block: Names of params.yaml that the job stands for: values of its wildcards, but for the inner ones.
        parts: How many jobs share rule and block: 1, or as many as there are shards or tasks.
        inputs: Paths of all that it takes but its script.
        roles: Digest of which input plays which part; equal for all parts of a block, however many there are.
        outputs: Paths of all that it makes.
        folder: A folder that belongs to this job alone, if its outputs lie in one.
        outs: For each output what DVC stores it as: itself, or a folder around it.
        params: Values by dotted name of params.yaml.
        script: Path of its script.
        code: Fingerprints by name in code.lock.
    """

    rule: str
    block: tuple[str, ...]
    parts: int
    inputs: tuple[str, ...]
    roles: str
    outputs: tuple[str, ...]
    folder: str | None
    outs: tuple[str, ...]
    params: dict[str, Any]
    script: str
    code: dict[str, str]

    @property
    def name(self) -> str:
        """The first output's path, which no other step has."""
        return self.outputs[0]

    @property
    def part(self) -> str:
        """Name of the folder that the first output lies in, such as a shard's number."""
        return os.path.basename(os.path.dirname(self.name))

    @property
    def stage(self) -> str:
        """Name of the DVC stage that the step belongs to."""
        return "-".join((self.rule, *self.block))

    def key(self, inputs: dict[str, str]) -> Key:
        """The step's key with the contents (MD5 by path) of its inputs."""
        return Key(self.rule, inputs, self.roles, self.params, self.code, sorted(self.outputs))


@dataclass(frozen=True)
class Job:
    """A step that a run plans to run.

    Attributes:
        command: The words that the rule's shell line gives to `bezoar exec`.
        lookup: False if the user forced the rule: then it runs although a proof may exist.
        known: Proofs from dvc.lock, for this job with the same parameters and code: MD5 of inputs, contents made.
    """

    step: Step
    command: list[str]
    lookup: bool
    known: list[tuple[dict[str, str], dict[str, Content]]]

    def write(self) -> None:
        """Write the job where the process that runs it looks."""
        path = _path(self.step.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, ensure_ascii=False)

    def end(self) -> None:
        """Note that the outputs are whole; of a forced job, that they are to be kept."""
        if not self.lookup:
            with open(f"{FOLDER}/forced.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(self.step.name) + "\n")

    def proof(self, key: Key) -> Proof | None:
        """What dvc.lock knows for a key."""
        for inputs, outputs in self.known:
            if inputs == key.inputs:
                return Proof(key, outputs)
        return None


def read_job(output: str) -> Job | None:
    """The planned job that makes an output first of all; None if no run planned one."""
    try:
        data = foreign.table(foreign.from_json(foreign.read(_path(output))), *(one.name for one in fields(Job)))
        return Job(
            step=_step(data["step"]),
            command=list(foreign.texts(data["command"])),
            lookup=foreign.truth(data["lookup"]),
            known=[_known(one) for one in foreign.array(data["known"])],
        )
    except FileNotFoundError:
        return None
    except foreign.Malformed as error:
        raise CacheError(
            problem(f"{_path(output)}: not a plan", found=error, expected="what a run writes", hint="start again")
        ) from error


def _step(found: Any) -> Step:
    data = foreign.table(found, *(one.name for one in fields(Step)))
    outputs = foreign.texts(data["outputs"])
    if not outputs:
        raise foreign.Malformed("a job without outputs")
    return Step(
        rule=foreign.text(data["rule"]),
        block=foreign.texts(data["block"]),
        parts=foreign.count(data["parts"]),
        inputs=foreign.texts(data["inputs"]),
        roles=foreign.text(data["roles"]),
        outputs=outputs,
        folder=None if data["folder"] is None else foreign.text(data["folder"]),
        outs=foreign.texts(data["outs"]),
        params=foreign.table(foreign.plain(data["params"])),
        script=foreign.text(data["script"]),
        code=_texts_by_name(data["code"]),
    )


def _known(found: Any) -> tuple[dict[str, str], dict[str, Content]]:
    """What dvc.lock says of a job: MD5s of its inputs and the contents that it made."""
    values = foreign.array(found)
    if len(values) != 2:
        raise foreign.Malformed(f"{len(values)} values for inputs and outputs")
    inputs, made = map(foreign.table, values)
    return (
        {path: foreign.content_md5(md5) for path, md5 in inputs.items()},
        {path: content_of(one) for path, one in made.items()},
    )


def _texts_by_name(found: Any) -> dict[str, str]:
    return {name: foreign.text(value) for name, value in foreign.table(found).items()}


def forced_runs() -> list[str]:
    """Names of the forced steps that ended well in the last run."""
    try:
        with open(f"{FOLDER}/forced.jsonl", encoding="utf-8") as file:
            return [foreign.text(foreign.from_json(line.encode())) for line in file if line.endswith("\n")]
    except (FileNotFoundError, UnicodeDecodeError, foreign.Malformed):
        return []


def _path(output: str) -> str:
    return f"{FOLDER}/jobs/{output}.json"


@dataclass(frozen=True)
class Run:
    """What all jobs of a run share.

    Attributes:
        cache: Folder of the DVC cache.
        params: The whole recipe that the run goes by, whatever becomes of params.yaml meanwhile.
        remote: Whether a DVC remote is configured.
        closures: By script: MD5 of each project file that it imports, itself included.
        identity: What names the run; Snakemake's runs for the stages of one `dvc repro` share it.
    """

    cache: str
    params: str
    remote: bool
    closures: dict[str, dict[str, str]]
    identity: str

    def write(self) -> None:
        """Write it where the processes of jobs look."""
        os.makedirs(FOLDER, exist_ok=True)
        partial = f"{RUN}.partial"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        os.replace(partial, RUN)


def read_run() -> Run:
    """The run under way.

    Raises:
        CacheError: There is none, or its file isn't one.
    """
    try:
        data = foreign.table(foreign.from_json(foreign.read(RUN)), *(one.name for one in fields(Run)))
        closures = foreign.table(data["closures"])
        return Run(
            cache=foreign.text(data["cache"]),
            params=foreign.text(data["params"]),
            remote=foreign.truth(data["remote"]),
            closures={script: _texts_by_name(files) for script, files in closures.items()},
            identity=foreign.text(data["identity"]),
        )
    except (OSError, foreign.Malformed) as error:
        raise CacheError(
            problem(f"{RUN}: not a run", found=error, expected="what a run writes", hint="start again")
        ) from error


def undeclared(folder: str, declared: Collection[str]) -> list[str]:
    """Files in a folder that are no declared output, nor inside one."""
    if not os.path.isdir(folder):
        return []
    known = set(declared)
    found = [os.path.join(folder, name) for name in files_below(folder)]
    return sorted(path for path in found if path not in known and not _inside(path, known))


def _inside(path: str, folders: set[str]) -> bool:
    parent = os.path.dirname(path)
    while parent:
        if parent in folders:
            return True
        parent = os.path.dirname(parent)
    return False
