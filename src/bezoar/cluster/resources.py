"""The resources that jobs request from a cluster; no result depends on them."""

from pydantic import Field

from bezoar.blocks import Block


class Resources(Block):
    """Resources of one job. A second try gets twice the memory and time."""

    cpus: int = Field(1, ge=1, description="Processor cores; without a cluster, threads.")
    memory_gb: float = Field(4.0, gt=0, description="Main memory, in 1,000 MB.")
    minutes: int = Field(
        240, ge=1, description="Wall time until it is stopped; training then continues in the next job."
    )
    gpus: int = Field(0, ge=0)
