"""What the API backends share: keys and addresses from the environment, and many requests in flight."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from bezoar import logs
from bezoar.backends.base import Completion, Request


def from_environment(variable: str, what: str) -> str:
    """The value of an environment variable.

    Raises:
        ValueError: It isn't set; the message names the variable, never a value.
    """
    value = os.environ.get(variable)
    if not value:
        raise ValueError(
            f"no {what} in the environment\n  found:    {variable} is not set\n  expected: {variable}=<{what}>"
        )
    return value


def run_all(
    requests: list[Request],
    answer: Callable[[Request], Awaitable[Completion]],
    close: Callable[[], Awaitable[None]],
    concurrency: int,
    what: str,
) -> list[Completion]:
    """Completions in the requests' order; the first request that fails for good ends the run with its exception."""

    async def run() -> list[Completion]:
        gate = asyncio.Semaphore(concurrency)

        async def one(request: Request) -> Completion:
            async with gate:
                return await answer(request)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(request)) for request in requests]
                for task in logs.progress(asyncio.as_completed(tasks), len(tasks), what):
                    await task
            return [task.result() for task in tasks]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from failures
        finally:
            await close()

    return asyncio.run(run())
