"""What the jobs that ask a model touch, beside their inputs and outputs."""

from bezoar import serving
from bezoar.cache.config import COMMITTED, LOCAL
from bezoar.cache.job import Network
from bezoar.requests.blocks import BackendBlock, Budget
from bezoar.requests.job import SPENT

RESPONSES = "responses"  # of bezoar.requests.store, which is slow to import


def network_of(backend: BackendBlock, budget: Budget) -> Network | None:
    """What the jobs need that a backend answers; None for a model that runs in the job."""
    connection = getattr(backend, "connection", None)
    if connection is None:
        return None
    names = filter(None, [connection.api_key_env, connection.base_url_env])
    prices = filter(None, [budget.prices])
    shared = (RESPONSES, str(SPENT), str(serving.FOLDER))
    return Network(tuple(names), (COMMITTED, LOCAL, *prices), shared)  # the modes of answers depend on DVC's settings
