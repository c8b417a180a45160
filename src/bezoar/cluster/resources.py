"""The blocks of params.yaml that say what jobs ask a cluster for; no result depends on them."""

from pydantic import Field

from bezoar.blocks import Block


class Resources(Block):
    """What one job asks for. A second try asks for twice the memory and the time."""

    cpus: int = Field(1, ge=1, description="Processor cores; without a cluster, threads.")
    memory_gb: float = Field(4.0, gt=0, description="Main memory, in 1,000 MB.")
    minutes: int = Field(240, ge=1, description="Wall time until it is stopped; a training then goes on in a next job.")
    gpus: int = Field(0, ge=0)
