"""Calls by a provider's batch API: half the price, done within a day, and resumed after a crash."""

import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from bezoar.errors import Stopped, problem
from bezoar.logs import logger
from bezoar.requests.budget import Amount
from bezoar.requests.calls import Call
from bezoar.requests.failures import DETAIL, Failure
from bezoar.requests.persistence import MOST_TRANSIENT
from bezoar.requests.provider import Answer, Result
from bezoar.requests.sender import Sender

MOST_CALLS = 50_000  # OpenAI's limit; Anthropic's is 100,000
MOST_BYTES = 150_000_000  # OpenAI's limit is 200 MB, Anthropic's 256 MB
SECONDS_BETWEEN_POLLS = 30.0


async def answers(sender: Sender, calls: list[Call]) -> AsyncIterator[tuple[Call, Answer | Failure]]:
    """The result of each call as batches end: its answer, which is stored by then, or its failure.

    Open batches of an earlier run are awaited first, so that nothing is paid for twice.

    Raises:
        Stopped: The budget is reached, the run is stopped, or a batch has results of calls that weren't sent.
    """
    waiting = {call.key: call for call in calls}
    tries = dict.fromkeys(waiting, 0)
    for batch, provider, keys in sender.store.open_batches(sender.job.stage):
        if provider == sender.provider.name and waiting.keys() & set(keys):
            async for one in _ends(sender, batch, keys, waiting, Amount(), of_earlier=True):
                yield one
    while waiting:
        for chunk in _chunks(waiting.values()):
            batch, worst = await _hand_in(sender, chunk)
            async for one in _ends(sender, batch, [call.key for call in chunk], waiting, worst):
                yield one
        for key in list(waiting):
            tries[key] += 1
            if tries[key] >= MOST_TRANSIENT:
                yield waiting.pop(key), Failure("transient", f"not answered in {MOST_TRANSIENT} batches")


async def _hand_in(sender: Sender, chunk: list[Call]) -> tuple[str, Amount]:
    if sender.stopping:
        raise sender.stopping
    worst = Amount()
    for call in chunk:
        worst += sender.worst_of(call)
    sender.reservation.reserve(worst, ahead=1)  # nothing else is in flight: there is room, or it raises
    sender.store.expect_batch()
    try:
        batch = await sender.persist(_submitted, sender, chunk)
    except Failure as failure:
        sender.reservation.settle(worst, worst if failure.perhaps_billed else Amount())
        raise sender.stopped(failure) from failure
    sender.ledger.batch_created(
        batch, sender.provider.name, [call.key for call in chunk]
    )  # before the first look at it
    logger.info(f"batch {batch}: {len(chunk):,} calls submitted; they may take a day, and a kill loses nothing")
    return batch, worst


async def _submitted(sender: Sender, chunk: list[Call]) -> str:
    try:
        return await sender.provider.submit(chunk, sender.job.stage)
    except Failure as failure:
        if failure.perhaps_billed or (failure.status or 0) >= 500:  # another try could create a second one
            failure.kind = "stop"
            failure.detail = f"whether the batch was created is not known; {failure.detail}"
        raise


async def _ends(
    sender: Sender, batch: str, keys: list[str], waiting: dict[str, Call], worst: Amount, *, of_earlier: bool = False
) -> AsyncIterator[tuple[Call, Answer | Failure]]:
    """Wait for a batch, and take its results; calls without one stay in `waiting`.

    Every good line is stored and its cost settled before a bad one ends the job.

    Raises:
        Stopped: Calls failed for lack of money or permission, which the next run may have; or there were results of
            calls that weren't sent. In a batch of an earlier run neither is a reason to stop.
    """
    sender.store.expect_batch()
    try:
        while not await sender.persist(sender.provider.ended, batch):
            await sender.pause(float(os.environ.get("BEZOAR_BATCH_POLL", SECONDS_BETWEEN_POLLS)))
        found, doubtful, unknown = _sorted(set(keys), await sender.persist(sender.provider.results, batch))
    except Failure as failure:
        if failure.kind == "stop" and failure.status is None:  # the provider says that the whole batch failed
            sender.ledger.batch_settled(batch)
        raise sender.stopped(failure) from failure
    others = set(keys) - waiting.keys()
    used = Amount()
    refused: dict[str, Failure] = {}  # perhaps because of the account
    try:
        for key, result in found.items():
            call = waiting.get(key)
            if call is None or key in doubtful:
                continue
            try:
                if result.failure or result.text is None:
                    raise result.failure or Failure("transient", "an empty line in the batch")
                answer = sender.provider.read(result.text)
                used += sender.take(call, answer, result.text)
                end: Answer | Failure = answer
            except Failure as failure:
                used += sender.failed(call, failure, sender.worst_of(call))
                if failure.kind in ("fatal", "forbidden", "stop"):
                    refused[key] = failure
                if failure.kind != "terminal":
                    continue
                end = failure
            yield waiting.pop(key), end
        for key in doubtful & waiting.keys():
            doubt = Failure("terminal", "the batch brought two different answers to it", perhaps_billed=True)
            used += sender.failed(waiting[key], doubt, sender.worst_of(waiting[key]))
            yield waiting.pop(key), doubt
    finally:
        sender.reservation.settle(worst, used)
    if all(sender.store.find(key) for key in others):  # else another job waits for it, too
        sender.ledger.batch_settled(batch)
    if unknown and not of_earlier:
        raise Stopped(_unknown(batch, unknown))
    if unknown:
        logger.warning(_unknown(batch, unknown))
    if refused and not of_earlier:
        for key, own in await _own_faults(sender, waiting, refused):
            yield waiting.pop(key), own


async def _own_faults(
    sender: Sender, waiting: dict[str, Call], refused: dict[str, Failure]
) -> list[tuple[str, Failure]]:
    """The calls of a batch that are refused because of their content.

    Args:
        sender: Sent them.
        waiting: The calls.
        refused: Why they were refused.

    Raises:
        Stopped: They may be refused for lack of money or permission, and wait for the next run.
    """
    worst = min(refused.values(), key=lambda failure: ("fatal", "stop", "forbidden").index(failure.kind))
    if worst.kind == "forbidden" and await sender.is_well(waiting[next(iter(refused))]):
        return [(key, replace(failure, kind="terminal")) for key, failure in refused.items()]
    raise sender.stopped(worst)


def _sorted(sent: set[str], results: list[Result]) -> tuple[dict[str, Result], set[str], list[str]]:
    """A batch's results by key, the keys with two different results, and the keys that were not sent."""
    found: dict[str, Result] = {}
    doubtful: set[str] = set()
    unknown = []
    for result in results:
        if result.key not in sent:
            unknown.append(result.key)
        elif result.key in found and found[result.key].text != result.text:
            doubtful.add(result.key)
        else:
            found[result.key] = result
    return found, doubtful, unknown


def _unknown(batch: str, keys: list[str]) -> str:
    return problem(
        f"batch {batch} has {len(keys):,} answers to calls that weren't in it",
        found=f"{keys[0][:DETAIL]!r}",
        expected="the ids that were sent",
        hint="the answers to the calls that were sent are stored; look at the batch by its id, and start again",
    )


def _chunks(calls: Iterable[Call]) -> list[list[Call]]:
    """The calls in parts that a provider takes."""
    chunks: list[list[Call]] = [[]]
    size = 0
    for call in calls:
        if len(chunks[-1]) == MOST_CALLS or size + len(call.data) > MOST_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(call)
        size += len(call.data)
    return chunks
