"""Servers that jobs on a cluster ask, which run there as jobs themselves."""

from dataclasses import dataclass

from bezoar.cluster.resources import Resources
from bezoar.requests.blocks import BackendBlock, Connection


@dataclass(frozen=True)
class Server:
    """A backend's server, as `bezoar serve NAME` runs it, and what it asks the cluster for."""

    name: str
    command: tuple[str, ...]
    cpus: int
    mem_mb: int
    minutes: int
    gpus: int


def server_of(backend: BackendBlock, resources: Resources) -> Server | None:
    """The server that jobs with a backend need; None if it has none, or a variable says where another one is.

    Args:
        backend: Its block.
        resources: What the server asks for.
    """
    connection: Connection | None = getattr(backend, "connection", None)
    if connection is None or connection.server is None or not connection.self_hosted:
        return None
    command = tuple(connection.server.command)
    memory = int(resources.memory_gb * 1000)
    return Server(backend.name, command, resources.cpus, memory, resources.minutes, resources.gpus)
