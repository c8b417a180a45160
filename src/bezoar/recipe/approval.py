"""Checks before a run: keys, prices, models of providers, and approval if the run may be expensive."""

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
    """Estimates and approves what runs of a recipe spend on model requests."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe

    def expected(self, steps: Iterable[Step], commands: dict[str, list[str]] | None = None) -> list[Expected]:
        """The requests of planned steps, by stage; with the steps' commands, also how many are answered already."""
        return Estimator(self.recipe).expected(steps, commands)

    def summary(self, found: list[Expected]) -> str:
        """The total, with the recipe's ceilings."""
        budget = self.recipe.budget
        known = sum(one.micro or 0 for one in found) / MILLION
        parts = [f"together at most ${known:,.2f}" if all(one.guessed for one in found) else f"together ${known:,.2f}"]
        if any(one.micro is None for one in found):
            parts.append("as far as known")
        if budget.run.dollars is not None:
            parts.append(f"a run stops at ${budget.run.dollars:,.2f} (budget.run)")
        if budget.approve_above is not None and not _within(found, budget.approve_above):
            parts.append(f"above ${budget.approve_above:,.2f} (approve_above) it needs BEZOAR_APPROVE=<dollars>")
        return ", ".join(parts)

    def check(self, steps: list[Step], commands: dict[str, list[str]]) -> None:
        """Check that the planned steps may run. A replay may: it sends nothing.

        Raises:
            CacheError: A key, an address or a price is missing, a provider doesn't answer or no longer has the model,
                BEZOAR_APPROVE isn't a number of dollars, or the run may cost more than `approve_above` and nobody
                approved that.
        """
        estimator = Estimator(self.recipe)
        backends: list[ApiBackend] = []
        for step in steps:
            backends += [block for block in estimator.backends(step).values() if block not in backends]
        if not backends or replaying():
            return
        try:
            approved()
            _check_environment(backends)
            for block in backends:
                load_prices(self.recipe.budget.prices).of(block.model, self.recipe.budget.prices)
            for block in backends:
                if block.connection.base_url_env is None and not block.connection.self_hosted:
                    # a run may start a self-hosted server itself
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
            return  # the jobs enforce the approved ceiling
        known = sum(one.micro or 0 for one in found) / MILLION
        what = "\n".join(f"    {one}" for one in found)
        if sys.stdin.isatty() and sys.stderr.isatty():
            show(f"this run may cost ${known:,.2f}, and more where the cost is unknown:\n{what}", file=sys.stderr)
            show("The most that it may cost, in dollars (empty to stop): ", end="", file=sys.stderr)
            if answer := sys.stdin.readline().strip().removeprefix("$"):
                os.environ["BEZOAR_APPROVE"] = answer
                approved()
                return
        raise CacheError(
            problem(
                "this run may cost more than budget.approve_above",
                found=f"${known:,.2f}, as far as known:\n{what}",
                expected=f"at most ${most:,.2f}, or an approval",
                hint="BEZOAR_APPROVE=<dollars> allows the run so much, and no more",
            )
        )


def _within(found: list[Expected], most: float) -> bool:
    return all(one.micro is not None for one in found) and sum(one.micro or 0 for one in found) <= most * MILLION


def _check_environment(blocks: Iterable[ApiBackend]) -> None:
    """Raise ValueError if keys or addresses are missing; it names all the variables, and never a value."""
    missing = {
        variable: f"{variable} (the {what} of {block.model})"
        for block in blocks
        for variable, what in ((block.connection.api_key_env, "key"), (block.connection.base_url_env, "address"))
        if variable and not os.environ.get(variable) and not (what == "address" and block.connection.self_hosted)
    }
    if missing:
        raise InputError(
            problem(
                "keys or addresses of models are missing",
                found=f"not set: {', '.join(missing.values())}",
                expected="these variables in the environment; any text for a server that needs no key",
                hint="with BEZOAR_REPLAY_ONLY=1 none is needed if all answers are stored",
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
        with ThreadPoolExecutor(1) as apart:  # Snakemake's process is inside an event loop here
            apart.submit(asyncio.run, ask()).result()
    except Failure as failure:
        variable = block.connection.api_key_env
        found = str(failure).replace(os.environ[variable], "[key]")[:DETAIL]  # a server may repeat the key
        raise InputError(
            problem(
                f"{block.model} can't be used",
                found=found,
                expected=f"a server that has this model and accepts the key in {variable}",
            )
        ) from None
