"""Sends calls: retries, rate limits, the budget, the ledger, and the stop that ends them all."""

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import ParamSpec, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential
from tenacity.stop import stop_base

from bezoar.errors import Stopped, problem
from bezoar.logs import logger
from bezoar.requests import EXIT_FATAL
from bezoar.requests.blocks import Connection
from bezoar.requests.budget import Amount, BudgetReservation
from bezoar.requests.calls import CHARS_PER_TOKEN, Call
from bezoar.requests.failures import DETAIL, Failure
from bezoar.requests.job import CurrentJob
from bezoar.requests.ledger import Ledger
from bezoar.requests.prices import Price, Usage
from bezoar.requests.provider import Answer, Provider
from bezoar.requests.rate_limit import ConcurrencyLimiter
from bezoar.requests.store import Store

Given = ParamSpec("Given")
Found = TypeVar("Found")

MOST_UNSEEN = 10_000  # tokens that a server may use beyond a call's: a chat template's text, an answer that is too long
MOST_BYTES_A_TOKEN = 32  # an ordinary text has about 4
CANARY = "Reply with the word: yes"  # a request that shows whether the server answers anything
OF_THE_REQUEST = ("system", "response_format", "output_config")  # keys of a body that the canary leaves out
MOST_TRANSIENT = 6  # tries of a call that fails for transient reasons
backoff = wait_random_exponential(multiplier=0.5, max=30)  # seconds: below 0.5, 1, 2, ... 30
SHORTEST = 0.05  # seconds that a try gets at least, however long its call waited
INTERRUPTED = 130  # as a shell reports SIGINT
SECONDS_BETWEEN_LOOKS = 1.0  # between checks whether another job has halted the run


class Sender:
    """Sends calls to one provider, and keeps the ledger.

    Attributes:
        stopping: Why nothing more may be sent; None while calls may be sent.
    """

    def __init__(
        self,
        provider: Provider,
        connection: Connection,
        job: CurrentJob,
        store: Store,
        reservation: BudgetReservation,
        price: Price,
    ) -> None:
        self.provider, self.connection, self.job, self.store, self.reservation = (
            provider,
            connection,
            job,
            store,
            reservation,
        )
        self.price = price
        self.ledger = Ledger(store.ledger, price, batch=connection.batch)
        self.stopping: Stopped | None = None
        allowed = connection.requests_per_minute, connection.tokens_per_minute
        self._limiter = ConcurrencyLimiter(connection.concurrency, *allowed, pause=self.pause)
        self._settled, self._stopped = asyncio.Event(), asyncio.Event()
        self._looked = 0.0
        self._warned = False
        self._looking, self._answered = asyncio.Lock(), 0.0  # when the last answered call was sent
        self._finding, self._away = asyncio.Lock(), 0.0  # seconds without the self-hosted server

    @asynccontextmanager
    async def stoppable(self) -> AsyncIterator[None]:
        """On SIGTERM or the first Ctrl-C, send nothing more, but wait for answers in flight: they are paid for."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)

        def stop(number: int) -> None:
            self.stop(Stopped("interrupted; every answer so far is stored", INTERRUPTED))
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
        self._settled.set()

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
            hint=f"{cure}; answers so far are stored",
        )
        if failure.kind not in ("fatal", "forbidden"):
            return Stopped(why)
        self.job.halt(why)
        return Stopped(why, EXIT_FATAL)

    async def answer(self, call: Call) -> Answer:
        """The answer to a call; it is stored.

        Raises:
            Failure: The call is refused for good (`terminal`), or perhaps the key is (`forbidden`), or no try was
                answered in time.
            Stopped: Nothing more may be sent.
        """
        until = self._clock() + self.connection.deadline
        try:
            return await self.persist(self._once, call, until)
        except Failure as failure:
            if failure.kind in ("fatal", "stop"):
                raise self.stopped(failure) from failure
            raise

    async def is_well(self, call: Call, since: float | None = None) -> bool:
        """Whether the server answers other calls. If so, a failed call is itself at fault, not the server or the key.

        If no call sent since was answered, this sends one that no server has a reason to refuse. It is live, and
        counted and stored like any other.

        Args:
            call: The call that failed.
            since: When it failed, by `time.monotonic`; None for a call of a batch.

        Raises:
            Stopped: Nothing more may be sent.
        """
        async with self._looking:
            if since is not None and self._answered > since:
                return True
            body = {name: value for name, value in call.body.items() if name not in OF_THE_REQUEST}
            body["messages"] = [{"role": "user", "content": CANARY}]
            sample, batch = f"canary {secrets.token_hex(8)}", self.ledger.batch
            self.ledger.batch = False
            try:
                await self.answer(replace(call, body=body, sample=sample, ordered=False))
            except Failure:
                return False
            finally:
                self.ledger.batch = batch
            return True

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

    def worst(self, prompt: int, limit: int) -> Amount:
        """The most that calls with this size and token limit can use: a token per byte, at the highest price."""
        return Amount(self.price.micro(self._most_expensive(prompt, limit), batch=self.ledger.batch), prompt + limit)

    def _most_expensive(self, prompt: int, limit: int) -> Usage:
        uses = [Usage(completion=limit, **{"prompt": 0, kind: prompt}) for kind in ("prompt", "written", "written_1h")]
        return max(uses, key=lambda use: self.price.micro(use, batch=self.ledger.batch))

    def worst_of(self, call: Call) -> Amount:
        """The most that a call can use."""
        return self.worst(len(call.data), _limit(call))

    async def _once(self, call: Call, until: float) -> Answer:
        worst = self.worst_of(call)
        async with self._limiter.slot(len(call.data) // CHARS_PER_TOKEN + _limit(call)):
            self._look()
            await self._reserve(worst)
            used = worst  # for now: a request that was cut off may be billed
            try:
                began = time.monotonic()
                left = max(SHORTEST, until - self._clock())
                text = await self.provider.send(call, min(self.connection.timeout, left))
                answer = self.provider.read(text)
                used = self.take(call, answer, text)
                self._limiter.answered()
                self._answered = max(self._answered, began)
                return answer
            except Failure as failure:
                used = self.failed(call, failure, worst)
                if failure.kind == "rate":
                    self._limiter.refused(failure.retry_after)
                    if (failure.retry_after or 0.0) >= self.connection.deadline:
                        self.stop(self.stopped(failure))  # the other calls would have to wait as long
                elif failure.kind == "transient":
                    self._limiter.stumbled()
                raise
            finally:
                self.reservation.settle(worst, used)
                self._settled.set()

    def take(self, call: Call, answer: Answer, text: str) -> Amount:
        """Store an answer and enter it in the ledger; returns its usage, or the worst case if that isn't credible.

        Too few tokens count as a token for each byte, too many as the most that is credible.
        """
        self.store.add(call.key, {"request": call.body, "response": text})
        usage, prompt, limit = answer.usage, len(call.data), _limit(call)
        read = range(_fewest(call.said), prompt + MOST_UNSEEN + 1)
        written = range(_fewest(answer.text.encode()), limit + MOST_UNSEEN + 1)
        if not usage.negative and usage.read in read and usage.completion in written:
            return self.ledger.answered(call, answer)
        self._warn(usage, read, written)
        if usage.read >= read.stop or usage.completion >= written.stop:
            prompt, limit = read.stop - 1, written.stop - 1
        return self.ledger.answered(call, replace(answer, usage=self._most_expensive(prompt, limit)), believed=False)

    def _warn(self, usage: Usage, read: range, written: range) -> None:
        """Warn, once, of a usage that isn't credible."""
        if not self._warned:
            self._warned = True
            logger.warning(
                problem(
                    f"{self.provider.model}: reports a usage that can't be true",
                    found=usage,
                    expected=f"{read.start:,} to {read.stop - 1:,} tokens read, {written.start:,} to "
                    f"{written.stop - 1:,} written, and no count below 0",
                    hint='such an answer counts as the most expensive that it could be, and is marked "usage": "not '
                    f'believed" in {self.store.folder}/{self.job.stage}/*.ledger.jsonl',
                )
            )

    def failed(self, call: Call, failure: Failure, worst: Amount) -> Amount:
        """Enter a failure in the ledger; returns its possible usage."""
        self.hide_key(failure)
        return self.ledger.failed(call, failure, worst)

    def hide_key(self, failure: Failure) -> None:
        """Remove the key, which a server may repeat, from a failure's message, then shorten it."""
        for key in self.provider.hidden():
            failure.detail = failure.detail.replace(key, "[key]")
        failure.detail = failure.detail[:DETAIL]

    async def _reserve(self, worst: Amount) -> None:
        while not self.stopping:
            if self.reservation.reserve(worst):
                return
            self._settled.clear()
            await self._settled.wait()
        raise self.stopping

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


def _fewest(text: bytes) -> int:
    """The fewest tokens that a text can have: one, unless it is empty."""
    return -(-len(text) // MOST_BYTES_A_TOKEN)


def _limit(call: Call) -> int:
    """Tokens that the answer may have."""
    return int(call.body.get("max_tokens") or call.body["max_completion_tokens"])


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
