"""The interface of every provider, and the code that both share."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bezoar.requests.base import Request
from bezoar.requests.calls import Call
from bezoar.requests.environment import from_environment
from bezoar.requests.exchange import session_of
from bezoar.requests.failures import Failure
from bezoar.requests.prices import Usage
from bezoar.requests.server_locator import server_locator

if TYPE_CHECKING:
    import aiohttp

    from bezoar.requests.api import ApiBackend  # which opens this

Ending = Literal["stop", "length", "refusal", "empty", "thinking", "other"]


@dataclass(frozen=True)
class Answer:
    """What a model said, read from a whole response.

    Attributes:
        ending: `stop`, `length` (cut by the token limit), `refusal`, `empty`, `thinking` (which never ended), or
            `other` (for an unknown reason, one that more tokens can't mend, or in a form that isn't text); only `stop`
            is a success.
        model: The model's name as its server gives it.
        usage: As the server counts it; it may be wrong.
        alternatives: The first token's most likely alternatives, each with its log-probability; None if there are none.
        replaced: Broken characters of the answer that are U+FFFD now.
        logprob: Sum of all sampled tokens' log-probabilities, in nats; None if the server doesn't give each of them.
    """

    text: str
    ending: Ending
    model: str
    usage: Usage
    replaced: int = 0
    alternatives: tuple[tuple[str, float], ...] | None = None
    logprob: float | None = None


@dataclass(frozen=True)
class Result:
    """One result of a batch: a response's text, or why there is none."""

    key: str
    text: str | None
    failure: Failure | None


class Provider(Protocol):
    """An API."""

    name: str
    model: str

    def call(self, request: Request, tries: int, limit: int) -> Call:
        """The call of the (tries + 1)th try of a request, with a token limit."""
        ...

    def read(self, text: str) -> Answer:
        """The answer in a response's text; raises Failure if it isn't one."""
        ...

    async def find(self, pause: Callable[[float], Awaitable[None]]) -> None:
        """Wait, by the function `pause`, until the server's address is known; raises Stopped if there is none."""
        ...

    def doubt(self) -> None:
        """Note that the server didn't answer, so that its address is looked up again."""
        ...

    async def send(self, call: Call, seconds: float) -> str:
        """Send a call once, and return the whole response's text within so many seconds; raises Failure."""
        ...

    async def model_facts(self) -> dict[str, Any]:
        """What the server says about the model: `context` (tokens), `ends`, `retired`; each may be missing."""
        ...

    async def submit(self, calls: list[Call], note: str) -> str:
        """Submit a batch with a note, and return its id."""
        ...

    async def ended(self, batch: str) -> bool:
        """Whether a batch has ended, in whatever way; raises Failure if the provider refused to start it."""
        ...

    async def results(self, batch: str) -> list[Result]:
        """The lines of a batch that ended, in any order."""
        ...

    def hidden(self) -> list[str]:
        """Secrets that no message may show, even if a server repeats them."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Connected:
    """The code that providers share: the server's address, and connections.

    Connections live no longer than the event loop that made them.

    Attributes:
        weights: MD5 of the checkpoint that the server loads; empty for weights from outside of the recipe.
    """

    client: Any
    path = ""  # of the API on a self-hosted server

    def __init__(self, block: ApiBackend, weights: str = "") -> None:
        self.model, self.weights = block.model, weights
        self._connection, self._own = block.connection, server_locator(block, weights)
        self._left: list[Any] = []  # connections to the server's earlier address: answers may still arrive

    async def find(self, pause: Callable[[float], Awaitable[None]]) -> None:
        """Look up the address of a self-hosted server."""
        if self._own and await self._own.find(pause):
            self._left += self._taken()

    def doubt(self) -> None:
        """Look the address of a self-hosted server up again before the next call."""
        if self._own:
            self._own.doubt()

    @property
    def direct(self) -> bool:
        """Whether proxies are bypassed: they wouldn't know a cluster's nodes."""
        return self._own is not None

    @property
    def key(self) -> str:
        """The key that is sent: the self-hosted server's secret, or the variable's value."""
        if self._own and self._own.secret:
            return self._own.secret
        return from_environment(self._connection.api_key_env, "API key")

    def hidden(self) -> list[str]:
        """The key and the secret, if set."""
        secret = self._own.secret if self._own else ""
        return [one for one in (os.environ.get(self._connection.api_key_env), secret) if one]

    @property
    def address(self) -> str | None:
        """The server's address; None for the provider's own."""
        if self._own:
            return f"{self._own.url}{self.path}"
        variable = self._connection.base_url_env
        return from_environment(variable, "address") if variable else None

    @cached_property
    def session(self) -> aiohttp.ClientSession:
        """Sends the calls."""
        return session_of(self.client, direct=self.direct)

    async def close(self) -> None:
        """Close the connections that were made."""
        left, self._left = [*self._left, *self._taken()], []
        for one in left:
            await one.close()

    def _taken(self) -> list[Any]:
        return [self.__dict__.pop(name) for name in ("session", "client") if name in self.__dict__]
