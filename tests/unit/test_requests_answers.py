"""What a model says, by the real clients: refusals, cut answers, thinking, ratings."""

from dataclasses import replace
from typing import Any

import pytest
from desk import SAMPLING, only_anthropic, rows
from faults import FILTERED, LENGTH, REFUSAL, THINKING, THINKING_ONLY, say
from pydantic import TypeAdapter

from bezoar.requests.base import ask
from bezoar.steps.evaluate.mtbench import rating


def texts(completions):
    return [one.text for one in completions]


forms = [
    pytest.param("openai", FILTERED, "", id="openai-content_filter"),
    pytest.param("openai", REFUSAL, "", id="openai-refusal"),
    pytest.param("anthropic", FILTERED, "", id="anthropic-no_text"),
    pytest.param("anthropic", REFUSAL, "I can't help with that.", id="anthropic-text"),
]


@pytest.mark.parametrize(("kind", "step", "said"), forms)
def test_a_refusal_is_asked_once_more_and_then_is_the_end(desk, step, said):
    desk.server.script("row 0000", after=step)
    desk.server.script("row 0001", step)
    refused, answered = desk.ask(*rows(2))
    assert (refused.finish_reason, refused.text, refused.fault) == ("refusal", said, "refusal")
    assert (answered.finish_reason, answered.text) == ("stop", "answer to row 0001")
    assert [desk.server.hits(text) for text in rows(2)] == [2, 2]
    assert len({line["key"] for line in desk.stored()}) == 4  # each is paid for, and kept
    assert desk.outcomes() == {"refusal": 3, "stop": 1}
    assert all(line["micro"] >= line["prompt_tokens"] > 0 for line in desk.ledger())
    assert desk.ask(*rows(2)) == [refused, answered]
    assert desk.server.hits() == 4


@pytest.mark.parametrize(("most", "limits"), [(None, [16, 32, 64]), (40, [16, 32, 40]), (32, [16, 32]), (16, [16])])
def test_a_cut_answer_is_asked_with_twice_the_tokens_up_to_a_limit(desk, most, limits):
    desk.server.script("row", after=LENGTH)
    (found,) = desk.ask("row", max_attempts=3, max_output_tokens=most)
    assert [call.body["max_tokens"] for call in desk.server.calls] == limits
    assert (found.finish_reason, found.text) == ("length", "answer")  # half of "answer to row"
    assert desk.outcomes() == {"length": len(limits)}


def test_a_longer_answer_takes_the_place_of_a_cut_one(desk):
    desk.server.script("row", LENGTH)
    assert texts(desk.ask("row")) == ["answer to row"]
    assert [call.body["max_tokens"] for call in desk.server.calls] == [16, 32]


def test_thinking_is_left_out_and_thinking_alone_is_empty(desk):
    desk.server.script("row 0000", after=THINKING)
    desk.server.script("row 0001", after=THINKING_ONLY)
    found, empty = desk.ask(*rows(2))
    assert (found.text, found.fault) == ("answer to row 0000", None)
    assert (empty.text, empty.fault) == ("", "empty")
    assert [desk.server.hits(text) for text in rows(2)] == [1, 2]
    assert desk.outcomes() == {"stop": 1, "empty": 2}


@only_anthropic
def test_ratings_are_read_from_what_a_judge_says(desk):
    expected = {
        "[[7]]": (7.0, "ok"),
        "[[7.5]]": (7.5, "ok"),
        "[[10]] then [[3]]": (3.0, "multi"),
        "[7]": (None, "none"),
        "[[08]]": (None, "invalid"),
        "[[11]]": (None, "invalid"),
        "[[0]]": (None, "invalid"),
        "[[ 7 ]]": (7.0, "ok"),
        "7/10": (None, "none"),
        "\uff3b\uff3b7\uff3d\uff3d": (None, "none"),
        "Well done.": (None, "none"),
    }
    asked = rows(len(expected))
    for text, said in zip(asked, expected, strict=True):
        desk.server.script(text, say(f"It is good. Rating: {said}"))
    found = desk.ask(*asked)
    assert [rating(one.text) for one in found] == list(expected.values())


def test_what_is_sent_is_what_the_sdks_own_types_allow(desk):
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    form: Any = CompletionCreateParamsNonStreaming if desk.kind == "openai" else MessageCreateParamsNonStreaming
    schema = {"type": "object", "properties": {"good": {"type": "boolean"}}, "required": ["good"]}
    request = ask("a", "Name three rivers", SAMPLING, "Be kind")
    with_schema = replace(request, schema=schema)
    for one, enforced in ((request, True), (with_schema, True), (with_schema, False)):
        desk.client(json_schema=enforced).complete([one], "test")
    bodies = [call.body for call in desk.server.calls]
    assert len(bodies) == 2  # without the schema the last is the first
    for body in bodies:
        TypeAdapter(form).validate_python(body)
    places = {"openai": ("response_format", "json_schema"), "anthropic": ("output_config", "format")}
    outer, inner = places[desk.kind]
    assert outer not in bodies[0]
    assert bodies[1][outer][inner]["schema"] == schema
