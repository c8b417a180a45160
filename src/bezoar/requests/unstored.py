"""Calls whose answers aren't stored, since they are too many and too long. So they have to be free."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from bezoar.errors import InputError, problem
from bezoar.logs import Bar
from bezoar.requests import dry_run, failures
from bezoar.requests.api import ApiBackend
from bezoar.requests.blocks import Budget
from bezoar.requests.calls import CHARS_PER_TOKEN, Call, decoded
from bezoar.requests.failures import Failure
from bezoar.requests.job import CurrentJob
from bezoar.requests.persistence import Persistent
from bezoar.requests.preflight import check
from bezoar.requests.prices import load_prices
from bezoar.requests.provider import Provider

Found = TypeVar("Found")


class Unstored(Persistent):
    """Sends calls and reads their answers, for one event loop."""

    after: ClassVar[str] = "nothing of this task is stored, and it starts again"

    async def answers(self, calls: list[Call], read: Callable[[Any, int], Found], what: str) -> list[Found]:
        """What is read from the answer to each call, in their order.

        Args:
            calls: The calls.
            read: Takes a response's JSON and the call's place.
            what: Names the work in the progress line.

        Raises:
            Stopped: A call has no answer that can be read.
        """
        tasks: list[asyncio.Task[Found]] = []
        try:
            async with self.stoppable():
                await self.persist(check, self.provider)
                with Bar(len(calls), what) as bar:
                    tasks = [asyncio.create_task(self._one(*one, read, bar)) for one in enumerate(calls)]
                    return await asyncio.gather(*tasks)
        except Failure as failure:
            raise self.stopped(failure) from failure
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.provider.close()

    async def _one(self, place: int, call: Call, read: Callable[[Any, int], Found], bar: Bar) -> Found:
        found = await self.persist(self._once, place, call, read)
        bar.advance()
        return found

    async def _once(self, place: int, call: Call, read: Callable[[Any, int], Found]) -> Found:
        async with self._limiter.slot(len(call.data) // CHARS_PER_TOKEN):
            if self.stopping:
                raise self.stopping
            self._look()
            try:
                text = await self.provider.send(call, self.connection.timeout)
            except Failure as failure:
                if failure.kind == "rate":
                    self._limiter.refused(failure.retry_after)
                raise
        self._limiter.answered()
        try:
            return read(decoded(text), place)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, AssertionError) as error:
            raise failures.of_answer("an answer without what was asked for", text) from error


def check_free(block: ApiBackend, budget: Budget) -> None:
    """Check that calls may be sent whose answers aren't stored.

    Raises:
        ValueError: They cost money, or only stored answers may be used.
        Counted: This process only counts requests.
    """
    if dry_run.wanted():
        raise dry_run.Counted
    price = load_prices(budget.prices).of(block.model, budget.prices)
    if not price.free:
        what, hint = f"{block.name}: answers would be paid for and not stored", "load the checkpoint in the job instead"
        raise InputError(problem(what, found=f"a price of {block.model} above 0", expected="a free server", hint=hint))
    if CurrentJob.current().replay:
        what, hint = f"{block.name}: its answers aren't stored, and BEZOAR_REPLAY_ONLY is set", "unset it"
        raise InputError(problem(what, found="requests to send", expected="none", hint=hint))


def unstored(provider: Provider, block: ApiBackend) -> Unstored:
    """A new sender for one event loop."""
    return Unstored(provider, block.connection, CurrentJob.current())
