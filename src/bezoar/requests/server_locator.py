"""The address of a self-hosted server: looked up when a job starts to send, and again when it doesn't answer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bezoar import serving
from bezoar.errors import Stopped, problem
from bezoar.logs import logger
from bezoar.requests.blocks import ManagedServer
from bezoar.serving import listeners

if TYPE_CHECKING:
    from bezoar.requests.api import ApiBackend  # which opens what needs this

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_LINES = 60.0
SECONDS_BETWEEN_TOUCHES = 10.0  # of the lease; far shorter than any sensible `idle`


class ServerLocator:
    """Finds the server of a backend.

    Attributes:
        url: Where it answered last; None at first.
        secret: The key that it requires; empty for a server without one.
        weights: MD5 of the checkpoint that it has to serve; empty for weights from outside of the recipe.
    """

    def __init__(self, backend: str, server: ManagedServer, weights: str = "") -> None:
        self.backend, self.server, self.weights = backend, server, weights
        self.url: str | None = None
        self.secret = ""
        self._sure = False

    def doubt(self) -> None:
        """Note that it didn't answer: it may have moved."""
        self._sure = False

    async def find(self, pause: Callable[[float], Awaitable[None]]) -> bool:
        """Wait until it answers at its current address; whether the address or the server is a new one.

        Args:
            pause: Waits for a number of seconds; may raise if nothing more may be sent.

        Raises:
            Stopped: It doesn't answer within the time that it may take to start.
        """
        if self._sure:
            return False
        before, began = (self.url, self.secret), time.monotonic()
        spoken = began
        while not await self._seen():
            now = time.monotonic()
            if now - began > self.server.start:
                raise Stopped(self._no_server())
            if spoken == began or now - spoken > SECONDS_BETWEEN_LINES:
                spoken = now
                logger.info(
                    f"waiting for the server of {self.backend}, {now - began:.0f} of {self.server.start:g} s: "
                    f"{self._found()}"
                )
            await pause(SECONDS_BETWEEN_LOOKS)
        self._sure = True
        if (self.url, self.secret) == before:
            return False
        logger.info(f"requests to {self.backend} go to {self.url}")
        return True

    async def _seen(self) -> bool:
        serving.touch_lease(self.backend)  # first: before a server stops, it looks at the lease again
        address = serving.read_address(self.backend)
        if not address or self._stranger(address) or not await asyncio.to_thread(self._sound, address):
            return False
        self.url, self.secret = address.url, address.secret
        return True

    def _sound(self, address: serving.Address) -> bool:
        """Whether a server answers at an address, and is the one that wrote it, as far as this machine can tell."""
        return listeners.owned(address.url, address.pid) and serving.answers(address.url + self.server.health)

    def _found(self) -> str:
        address = serving.read_address(self.backend)
        if address and not listeners.owned(address.url, address.pid):
            path = serving.address_path(self.backend)
            return f"the process {address.pid} is gone or doesn't listen at {address.url}, as {path} says"
        if address and self._stranger(address):
            has, needs = (one or "not of this recipe" for one in (address.weights, self.weights))
            return f"the server at {address.url} has loaded other weights: {has}; this job needs: {needs}"
        if address:
            return f"nothing answers at {address.url}{self.server.health}, as {serving.address_path(self.backend)} says"
        return f"no {serving.address_path(self.backend)}"

    def _no_server(self) -> str:
        return problem(
            f"no server of {self.backend}",
            found=f"{self._found()}, after {self.server.start:g} s",
            expected="a server that answers",
            hint=f"{self._hint()}; answers so far are stored",
        )

    def _hint(self) -> str:
        address = serving.read_address(self.backend)
        if address and self._stranger(address):
            what = "`bezoar serve` loads what params.yaml named when it started"
            return f"{what}: stop `bezoar serve {self.backend}`, and start it again"
        return (
            f"start it by `bezoar serve {self.backend}` in another terminal, or run with `--profile profiles/slurm`, "
            "which submits it"
        )

    def _stranger(self, address: serving.Address) -> bool:
        """Whether a server has loaded other weights than those that it has to serve."""
        return address.weights != self.weights


def server_locator(block: ApiBackend, weights: str = "") -> ServerLocator | None:
    """Finds the server with a backend's weights; None if it isn't self-hosted, or a variable has its address."""
    server = block.connection.server
    return ServerLocator(block.name, server, weights) if server and block.connection.self_hosted else None


@contextmanager
def kept(block: ApiBackend) -> Iterator[None]:
    """Keep a backend's self-hosted server, if any, from stopping because it has no clients."""
    if not block.connection.self_hosted:
        yield
        return
    serving.touch_lease(block.name)
    done = threading.Event()

    def keep() -> None:
        while not done.wait(SECONDS_BETWEEN_TOUCHES):
            with suppress(OSError):  # such as a full disk: the next touch will do
                serving.touch_lease(block.name)

    keeping = threading.Thread(target=keep, daemon=True)
    keeping.start()
    try:
        yield
    finally:
        done.set()
        keeping.join()
