"""The run of a process: all stages of one `dvc repro` are one run, though each starts its own Snakemake."""

import os
import time
from contextlib import suppress
from pathlib import Path

RUN_VARIABLE = "BEZOAR_RUN"
PROCESSES = Path("/proc")  # Linux only; elsewhere each stage is a run


def identity() -> str:
    """The run's name: BEZOAR_RUN, or a new one."""
    return os.environ.get(RUN_VARIABLE) or f"{os.getpid()}-{time.time_ns()}"


def of_dvc() -> str | None:
    """The run of the nearest DVC among parent processes: its id and start time; None without one."""
    return _nearest_dvc()[0]


def words_of_dvc() -> list[str]:
    """The command line of that process; empty without one."""
    return _nearest_dvc()[1]


def _nearest_dvc() -> tuple[str | None, list[str]]:
    with suppress(OSError):
        process = os.getppid()
        while process > 0:
            parent, began = _parent_and_start(process)
            words = (PROCESSES / str(process) / "cmdline").read_text(errors="replace").split("\0")
            if _is_dvc(words):
                return f"{process}-{began}", words
            process = parent
    return None, []


def _parent_and_start(process: int) -> tuple[int, str]:
    fields = (PROCESSES / str(process) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    return int(fields[1]), fields[19]  # proc(5), from the third field on; the second, a name, may contain spaces


def _is_dvc(words: list[str]) -> bool:
    """Whether a command is `dvc`, or Python with it as a script or module."""
    program, *rest = [Path(word).name for word in words]
    if program.startswith("python"):
        program = next((word for word in rest if not word.startswith("-")), "")
    return program == "dvc"
