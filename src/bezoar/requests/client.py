"""The backend that answers over a network: from the store if it can, else by sending."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bezoar import logs
from bezoar.errors import InputError, Stopped, problem
from bezoar.logs import logger
from bezoar.requests import batches, dry_run
from bezoar.requests.base import Completion, Request
from bezoar.requests.blocks import Budget
from bezoar.requests.budget import MILLION, BudgetReservation
from bezoar.requests.calls import Call
from bezoar.requests.failures import DETAIL, Failure
from bezoar.requests.job import CurrentJob
from bezoar.requests.preflight import check
from bezoar.requests.prices import load_prices
from bezoar.requests.provider import Answer, Provider
from bezoar.requests.sender import Sender
from bezoar.requests.server_locator import kept
from bezoar.requests.store import Store

if TYPE_CHECKING:
    from bezoar.requests.api import ApiBackend  # which opens this

MOST_BYTES_A_TOKEN = 8  # more than texts have, so that no prompt is refused that would fit


@dataclass
class Work:
    """A request without a final answer yet, and its places in the list of requests.

    Attributes:
        limit: Token limit of the next answer.
        tries: Tries that were answered without success.
        size: Bytes of its first call without an answer.
    """

    request: Request
    limit: int
    tries: int = 0
    size: int = 0
    places: list[int] = field(default_factory=list)


class Client:
    """Answers requests through a provider, and pays for each at most once.

    Args:
        provider: The API.
        block: The backend's block of params.yaml.
        budget: The ceilings.
    """

    def __init__(self, provider: Provider, block: ApiBackend, budget: Budget) -> None:
        self.provider, self.block, self.budget = provider, block, budget
        self.job = CurrentJob.current()
        self.store = Store(self.job.stage, self.job.part, run=self.job.folder.name if self.job.folder else None)
        self.reservation = BudgetReservation(budget, self.job.stage, self.job.folder, self.job.approved)
        self._checked = False
        self._context: int | None = None

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        """One completion for each request, in their order.

        A request that the provider refuses for good ends with the reason `error`. A request whose answers were all
        refusals, cut or empty ends with the reason of the last one.

        Raises:
            Stopped: Not all were answered, because of the budget, a refused key, an outage, or a kill. Answers so far
                are stored; another run requests only the rest.
            ValueError: A model has no price, a key isn't in the environment, or in replay an answer isn't stored.
        """
        self.store.refresh()
        done: dict[int, Completion] = {}
        waiting: dict[str, Work] = {}
        for place, request in enumerate(requests):
            one = Work(request, request.sampling.max_new_tokens)
            found = self._known(one)
            if isinstance(found, Completion):
                done[place] = found
            else:
                one.size = len(found.data)
                waiting.setdefault(found.key, one).places.append(place)
        work = list(waiting.values())
        if dry_run.wanted():
            dry_run.count(len(done), len(requests) - len(done))
        if work:
            done |= self._sent(work, len(done), len(requests), what)
        return [done[place] for place in range(len(requests))]

    def _call(self, work: Work) -> Call:
        return self.provider.call(work.request, work.tries, work.limit)

    def _known(self, work: Work) -> Completion | Call:
        """The completion of a request by stored answers, or the first call without one."""
        while True:
            call = self._call(work)
            record = self.store.find(call.key)
            if record is None or ("failure" in record and not self.job.replay):
                return call  # a refused request cost nothing, and may be accepted now
            if "failure" in record:
                return self._failed(record["failure"])
            completion = self._end(work, self._stored(call, record["response"]))
            if completion:
                return completion

    def _stored(self, call: Call, text: str) -> Answer:
        """The answer in a stored response; raises ValueError if it is unreadable: another request would cost again."""
        try:
            return self.provider.read(text)
        except Failure as failure:
            raise InputError(
                problem(
                    "a stored answer can't be read",
                    found=str(failure)[:DETAIL],
                    expected=f"a response of {self.provider.name} to the call {call.key}",
                    hint=f"it was changed after it was stored; get it again from where {self.store.folder}/ is shared, "
                    "or remove its line to send and pay the request again",
                )
            ) from None

    def _end(self, work: Work, answer: Answer) -> Completion | None:
        """The completion that an answer makes; None if the request needs another try."""
        if work.request.top_logprobs and answer.ending in ("stop", "length", "empty"):
            return _first_token(answer)
        longer = min(work.limit * 2, self.block.max_output_tokens or work.limit * 2)
        at_token_limit = answer.ending == "length" and longer <= work.limit
        if answer.ending == "stop" or at_token_limit or work.tries + 1 == self.block.max_attempts:
            finish = "stop" if answer.ending == "empty" else answer.ending
            tokens = answer.usage.completion
            known = tokens if tokens >= 0 else None
            return Completion(answer.text, finish, answer.model, tokens=known, logprob=answer.logprob)
        work.tries += 1
        if answer.ending == "length":
            work.limit = longer
        return None

    def _failed(self, why: str) -> Completion:
        return Completion("", "error", self.provider.model, why)

    def _sent(self, work: list[Work], stored: int, asked: int, what: str) -> dict[int, Completion]:
        """Completions of requests that aren't stored, by place."""
        if dry_run.wanted():
            raise dry_run.Counted
        if self.job.replay:
            raise InputError(
                problem(
                    f"{what}: answers are missing, and BEZOAR_REPLAY_ONLY is set",
                    found=f"{stored:,} of {asked:,} answers; none for the call {self._call(work[0]).key}",
                    expected=f"all of them in {self.store.folder}/",
                    hint="`dvc pull responses`, or unset BEZOAR_REPLAY_ONLY to request them",
                )
            )
        price = load_prices(self.budget.prices).of(self.provider.model, self.budget.prices)
        sender = Sender(self.provider, self.block.connection, self.job, self.store, self.reservation, price)
        self._announce(sender, work, stored, asked, what)
        try:
            with kept(self.block):
                return asyncio.run(self._settled(sender, work, what))
        finally:
            sender.ledger.report()
            self.reservation.close()
            self.store.settle()

    def _announce(self, sender: Sender, work: list[Work], stored: int, asked: int, what: str) -> None:
        worst = sender.worst(sum(one.size for one in work), sum(one.limit for one in work))
        logger.info(
            f"{self.job.stage} {self.job.part}, {what}: {asked:,} requests, {stored:,} stored, {len(work):,} "
            f"to send to {self.provider.model}; at most {worst.tokens:,} tokens, ${worst.micro / MILLION:,.2f}"
        )

    async def _settled(self, sender: Sender, work: list[Work], what: str) -> dict[int, Completion]:
        try:
            async with sender.stoppable():
                self.job.check_halt()
                done, fitting = self._refuse_long(work, await self._check(sender, work))
                if fitting and self.block.connection.batch:
                    done |= await self._by_batches(sender, fitting, what)
                elif fitting:
                    done |= await self._live(sender, fitting, what)
                return done
        finally:
            await self.provider.close()

    async def _check(self, sender: Sender, work: list[Work]) -> int | None:
        """Check the server and the model, once; the model's context in tokens.

        Raises:
            Stopped: No request can succeed, such as where every answer's token limit exceeds the context.
        """
        try:
            if not self._checked:
                self._context = await sender.persist(check, self.provider)
                self._checked = True
            shortest = min(one.request.sampling.max_new_tokens for one in work)
            if self._context and shortest > self._context:
                raise Failure("stop", f"{self._room()}; an answer alone may take {shortest:,}")
        except Failure as failure:
            raise sender.stopped(failure) from failure
        return self._context

    def _room(self) -> str:
        return f"{self.provider.model} has room for {self._context:,} tokens"

    def _refuse_long(self, work: list[Work], context: int | None) -> tuple[dict[int, Completion], list[Work]]:
        """Completions of requests that exceed the context, by place, and the other requests."""
        done: dict[int, Completion] = {}
        fitting = []
        for one in work:
            tokens = one.size // MOST_BYTES_A_TOKEN + one.limit
            if context and tokens > context:
                why = Failure("terminal", f"{self._room()}; this prompt and its answer may take {tokens:,} or more")
                done.update(dict.fromkeys(one.places, self._refused(self._call(one), why)))
            else:
                fitting.append(one)
        if len(fitting) < len(work):
            logger.warning(f"{len(work) - len(fitting):,} of {len(work):,} prompts are too long: {self._room()}")
        return done, fitting

    async def _live(self, sender: Sender, work: list[Work], what: str) -> dict[int, Completion]:
        """Send, as many at a time as the server takes."""
        done: dict[int, Completion] = {}
        lost: list[Failure] = []
        broken: list[Exception] = []
        waiting = iter(work)
        self._refuse_open_batches(sender, work)

        async def worker() -> None:
            for one in waiting:
                if sender.stopping:
                    return
                try:
                    done.update(dict.fromkeys(one.places, await self._live_end(sender, one)))
                except Failure as failure:
                    lost.append(failure)
                    if failure.kind == "forbidden":
                        sender.stop(sender.stopped(failure))
                    else:
                        sender.stop(self._outage(lost, len(work), what))  # not even the canary is answered
                except Stopped as stopped:
                    sender.stop(stopped)
                except Exception as error:  # such as a full disk: requests in flight are awaited all the same
                    broken.append(error)
                    sender.stop(Stopped(str(error)))
                bar.advance()

        with logs.Bar(len(work), what) as bar:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.block.connection.concurrency, len(work))):
                    group.create_task(worker())
        if broken:
            raise broken[0]
        if sender.stopping:
            raise sender.stopping
        if lost:
            raise self._outage(lost, len(work), what)
        return done

    def _refuse_open_batches(self, sender: Sender, work: list[Work]) -> None:
        """Raise Stopped if calls are in a batch that was submitted before `batch` was switched off."""
        keys = {self._call(one).key for one in work}
        for batch, provider, sent in sender.store.open_batches(self.job.stage):
            if provider == self.provider.name and not keys.isdisjoint(sent):
                twice = len(keys.intersection(sent))
                raise Stopped(
                    problem(
                        f"{self.job.stage}: batch {batch} was submitted, and its answers are not here yet",
                        found=f"{twice:,} of its calls would be sent and paid for again",
                        expected="`batch: true` until it is done",
                        hint="set it again; to give its answers up, remove its line `batch created` from "
                        f"{sender.store.folder}/{self.job.stage}/*.ledger.jsonl",
                    )
                )

    async def _live_end(self, sender: Sender, work: Work) -> Completion:
        while True:
            call = self._known(work)
            if isinstance(call, Completion):
                return call
            try:
                completion = self._end(work, await sender.answer(call))
            except Failure as failure:
                own = failure.kind == "terminal"
                if failure.kind in ("forbidden", "rate", "transient"):
                    own = await sender.is_well(call, time.monotonic())
                if not own:
                    raise
                return self._refused(call, failure)
            if completion:
                return completion

    def _refused(self, call: Call, failure: Failure) -> Completion:
        """The completion of a request that is refused for good; stored, so that a replay gives the same."""
        self.store.add(call.key, {"request": call.body, "failure": str(failure)})
        return self._failed(str(failure))

    async def _by_batches(self, sender: Sender, work: list[Work], what: str) -> dict[int, Completion]:
        """Send in batches, round after round, until each request has its completion."""
        done: dict[int, Completion] = {}
        lost: list[tuple[Work, Call, Failure]] = []
        with logs.Bar(len(work), what) as bar:
            while work:
                round_of = {self._call(one).key: one for one in work}
                work = []
                async for call, end in batches.answers(sender, [self._call(one) for one in round_of.values()]):
                    one = round_of[call.key]
                    completion: Completion | None = None
                    if isinstance(end, Answer):
                        completion = self._end(one, end)
                    elif end.kind == "terminal":
                        completion = self._refused(call, end)
                    else:
                        lost.append((one, call, end))
                        continue
                    if completion:
                        done.update(dict.fromkeys(one.places, completion))
                        bar.advance()
                    else:
                        work.append(one)
        if lost and not await sender.is_well(lost[0][1]):
            raise self._outage([failure for _, _, failure in lost], len(lost) + len(done), what)
        for one, call, failure in lost:
            done.update(dict.fromkeys(one.places, self._refused(call, failure)))
        return done

    def _outage(self, lost: list[Failure], asked: int, what: str) -> Stopped:
        return Stopped(
            problem(
                f"{what}: {len(lost):,} of {asked:,} requests got no answer",
                found=lost[0],
                expected=f"an answer within {self.block.connection.deadline:g} s",
                hint="start again: answers so far are stored and not paid for twice",
            )
        )


def _first_token(answer: Answer) -> Completion:
    """The completion of a request for the first token's alternatives: a longer answer has no others."""
    tokens = answer.usage.completion
    return Completion(
        answer.text, "stop", answer.model, tokens=tokens if tokens >= 0 else None, alternatives=answer.alternatives
    )
