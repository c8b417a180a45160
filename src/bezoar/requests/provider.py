"""What the layer asks of a provider, and what its own clients are kept from doing."""

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
            `other` (for a reason that isn't known here, that more tokens can't mend, or in a form that isn't text);
            only `stop` is a success.
        model: The model's name as its server gives it.
        usage: As the server gives it; it may be anything.
        replaced: Characters of the answer that were half of one, and are U+FFFD now.
    """

    text: str
    ending: Ending
    model: str
    usage: Usage
    replaced: int = 0


@dataclass(frozen=True)
class Result:
    """One line of a batch: a response's text, or why there is none."""

    key: str
    text: str | None
    failure: Failure | None


class Provider(Protocol):
    """A maker's API."""

    name: str
    model: str

    def call(self, request: Request, tries: int, limit: int) -> Call:
        """The call that asks a request for the (tries + 1)th time, with a limit of tokens."""
        ...

    def read(self, text: str) -> Answer:
        """The answer in a response's text; raises Failure if it isn't one."""
        ...

    async def find(self, pause: Callable[[float], Awaitable[None]]) -> None:
        """Wait, by a function, until it is known where the server is; raises Stopped if it's nowhere."""
        ...

    def doubt(self) -> None:
        """Take note that the server didn't answer, so that it is looked for again."""
        ...

    async def send(self, call: Call, seconds: float) -> str:
        """Send a call once, and return the response's text, all of it in so many seconds; raises Failure."""
        ...

    async def model_facts(self) -> dict[str, Any]:
        """What the server says of the model: `context` (tokens), `ends` or `retired`, as far as it does."""
        ...

    async def submit(self, calls: list[Call], note: str) -> str:
        """Hand in a batch under a note, and return its id."""
        ...

    async def ended(self, batch: str) -> bool:
        """Whether a batch has come to its end, whichever; raises Failure if the provider wouldn't begin it."""
        ...

    async def results(self, batch: str) -> list[Result]:
        """The lines of a batch that ended, in any order."""
        ...

    def hidden(self) -> list[str]:
        """What no message may show, since a server may repeat it."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Connected:
    """What the makers' providers share: where the server is, and connections.

    Connections live no longer than the event loop that they are made in.
    """

    client: Any
    path = ""  # of the API on a server of one's own

    def __init__(self, block: ApiBackend) -> None:
        self.model = block.model
        self._connection, self._own = block.connection, server_locator(block)
        self._left: list[Any] = []  # connections to where the server was: answers may still come by them

    async def find(self, pause: Callable[[float], Awaitable[None]]) -> None:
        """Make sure of the address of a server of one's own."""
        if self._own and await self._own.find(pause):
            self._left += self._taken()

    def doubt(self) -> None:
        """Look for a server of one's own again."""
        if self._own:
            self._own.doubt()

    @property
    def direct(self) -> bool:
        """Whether it is reached past any proxy, which wouldn't know a cluster's nodes."""
        return self._own is not None

    @property
    def key(self) -> str:
        """What a server knows us by: the secret that our own was started with, or what the variable says."""
        if self._own and self._own.secret:
            return self._own.secret
        return from_environment(self._connection.api_key_env, "API key")

    def hidden(self) -> list[str]:
        """The key and the secret, as far as there are any."""
        secret = self._own.secret if self._own else ""
        return [one for one in (os.environ.get(self._connection.api_key_env), secret) if one]

    @property
    def address(self) -> str | None:
        """The server's address; None for the maker's own."""
        if self._own:
            return f"{self._own.url}{self.path}"
        variable = self._connection.base_url_env
        return from_environment(variable, "address") if variable else None

    @cached_property
    def session(self) -> aiohttp.ClientSession:
        """What calls are sent by."""
        return session_of(self.client, direct=self.direct)

    async def close(self) -> None:
        """Close the connections that were made."""
        left, self._left = [*self._left, *self._taken()], []
        for one in left:
            await one.close()

    def _taken(self) -> list[Any]:
        return [self.__dict__.pop(name) for name in ("session", "client") if name in self.__dict__]
