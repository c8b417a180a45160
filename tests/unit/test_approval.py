"""Whether a run may start, before any of its jobs does."""

import asyncio
import io
import os
from types import SimpleNamespace
from typing import Any

import pytest
from desk import KEY, PRICE, addresses, block, ceilings, set_up
from faults import Faults, status

from bezoar.cache import CacheError
from bezoar.recipe import approval, estimate
from bezoar.recipe.approval import Approval
from bezoar.recipe.estimate import Estimator, Expected
from bezoar.recipe.recipe import Recipe

DEAR = Expected("generate-a", "rules", jobs=20, calls=9, stored=0, tokens=90, micro=5_000_000, guessed=True)


class Dear(Estimator):
    """Says that any run costs five dollars."""

    def expected(self, *_: Any) -> list[Expected]:
        return [DEAR]


def test_another_backend_that_compares_rewrites_has_its_own_estimate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    set_up(tmp_path, PRICE)
    (tmp_path / "prompts.yaml").write_text("{}")
    recipe = two()
    values = recipe.model_dump(mode="json")
    values["sources"]["tasks"]["sample"] = 10
    values["schemes"]["a"] |= {"rounds": 2, "equality_judge": "two"}
    found = Estimator(Recipe.model_validate(values)).expected([job("a")])
    # 10 seeds in 2 rounds: a rewrite and an answer each by the teacher, a verdict each by the other
    assert [one.calls for one in found] == [40, 20]
    values["schemes"]["a"]["equality_judge"] = None
    assert [one.calls for one in Estimator(Recipe.model_validate(values)).expected([job("a")])] == [60]


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def steps() -> list[Any]:
    """Jobs of two schemes."""
    return [job("a"), job("b")]


def job(scheme: str) -> Any:
    """A job of a scheme, as far as it is looked at."""
    return SimpleNamespace(rule="generate", block=(scheme,), stage=f"generate-{scheme}", inputs=(), outputs=())


def recipe_of(backends: dict[str, Any], most: float, **source: Any) -> Recipe:
    """A recipe with a scheme `a` of backend `one`, and `b` of `two` where there is one."""
    teachers = dict(zip("ab", backends, strict=False))
    scheme = {"method": "evol", "seeds": "tasks", "prompts": "prompts.yaml"}
    return Recipe.model_validate(
        {
            "recipe": "try",
            "budget": ceilings(approve_above=most),
            "sources": {"tasks": {"path": "tasks.jsonl", "format": "dolly", **source}},
            "backends": backends,
            "schemes": {name: scheme | {"teacher": teacher} for name, teacher in teachers.items()},
        }
    )


def two(**connection: Any) -> Recipe:
    """A recipe in which two backends have one model, and by default a key each."""
    keys = connection or {"api_key_env": "OTHER_API_KEY"}
    return recipe_of({"one": block("openai", connection), "two": block("openai", keys)}, most=1.0)


@pytest.fixture
def spending(tmp_path, monkeypatch) -> Approval:
    """Of a recipe in which two backends have one model, and a key each."""
    monkeypatch.chdir(tmp_path)
    set_up(tmp_path, PRICE)
    for name, value in addresses("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTHER_API_KEY", "another")
    monkeypatch.setenv("BEZOAR_APPROVE", "")
    monkeypatch.setattr(approval, "Estimator", Dear)
    return Approval(two())


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
def test_a_self_hosted_server_may_be_started_by_the_run(spending, steps, monkeypatch, variable):
    spending = Approval(two(base_url_env=variable, server=SERVER))
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
        approval._reachable(block("openai", {"base_url_env": None}))

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
            approval._reachable(block("openai", {}))
    assert KEY not in str(caught.value)
    assert len(str(caught.value)) < 500 + 200


def test_what_is_stored_is_counted_where_it_was_looked_for_only(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # 3 jobs were done before a kill, of 20; each has 10 answers
    jobs: list[Any] = [SimpleNamespace(name=str(number), inputs=()) for number in range(20)]
    monkeypatch.setattr(estimate, "_stored_of", lambda step, command: 10 if int(step.name) < 3 else 0)
    commands: dict[str, list[str]] = {job.name: [] for job in jobs}
    assert estimate._stored(jobs, commands, set()) == 30
    jobs[0].inputs = ("data/base/a",)  # which the run makes anew, such as weights of a served model
    (tmp_path / "data/base/a").mkdir(parents=True)
    assert estimate._stored(jobs, commands, {"data/base/b"}) == 30
    assert estimate._stored(jobs, commands, {"data/base/a"}) == 20


def test_a_line_of_an_estimate_promises_no_more_than_it_knows():
    said = str(DEAR)
    assert said == "generate-a: at most 9 calls without repeats to rules, at most 90 tokens, $5.00"


@pytest.mark.parametrize("source", [{"limit": 3}, {}], ids=["known", "unknown"])
def test_a_server_that_costs_nothing_needs_no_approval(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.yaml").write_text("words")
    recipe = recipe_of({"one": block("openai", {})}, most=0.0, **source)
    free = dict.fromkeys(("input", "cached", "written", "written_1h", "output"), 0.0)
    for prices, passes in ((PRICE | free, True), (PRICE | free | {"output": 1.0}, False)):
        set_up(tmp_path, prices)
        (found,) = Estimator(recipe).expected([job("a")])
        # 3 rows, of which each is rewritten, answered and compared in 4 rounds
        assert found.calls == (3 * 4 * 3 if source else None)
        assert approval._within([found], 0.0) == passes
