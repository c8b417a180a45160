"""The budget of a run. A request reserves its worst case before it is sent, and its response reports the usage.

Jobs of one run share the ceilings through small files in the run's folder, one for each job: what the job has spent or
reserved. A lock guards changes; a job takes it once for many requests.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bezoar.errors import Stopped, problem
from bezoar.requests import EXIT_BUDGET
from bezoar.requests.blocks import Budget, Ceiling

MILLION = 1_000_000
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
        self._folder = folder
        self._file = folder / f"{stage}.{secrets.token_hex(6)}.json" if folder else None
        self._stage = stage

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
        if self._file and self.held != Amount():
            with self._locked():
                self.held = self.spent + self.reserved
                self._write(self.held)

    def _take(self, needed: Amount, more: Amount) -> None:
        """Reserve what is needed, and more if the ceilings allow."""
        with self._locked():
            run, stage = self._others()
            for wanted in (needed + more, needed):
                if (run + wanted).within(self.run) and (stage + wanted).within(self.stage):
                    self.held = wanted
                    self._write(wanted)
                    return

    def _others(self) -> tuple[Amount, Amount]:
        """What all other jobs of the run have reserved, and those of the same stage."""
        run, stage = Amount(), Amount()
        for path in self._folder.glob("*.json") if self._folder else []:
            if path != self._file:
                amount = Amount(*json.loads(path.read_text()))
                run += amount
                if path.name.startswith(f"{self._stage}."):
                    stage += amount
        return run, stage

    def _write(self, amount: Amount) -> None:
        if self._file:
            partial = self._file.with_suffix(".partial")
            partial.write_text(json.dumps([amount.micro, amount.tokens]))
            os.replace(partial, self._file)

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
        run, stage = self._others()
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
