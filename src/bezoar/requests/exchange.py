"""HTTP: a response is read as it arrives, up to a limit on its size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from bezoar.logs import logger
from bezoar.requests import failures
from bezoar.requests.calls import Call, decoded
from bezoar.requests.failures import Failure

if TYPE_CHECKING:
    import aiohttp  # slow to import, and every recipe imports its backends

MOST_BYTES = 16_000_000  # of a response, and of a line of a batch's results; the longest answers take a tenth of it
MOST_BYTES_OF_A_BATCH = 2_000_000_000
Found = TypeVar("Found")


def session_of(client: Any, *, direct: bool = False) -> aiohttp.ClientSession:
    """A session with the address and headers of an SDK's client; it takes a quarter of the client's CPU time."""
    import aiohttp
    import httpx2

    address = urlsplit(str(client.base_url))
    headers = {**client.default_headers, **client.auth_headers}  # some values only mark an omitted header
    return aiohttp.ClientSession(
        address.geturl(),
        headers={name: value for name, value in headers.items() if isinstance(value, str)},
        connector=aiohttp.TCPConnector(limit=0, ssl=httpx2.create_ssl_context() if address.scheme == "https" else True),
        proxy=None if direct or proxy_bypass(address.hostname or "") else getproxies().get(address.scheme),
        timeout=aiohttp.ClientTimeout(total=None),  # each call has its own timeout
    )


async def exchanged(
    session: aiohttp.ClientSession, method: str, path: str, seconds: float, *, total: bool = True, **content: Any
) -> str:
    """The text of a response with status 200.

    Args:
        session: Sends the request.
        method: `GET` or `POST`.
        path: Below the session's address.
        seconds: Time limit.
        total: Whether the limit holds for the whole exchange; if not, for each part, as in uploads of large files.
        content: What is sent, as keywords of aiohttp.

    Raises:
        Failure: There was no response, its size exceeds MOST_BYTES, or its status isn't 200.
    """
    try:
        async with (
            asyncio.timeout(seconds if total else None),
            session.request(
                method, path, allow_redirects=False, timeout=_timeout(None if total else seconds), **content
            ) as response,
        ):
            text = (await _whole(response)).decode("utf-8", "replace")
    except Failure:
        raise
    except TimeoutError as error:
        raise failures.of_connection(TimeoutError(f"nothing whole in {seconds:g} s")) from error
    except Exception as error:  # aiohttp's own, and the system's
        raise failures.of_connection(error) from error
    if response.status != 200:
        raise failures.of_status(response.status, response.headers, text)
    return text


async def posted(session: aiohttp.ClientSession, path: str, call: Call, seconds: float) -> str:
    """The text of a response to the call's exact bytes, within a time limit in seconds; raises Failure."""
    return await exchanged(session, "POST", path, seconds, data=call.data)


async def results_at(
    session: aiohttp.ClientSession, path: str, seconds: float, result_of: Callable[[Any], Found]
) -> list[Found]:
    """The results in a batch's file; a line that can't be read is left out, so that its call is sent again.

    Args:
        session: Sends the request.
        path: Of the file, below the session's address.
        seconds: Time limit for each part.
        result_of: Makes a result of a line's JSON.

    Raises:
        Failure: There was no whole response, or one with another status than 200.
    """
    found: list[Found] = []
    unread = 0
    try:
        async with session.get(path, allow_redirects=False, timeout=_timeout(seconds)) as response:
            if response.status != 200:
                text = (await _whole(response)).decode("utf-8", "replace")
                raise failures.of_status(response.status, response.headers, text)
            async for line in _lines(response):
                try:
                    found.append(result_of(decoded(line)))
                except (ValueError, KeyError, TypeError, AttributeError):
                    unread += 1
    except Failure:
        raise
    except Exception as error:  # aiohttp's own, and the system's
        raise failures.of_connection(error) from error
    if unread:
        logger.warning(f"{unread:,} lines of a batch's results can't be read, and count as missing")
    return found


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    data = bytearray()
    async for part in response.content.iter_any():
        data += part
        if len(data) > MOST_BYTES:
            response.close()
            raise failures.of_size(MOST_BYTES)
    return bytes(data)


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The lines of a response that aren't empty; a line that is too long comes as an empty one, which isn't JSON."""
    line, size = bytearray(), 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > MOST_BYTES_OF_A_BATCH:
            response.close()
            raise failures.of_size(MOST_BYTES_OF_A_BATCH)
        *ends, rest = part.split(b"\n")
        for end in ends:
            line += end[: MOST_BYTES + 1 - len(line)]
            if line.strip():
                yield b"" if len(line) > MOST_BYTES else bytes(line)
            line.clear()
        line += rest[: MOST_BYTES + 1 - len(line)]
    if line.strip():
        yield bytes(line)


def _timeout(between: float | None) -> aiohttp.ClientTimeout:
    """Time limits on connecting, and between two parts of a response."""
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=between, sock_read=between)
