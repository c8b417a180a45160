"""The plan of a run: written once by Snakemake's process, read by the process of each job."""

import json
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from bezoar.cache import CacheError, foreign
from bezoar.cache.action import MADE, Action
from bezoar.cache.hashing import Content, content_of, files_below
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
        form: Digest of its command, its inputs in order under their roles, and its outputs, with `{shard}` and so on in
            place of the job's own part: equal for all parts of a block, whatever their number.
        outputs: Paths of all outputs.
        folder: A folder of this job alone, if its outputs are in one.
        outs: For each output, the path that DVC stores: itself, or a folder around it.
        params: Values by dotted name of params.yaml.
        values: Digest of these values, with types.
        environment: Values of the environment variables that results depend on.
        script: Path of its script.
    """

    rule: str
    block: tuple[str, ...]
    parts: int
    inputs: tuple[str, ...]
    form: str
    outputs: tuple[str, ...]
    folder: str | None
    outs: tuple[str, ...]
    params: dict[str, Any]
    values: str
    environment: dict[str, str]
    script: str

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

    @property
    def declared(self) -> dict[str, str]:
        """The environment variables that results depend on."""
        return {name: value for name, value in self.environment.items() if not name.startswith(MADE)}

    def action(self, inputs: dict[str, str]) -> Action:
        """The step's action, given the contents (MD5 by path) of its inputs."""
        return Action(
            self.rule, self.form, inputs, self.values, self.environment, sorted(self.outputs), params=self.params
        )


class Known(NamedTuple):
    """A job in dvc.lock: MD5 by path of its inputs, contents of its outputs, digest of its trace."""

    inputs: dict[str, str]
    outputs: dict[str, Content]
    trace: str


@dataclass(frozen=True)
class Network:
    """What a job needs to reach others over a network; no result depends on it.

    Attributes:
        variables: Names of environment variables with keys and addresses.
        reads: Files that only such jobs read.
        writes: Folders that such jobs share.
        local: Whether it only connects processes of its own, on one machine. It gets none of the above.
    """

    variables: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    local: bool = False

    def __or__(self, other: "Network") -> "Network":
        """What a job needs that has both needs."""
        return Network(
            self.variables + other.variables,
            self.reads + other.reads,
            self.writes + other.writes,
            local=self.local and other.local,
        )


@dataclass(frozen=True)
class Surroundings:
    """What a job touches beside its inputs; it isn't part of the key.

    Attributes:
        folders: Its outputs that are folders.
        logs: Its log files.
        network: What it needs to reach others; None for a job that connects to nobody.
        given: Its inputs that no job makes.
    """

    folders: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    network: Network | None = None
    given: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedJob:
    """A step that a run plans to run.

    Attributes:
        command: The command after `bezoar exec` in the rule's shell line.
        lookup: False if the user forced the rule: it runs even if there is a proof.
        known: Records in dvc.lock for this job with the same form and values.
        around: What it touches beside its inputs.
        together: Names of the planned jobs that may be made in its process, too.
    """

    step: Step
    command: list[str]
    lookup: bool
    known: list[Known]
    around: Surroundings = Surroundings()
    together: tuple[str, ...] = ()

    def write(self) -> None:
        """Write the plan for the job's process."""
        path = _path(self.step.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, ensure_ascii=False, default=str)  # values are there for messages

    def end(self) -> None:
        """Note that the outputs are complete, and for a forced job, that it has run."""
        if not self.lookup:
            with open(f"{FOLDER}/forced.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(self.step.name) + "\n")


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
            together=foreign.texts(data["together"]),
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
        form=foreign.sha256(data["form"]),
        outputs=outputs,
        folder=None if data["folder"] is None else foreign.text(data["folder"]),
        outs=foreign.texts(data["outs"]),
        params=foreign.table(foreign.plain(data["params"])),
        values=foreign.sha256(data["values"]),
        environment=_texts_by_name(data["environment"]),
        script=foreign.text(data["script"]),
    )


def _around(found: Any) -> Surroundings:
    data = foreign.table(found, *(one.name for one in fields(Surroundings)))
    network = None
    if data["network"] is not None:
        given = foreign.table(data["network"], *(one.name for one in fields(Network)))
        variables, reads, writes = (foreign.texts(given[name]) for name in ("variables", "reads", "writes"))
        network = Network(variables, reads, writes, foreign.truth(given["local"]))
    return Surroundings(
        foreign.texts(data["folders"]), foreign.texts(data["logs"]), network, foreign.texts(data["given"])
    )


def _known(found: Any) -> Known:
    values = foreign.array(found)
    if len(values) != 3:
        raise foreign.Malformed(f"{len(values)} values for inputs, outputs and a trace")
    inputs, made = map(foreign.table, values[:2])
    return Known(
        {path: foreign.content_md5(md5) for path, md5 in inputs.items()},
        {path: content_of(one) for path, one in made.items()},
        foreign.sha256(values[2]),
    )


def _texts_by_name(found: Any) -> dict[str, str]:
    return {name: foreign.text(value) for name, value in foreign.table(found).items()}


def clear_forced_runs() -> None:
    """Forget them: dvc.lock has their results."""
    with suppress(FileNotFoundError):
        os.unlink(f"{FOLDER}/forced.jsonl")


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
        prints: By script: the fingerprint of that code.
        made: What all jobs' proofs say of where they were made: user, commit and so on.
        identity: The run's name; all Snakemake runs of one `dvc repro` share it.
    """

    cache: str
    params: str
    remote: bool
    closures: dict[str, dict[str, str]]
    prints: dict[str, str]
    made: dict[str, str]
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
            prints=_texts_by_name(data["prints"]),
            made=_texts_by_name(data["made"]),
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
