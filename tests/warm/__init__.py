"""Commands that start warm: forked from a process that has their imports, and otherwise as from a shell."""

import atexit
import os
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
COMMANDS = ("bezoar", "dvc", "snakemake")
LONGEST = 120.0  # seconds until the server has its imports, on a machine that is busy


@cache
def folder() -> Path:
    """A folder for the front of PATH, whose commands start warm; its server starts at the first call and ends with us.

    Raises:
        RuntimeError: The server ended before it was ready.
    """
    made = Path(tempfile.mkdtemp(prefix="warm-"))
    client = (HERE / "client.py").read_text()
    for name in COMMANDS:
        (made / name).write_text(f"#!{sys.executable} -IS\n{client}")
    (made / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')  # beside them, as in .venv/bin
    for name in (*COMMANDS, "python"):
        (made / name).chmod(0o755)
    environment = {name: os.environ[name] for name in ("HOME", "LANG", "PATH") if name in os.environ}
    words = (sys.executable, str(HERE / "server.py"), str(made / "server"))
    server = subprocess.Popen(words, env=environment | {"DVC_NO_ANALYTICS": "1"}, stdin=subprocess.DEVNULL)
    atexit.register(_stop, server)
    end = time.monotonic() + LONGEST
    while not (made / "server").exists():
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{HERE / 'server.py'} isn't ready: exit status {server.poll()}")
        time.sleep(0.02)
    return made


def path(before: str) -> str:
    """The value of PATH with the warm commands in front."""
    return os.pathsep.join([str(folder()), before])


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    server.wait()
