"""Sends calls: the budget, the ledger and the store."""

import asyncio
import secrets
import time
from dataclasses import replace

from bezoar.errors import Stopped, problem
from bezoar.logs import logger
from bezoar.requests.blocks import Connection
from bezoar.requests.budget import Amount, BudgetReservation
from bezoar.requests.calls import CHARS_PER_TOKEN, Call
from bezoar.requests.failures import Failure
from bezoar.requests.job import CurrentJob
from bezoar.requests.ledger import Ledger
from bezoar.requests.persistence import Persistent
from bezoar.requests.prices import Price, Usage
from bezoar.requests.provider import Answer, Provider
from bezoar.requests.store import Store

MOST_UNSEEN = 10_000  # tokens that a server may use beyond a call's: a chat template's text, an answer that is too long
MOST_BYTES_A_TOKEN = 32  # an ordinary text has about 4
CANARY = "Reply with the word: yes"  # a request that shows whether the server answers anything
OF_THE_REQUEST = ("system", "response_format", "output_config")  # keys of a body that the canary leaves out
SHORTEST = 0.05  # seconds that a try gets at least, however long its call waited


class Sender(Persistent):
    """Sends calls to one provider, and keeps the ledger."""

    def __init__(
        self,
        provider: Provider,
        connection: Connection,
        job: CurrentJob,
        store: Store,
        reservation: BudgetReservation,
        price: Price,
    ) -> None:
        super().__init__(provider, connection, job)
        self.store, self.reservation, self.price = store, reservation, price
        self.ledger = Ledger(store.ledger, price, batch=connection.batch)
        self._settled = asyncio.Event()
        self._warned = False
        self._looking, self._answered = asyncio.Lock(), 0.0  # when the last answered call was sent

    def stop(self, why: Stopped) -> None:
        """Send nothing more."""
        super().stop(why)
        self._settled.set()

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

    async def _reserve(self, worst: Amount) -> None:
        while not self.stopping:
            if self.reservation.reserve(worst):
                return
            self._settled.clear()
            await self._settled.wait()
        raise self.stopping


def _fewest(text: bytes) -> int:
    """The fewest tokens that a text can have: one, unless it is empty."""
    return -(-len(text) // MOST_BYTES_A_TOKEN)


def _limit(call: Call) -> int:
    """Tokens that the answer may have."""
    return int(call.body.get("max_tokens") or call.body["max_completion_tokens"])
