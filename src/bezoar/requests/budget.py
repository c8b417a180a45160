"""The budget of a run. A request reserves its worst case before it is sent, and its response reports the usage.

Jobs of one run share the ceilings through a tally in the run's folder: what the jobs of each stage have spent or
reserved. A job changes it by a difference, under a lock, once for many requests; so what a change costs doesn't depend
on the number of jobs. A killed job's part stays in it.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bezoar.errors import Stopped, problem
from bezoar.requests import EXIT_BUDGET
from bezoar.requests.blocks import Budget, Ceiling

MILLION = 1_000_000
TALLY = "tally.json"
AHEAD = 16  # requests that a job reserves for at once, so that it rarely takes the lock


@dataclass(frozen=True)
class Amount:
    """Millionths of a dollar, and tokens."""

    micro: int = 0
    tokens: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.micro + other.micro, self.tokens + other.tokens)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.micro - other.micro, self.tokens - other.tokens)

    def __mul__(self, times: int) -> "Amount":
        return Amount(self.micro * times, self.tokens * times)

    def within(self, most: "Amount") -> bool:
        """Whether neither dollars nor tokens exceed another amount."""
        return self.micro <= most.micro and self.tokens <= most.tokens


NO_CEILING = Amount(2**62, 2**62)


def ceiling(block: Ceiling | None) -> Amount:
    """A ceiling of params.yaml as an amount."""
    if block is None:
        return NO_CEILING
    micro = NO_CEILING.micro if block.dollars is None else round(block.dollars * MILLION)
    return Amount(micro, NO_CEILING.tokens if block.tokens is None else block.tokens)


class BudgetReservation:
    """The spending of one job, below the ceilings of its run and its stage.

    Args:
        budget: The ceilings.
        stage: The job's stage.
        folder: Where the run's jobs write what they hold; None for a job outside of a run.
        approved: Dollars that were approved for the run, as another ceiling; without approval (None), that ceiling is
            `approve_above`.
    """

    def __init__(self, budget: Budget, stage: str, folder: Path | None, approved: float | None = None) -> None:
        self.run, self.stage = ceiling(budget.run), ceiling(budget.stages.get(stage))
        most = budget.approve_above if approved is None else approved
        if most is not None:
            self.run = Amount(min(self.run.micro, round(most * MILLION)), self.run.tokens)
        self.spent, self.reserved, self.held = Amount(), Amount(), Amount()
        self._folder, self._stage = folder, stage
        self._tally, self._counted = "", Amount()  # the tally's name, and this job's part of it

    def reserve(self, worst: Amount, ahead: int = AHEAD) -> bool:
        """Reserve for one request; False if it has to wait until requests in flight are settled.

        Args:
            worst: The most that it can use.
            ahead: How many requests of its size to reserve for at once, if the ceilings allow.

        Raises:
            Stopped: A ceiling is reached, even if the requests in flight cost nothing.
        """
        needed = self.spent + self.reserved + worst
        if not needed.within(self.held):
            self._take(needed, worst * (ahead - 1))
        if not needed.within(self.held):
            if self.reserved != Amount():
                return False
            raise Stopped(self._why(worst), EXIT_BUDGET)
        self.reserved += worst
        return True

    def settle(self, worst: Amount, used: Amount) -> None:
        """Replace a request's reservation by its usage."""
        self.reserved -= worst
        self.spent += used

    def close(self) -> None:
        """Release what wasn't spent for other jobs."""
        if self.held != Amount():
            with self._locked():
                self._hold(self.spent + self.reserved, self._stages())

    def _take(self, needed: Amount, more: Amount) -> None:
        """Reserve what is needed, and more if the ceilings allow."""
        with self._locked():
            stages = self._stages()
            run, stage = self._others(stages)
            for wanted in (needed + more, needed):
                if (run + wanted).within(self.run) and (stage + wanted).within(self.stage):
                    self._hold(wanted, stages)
                    return

    def _others(self, stages: dict[str, Amount]) -> tuple[Amount, Amount]:
        """What all other jobs of the run have reserved, and those of the same stage."""
        run = sum(stages.values(), Amount())
        return run - self._counted, stages.get(self._stage, Amount()) - self._counted

    def _stages(self) -> dict[str, Amount]:
        """What all jobs of each stage hold."""
        name, stages = secrets.token_hex(6), {}
        if self._folder:
            with suppress(FileNotFoundError):
                name, stages = json.loads((self._folder / TALLY).read_text())
        if name != self._tally:  # the first look, or a later run has removed the folder
            self._tally, self._counted = name, Amount()
        return {stage: Amount(*amount) for stage, amount in stages.items()}

    def _hold(self, amount: Amount, stages: dict[str, Amount]) -> None:
        """Replace this job's part of the tally."""
        self.held = amount
        if self._folder:
            stages[self._stage] = stages.get(self._stage, Amount()) - self._counted + amount
            data = {stage: [one.micro, one.tokens] for stage, one in stages.items()}
            partial = self._folder / f".{TALLY}.partial"
            partial.write_text(json.dumps([self._tally, data]))
            os.replace(partial, self._folder / TALLY)
            self._counted = amount

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._folder:
            yield
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)  # a lock of the file system holds on all machines that share it
            yield

    def _why(self, worst: Amount) -> str:
        run, stage = self._others(self._stages())
        found = []
        for what, most, others in (("run", self.run, run), (f"stage {self._stage}", self.stage, stage)):
            taken = others + self.spent
            if not (taken + worst).within(most):
                dollars = f"${taken.micro / MILLION:,.2f} of ${most.micro / MILLION:,.2f}"
                tokens = f"{taken.tokens:,} of {most.tokens:,} tokens"
                used = dollars if taken.micro + worst.micro > most.micro else tokens
                found.append(f"{used} of the {what} spent or reserved; a request may need another "
                             f"${worst.micro / MILLION:,.4f} and {worst.tokens:,} tokens")  # fmt: skip
        return problem(
            f"the budget is reached: {self._stage} sends nothing more",
            found="\n            ".join(found),
            expected="room below the ceilings of budget in params.yaml, and what was approved",
            hint="every answer so far is stored; raise the ceiling, or start a new run, and it continues",
        )
