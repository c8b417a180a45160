"""Whether a run may start: keys, prices, the makers' own models, and a yes where it may be dear."""

import asyncio
import os
import sys
from collections.abc import Iterable

from bezoar.cache import CacheError
from bezoar.cache.job import Step
from bezoar.llm.budget import MILLION
from bezoar.llm.estimate import Estimator, Expected
from bezoar.llm.failures import Failure
from bezoar.llm.job import approved, replaying
from bezoar.llm.prices import load
from bezoar.params.data import AnthropicBackend, OpenAiBackend
from bezoar.params.recipe import Recipe


class Spending:
    """What runs of a recipe spend on models over a network, and whether they may."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def expected(self, steps: Iterable[Step], commands: dict[str, list[str]] | None = None) -> list[Expected]:
        """What planned steps would ask, by stage; with their commands also what of it is stored."""
        return Estimator(self.recipe).expected(steps, commands)

    def check(self, steps: list[Step], commands: dict[str, list[str]]) -> None:
        """Nothing, if the planned steps may be run; a replay may, since it sends nothing.

        Raises:
            CacheError: A key, an address or a price is missing, a maker's own server doesn't answer or hasn't the model
                any more, or the run may cost more than `approve_above`, and nobody approved of that.
        """
        estimator = Estimator(self.recipe)
        backends = {block.model: block for step in steps if (block := estimator.backend(step))}
        if not backends or replaying():
            return
        try:
            for block in backends.values():
                _present(block)
                load(self.recipe.budget.prices).of(block.model, self.recipe.budget.prices)
            for block in backends.values():
                if block.connection.base_url_env is None:  # a server of one's own may be started by the run
                    _reachable(block)
        except ValueError as error:
            raise CacheError(str(error)) from error
        self._approve(estimator, steps, commands)

    def _approve(self, estimator: Estimator, steps: list[Step], commands: dict[str, list[str]]) -> None:
        most = self.recipe.budget.approve_above
        if most is None or _within(estimator.expected(steps), most):
            return
        found = estimator.expected(steps, commands)
        if _within(found, most) or approved() is not None:
            return  # what was approved is a ceiling that the jobs hold to
        known = sum(one.micro or 0 for one in found) / MILLION
        what = "\n".join(f"    {one}" for one in found)
        if sys.stdin.isatty() and sys.stderr.isatty():
            print(f"this run may cost ${known:,.2f}, and more where it isn't known:\n{what}", file=sys.stderr)
            print("Dollars that it may cost at most (nothing to stop): ", end="", file=sys.stderr, flush=True)
            if answer := sys.stdin.readline().strip().removeprefix("$"):
                os.environ["BEZOAR_APPROVE"] = answer
                approved()
                return
        raise CacheError(
            "this run may cost more than budget.approve_above\n"
            f"  found:    ${known:,.2f}, as far as it is known:\n{what}\n  expected: at most ${most:,.2f}, or a yes\n"
            "hint: BEZOAR_APPROVE=<dollars> allows a run that much, and no more"
        )


def _within(found: list[Expected], most: float) -> bool:
    return all(one.micro is not None for one in found) and sum(one.micro or 0 for one in found) <= most * MILLION


def _present(block: OpenAiBackend | AnthropicBackend) -> None:
    connection = block.connection
    for variable, what in ((connection.api_key_env, "API key"), (connection.base_url_env, "address")):
        if variable and not os.environ.get(variable):
            raise ValueError(
                f"no {what} of {block.model} in the environment\n  found:    {variable} is not set\n"
                f"  expected: {variable}=<{what}>\nhint: BEZOAR_REPLAY_ONLY=1 needs none, if all answers are stored"
            )


def _reachable(block: OpenAiBackend | AnthropicBackend) -> None:
    from bezoar.llm import provider_of  # slow to import
    from bezoar.llm.preflight import check

    async def ask() -> None:
        provider = provider_of(block)
        try:
            await check(provider, 0)
        finally:
            await provider.close()

    try:
        asyncio.run(ask())
    except Failure as failure:
        raise ValueError(
            f"{block.model} can't be asked\n  found:    {failure}\n"
            f"  expected: a server that has it and takes the key in {block.connection.api_key_env}"
        ) from failure
