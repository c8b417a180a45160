"""Self-hosted servers for jobs on a cluster; they are cluster jobs, too."""

import hashlib
from dataclasses import dataclass

from bezoar.cluster.resources import Resources
from bezoar.requests.blocks import BackendBlock, Connection


@dataclass(frozen=True)
class Server:
    """A backend's server, as `bezoar serve NAME` runs it, and its resources.

    Attributes:
        checkpoint: Name of the recipe's checkpoint that it loads; None for other weights.
    """

    name: str
    command: tuple[str, ...]
    checkpoint: str | None
    cpus: int
    mem_mb: int
    minutes: int
    gpus: int

    @property
    def digest(self) -> str:
        """Sha256 of its command and checkpoint: a running server with another one isn't this server."""
        return hashlib.sha256(repr((self.command, self.checkpoint)).encode()).hexdigest()


def server_of(backend: BackendBlock, resources: Resources) -> Server | None:
    """The server that jobs with a backend need; None if it has none, or a variable sets another address.

    Args:
        backend: The backend's block.
        resources: The server's resources.
    """
    connection: Connection | None = getattr(backend, "connection", None)
    if connection is None or connection.server is None or not connection.self_hosted:
        return None
    command = tuple(connection.server.command)
    memory = int(resources.memory_gb * 1000)
    wanted = (resources.cpus, memory, resources.minutes, resources.gpus)
    return Server(backend.name, command, backend.weights, *wanted)
