"""A program: holds Snakemake, DVC and the package imported, and becomes one of their commands for each that is asked.

A command that is started this way is a process of its own, forked from this one, with its own arguments, environment,
folder and streams. What it saves is the second that imports take; `tests/warm/client.py` is what asks.
"""

import atexit
import gc
import importlib
import importlib.machinery
import json
import os
import selectors
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, NoReturn

IMPORTED = (  # what the commands import at the latest when they run; a missing one costs its import at each start
    "bezoar.cache.accept",
    "bezoar.cache.ahead",
    "bezoar.cache.costs",
    "bezoar.cache.generated",
    "bezoar.cache.graph",
    "bezoar.cache.plan",
    "bezoar.cache.remote",
    "bezoar.cache.resolve",
    "bezoar.cache.verify",
    "bezoar.cli",
    "bezoar.recipe.load",
    "bezoar.steps.evaluate.gate",
    "bezoar.steps.evaluate.judgments",
    "dvc.cachemgr",
    "dvc.cli",
    "dvc.cli.parser",
    "dvc.commands.repro",
    "dvc.data_cloud",
    "dvc.lock",
    "dvc.repo",
    "dvc.repo.graph",
    "dvc.repo.index",
    "dvc.repo.plots",
    "dvc.repo.reproduce",
    "dvc.repo.stage",
    "dvc.scm",
    "dvc.stage.cache",
    "dvc.utils.strictyaml",
    "dvc_data.hashfile.db.local",
    "dulwich.ignore",
    "networkx",
    "numpy",
    "snakemake.cli",
    "snakemake.api",
    "snakemake.executors.local",
    "snakemake.report",
    "snakemake.report.html_reporter",
    "ruamel.yaml",
    "smart_open",
    "snakemake.storage",
    "yte",
)
COMMANDS = ("bezoar", "dvc", "snakemake")


def serve(address: str) -> str:
    """Answer requests until the file of the address is gone; returns in each forked child, with the command's name."""
    before = list(sys.path[1:])  # without this script's folder
    running: dict[int, socket.socket] = {}
    wake, woken = socket.socketpair()
    wake.setblocking(False)
    woken.setblocking(False)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen(64)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        os.rename(f"{address}.new", address)  # from here on it answers
        while os.path.exists(address):
            ready = {key.fileobj for key, _ in selector.select(timeout=5.0)}
            if woken in ready:
                woken.recv(4096)
                report(running)
            if listener in ready:
                connection, _ = listener.accept()
                request, streams = received(connection)
                if not (pid := os.fork()):
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for one in (connection, *running.values(), wake, woken):
                        one.close()
                    return become(request, streams, before)
                running[pid] = connection
                for number in streams:
                    os.close(number)
    sys.exit()


def report(running: dict[int, socket.socket]) -> None:
    """Send the exit status of ended commands to their clients."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as connection:
            connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request, and the three streams that came with it."""
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    size = int.from_bytes(head, "little")
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return json.loads(data), list(streams)


def become(request: dict[str, Any], streams: list[int], before: list[str]) -> str:
    """Take over a request's arguments, environment, folder and streams, as a process that just started has them."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    path = request["argv"][0]
    sys.argv = request["argv"]
    sys.executable = os.path.join(os.path.dirname(path), "python")
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    own = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    sys.path[:] = [os.path.dirname(path), *own, *before]
    tempfile.tempdir = None  # found by the environment
    sys.modules["snakemake.workflow"].Workflow._rundir = os.getcwd()  # type: ignore[attr-defined]  # found at import
    if importlib.machinery.PathFinder.find_spec("sitecustomize", own):
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    return os.path.basename(path)


def warm_up() -> dict[str, Any]:
    """The commands' functions by name, with what they import."""
    for module in IMPORTED:
        importlib.import_module(module)
    from snakemake.cli import get_argument_parser

    get_argument_parser()  # looks for plugins, which takes as long as most imports
    found = {one.name: one for one in entry_points(group="console_scripts") if one.name in COMMANDS}
    return {name: entry.load() for name, entry in found.items()}


def ended(command: Callable[[], object]) -> int:
    """Run a command as its script does; the exit status that Python would end with."""
    try:
        sys.exit(command())
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    return 1


def leave(status: int) -> NoReturn:
    """End this process with all that is due then, but without taking apart what is imported: that takes longest."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    commands = warm_up()
    gc.collect()
    gc.freeze()  # so that children share memory
    leave(ended(commands[serve(sys.argv[1])]))
