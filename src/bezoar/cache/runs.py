"""Which run a process belongs to: all stages that one `dvc repro` makes are one, each a Snakemake of its own."""

import os
import time
from contextlib import suppress
from pathlib import Path

RUN = "BEZOAR_RUN"
PROCESSES = Path("/proc")  # Linux alone has it; elsewhere each stage is a run


def identity() -> str:
    """What names the run: BEZOAR_RUN, or else something new."""
    return os.environ.get(RUN) or f"{os.getpid()}-{time.time_ns()}"


def of_dvc() -> str | None:
    """The run of the nearest process above this one that is DVC: its number and when it began; None without one."""
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
    return int(fields[1]), fields[19]  # from the third on, as proc(5) counts them: a name may hold spaces


def _is_dvc(words: list[str]) -> bool:
    """Whether a command is `dvc`, or Python that runs it as a script or by `-m`."""
    program, *rest = [Path(word).name for word in words]
    if program.startswith("python"):
        program = next((word for word in rest if not word.startswith("-")), "")
    return program == "dvc"
