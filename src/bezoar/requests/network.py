"""What the jobs that ask a model touch, beside their inputs and outputs."""

from collections.abc import Iterable

from bezoar import serving
from bezoar.cache.config import COMMITTED, LOCAL
from bezoar.cache.job import Network
from bezoar.requests.blocks import BackendBlock, Budget
from bezoar.requests.job import SPENT

RESPONSES, CATALOGUE = "responses", ".snakemake/bezoar-answers"  # of modules that are slow to import


def network_of(backends: Iterable[BackendBlock], budget: Budget) -> Network | None:
    """What the jobs need that backends answer; None if all of these models run in the job."""
    connections = [one for backend in backends if (one := getattr(backend, "connection", None)) is not None]
    if not connections:
        return None
    named = (name for one in connections for name in (one.api_key_env, one.base_url_env))
    names = dict.fromkeys(filter(None, named))
    prices = filter(None, [budget.prices])
    shared = (RESPONSES, CATALOGUE, str(SPENT), str(serving.FOLDER))
    return Network(tuple(names), (COMMITTED, LOCAL, *prices), shared)  # the modes of answers depend on DVC's settings
