"""Bodies and stored answers changed at random: an answer or a clear error comes of each, and never a credit."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from desk import SAMPLING, addresses, block, ceilings, price, set_up
from faults import completion as chat
from faults import message, used
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bezoar.errors import Stopped
from bezoar.requests import failures
from bezoar.requests.base import ask
from bezoar.requests.budget import Amount, BudgetReservation
from bezoar.requests.calls import compact
from bezoar.requests.failures import Failure
from bezoar.requests.job import CurrentJob
from bezoar.requests.ledger import table, totals
from bezoar.requests.open_batches import open_batches
from bezoar.requests.provider import Provider
from bezoar.requests.sender import Sender
from bezoar.requests.store import FOLDER, Store

FEW = settings(max_examples=200, suppress_health_check=list(HealthCheck), derandomize=True)
MANY = settings(FEW, max_examples=10_000)
BODY = {"model": "rules", "messages": [{"role": "user", "content": "row"}], "max_tokens": 16}
WHOLE = {
    "openai": chat(BODY, used(prompt=30, completion=16, cached=3)),
    "anthropic": message(BODY, used(prompt=30, completion=16, cached=3, written=2, written_hour=1)),
}
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(10**40), max_value=10**40),
    st.floats(),
    st.text(st.characters(exclude_categories=())),  # halves of characters, too
    st.sampled_from(
        ["<think>", "</think>", [], {}, [[]], [{"type": "text", "text": "a"}], {"error": {"code": 403}}, -1]
    ),
)
TOKENS = [
    "1e999",
    "-1e999",
    "NaN",
    "9" * 5000,
    "-" + "9" * 4000,
    "[" * 5000,
    '"\\ud83d"',
    "\x00",
    "null",
    "{}",
    "}",
    "",
]


@st.composite
def mutated(draw: Any, whole: Any) -> bytes:
    """JSON of which some values are others, and some bytes, too."""
    data = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(0, 3))):
        place, key = draw(st.sampled_from(list(places(data))))
        if draw(st.booleans()):
            place[key] = deepcopy(draw(odd))
        elif isinstance(place, dict) and len(place) > 1:
            del place[key]
    text = json.dumps(data).encode()
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(st.sampled_from(TOKENS)).encode() + text[start + draw(st.integers(0, 9)) :]
    return text


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in JSON, as its container and its key."""
    for key, value in list(data.items()) if isinstance(data, dict) else list(enumerate(data)):
        yield data, key
        if isinstance(value, dict | list):
            yield from places(value)


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Provider:
    """Each provider, in its own folder."""
    monkeypatch.chdir(tmp_path)
    set_up(tmp_path)
    for name, value in {**addresses("http://127.0.0.1:9"), "BEZOAR_JOB": "try/0", "BEZOAR_REPLAY_ONLY": "1"}.items():
        monkeypatch.setenv(name, value)
    return block(request.param, {}).provider()


def body_is_read(provider: Provider, data: Any) -> None:
    """A body gives an answer that costs something from 0 to the worst on, or a Failure."""
    text = data.draw(mutated(WHOLE[provider.name])).decode("utf-8", "replace")
    connection = block(provider.name, {}).connection
    sender = Sender(
        provider,
        connection,
        CurrentJob("try", "0"),
        Store("try", "0"),
        BudgetReservation(ceilings(), "try", None),
        price(),
    )
    call = provider.call(ask("row", "row", SAMPLING), 0, 16)
    try:
        answer = provider.read(text)
        answer.text.encode()
        spent = sender.take(call, answer, text)
    except Failure as failure:
        spent = sender.failed(call, failure, sender.worst_of(call))
    assert Amount().within(spent)
    assert spent.within(sender.worst(len(call.data) + 10_000, 16 + 10_000))
    failures.of_status(400, {}, text)


def store_is_read(provider: Provider, data: Any) -> None:
    """A stored line, and a line of a ledger, give a completion or a ValueError, and no total below 0."""
    call = provider.call(ask("row", "row", SAMPLING), 0, 16)
    record = {"key": call.key, "request": call.body, "response": json.dumps(WHOLE[provider.name])}
    line = {"key": call.key, "outcome": "stop", "asked": "rules", "prompt_tokens": 3, "micro": 5, "perhaps_micro": 7}
    batch = {"event": "batch created", "batch": "b", "provider": provider.name, "keys": [call.key]}
    folder = FOLDER / "try"
    folder.mkdir(parents=True, exist_ok=True)
    answers = [data.draw(mutated(record)), compact(record) if data.draw(st.booleans()) else b""]
    (folder / "a.answers.jsonl").write_bytes(b"\n".join(answers) + b"\n")
    lines = [data.draw(mutated(line)), data.draw(mutated(batch))]
    (folder / "a.ledger.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    backend = block(provider.name, {}, max_attempts=1).open(checkpoint=None, system="", seed=0, budget=ceilings())
    try:
        (found,) = backend.complete([ask("row", "row", SAMPLING)], "test")
        said = f"found: {found.text.encode()!r}"
    except (ValueError, Stopped) as error:
        said = str(error)
    assert "found:" in said  # one of our own errors, if it is one
    for total in totals().values():
        assert min(total.micro, total.perhaps_micro, total.prompt_tokens, total.completion_tokens, total.answers) >= 0
    table()
    assert all(isinstance(key, str) for _, _, keys in open_batches(FOLDER, "try") for key in keys)


@FEW
@given(data=st.data())
def test_any_body_is_an_answer_or_a_failure_and_no_credit(provider, data):
    body_is_read(provider, data)


@pytest.mark.long
@MANY
@given(data=st.data())
def test_any_of_ten_thousand_bodies_is_an_answer_or_a_failure_and_no_credit(provider, data):
    body_is_read(provider, data)


@FEW
@given(data=st.data())
def test_any_stored_line_is_an_answer_or_a_clear_error(provider, data):
    store_is_read(provider, data)


@pytest.mark.long
@MANY
@given(data=st.data())
def test_any_of_ten_thousand_stored_lines_is_an_answer_or_a_clear_error(provider, data):
    store_is_read(provider, data)
