"""Servers that jobs on a cluster ask, which run there as jobs themselves."""

from dataclasses import dataclass

from bezoar import serving
from bezoar.params.data import ApiBackend
from bezoar.params.recipe import Recipe


@dataclass(frozen=True)
class Server:
    """A backend's server, as `bezoar serve NAME` runs it, and what it asks the cluster for."""

    name: str
    command: tuple[str, ...]
    cpus: int
    mem_mb: int
    minutes: int
    gpus: int


def server_of(recipe: Recipe, backend: str) -> Server | None:
    """The server that jobs with a backend need; None if it has none, or a variable says where another one is."""
    block = recipe.backends[backend]
    if not serving.needed(recipe, backend) or not isinstance(block, ApiBackend) or block.connection.server is None:
        return None
    asked = recipe.asks(f"server-{backend}")
    command = tuple(block.connection.server.command)
    return Server(backend, command, asked.cpus, int(asked.memory_gb * 1000), asked.minutes, asked.gpus)
