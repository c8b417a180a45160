"""The job that this process is, its run, and whether the run was halted."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from bezoar.errors import InputError, Stopped, problem
from bezoar.requests import EXIT_FATAL

SPENT = Path(".snakemake/bezoar/spent")  # contains the current run's folder; a new run removes it
HALTED = "halted"  # a file with the reason


@dataclass(frozen=True)
class CurrentJob:
    """The job that this process is.

    Attributes:
        stage: Name of its stage, such as `generate-lamini`.
        part: Its part of the stage, such as a shard.
        folder: Where the jobs of a run share the budget; None for a script outside of a run.
        replay: Whether only stored answers may be used.
        approved: Dollars that were approved for the run.
    """

    stage: str
    part: str
    folder: Path | None = None
    replay: bool = False
    approved: float | None = None

    @classmethod
    def current(cls) -> "CurrentJob":
        """The job, from the variables BEZOAR_JOB, BEZOAR_RUN, BEZOAR_REPLAY_ONLY and BEZOAR_APPROVE.

        Raises:
            ValueError: BEZOAR_APPROVE isn't a number of dollars.
        """
        stage, _, part = os.environ.get("BEZOAR_JOB", "").partition("/")
        run = os.environ.get("BEZOAR_RUN")
        return cls(stage or "by-hand", part or "0", SPENT / run if stage and run else None, replaying(), approved())

    def halt(self, why: str) -> None:
        """Stop all jobs of the run."""
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / HALTED).write_text(why)

    def check_halt(self) -> None:
        """Raise Stopped if a job of the run has halted it."""
        if self.folder and (self.folder / HALTED).exists():
            why = (self.folder / HALTED).read_text()
            raise Stopped(f"{self.stage} sends nothing: another job of this run was refused\n{why}", EXIT_FATAL)


def replaying() -> bool:
    """Whether BEZOAR_REPLAY_ONLY is set: then nothing is sent."""
    return os.environ.get("BEZOAR_REPLAY_ONLY", "") not in ("", "0")


def approved() -> float | None:
    """The dollars in BEZOAR_APPROVE; None without it.

    Raises:
        ValueError: They aren't a number, or are below 0.
    """
    text = os.environ.get("BEZOAR_APPROVE")
    if not text:
        return None
    try:
        dollars = float(text)
    except ValueError:
        dollars = math.nan
    if not 0 <= dollars < math.inf:
        raise InputError(
            problem("BEZOAR_APPROVE is not a number of dollars", found=text, expected="0 or more, such as 40 or 2.5")
        )
    return dollars
