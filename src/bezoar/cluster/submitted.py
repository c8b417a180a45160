"""A record of the jobs that were submitted from this folder, so that a run after a killed one finds them again."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bezoar.cache import CacheError, foreign
from bezoar.cache.job import read_job, read_run
from bezoar.errors import problem

RECORD = Path(".snakemake/bezoar-slurm.jsonl")


@dataclass(frozen=True)
class Submission:
    """A job in SLURM's queue.

    Attributes:
        name: Its name in SLURM, which all jobs of a run share.
        number: Its job id.
        plans: What it makes: a digest of the plan, by the first output of each of its steps.
        log: Path of its log.
    """

    name: str
    number: str
    plans: dict[str, str]
    log: str

    def makes(self, plans: dict[str, str]) -> bool:
        """Whether it makes all of these plans' outputs, by the same plans."""
        return plans.items() <= self.plans.items()

    def line(self) -> str:
        """Its line in the record."""
        return json.dumps(asdict(self)) + "\n"

    def record(self) -> None:
        """Write it down."""
        with RECORD.open("a", encoding="utf-8") as file:
            file.write(self.line())


def plans(outputs: Iterable[str]) -> dict[str, str]:
    """The plans for steps with these first outputs; two are equal if inputs, values, code and command are."""
    found = {}
    for output in outputs:
        job = read_job(output)
        words = repr((job.command, job.lookup, asdict(job.step), read_run().prints[job.step.script])) if job else ""
        found[output] = hashlib.sha256(words.encode()).hexdigest()
    return found


def under_way() -> list[Submission]:
    """The jobs of earlier runs that SLURM still has, waiting or running; records of others are removed.

    Raises:
        CacheError: SLURM doesn't answer.
    """
    recorded: dict[str, Submission] = {}
    with suppress(FileNotFoundError):
        for line in RECORD.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(foreign.Malformed):  # a line that a kill cut short
                one = _submission(foreign.from_json(line.encode()))
                recorded[one.number] = one
    alive = [recorded.get(number) or Submission(name, number, {}, "") for name, number in _queued(recorded.values())]
    if recorded:
        partial = RECORD.with_name(f"{RECORD.name}.partial")
        partial.write_text("".join(one.line() for one in alive), encoding="utf-8")
        os.replace(partial, RECORD)
    return alive


def _submission(found: Any) -> Submission:
    data = foreign.table(found, *(one.name for one in fields(Submission)))
    plans = {output: foreign.text(plan) for output, plan in foreign.table(data["plans"]).items()}
    return Submission(foreign.text(data["name"]), foreign.text(data["number"]), plans, foreign.text(data["log"]))


def _queued(recorded: Iterable[Submission]) -> list[tuple[str, str]]:
    """Name and number of each job in the queue that has one of the recorded names."""
    names = ",".join(sorted({one.name for one in recorded}))
    if not names:
        return []
    said = ask(["squeue", "--noheader", "--name", names, "--format", "%j %i"])
    return [(name, number) for name, number in (line.split() for line in said.splitlines())]


def cancel(numbers: Iterable[str]) -> None:
    """Take jobs out of the queue, and stop those that run."""
    if found := list(numbers):
        ask(["scancel", *found])


def ask(command: list[str]) -> str:
    """The output of one of SLURM's programs.

    Raises:
        CacheError: It can't be run, or fails.
    """
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        raise CacheError(
            problem(
                "SLURM doesn't answer",
                found=f"{' '.join(command[:1])}: {said}",
                expected="SLURM's programs on the path, and a running controller",
                hint="try `squeue` and `sinfo`",
            )
        ) from error
