"""Self-hosted model servers: where one that runs says that it is, and how its clients say that they need it.

`bezoar serve` (bezoar.serving.command) writes the address, jobs that ask the backend read it and touch the lease.
"""

import json
import os
import secrets
import urllib.request
from dataclasses import asdict, dataclass, field
from http.client import HTTPException
from pathlib import Path

FOLDER = Path(".snakemake/servers")
LOGS = Path("logs/serve")
SECONDS_FOR_HEALTH = 5.0
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy wouldn't know a cluster's nodes


@dataclass(frozen=True)
class Address:
    """Where a server runs.

    Attributes:
        started: When it was ready, by its machine's clock.
        job: Of SLURM, in which it runs; None for one that was started by hand.
        pid: Of the `bezoar serve` that watches it.
        secret: What it was started with, and takes requests by; empty for a server that has none.
    """

    url: str
    host: str
    port: int
    started: str
    job: str | None
    pid: int
    secret: str = field(default="", repr=False)


def address_path(backend: str) -> Path:
    """The file with the address of a backend's server."""
    return FOLDER / f"{backend}.json"


def lease_path(backend: str) -> Path:
    """The file whose time says when a client last needed a backend's server."""
    return FOLDER / f"{backend}.lease"


def log_path(backend: str) -> Path:
    """The file with all that a backend's server said."""
    return LOGS / f"{backend}.log"


def read_address(backend: str) -> Address | None:
    """Where a backend's server said that it is; it may have gone since. None if none has said so."""
    try:
        found = Address(**json.loads(address_path(backend).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if isinstance(found.url, str) and isinstance(found.secret, str) else None


def write_address(backend: str, address: Address) -> None:
    """Say where a backend's server is, and its secret, to this user alone."""
    path = address_path(backend)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(address), file, indent=2)
    os.replace(partial, path)


def touch_lease(backend: str) -> None:
    """Say that the server of a backend is needed."""
    path = lease_path(backend)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def answers(url: str) -> bool:
    """Whether a server says 200 at an address."""
    try:
        with direct.open(url, timeout=SECONDS_FOR_HEALTH) as response:
            return bool(response.status == 200)
    except (OSError, HTTPException):
        return False
