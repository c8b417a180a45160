"""What the layer asks of a provider, and what its own clients are kept from doing."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2

from bezoar.backends.base import Request
from bezoar.llm import failures
from bezoar.llm.calls import Call
from bezoar.llm.environment import from_environment
from bezoar.llm.failures import Failure
from bezoar.llm.prices import Usage
from bezoar.llm.whereabouts import whereabouts
from bezoar.params.data import AnthropicBackend, OpenAiBackend

Ending = Literal["stop", "length", "refusal", "empty", "other"]


@dataclass(frozen=True)
class Answer:
    """What a model said, read from a whole response.

    Attributes:
        ending: `stop`, `length` (cut by the token limit), `refusal`, `empty`, or `other` (for a reason that isn't known
            here, or that more tokens can't mend); only `stop` is a success.
        model: The model's name as its server gives it.
    """

    text: str
    ending: Ending
    model: str
    usage: Usage


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
        """Take note that the server didn't answer, so that it is looked for anew."""
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

    async def close(self) -> None:
        """Close the connections."""
        ...


class Connected:
    """What the makers' providers share: where the server is, and connections.

    Connections live no longer than the event loop that they are made in.
    """

    client: Any
    path = ""  # of the API on a server of one's own

    def __init__(self, block: OpenAiBackend | AnthropicBackend) -> None:
        self.model = block.model
        self._connection, self._own = block.connection, whereabouts(block)
        self._left: list[Any] = []  # connections to where the server was: answers may still come by them

    async def find(self, pause: Callable[[float], Awaitable[None]]) -> None:
        """Make sure of the address of a server of one's own."""
        if self._own and await self._own.find(pause):
            self._left += self._taken()

    def doubt(self) -> None:
        """Look for a server of one's own anew."""
        if self._own:
            self._own.doubt()

    @property
    def direct(self) -> bool:
        """Whether it is reached past any proxy, which wouldn't know a cluster's nodes."""
        return self._own is not None

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


def session_of(client: Any, *, direct: bool = False) -> aiohttp.ClientSession:
    """What sends calls as an SDK's client does, with its address and headers, in a quarter of its processor time."""
    address = urlsplit(str(client.base_url))
    headers = {**client.default_headers, **client.auth_headers}  # some only say that another is to be left out
    return aiohttp.ClientSession(
        address.geturl(),
        headers={name: value for name, value in headers.items() if isinstance(value, str)},
        connector=aiohttp.TCPConnector(limit=0, ssl=httpx2.create_ssl_context() if address.scheme == "https" else True),
        proxy=None if direct or proxy_bypass(address.hostname or "") else getproxies().get(address.scheme),
        timeout=aiohttp.ClientTimeout(total=None),  # a call has its own
    )


async def posted(session: aiohttp.ClientSession, path: str, call: Call, seconds: float) -> str:
    """The text of a response to the call's exact bytes, all of it within so many seconds.

    Raises:
        Failure: There was no response, or one with another status than 200.
    """
    try:
        async with asyncio.timeout(seconds), session.post(path, data=call.data, allow_redirects=False) as response:
            text = await response.text("utf-8", "replace")
    except TimeoutError as error:
        raise failures.of_connection(TimeoutError(f"nothing whole in {seconds:g} s")) from error
    except Exception as error:  # aiohttp's own, and the system's
        raise failures.of_connection(error) from error
    if response.status != 200:
        raise failures.of_status(response.status, response.headers, text)
    return text


@contextmanager
def failing(status_error: type[Any]) -> Iterator[None]:
    """Turn what an SDK raises into a Failure.

    Args:
        status_error: The SDK's error for a status other than 200; no cause of a Failure, since it may repeat the key.
    """
    try:
        yield
    except status_error as error:
        raise failures.of_status(error.status_code, error.response.headers, error.response.text) from None
    except Exception as error:  # the SDKs' own errors of connection, and httpx2's
        raise failures.of_connection(error) from error


def parsed(text: str, what: str) -> dict[str, Any]:
    """A response's JSON; raises Failure if it is cut, or no map."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise failures.of_answer(f"not JSON, where {what} was expected", text) from error
    if not isinstance(data, dict):
        raise failures.of_answer(f"not {what}", text)
    return data


def count(usage: Any, *names: str) -> int:
    """A count of tokens, perhaps nested; 0 where the server leaves it out."""
    for name in names:
        usage = usage.get(name) if isinstance(usage, dict) else None
    return usage if isinstance(usage, int) else 0
