"""Whether a run may start, before any of its jobs does."""

import asyncio
import io
import os
from types import SimpleNamespace
from typing import Any

import pytest
from faults import Faults, status
from llm import KEY, PRICE, SAMPLING, addresses, block, ceilings, set_up

from bezoar.cache import CacheError
from bezoar.recipe import approval as allowance
from bezoar.recipe import estimate
from bezoar.recipe.estimate import Estimator, Expected

DEAR = Expected("generate-a", "rules", jobs=20, calls=9, stored=0, tokens=90, micro=5_000_000, guessed=True)


class Dear(Estimator):
    """Says that any run costs five dollars."""

    def expected(self, *_: Any) -> list[Expected]:
        return [DEAR]


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def steps() -> list[Any]:
    """Jobs of two schemes."""
    return [SimpleNamespace(rule="generate", block=(name,), stage=f"generate-{name}") for name in ("a", "b")]


@pytest.fixture
def spending(tmp_path, monkeypatch) -> Spending:
    """Of a recipe in which two backends have one model, and a key each."""
    monkeypatch.chdir(tmp_path)
    set_up(tmp_path, PRICE)
    for name, value in addresses("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTHER_API_KEY", "another")
    monkeypatch.setenv("BEZOAR_APPROVE", "")
    monkeypatch.setattr(allowance, "Estimator", Dear)
    backends = {"one": block("openai", {}), "two": block("openai", {"api_key_env": "OTHER_API_KEY"})}
    schemes = {"a": SimpleNamespace(teacher="one"), "b": SimpleNamespace(teacher="two")}
    recipe: Any = SimpleNamespace(backends=backends, schemes=schemes, budget=ceilings(approve_above=1.0))
    return Spending(recipe)


def typing(monkeypatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(f"{text}\n"))
    monkeypatch.setattr("sys.stderr", Terminal())


@pytest.mark.parametrize("variable", ["FAULTS_API_KEY", "OTHER_API_KEY", "OPENAI_URL"])
def test_every_backend_is_looked_at_though_another_has_its_model(spending, steps, monkeypatch, variable):
    monkeypatch.delenv(variable)
    with pytest.raises(CacheError, match=f"{variable} \\((.|\n)*BEZOAR_REPLAY_ONLY=1"):
        spending.check(steps, {})


SERVER = {"command": ["serve", "{port}"], "health": "/health", "start": 1.0, "idle": 1.0}


@pytest.mark.parametrize("variable", ["OPENAI_URL", None])
def test_a_server_of_ones_own_may_be_started_by_the_run(spending, steps, monkeypatch, variable):
    own = block("openai", {"base_url_env": variable, "server": SERVER})
    spending.recipe.backends.update(one=own, two=own)
    monkeypatch.delenv("OPENAI_URL")
    monkeypatch.setenv("BEZOAR_APPROVE", "10")
    spending.check(steps, {})
    monkeypatch.delenv("FAULTS_API_KEY")
    with pytest.raises(CacheError, match=r"not set: FAULTS_API_KEY \(the key of rules\)\n"):
        spending.check(steps, {})


def test_a_dear_run_needs_a_yes_in_dollars(spending, steps, monkeypatch):
    with pytest.raises(CacheError, match=r"may cost more than budget\.approve_above"):
        spending.check(steps, {})
    typing(monkeypatch, "$7.5")
    spending.check(steps, {})
    assert os.environ["BEZOAR_APPROVE"] == "7.5"


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "-1"])
def test_a_yes_that_is_no_number_of_dollars_is_refused(spending, steps, monkeypatch, text):
    typing(monkeypatch, text)
    with pytest.raises(CacheError, match="not a number of dollars"):
        spending.check(steps, {})
    monkeypatch.setenv("BEZOAR_APPROVE", text)
    with pytest.raises(CacheError, match="not a number of dollars"):
        spending.check([steps[0]], {})


def test_a_makers_own_server_is_asked_from_within_snakemakes_event_loop(monkeypatch):
    from bezoar.requests import openai

    async def check():
        allowance._reachable(block("openai", {"base_url_env": None}))

    with Faults() as server:
        monkeypatch.setattr(openai, "ADDRESS", f"{server.address}/v1")
        monkeypatch.setenv("FAULTS_API_KEY", KEY)
        asyncio.run(check())
        server.models.clear()
        server.models["another"] = {}
        with pytest.raises(ValueError, match="the server has no model rules, but another"):
            asyncio.run(check())
    assert server.hits() == 0


def test_a_key_that_a_server_repeats_is_not_shown(monkeypatch):
    with Faults() as server:
        for name, value in addresses(server.address).items():
            monkeypatch.setenv(name, value)
        server.script("GET /v1/models", after=status(401, text=f"{KEY} isn't known{'.' * 1000}"))
        with pytest.raises(ValueError, match=r"\[key\] isn't known") as caught:
            allowance._reachable(block("openai", {}))
    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 500 + 200


def test_what_is_stored_is_counted_where_it_was_looked_for_only(monkeypatch):
    # 3 jobs were done before a kill, of 20; each has 10 answers
    jobs: list[Any] = [SimpleNamespace(name=str(number), inputs=()) for number in range(20)]
    monkeypatch.setattr(estimate, "_stored_of", lambda step, command: 10 if int(step.name) < 3 else 0)
    assert estimate._stored(jobs, {job.name: [] for job in jobs}) == 30


def test_a_line_of_an_estimate_promises_no_more_than_it_knows():
    said = str(DEAR)
    assert said == "generate-a: at most 9 calls, repeats apart, to rules, at most 90 tokens, $5.00"


@pytest.mark.parametrize("calls", [9, None], ids=["known", "unknown"])
def test_a_server_that_costs_nothing_needs_no_approval(tmp_path, monkeypatch, calls):
    monkeypatch.chdir(tmp_path)
    free = dict.fromkeys(("input", "cached", "written", "written_1h", "output"), 0.0)
    budget = ceilings(approve_above=0.0)
    for prices, passes in ((PRICE | free, True), (PRICE | free | {"output": 1.0}, False)):
        set_up(tmp_path, prices)
        estimator = Estimator(SimpleNamespace(backends={"one": block("openai", {})}, budget=budget))  # type: ignore[arg-type]
        monkeypatch.setattr(estimator, "backend", lambda step: block("openai", {}))
        monkeypatch.setattr(estimator, "_ask", lambda step: (calls, 100, SAMPLING))
        found = estimator.expected([SimpleNamespace(outputs=[], stage="generate-a")])  # type: ignore[list-item]
        assert allowance._within(found, 0.0) == passes
