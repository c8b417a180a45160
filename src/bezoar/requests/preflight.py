"""Checks of a provider before the first request that costs money."""

from datetime import date

from bezoar.logs import logger
from bezoar.requests.failures import Failure
from bezoar.requests.provider import Provider


async def check(provider: Provider) -> int | None:
    """Check that the server answers, accepts the key, and has the model; the model's context in tokens.

    Raises:
        Failure: It doesn't.
    """
    facts = await provider.model_facts()
    ends = _day(facts.get("ends"))
    if facts.get("retired") or (ends and ends <= date.today() and provider.name == "openai"):
        raise Failure("stop", f"its server says that the model {provider.model} is retired")
    if ends:
        logger.warning(f"{provider.model} will be retired on {ends}, its server says")
    context = facts.get("context")
    return context if isinstance(context, int) else None


def _day(text: object) -> date | None:
    """The day that a server's text begins with; None for anything else."""
    try:
        return date.fromisoformat(str(text)[:10])
    except ValueError:
        return None
