"""How fast requests go out: a limit on those in flight, which adapts to the server, and limits per minute."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

START = 50  # requests in flight at first
FEWEST = 1
GROWTH = 2  # more in flight for each answer until the first 429: three times as many each round
STEP = 0.05  # of the limit, once a round after that
SHRINK = 0.8  # once for each episode of 429
COOL_DOWN = 15.0  # seconds in which further 429 count as the same episode
# The last four are from inspect_ai's documentation.


class ConcurrencyLimiter:
    """Limits requests in flight: more while answers come, fewer after a 429.

    Additive increase, multiplicative decrease (Chiu and Jain 1989), after a fast start.

    Args:
        most: Most requests in flight.
        per_minute: Most requests per minute; None for no limit.
        tokens_per_minute: Most tokens per minute; None for no limit.
        clock: Seconds; tests pass their own.
        pause: Waits for a number of seconds; may raise if nothing more may be sent.
    """

    def __init__(
        self,
        most: int,
        per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.most, self.limit = most, float(min(START, most))
        self.flying = 0
        self._seconds = 60 / per_minute if per_minute else 0.0
        self._seconds_a_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._clock, self._pause = clock, pause
        self._next = 0.0  # when the next request may go out
        self._calm_until = 0.0  # nothing goes out before this time: the server requested a pause
        self._episode_until = 0.0  # until then another 429 doesn't shrink the limit again
        self._growth_from = 0.0  # until then answers don't raise the limit
        self._steady = False  # whether a 429 was seen
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[None]:
        """A place among the requests in flight; waits for one, and for the limits per minute."""
        async with self._changed:
            while self.flying >= int(self.limit):
                await self._changed.wait()
            self.flying += 1
            now = self._clock()
            at = max(now, self._next)
            self._next = at + max(self._seconds, tokens * self._seconds_a_token)
        try:
            while (wait := max(at, self._calm_until) - self._clock()) > 0:
                await self._pause(wait)
            yield
        finally:
            async with self._turn:  # send the next request before handling more answers: requests sent at once
                await asyncio.sleep(0)  # are answered at once, and each then waits for the work on all of them
            async with self._changed:
                self.flying -= 1
                self._changed.notify(max(0, int(self.limit) - self.flying))

    def answered(self) -> None:
        """Note an answer."""
        if self._clock() >= self._growth_from:
            growth = STEP if self._steady else GROWTH  # STEP for each of `limit` answers is STEP of it in a round
            self.limit = min(float(self.most), self.limit + growth)

    def refused(self, retry_after: float | None) -> None:
        """Note a 429."""
        now = self._clock()
        again = now + (retry_after or 0.0)
        self._calm_until = max(self._calm_until, again)
        if now >= self._episode_until:
            self._steady = True
            self.limit = max(float(FEWEST), self.limit * SHRINK)
            self._episode_until = now + COOL_DOWN
        self._episode_until = max(self._episode_until, again)
        self._growth_from = max(self._growth_from, now + COOL_DOWN, again)

    def stumbled(self) -> None:
        """Note a failure of the server or the network: the limit neither grows nor shrinks for a while."""
        self._growth_from = max(self._growth_from, self._clock() + 1.0)
