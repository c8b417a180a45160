"""Persistence: retries, limits on how fast requests go out, a server that moves, and the stop that ends them all."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ClassVar, ParamSpec, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential
from tenacity.stop import stop_base

from bezoar.errors import Stopped, problem
from bezoar.requests import EXIT_FATAL
from bezoar.requests.blocks import Connection
from bezoar.requests.failures import DETAIL, Failure
from bezoar.requests.job import CurrentJob
from bezoar.requests.provider import Provider
from bezoar.requests.rate_limit import ConcurrencyLimiter

Given = ParamSpec("Given")
Found = TypeVar("Found")

MOST_TRANSIENT = 6  # tries of a call that fails for transient reasons
backoff = wait_random_exponential(multiplier=0.5, max=30)  # seconds: below 0.5, 1, 2, ... 30
INTERRUPTED = 130  # as a shell reports SIGINT
SECONDS_BETWEEN_LOOKS = 1.0  # between checks whether another job has halted the run


class Persistent:
    """Sends to one provider, again if need be.

    Attributes:
        after: What is left of the work when it stops; for messages.
        stopping: Why nothing more may be sent; None while calls may be sent.
    """

    after: ClassVar[str] = "answers so far are stored"

    def __init__(self, provider: Provider, connection: Connection, job: CurrentJob) -> None:
        self.provider, self.connection, self.job = provider, connection, job
        self.stopping: Stopped | None = None
        allowed = connection.requests_per_minute, connection.tokens_per_minute
        self._limiter = ConcurrencyLimiter(connection.concurrency, *allowed, pause=self.pause)
        self._stopped = asyncio.Event()
        self._looked = 0.0
        self._finding, self._away = asyncio.Lock(), 0.0  # seconds without the self-hosted server

    @asynccontextmanager
    async def stoppable(self) -> AsyncIterator[None]:
        """On SIGTERM or the first Ctrl-C, send nothing more, but wait for answers in flight: they are paid for."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)

        def stop(number: int) -> None:
            self.stop(Stopped(f"interrupted; {self.after}", INTERRUPTED))
            if number == signal.SIGINT:  # a second Ctrl-C ends at once; SIGTERM comes from several parents
                loop.remove_signal_handler(number)

        for number in signals:
            loop.add_signal_handler(number, stop, number)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def stop(self, why: Stopped) -> None:
        """Send nothing more."""
        self.stopping = self.stopping or why
        self._stopped.set()

    def stopped(self, failure: Failure) -> Stopped:
        """The error that ends the job, or the whole run, because of a failure."""
        self.hide_key(failure)
        cure = f"check {self.connection.api_key_env} and the model's name"
        if failure.kind in ("rate", "transient"):
            cure = "start again when its server works"
        why = problem(
            f"{self.provider.model}: nothing more is sent",
            found=failure,
            expected=f"an answer within {self.connection.deadline:g} s",
            hint=f"{cure}; {self.after}",
        )
        if failure.kind not in ("fatal", "forbidden"):
            return Stopped(why)
        self.job.halt(why)
        return Stopped(why, EXIT_FATAL)

    async def persist(self, what: Callable[Given, Awaitable[Found]], *given: Given.args, **more: Given.kwargs) -> Found:
        """The result of a function, with retries as its failures allow; raises the last failure."""
        failures = _Failures(self._clock, self._clock() + self.connection.deadline)
        retrying = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, Failure) and error.kind in ("rate", "transient")),
            wait=failures.wait,
            stop=failures,
            sleep=self.pause,
            reraise=True,
        )

        async def once() -> Found:
            await self._find()
            try:
                return await what(*given, **more)
            except Failure as failure:
                if failure.status is None or failure.status >= 500:
                    self.provider.doubt()
                raise

        found: Found = await retrying(once)
        return found

    async def _find(self) -> None:
        """Find out where the server is; the clock of deadlines stands still meanwhile."""
        async with self._finding:
            began = time.monotonic()
            await self.provider.find(self.pause)
            self._away += time.monotonic() - began

    def _clock(self) -> float:
        return time.monotonic() - self._away

    def hide_key(self, failure: Failure) -> None:
        """Remove the key, which a server may repeat, from a failure's message, then shorten it."""
        for key in self.provider.hidden():
            failure.detail = failure.detail.replace(key, "[key]")
        failure.detail = failure.detail[:DETAIL]

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked > SECONDS_BETWEEN_LOOKS:
            self._looked = now
            self.job.check_halt()

    async def pause(self, seconds: float) -> None:
        """Wait; raises Stopped as soon as nothing more may be sent."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            return
        assert self.stopping
        raise self.stopping


class _Failures(stop_base):
    """The failures of one call: when to give up, and how long to wait after each."""

    def __init__(self, clock: Callable[[], float], until: float) -> None:
        self.count = 0
        self._clock, self._until = clock, until

    def wait(self, state: RetryCallState) -> float:
        failure = _failure(state)
        self.count += failure.kind == "transient"
        return max(backoff(state), failure.retry_after or 0.0)

    def __call__(self, state: RetryCallState) -> bool:
        return self.count >= MOST_TRANSIENT or self._clock() + state.upcoming_sleep >= self._until


def _failure(state: RetryCallState) -> Failure:
    failure = state.outcome.exception() if state.outcome else None
    assert isinstance(failure, Failure)
    return failure
