"""Self-hosted model servers: the file with a server's address, and the lease that clients renew to keep it alive.

`bezoar serve` (bezoar.serving.command) writes the address; jobs that send requests read it and touch the lease.
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
        job: Its SLURM job; None if it was started by hand.
        pid: The `bezoar serve` process that watches it.
        secret: The API key that it requires; empty for a server without one.
        weights: MD5 of the recipe's checkpoint that it has loaded; empty if it loads other weights.
    """

    url: str
    host: str
    port: int
    started: str
    job: str | None
    pid: int
    secret: str = field(default="", repr=False)
    weights: str = ""


def address_path(backend: str) -> Path:
    """The file with the address of a backend's server."""
    return FOLDER / f"{backend}.json"


def lease_path(backend: str) -> Path:
    """The file whose time says when a client last needed a backend's server."""
    return FOLDER / f"{backend}.lease"


def log_path(backend: str) -> Path:
    """The log file of a backend's server."""
    return LOGS / f"{backend}.log"


def read_address(backend: str) -> Address | None:
    """The last address of a backend's server, which may have ended since; None if there is none."""
    try:
        found = Address(**json.loads(address_path(backend).read_bytes()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts = (found.url, found.secret, found.weights)
    return found if all(isinstance(one, str) for one in texts) else None


def write_address(backend: str, address: Address) -> None:
    """Write the address and the secret of a backend's server, readable by this user alone."""
    path = address_path(backend)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(asdict(address), file, indent=2)
    os.replace(partial, path)


def touch_lease(backend: str) -> None:
    """Note that the server of a backend is needed."""
    path = lease_path(backend)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def answers(url: str) -> bool:
    """Whether a server answers 200 at an address."""
    try:
        with direct.open(url, timeout=SECONDS_FOR_HEALTH) as response:
            return bool(response.status == 200)
    except (OSError, HTTPException):
        return False
