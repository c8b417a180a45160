"""How fast requests go out: so many in flight, as the server bears, and so many a minute, as it allows."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

START = 50  # requests in flight before anything is known of the server
FEWEST = 1
GROWTH = 2  # more in flight for each answer until the first 429: three times as many each round
STEP = 0.05  # of the limit, once a round after that
SHRINK = 0.8  # once for each episode of 429
COOL_DOWN = 15.0  # seconds in which further 429 count as the same episode
# The last four are those of inspect_ai's documentation.


class ConcurrencyLimiter:
    """Lets a number of requests be in flight: more while answers come, fewer when the server says that it's too many.

    Additive increase, multiplicative decrease (Chiu and Jain 1989), after a fast start.

    Args:
        most: Requests in flight at most.
        per_minute: Requests a minute at most; None for no limit.
        tokens_per_minute: Tokens a minute at most; None for no limit.
        clock: Seconds; tests give one of their own.
        pause: Waits so many seconds; may raise, if nothing is to be sent any more.
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
        self._calm_until = 0.0  # nothing goes out before: the server asked for a pause
        self._episode_until = 0.0  # another 429 before doesn't shrink again
        self._growth_from = 0.0  # answers before don't count
        self._steady = False  # whether a 429 was seen
        self._changed = asyncio.Condition()
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[None]:
        """A place among those in flight, once there is one and the minute's allowance bears the tokens."""
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
            async with self._turn:  # the next goes out before more answers are looked at: what goes out together
                await asyncio.sleep(0)  # comes back together, and each then waits for the work on all of them
            async with self._changed:
                self.flying -= 1
                self._changed.notify(max(0, int(self.limit) - self.flying))

    def answered(self) -> None:
        """Take note of an answer."""
        if self._clock() >= self._growth_from:
            growth = STEP if self._steady else GROWTH  # STEP for each of `limit` answers is STEP of it in a round
            self.limit = min(float(self.most), self.limit + growth)

    def refused(self, retry_after: float | None) -> None:
        """Take note of a 429."""
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
        """Take note of a failure of the server or of the network: no growth for a while, and no shrinking."""
        self._growth_from = max(self._growth_from, self._clock() + 1.0)
