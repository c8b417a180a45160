"""What can be known of a provider before the first request that costs money."""

from datetime import date

from bezoar.logs import logger
from bezoar.requests.failures import Failure
from bezoar.requests.provider import Provider


async def check(provider: Provider) -> int | None:
    """Ask the server whether it answers, takes the key, and has the model; the tokens that the model has room for.

    Raises:
        Failure: It doesn't.
    """
    facts = await provider.model_facts()
    ends = _day(facts.get("ends"))
    if facts.get("retired") or (ends and ends <= date.today() and provider.name == "openai"):
        raise Failure("stop", f"the model {provider.model} is retired; its server says so")
    if ends:
        logger.warning(f"{provider.model} is about to be retired: its server says {ends}")
    context = facts.get("context")
    return context if isinstance(context, int) else None


def _day(text: object) -> date | None:
    """The day that a server's text begins with; None for anything else."""
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None
