"""The plan of a run: written once by Snakemake's process, read by the process of each job."""

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
RUN_FILE = f"{FOLDER}/run.json"


@dataclass(frozen=True)
class Step:
    """A job of the graph as the cache sees it.

    Attributes:
        rule: The rule's name.
        block: The job's names in params.yaml: values of its wildcards, but for the inner ones.
        parts: Number of jobs of this rule and block: 1, or the number of shards or tasks.
        inputs: Paths of all inputs but the script.
        roles: Digest of the inputs' roles; equal for all parts of a block, whatever their number.
        outputs: Paths of all outputs.
        folder: A folder of this job alone, if its outputs are in one.
        outs: For each output, the path that DVC stores: itself, or a folder around it.
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
        """The path of the first output, which is unique."""
        return self.outputs[0]

    @property
    def part(self) -> str:
        """Name of the first output's folder, such as a shard's number."""
        return os.path.basename(os.path.dirname(self.name))

    @property
    def stage(self) -> str:
        """Name of the step's DVC stage."""
        return "-".join((self.rule, *self.block))

    def key(self, inputs: dict[str, str]) -> Key:
        """The step's key, given the contents (MD5 by path) of its inputs."""
        return Key(self.rule, inputs, self.roles, self.params, self.code, sorted(self.outputs))


@dataclass(frozen=True)
class Network:
    """What a job needs to reach others over a network; no result depends on it.

    Attributes:
        variables: Names of environment variables with keys and addresses.
        reads: Files that only such jobs read.
        writes: Folders that such jobs share.
    """

    variables: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What a job touches beside its inputs; it isn't part of the key.

    Attributes:
        folders: Its outputs that are folders.
        logs: Its log files.
        network: What it needs to reach others; None for a job that connects to nobody.
    """

    folders: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    network: Network | None = None


@dataclass(frozen=True)
class PlannedJob:
    """A step that a run plans to run.

    Attributes:
        command: The command after `bezoar exec` in the rule's shell line.
        lookup: False if the user forced the rule: it runs even if there is a proof.
        known: Proofs from dvc.lock for this job with the same parameters and code: MD5s of inputs, contents of outputs.
        around: What it touches beside its inputs.
    """

    step: Step
    command: list[str]
    lookup: bool
    known: list[tuple[dict[str, str], dict[str, Content]]]
    around: Surroundings = Surroundings()

    def write(self) -> None:
        """Write the plan for the job's process."""
        path = _path(self.step.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, ensure_ascii=False)

    def end(self) -> None:
        """Note that the outputs are complete, and for a forced job, that it has run."""
        if not self.lookup:
            with open(f"{FOLDER}/forced.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(self.step.name) + "\n")

    def proof(self, key: Key) -> Proof | None:
        """The proof of dvc.lock for a key, if any."""
        for inputs, outputs in self.known:
            if inputs == key.inputs:
                return Proof(key, outputs)
        return None


def read_job(output: str) -> PlannedJob | None:
    """The planned job with this first output; None if no run planned one."""
    try:
        data = foreign.table(foreign.from_json(foreign.read(_path(output))), *(one.name for one in fields(PlannedJob)))
        return PlannedJob(
            step=_step(data["step"]),
            command=list(foreign.texts(data["command"])),
            lookup=foreign.truth(data["lookup"]),
            known=[_known(one) for one in foreign.array(data["known"])],
            around=_around(data["around"]),
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


def _around(found: Any) -> Surroundings:
    data = foreign.table(found, *(one.name for one in fields(Surroundings)))
    network = None
    if data["network"] is not None:
        given = foreign.table(data["network"], *(one.name for one in fields(Network)))
        network = Network(*(foreign.texts(given[one.name]) for one in fields(Network)))
    return Surroundings(foreign.texts(data["folders"]), foreign.texts(data["logs"]), network)


def _known(found: Any) -> tuple[dict[str, str], dict[str, Content]]:
    """A job in dvc.lock: MD5s of its inputs and contents of its outputs."""
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
    """Names of the forced steps that succeeded in the last run."""
    try:
        with open(f"{FOLDER}/forced.jsonl", encoding="utf-8") as file:
            return [foreign.text(foreign.from_json(line.encode())) for line in file if line.endswith("\n")]
    except (FileNotFoundError, UnicodeDecodeError, foreign.Malformed):
        return []


def _path(output: str) -> str:
    return f"{FOLDER}/jobs/{output}.json"


@dataclass(frozen=True)
class Run:
    """What the jobs of a run share.

    Attributes:
        cache: Folder of the DVC cache.
        params: The run's copy of the whole recipe, which later edits of params.yaml don't change.
        remote: Whether a DVC remote is configured.
        closures: By script: MD5 of the script and of each project file that it imports.
        identity: The run's name; all Snakemake runs of one `dvc repro` share it.
    """

    cache: str
    params: str
    remote: bool
    closures: dict[str, dict[str, str]]
    identity: str

    def write(self) -> None:
        """Write it for the jobs' processes."""
        os.makedirs(FOLDER, exist_ok=True)
        partial = f"{RUN_FILE}.partial"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
        os.replace(partial, RUN_FILE)


def read_run() -> Run:
    """The current run.

    Raises:
        CacheError: There is none, or its file isn't one.
    """
    try:
        data = foreign.table(foreign.from_json(foreign.read(RUN_FILE)), *(one.name for one in fields(Run)))
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
            problem(f"{RUN_FILE}: not a run", found=error, expected="what a run writes", hint="start again")
        ) from error


def undeclared(folder: str, declared: Collection[str]) -> list[str]:
    """Files in a folder that aren't declared outputs or parts of one."""
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
