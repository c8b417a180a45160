"""Requests on the wire: a response is read as it comes, and no more of it than one can have."""

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
    import aiohttp  # slow to import, and every recipe names its backends

MOST_BYTES = 16_000_000  # of a response, and of a line of a batch's results; the longest answers have a tenth of that
MOST_BYTES_OF_A_BATCH = 2_000_000_000
Found = TypeVar("Found")


def session_of(client: Any, *, direct: bool = False) -> aiohttp.ClientSession:
    """What sends calls as an SDK's client does, with its address and headers, in a quarter of its processor time."""
    import aiohttp
    import httpx2

    address = urlsplit(str(client.base_url))
    headers = {**client.default_headers, **client.auth_headers}  # some only say that another is to be left out
    return aiohttp.ClientSession(
        address.geturl(),
        headers={name: value for name, value in headers.items() if isinstance(value, str)},
        connector=aiohttp.TCPConnector(limit=0, ssl=httpx2.create_ssl_context() if address.scheme == "https" else True),
        proxy=None if direct or proxy_bypass(address.hostname or "") else getproxies().get(address.scheme),
        timeout=aiohttp.ClientTimeout(total=None),  # a call has its own
    )


async def exchanged(
    session: aiohttp.ClientSession, method: str, path: str, seconds: float, *, total: bool = True, **content: Any
) -> str:
    """The text of a response with status 200.

    Args:
        session: What it is asked by.
        method: `GET` or `POST`.
        path: Below the session's address.
        seconds: That all of it may take.
        total: False where only its parts may take no longer, as with the upload of a large file.
        content: What is sent, as aiohttp takes it.

    Raises:
        Failure: There was no response, a longer one than MOST_BYTES, or one with another status than 200.
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
    """The text of a response to the call's exact bytes, all of it within so many seconds; raises Failure."""
    return await exchanged(session, "POST", path, seconds, data=call.data)


async def results_at(
    session: aiohttp.ClientSession, path: str, seconds: float, result_of: Callable[[Any], Found]
) -> list[Found]:
    """The results in a file of a batch; a line that can't be read is left out, and so comes to be asked for again.

    Args:
        session: What it is asked by.
        path: Of the file, below the session's address.
        seconds: That may pass without a part of it.
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
        logger.warning(f"{unread:,} lines of a batch's results can't be read, and are taken for missing ones")
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
    """The lines of a response that aren't empty; of one that is too long, a beginning that is no JSON."""
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
    """Seconds that may pass until there is a connection, and between two parts of a response."""
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=between, sock_read=between)
