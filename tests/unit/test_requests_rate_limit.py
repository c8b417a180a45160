"""How fast requests go out, by a clock that only pauses move."""

import asyncio
import contextlib

import pytest

from bezoar.requests.rate_limit import COOL_DOWN, FEWEST, GROWTH, SHRINK, START, STEP, ConcurrencyLimiter


class Clock:
    """A clock that advances when someone waits."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    async def pause(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def gate(clock, most=100, **limits):
    return ConcurrencyLimiter(most, clock=clock, pause=clock.pause, **limits)


def times(gate, clock, *tokens):
    """Start times of requests with these numbers of tokens, sent one after the other."""

    async def all_of_them():
        found = []
        for count in tokens:
            async with gate.slot(count):
                found.append(clock.now)
        return found

    return asyncio.run(all_of_them())


def held(gate, count):
    """The number of requests in flight at once if none ends."""

    async def all_of_them():
        entered = []

        async def one():
            async with gate.slot(1):
                entered.append(1)
                await asyncio.sleep(60)

        tasks = [asyncio.create_task(one()) for _ in range(count)]
        for _ in range(10 * count):  # turns, enough for each to get as far as it can
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(entered)

    return asyncio.run(all_of_them())


@pytest.mark.parametrize(("most", "first"), [(100, START), (START, START), (8, 8), (1, 1)])
def test_the_start_is_wide_but_no_wider_than_allowed(clock, most, first):
    opened = gate(clock, most)
    assert opened.limit == first
    assert held(opened, 2 * START) == first


def test_answers_widen_it_until_the_most(clock):
    opened = gate(clock, most=START + 5)
    for limit in (START + GROWTH, START + 2 * GROWTH, START + 5, START + 5):
        opened.answered()
        assert opened.limit == limit
    assert held(opened, 2 * START) == START + 5


def test_many_429_at_once_shrink_it_once_and_again_when_they_do_not_end(clock):
    opened = gate(clock)
    for _ in range(10):
        opened.refused(None)
    assert opened.limit == START * SHRINK
    clock.now = COOL_DOWN - 0.1
    opened.refused(None)
    assert opened.limit == START * SHRINK
    clock.now = COOL_DOWN
    opened.refused(None)
    assert opened.limit == pytest.approx(START * SHRINK**2)


def test_a_429_after_a_failure_of_the_server_shrinks_it_too(clock):
    opened = gate(clock)
    opened.stumbled()
    opened.refused(None)
    assert opened.limit == START * SHRINK


def test_it_never_closes(clock):
    opened = gate(clock, most=2)
    for episode in range(10):
        clock.now = episode * COOL_DOWN
        opened.refused(None)
    assert opened.limit == FEWEST
    assert held(opened, 5) == FEWEST


def test_growth_comes_back_slowly_after_the_cool_down(clock):
    opened = gate(clock)
    opened.refused(None)
    limit = START * SHRINK
    clock.now = COOL_DOWN - 0.1
    opened.answered()
    assert opened.limit == limit
    clock.now = COOL_DOWN
    for _ in range(int(limit)):  # a round
        opened.answered()
    assert opened.limit == pytest.approx(limit * (1 + STEP))


def test_a_pause_that_the_server_asks_for_is_kept_by_all_and_is_one_episode(clock):
    opened = gate(clock)
    opened.refused(2 * COOL_DOWN)
    assert times(opened, clock, 1, 1) == [2 * COOL_DOWN] * 2
    assert opened.limit == START * SHRINK
    clock.now = 2 * COOL_DOWN - 0.1
    opened.refused(None)
    assert opened.limit == START * SHRINK
    clock.now = 2 * COOL_DOWN
    opened.refused(None)
    assert opened.limit == pytest.approx(START * SHRINK**2)


def test_a_shorter_pause_does_not_end_a_longer_one(clock):
    opened = gate(clock)
    opened.refused(5)
    opened.refused(1)
    assert times(opened, clock, 1) == [5]


def test_failures_of_the_server_pause_growth_and_shrink_nothing(clock):
    opened = gate(clock)
    opened.stumbled()
    opened.answered()
    assert opened.limit == START
    clock.now = 1.0
    opened.answered()
    assert opened.limit == START + GROWTH


def test_requests_a_minute_are_spread_over_it(clock):
    assert times(gate(clock, per_minute=30), clock, 1, 1, 1) == [0, 2, 4]


def test_tokens_a_minute_are_spread_over_it_too(clock):
    # 600 tokens a minute are 10 a second: 50 tokens keep the next request off for 5 seconds
    assert times(gate(clock, tokens_per_minute=600), clock, 50, 10, 1) == [0, 5, 6]


def test_the_slower_of_both_holds(clock):
    assert times(gate(clock, per_minute=30, tokens_per_minute=600), clock, 50, 10, 1) == [0, 5, 7]


def test_what_was_not_used_of_a_minute_is_not_made_up_for(clock):
    opened = gate(clock, per_minute=30)
    times(opened, clock, 1)
    clock.now = 60.0
    assert times(opened, clock, 1, 1) == [60, 62]


def test_a_request_that_ends_makes_room_for_one_that_waits(clock):
    opened = gate(clock, most=1)

    async def two():
        order = []

        async def one(name):
            async with opened.slot(1):
                order.append(f"{name} in")
                await asyncio.sleep(0)
                order.append(f"{name} out")

        await asyncio.gather(one("a"), one("b"))
        return order

    assert asyncio.run(two()) == ["a in", "a out", "b in", "b out"]
    assert opened.flying == 0


def test_a_pause_that_is_broken_off_gives_its_place_back(clock):
    async def stopped(seconds):
        raise InterruptedError

    opened = ConcurrencyLimiter(1, clock=clock, pause=stopped)
    opened.refused(60)

    async def one():
        with contextlib.suppress(InterruptedError):
            async with opened.slot(1):
                raise AssertionError("it went out")

    asyncio.run(one())
    assert opened.flying == 0
