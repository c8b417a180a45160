"""The room of a job: what it may read, write and connect to, and how a refusal is explained.

Under Landlock a job reads its inputs, code, packages and the system, and writes its outputs, its log and a folder of
its own. It needs neither root nor a container. Every node of a cluster decides for itself whether it can.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bezoar import installed
from bezoar.cache import CacheError, landlock
from bezoar.cache.environment import CERTIFICATES, HUB_FOLDERS, HUB_HOME, environment_of
from bezoar.cache.job import FOLDER, Network, PlannedJob, Run
from bezoar.cache.landlock import EVERYTHING, NOTHING, OF_FILES, READ, Right
from bezoar.errors import problem
from bezoar.text import show

VARIABLE = "BEZOAR_ISOLATION"
JOBS = "scratch/jobs"  # a folder for each job that runs, or that failed
LONGEST = 60  # bytes of TMPDIR: the path of a socket below it may have 108
DEVICES = "null zero full random urandom tty ptmx pts shm dri infiniband kfd dxg".split()
SYSTEM = "/usr /lib /lib32 /lib64 /bin /sbin /etc /opt /nix/store /gnu/store /sys /var/lib/ca-certificates".split()
LINKED = ("/etc/resolv.conf", "/etc/hosts", "/etc/localtime")  # they may be links out of these folders
MAKE_FOLDERS = Right.MAKE_DIR | Right.REMOVE_DIR  # a folder can be renamed, but nothing in it be read or written
WRITE_FILES = Right.WRITE_FILE | Right.MAKE_REG | Right.REMOVE_FILE | Right.TRUNCATE
FOLDERS = ("LD_LIBRARY_PATH", "CONDA_PREFIX", "CUDA_HOME", "CUDA_PATH", "ROCM_PATH", "VIRTUAL_ENV")  # in variables
MOST_SHOWN = 3
DONE = {"read": "reads", "module": "imports", "word": "names", "write": "writes", "connect": "connects to"}


class Mode(StrEnum):
    """How closely a job is held to its declaration."""

    ENFORCE = "enforce"
    OBSERVE = "observe"
    OFF = "off"


def mode() -> Mode:
    """The mode on this machine: the one in BEZOAR_ISOLATION, by default `enforce` where the kernel has Landlock.

    Raises:
        CacheError: The variable has no such mode, or `enforce` is impossible here.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return Mode.ENFORCE if landlock.abi() else Mode.OBSERVE
    if wanted not in list(Mode):
        raise CacheError(problem(f"{VARIABLE}: no such mode", found=wanted, expected=", ".join(Mode)))
    if wanted == Mode.ENFORCE and not landlock.abi():
        raise CacheError(
            problem(
                f"{VARIABLE}=enforce is impossible on {os.uname().nodename}",
                found="a system without Landlock",
                expected="Linux 5.13 or newer with Landlock",
                hint=f"unset {VARIABLE}: jobs are then observed here",
            )
        )
    return Mode(wanted)


def _tell(mode: Mode) -> None:
    """Say once in a run and on a machine that jobs are only observed, unless a person has asked for that."""
    if mode == Mode.OBSERVE and not os.environ.get(VARIABLE):
        with suppress(OSError), open(f"{FOLDER}/observed-{os.uname().nodename}", "x"):
            show("this system has no Landlock: jobs are observed, and not held to their declarations", file=sys.stderr)


@dataclass
class Room:
    """What a job may do; its folders exist.

    Attributes:
        rights: By real path, what is allowed there and below.
        tcp: Whether it may connect.
        environment: All its variables.
        folder: The job's own folder.
        made: Files and folders that were made for the job to write to; empty ones are removed when it has ended.
    """

    rights: dict[str, Right]
    tcp: bool
    environment: dict[str, str]
    folder: str
    made: list[str] = field(default_factory=list)

    def allow(self, path: str, right: Right) -> None:
        """Allow something at a path and below."""
        real = os.path.realpath(path)
        self.rights[real] = self.rights.get(real, NOTHING) | right

    def at(self, path: str) -> Right:
        """What is allowed at a path."""
        real, found = os.path.realpath(path), NOTHING
        while True:
            found |= self.rights.get(real, NOTHING)
            if real == "/":
                return found
            real = os.path.dirname(real)

    def restriction(self) -> Callable[[], None] | None:
        """A function that a child calls after the fork, which closes the room around it; None if nothing is enforced.

        Raises:
            CacheError: The mode is unknown or impossible, or the kernel refuses the rules.
        """
        wanted = mode()
        _tell(wanted)
        return enter(self) if wanted == Mode.ENFORCE else None

    def leave(self, *, succeeded: bool) -> None:
        """Remove what was made for the job and not used, and after a success its own folder."""
        for path in self.made:
            with suppress(OSError):  # it isn't empty, or the job has renamed it
                if os.path.islink(path):
                    os.unlink(path)
                elif os.path.isdir(path):
                    os.rmdir(path)
                elif not os.path.getsize(path):
                    os.unlink(path)
        if succeeded:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        for path in (f"{self.folder}/tmp", f"{self.folder}/cache", self.folder):
            with suppress(OSError):
                os.rmdir(path)
        if os.path.exists(self.folder):
            show(f"its temporary files stay in {os.path.relpath(self.folder)}", file=sys.stderr)


def of_job(
    job: PlannedJob,
    run: Run,
    more: dict[str, str],
    *,
    reads: Iterable[str] = (),
    writes: Iterable[str] = (),
) -> Room:
    """The room of a planned job; its folders are made.

    Args:
        job: The job.
        run: Its run.
        more: Variables of the environment for this job.
        reads: Further paths that it may read, such as a trace's hook.
        writes: Further paths that it may write, such as a trace's log.
    """
    folder = os.path.abspath(f"{JOBS}/{hashlib.sha256(job.step.name.encode()).hexdigest()[:12]}")
    network = job.around.network
    names = network.variables if network else None
    room = Room({}, network is not None, environment_of(more, network=names, folder=folder), folder)
    _furnish(room)
    for path in (*_system(), *_packages(), *_programs(job.command), *_code(job, run), run.params, *reads):
        _allow_outside(room, path)
    for path in job.step.inputs:
        _allow_input(room, path, run.cache)
    _allow_outputs(room, job)
    for path in _work_folders(job.command):
        _place(room, path)
    for path in writes:
        room.allow(path, EVERYTHING)
    if network:
        _allow_network(room, network)
    return room


def _furnish(room: Room) -> None:
    """Make the job's own folder; temporary files of an earlier try are removed, caches stay."""
    shutil.rmtree(f"{room.folder}/tmp", ignore_errors=True)
    for name in ("tmp", "cache"):
        os.makedirs(f"{room.folder}/{name}", exist_ok=True)
    room.allow(room.folder, EVERYTHING)
    if len(os.fsencode(room.environment["TMPDIR"])) > LONGEST:
        _shorten(room)
    for name in DEVICES:
        room.allow(f"/dev/{name}", EVERYTHING if name in ("shm", "pts") else OF_FILES | READ)
    for path in Path("/dev").glob("nvidia*"):
        room.allow(str(path), OF_FILES | READ)
    room.allow("/proc", READ | Right.WRITE_FILE)  # threads write their names there


def _shorten(room: Room) -> None:
    """Give the folder for temporary files a short path, by a link."""
    import tempfile

    parent = tempfile.mkdtemp(prefix="bezoar-")
    link = os.path.join(parent, "tmp")
    os.symlink(room.environment["TMPDIR"], link)
    room.environment["TMPDIR"] = link
    room.made += [link, parent]


def _system() -> Iterator[str]:
    """Folders of the system, and those where the linker and this process have found libraries."""
    yield from SYSTEM
    yield from LINKED
    yield from map(str, Path("/run").glob("nvidia*"))
    for name in FOLDERS:
        yield from filter(os.path.isabs, os.environ.get(name, "").split(os.pathsep))
    with suppress(OSError):
        texts = [path.read_text(errors="replace") for path in Path("/etc/ld.so.conf.d").glob("*.conf")]
        yield from filter(os.path.isabs, "\n".join(texts).split())
        maps = Path("/proc/self/maps").read_text(errors="replace").splitlines()
        yield from {os.path.dirname(line[line.index("/") :]) for line in maps if line.endswith(".so") or ".so." in line}


def _packages() -> Iterator[str]:
    """Where this Python finds modules: its environment, and folders of editable installs."""
    yield from {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    yield from filter(None, sys.path)
    yield str(Path(installed.__file__).parent)
    for name, module in list(sys.modules.items()):
        if name.startswith("__editable__"):  # setuptools' finders, which map names to folders
            yield from map(str, getattr(module, "MAPPING", {}).values())


def _programs(command: list[str]) -> Iterator[str]:
    """The folders of programs, and the environments that they are in."""
    folders = [*os.environ.get("PATH", "").split(os.pathsep)]
    if found := shutil.which(command[0]):
        yield found
        folders += [os.path.dirname(found), os.path.dirname(os.path.realpath(found))]
    for folder in filter(None, folders):
        yield folder
        above = os.path.dirname(folder)
        if any(os.path.exists(f"{above}/{mark}") for mark in ("pyvenv.cfg", "conda-meta")):
            yield above


def _code(job: PlannedJob, run: Run) -> Iterator[str]:
    """The script and what it imports, with the folders of scripts and modules, of the project and of the package."""
    yield job.step.script
    yield from run.closures.get(job.step.script, ())
    for root in dict.fromkeys((".", str(installed.ROOT))):
        yield from (f"{root}/scripts", f"{root}/src")


def _allow_outside(room: Room, path: str) -> None:
    """Let a job read a folder, without the project if that is in it: of its parents, what else they hold."""
    real, project = os.path.realpath(path), os.getcwd()
    if project != real and not project.startswith(real.rstrip("/") + "/"):
        room.allow(real, READ)
        return
    below = os.path.relpath(project, real).split("/")[:-1]
    for name in below:  # such as /usr/src/project: all of /usr but /usr/src
        for entry in os.listdir(real):
            if entry != name:
                room.allow(os.path.join(real, entry), READ)
        real = os.path.join(real, name)


def _allow_input(room: Room, path: str, cache: str) -> None:
    """Let a job read an input and find it in its folder; links of DVC lead into its cache."""
    room.allow(path, READ)
    room.allow(os.path.dirname(path) or ".", Right.READ_DIR)
    objects = os.path.realpath(os.path.join(cache, "files"))
    for parent, _, files in os.walk(path):
        for name in files:
            one = os.path.join(parent, name)
            if os.path.islink(one) and os.path.realpath(one).startswith(objects + "/"):
                room.allow(one, READ)


def _allow_outputs(room: Room, job: PlannedJob) -> None:
    """Let a job write its outputs: in folders of its own, or as a file in a folder of others, which it can't read."""
    step = job.step
    folders = sorted({*job.around.folders, *filter(None, [step.folder])})
    for folder in folders:
        _place(room, folder)
        _place(room, _partial(folder))  # bezoar.files.artifact writes there and renames it
        room.allow(os.path.dirname(folder) or ".", MAKE_FOLDERS)
    for path in step.outputs:
        if not any(path == folder or path.startswith(f"{folder}/") for folder in folders):
            _place(room, _partial(path), is_folder=False)  # bezoar.files.whole does the same
            room.allow(os.path.dirname(path) or ".", WRITE_FILES)
    for log in job.around.logs:
        _place(room, log, is_folder=False)
    if costs := room.environment.get("BEZOAR_COSTS"):
        _place(room, costs, is_folder=False)


def _partial(path: str) -> str:
    parent, name = os.path.split(path)
    return os.path.join(parent, f".{name}.partial")


def _place(room: Room, path: str, *, is_folder: bool = True) -> None:
    """Make a file or folder if there is none, since a rule needs one, and let the job write it."""
    if os.path.islink(path) and not is_folder:
        os.unlink(path)  # a commit may have put it there, so that a build overwrites its target
    if not os.path.lexists(path):
        os.makedirs(path if is_folder else os.path.dirname(path) or ".", exist_ok=True)
        if not is_folder:
            open(path, "a").close()
        room.made.append(path)
    room.allow(path, EVERYTHING)


def _work_folders(command: list[str]) -> Iterator[str]:
    """The folders below scratch/ that the command names, such as `--work scratch/train/sft`; they outlive the job."""
    for word in command:
        path = os.path.normpath(word.rpartition("=")[2])
        if path.startswith("scratch/"):
            yield path


def _allow_network(room: Room, network: Network) -> None:
    """Let a job read and write what it needs to reach others."""
    for path in (*network.reads, *(room.environment[name] for name in CERTIFICATES if name in room.environment)):
        room.allow(path, READ)
    hub = HUB_FOLDERS if HUB_HOME in network.variables else ()
    for path in (*network.writes, *(room.environment[name] for name in hub if name in room.environment)):
        _place(room, path)


def enter(room: Room) -> Callable[[], None]:
    """A function that a child calls after the fork (`preexec_fn`), which closes the room with Landlock.

    Raises:
        CacheError: The kernel has Landlock, but refuses the rules.
    """
    try:
        return landlock.restriction(room.rights, tcp=room.tcp)
    except OSError as error:
        raise CacheError(
            problem(
                "a job can't be isolated",
                found=error,
                expected="a kernel that takes Landlock's rules",
                hint=f"{VARIABLE}=observe runs jobs without them",
            )
        ) from error


def refused(how: str, what: str | Sequence[object], room: Room) -> bool:
    """Whether the room refuses an attempt.

    Args:
        how: A kind of a trace's log: `read`, `module`, `word`, `write` or `connect`.
        what: A path; for `connect`, an address of the socket module.
        room: The room.
    """
    if not isinstance(what, str):
        return how == "connect" and not room.tcp
    if how == "connect":
        return False  # a socket of this machine has a path
    if how == "write":
        return Right.WRITE_FILE not in room.at(what)
    return os.path.exists(what) and (Right.READ_DIR if os.path.isdir(what) else Right.READ_FILE) not in room.at(what)


def explain(attempts: Iterable[tuple[str, str | Sequence[object]]], room: Room, rule: str) -> str | None:
    """What a job tried that its rule doesn't declare, and the line to add; None if there is nothing.

    Args:
        attempts: How and what, as `refused` takes them.
        room: The job's room.
        rule: Its rule.
    """
    found = list(dict.fromkeys(_attempt(how, what) for how, what in attempts if refused(how, what, room)))
    if not found:
        return None
    how, what = min(found, key=lambda one: one[1].startswith("/"))  # in the project first
    return problem(
        f"rule {rule} {DONE[how]} {what}, which it doesn't declare",
        found="; ".join(f"{DONE[how]} {what}" for how, what in found[:MOST_SHOWN])
        + (f"; and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""),
        expected="its inputs, outputs, script, packages and $TMPDIR only",
        hint=_way_out(how, what, rule),
    )


def _attempt(how: str, what: str | Sequence[object]) -> tuple[str, str]:
    if not isinstance(what, str):
        return how, ":".join(map(str, what[:2]))
    real = os.path.abspath(what)
    inside = real.startswith(os.getcwd() + "/")
    return how, os.path.relpath(real) if inside else real


def _way_out(how: str, what: str, rule: str) -> str:
    if how == "connect":
        return f'in the Snakefile, graph.attach(..., network={{"{rule}": lambda wildcards: Network()}})'
    if how == "write":
        return f'rule {rule}: output: extra="{what}", or write below $TMPDIR'
    return f'rule {rule}: input: extra="{what}"' + (" (or copy it into the project)" if what.startswith("/") else "")
