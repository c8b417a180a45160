"""Whether a run may start: keys, prices, the makers' own models, and a yes where it may be dear."""

import asyncio
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from bezoar.cache import CacheError
from bezoar.cache.job import Step
from bezoar.errors import InputError, problem
from bezoar.recipe.estimate import Estimator, Expected
from bezoar.recipe.recipe import Recipe
from bezoar.requests.api import ApiBackend
from bezoar.requests.budget import MILLION
from bezoar.requests.failures import DETAIL, Failure
from bezoar.requests.job import approved, replaying
from bezoar.requests.prices import load_prices
from bezoar.text import show


class Approval:
    """What runs of a recipe spend on models over a network, and whether they may."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def expected(self, steps: Iterable[Step], commands: dict[str, list[str]] | None = None) -> list[Expected]:
        """What planned steps would ask, by stage; with their commands also what of it is stored."""
        return Estimator(self.recipe).expected(steps, commands)

    def summary(self, found: list[Expected]) -> str:
        """All of it together, against the recipe's ceilings."""
        budget = self.recipe.budget
        known = sum(one.micro or 0 for one in found) / MILLION
        parts = [f"together at most ${known:,.2f}" if all(one.guessed for one in found) else f"together ${known:,.2f}"]
        if any(one.micro is None for one in found):
            parts.append("as far as it is known")
        if budget.run.dollars is not None:
            parts.append(f"a run stops at ${budget.run.dollars:,.2f} (budget.run)")
        if budget.approve_above is not None and not _within(found, budget.approve_above):
            parts.append(f"above ${budget.approve_above:,.2f} (approve_above) it needs BEZOAR_APPROVE=<dollars>")
        return ", ".join(parts)

    def check(self, steps: list[Step], commands: dict[str, list[str]]) -> None:
        """Nothing, if the planned steps may be run; a replay may, since it sends nothing.

        Raises:
            CacheError: A key, an address or a price is missing, a maker's own server doesn't answer or hasn't the model
                any more, BEZOAR_APPROVE is no number of dollars, or the run may cost more than `approve_above`, and
                nobody approved of that.
        """
        estimator = Estimator(self.recipe)
        backends: list[ApiBackend] = []
        for step in steps:
            if (block := estimator.backend(step)) and block not in backends:
                backends.append(block)
        if not backends or replaying():
            return
        try:
            approved()
            _check_environment(backends)
            for block in backends:
                load_prices(self.recipe.budget.prices).of(block.model, self.recipe.budget.prices)
            for block in backends:
                if block.connection.base_url_env is None and not block.connection.self_hosted:
                    # a server of one's own may be started by the run
                    _reachable(block)
            self._approve(estimator, steps, commands)
        except ValueError as error:
            raise CacheError(str(error)) from error

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
            show(f"this run may cost ${known:,.2f}, and more where it isn't known:\n{what}", file=sys.stderr)
            show("Dollars that it may cost at most (nothing to stop): ", end="", file=sys.stderr)
            if answer := sys.stdin.readline().strip().removeprefix("$"):
                os.environ["BEZOAR_APPROVE"] = answer
                approved()
                return
        raise CacheError(
            problem(
                "this run may cost more than budget.approve_above",
                found=f"${known:,.2f}, as far as it is known:\n{what}",
                expected=f"at most ${most:,.2f}, or a yes",
                hint="BEZOAR_APPROVE=<dollars> allows a run that much, and no more",
            )
        )


def _within(found: list[Expected], most: float) -> bool:
    return all(one.micro is not None for one in found) and sum(one.micro or 0 for one in found) <= most * MILLION


def _check_environment(blocks: Iterable[ApiBackend]) -> None:
    """Raise ValueError if keys or addresses are missing; it names all of them, and never a value."""
    missing = {
        variable: f"{variable} (the {what} of {block.model})"
        for block in blocks
        for variable, what in ((block.connection.api_key_env, "key"), (block.connection.base_url_env, "address"))
        if variable and not os.environ.get(variable) and not (what == "address" and block.connection.self_hosted)
    }
    if missing:
        raise InputError(
            problem(
                "models can't be asked without their keys and addresses",
                found=f"not set: {', '.join(missing.values())}",
                expected="these variables in the environment; any key will do for a server that takes any",
                hint="BEZOAR_REPLAY_ONLY=1 needs none, if all answers are stored",
            )
        )


def _reachable(block: ApiBackend) -> None:
    from bezoar.requests.preflight import check

    async def ask() -> None:
        provider = block.provider()
        try:
            await check(provider)
        finally:
            await provider.close()

    try:
        with ThreadPoolExecutor(1) as apart:  # Snakemake's process runs an event loop of its own here
            apart.submit(asyncio.run, ask()).result()
    except Failure as failure:
        variable = block.connection.api_key_env
        found = str(failure).replace(os.environ[variable], "[key]")[:DETAIL]  # a server may repeat the key
        raise InputError(
            problem(
                f"{block.model} can't be asked",
                found=found,
                expected=f"a server that has it and takes the key in {variable}",
            )
        ) from None
