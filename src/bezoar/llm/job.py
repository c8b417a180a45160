"""Which job of which run asks, and whether the run was halted."""

import os
from dataclasses import dataclass
from pathlib import Path

from bezoar.llm import EXIT_FATAL, Stopped

SPENT = Path(".snakemake/bezoar/spent")  # of the run under way; a new run starts without it
HALTED = "halted"  # a file with the reason


@dataclass(frozen=True)
class Job:
    """Who asks.

    Attributes:
        stage: Name of its stage, such as `generate-lamini`.
        part: Its part of the stage, such as a shard.
        folder: Where the jobs of a run tell each other what they may spend; None for a script that is run by hand.
        replay: Whether nothing may be sent.
        approved: Dollars that were approved for the run.
    """

    stage: str
    part: str
    folder: Path | None = None
    replay: bool = False
    approved: float | None = None

    @classmethod
    def current(cls) -> "Job":
        """The job that this process is, by what `bezoar exec` set (BEZOAR_JOB), and by BEZOAR_REPLAY_ONLY.

        Raises:
            ValueError: BEZOAR_APPROVE isn't a number of dollars.
        """
        stage, _, part = os.environ.get("BEZOAR_JOB", "").partition("/")
        if not stage:
            return cls("by-hand", "0", replay=replaying())
        return cls(stage, part, SPENT, replaying(), approved())

    def halt(self, why: str) -> None:
        """Have all jobs of the run stop."""
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
    """The dollars in BEZOAR_APPROVE; None without it."""
    text = os.environ.get("BEZOAR_APPROVE")
    try:
        return float(text) if text else None
    except ValueError as error:
        raise ValueError(f"BEZOAR_APPROVE is not a number\n  found:    {text}\n  expected: dollars") from error
