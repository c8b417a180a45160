"""What a planned job may read, write and connect to.

It reads its inputs, code, packages and the system, and writes its outputs, its log and a folder of its own.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from bezoar import installed
from bezoar.cache.environment import CERTIFICATES, HUB_FOLDERS, HUB_HOME, environment_of
from bezoar.cache.job import Network, PlannedJob, Run
from bezoar.cache.landlock import EVERYTHING, OF_FILES, READ, Right
from bezoar.cache.room import Room

JOBS = "scratch/jobs"  # a folder for each job that runs, or that failed
LONGEST = 60  # bytes of TMPDIR: the path of a socket below it may have 108
DEVICES = "null zero full random urandom tty ptmx pts shm dri infiniband kfd dxg".split()
SYSTEM = "/usr /lib /lib32 /lib64 /bin /sbin /etc /opt /nix/store /gnu/store /sys /var/lib/ca-certificates".split()
LINKED = ("/etc/resolv.conf", "/etc/hosts", "/etc/localtime")  # they may be links out of these folders
MAKE_FOLDERS = Right.MAKE_DIR | Right.REMOVE_DIR  # a folder can be renamed, but nothing in it be read or written
WRITE_FILES = Right.WRITE_FILE | Right.MAKE_REG | Right.REMOVE_FILE | Right.TRUNCATE
FOLDERS = ("LD_LIBRARY_PATH", "CONDA_PREFIX", "CUDA_HOME", "CUDA_PATH", "ROCM_PATH", "VIRTUAL_ENV")  # in variables


def of_job(
    job: PlannedJob,
    run: Run,
    more: dict[str, str],
    *,
    reads: Iterable[str] = (),
    writes: Iterable[str] = (),
    others: Iterable[PlannedJob] = (),
) -> Room:
    """The room of a planned job; its folders are made.

    Args:
        job: The job.
        run: Its run.
        more: Variables of the environment for this job.
        reads: Further paths that it may read, such as a trace's hook.
        writes: Further files that it may write, such as a trace's log.
        others: Jobs that are made in its process, too.
    """
    folder = os.path.abspath(f"{JOBS}/{hashlib.sha256(job.step.name.encode()).hexdigest()[:12]}")
    around = job.around.network
    network = None if around and around.local else around
    names = network.variables if network else None
    room = Room({}, network is not None, environment_of(more, network=names, folder=folder), folder)
    room.local = around is not None and around.local
    _furnish(room)
    for path in (*_system(), *_packages(), *_programs(job.command), *_code(job, run), run.params, *reads):
        _allow_outside(room, path)
    for one in (job, *others):
        for path in one.step.inputs:
            _allow_input(room, path, run.cache, given=path in one.around.given)
        _allow_outputs(room, one)
    for path in _work_folders(job.command):
        _place(room, path)
    for parent in {os.path.dirname(path) for path in run.closures.get(job.step.script, ())}:
        with suppress(OSError):  # a folder that this user may not write
            _place(room, f"{parent}/__pycache__")  # else each job compiles edited modules again
    for path in writes:
        _place(room, path, is_folder=False)
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
    home = os.path.expanduser("~")
    for folder in filter(None, folders):
        if f"{home}/".startswith(f"{os.path.realpath(folder).rstrip('/')}/"):
            continue  # all that a person has isn't a folder of programs
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
        with suppress(PermissionError):  # what can't be listed here stays closed
            for entry in os.listdir(real):
                if entry != name:
                    room.allow(os.path.join(real, entry), READ)
        real = os.path.join(real, name)


def _allow_input(room: Room, path: str, cache: str, *, given: bool) -> None:
    """Let a job read an input, and find it in its folder if that is in the project.

    Args:
        given: Whether no job makes it: then all links in it are followed, as its hash does. Those of an artifact are
            DVC's, and lead into its cache.
    """
    room.allow(path, READ)
    if os.path.abspath(path).startswith(os.getcwd() + "/"):
        room.allow(os.path.dirname(path) or ".", Right.READ_DIR)
    objects = os.path.realpath(os.path.join(cache, "files"))
    for parent, folders, files in os.walk(path, followlinks=given):
        for name in (*folders, *files):
            one = os.path.join(parent, name)
            if os.path.islink(one) and (given or os.path.realpath(one).startswith(objects + "/")):
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
    hub = HUB_FOLDERS if HUB_HOME in network.variables else ()
    reads = [*network.reads, *(room.environment[name] for name in CERTIFICATES if name in room.environment)]
    writes = [*network.writes, *(room.environment[name] for name in hub if name in room.environment)]
    for path in reads:
        room.allow(path, READ)
    for path in writes:
        os.makedirs(path, exist_ok=True)  # and it stays, if empty: other jobs have rights in this very folder
        room.allow(path, EVERYTHING)
    room.shared += reads + writes
