"""Answers that no honest server gives: usages that can't be true, bodies without end, and words in odd forms."""

import json
import socket
import threading
from dataclasses import replace
from typing import Any

import pytest
from desk import MILLION, SAMPLING, block, ceilings, only_openai, price, rows
from faults import Step, status, used

from bezoar.requests import EXIT_FATAL, exchange, failures
from bezoar.requests.base import ask
from bezoar.requests.calls import MOST_DEPTH, compact, decoded
from bezoar.requests.failures import Failure
from bezoar.requests.job import HALTED, SPENT
from bezoar.requests.ledger import Total
from bezoar.requests.persistence import MOST_TRANSIENT
from bezoar.requests.sender import CANARY, MOST_UNSEEN
from bezoar.text import replace_surrogates, without_thinking

HALF = "\ud83d"


def texts(completions):
    return [one.text for one in completions]


def body(kind: str, content: Any = "words", prompt: Any = 3, completion: Any = 2, **more: Any) -> str:
    """A response in either provider's form, with anything as its content and counts."""
    if kind == "openai":
        choice = {"message": {"content": content}, "finish_reason": more.pop("finish", "stop")}
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, **more}
        return json.dumps({"model": "rules", "choices": [choice], "usage": usage})
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    usage = {"input_tokens": prompt, "output_tokens": completion, **more}
    return json.dumps({"model": "rules", "content": blocks, "stop_reason": "end_turn", "usage": usage})


def read(kind: str, text: str, **changes: Any) -> Any:
    """What the provider reads in it."""
    return block(kind, {}, **changes).provider().read(text)


# Usages


@pytest.mark.parametrize(
    "number",
    ["-1000000000", "1e999", "-1e999", "NaN", "Infinity", "9" * 4000, "9" * 5000, "true", '"7"', "[7]", "{}", "0.5"],
    ids=lambda text: text[:12],
)
@pytest.mark.parametrize("place", ["prompt", "completion"])
def test_a_usage_that_cannot_be_true_counts_at_its_worst_and_is_reported(desk, number, place, caplog):
    text = body(desk.kind, **{place: 424242}).replace("424242", number)
    desk.server.script("row", Step(body=text.encode()))
    assert texts(desk.ask("row")) == ["words"]
    (line,) = desk.ledger()
    sent = len(desk.server.calls[0].data)
    assert line["micro"] == sent * 2 + 16 * 5  # a token a byte, at the dearest price, and the longest answer
    assert (line["usage"], line["prompt_tokens"], line["completion_tokens"]) == ("not believed", sent, 16)
    assert caplog.text.count("reports a usage that can't be true") == 1
    assert texts(desk.ask("row")) == ["words"]  # the answer is good, and stored
    assert desk.server.hits() == 1


def test_a_usage_that_is_larger_than_a_request_can_cause_is_not_believed(desk):
    desk.server.script("row", used(prompt=10**7, completion=3))
    desk.server.script("more", used(prompt=3, completion=16 + MOST_UNSEEN + 1))
    desk.server.script("less", used(prompt=3, completion=16 + MOST_UNSEEN))
    desk.ask("row", "more", "less")
    assert sorted("usage" in line for line in desk.ledger()) == [False, True, True]


@pytest.mark.parametrize(("prompt", "completion"), [(0, 0), (0, 2), (30, 0)])
def test_a_usage_that_is_smaller_than_a_request_can_cause_is_not_believed(desk, prompt, completion):
    desk.server.script("row", used(prompt=prompt, completion=completion))
    desk.ask("row")
    assert desk.micro() == len(desk.server.calls[0].data) * 2 + 16 * 5


def test_a_ceiling_holds_against_a_server_that_always_says_nothing_was_used(desk):
    desk.server.always(used(prompt=0, completion=0))
    desk.stop(*rows(100), budget=ceilings(3000 / MILLION))
    assert 0 < desk.micro() <= 3000
    assert desk.server.hits() < 20


def test_a_larger_claim_never_counts_less_than_a_smaller_one(desk):
    costs = []
    for number, completion in enumerate([1, 16, 16 + MOST_UNSEEN, 16 + MOST_UNSEEN + 1, 10**9]):
        before = desk.micro()
        desk.server.script(f"row {number}", used(prompt=10, completion=completion))
        desk.ask(f"row {number}")
        costs.append(desk.micro() - before)
    assert costs == sorted(costs)


@only_openai
@pytest.mark.parametrize("cached", [-5, 10**6, "1e999"])
def test_what_was_read_from_a_cache_is_no_credit(desk, cached):
    text = body(desk.kind, prompt_tokens_details={"cached_tokens": 424242}).replace("424242", str(cached))
    desk.server.script("row", Step(body=text.encode()))
    desk.ask("row")
    assert desk.micro() == len(desk.server.calls[0].data) * 2 + 16 * 5


@only_openai
def test_a_ceiling_holds_against_a_server_that_pays_us(desk):
    desk.server.always(Step(body=body(desk.kind, prompt=-(10**9)).encode()))
    desk.stop(*rows(100), budget=ceilings(3000 / MILLION))
    assert 0 < desk.micro() <= 3000
    assert desk.server.hits() < 10


def test_a_ledger_of_others_makes_no_total_negative():
    total = Total()
    for micro in (-5, "7", None, True, [1], 0.5, 11):
        total.add({"outcome": "stop", "micro": micro})
    assert (total.micro, total.answers) == (11, 7)


# Bodies


def test_json_of_others_has_no_number_that_json_lacks_and_no_depth_without_end():
    assert decoded(b'{"a": [1e999, -1e999, NaN, 12, 1.5]}') == {"a": ["1e999", "-1e999", "NaN", 12, 1.5]}
    assert decoded("9" * 5000) == "9" * 5000
    assert decoded("[" * MOST_DEPTH + "]" * MOST_DEPTH)
    for text in ("[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), "[" * 200_000, '{"a":' * 200_000, b"\xff", ""):
        with pytest.raises(ValueError, match=r"nested deeper|Expecting|decode"):
            decoded(text)


def test_a_body_that_is_nested_too_deep_is_no_answer(desk):
    deep = b'{"choices": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    desk.server.script("row", Step(body=deep), status(500, body=deep))
    assert texts(desk.ask("row")) == ["answer to row"]
    assert "nested deeper than 100 levels" in desk.ledger()[0]["detail"]
    assert desk.outcomes() == {"transient": 2, "stop": 1}


def test_a_body_that_is_too_long_is_left_unread_and_no_answer(desk, monkeypatch):
    monkeypatch.setattr(exchange, "MOST_BYTES", 100_000)
    desk.server.script("row", Step(body=b" " * 3_000_000), status(500, body=b"x" * 3_000_000))
    assert texts(desk.ask("row")) == ["answer to row"]
    for line in desk.ledger()[:2]:
        assert (line["outcome"], line["detail"]) == ("transient", "a response of more than 100,000 bytes")
        assert line["perhaps_micro"] > 0


@pytest.fixture
def endless():
    """The address of a server that sends one response for ever, and how much of it was taken."""
    taken = [0]
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                one, _ = listener.accept()
                one.recv(65536)
                one.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
                while True:
                    taken[0] += one.send(b"[" * 65536)
            except OSError:
                if listener.fileno() < 0:
                    return

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", taken
    listener.close()


def test_a_body_without_end_takes_no_more_memory_than_a_response_may(desk, endless, monkeypatch):
    address, taken = endless
    monkeypatch.setattr(exchange, "MOST_BYTES", 200_000)
    monkeypatch.setenv(f"{desk.kind.upper()}_URL", address)
    assert "a response of more than 200,000 bytes" in str(desk.stop("row"))  # the model's page, before any call
    assert taken[0] < 6 * 40_000_000  # six tries, each as far as buffers go


# Words


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_half_a_character_is_replaced_and_counted(kind):
    found = read(kind, body(kind, f"a{HALF}b{HALF}"))
    assert (found.text, found.ending, found.replaced) == ("a\ufffdb\ufffd", "stop", 2)
    whole = read(kind, body(kind, "\U0001f600"))
    assert (whole.text, whole.replaced) == ("\U0001f600", 0)
    assert replace_surrogates("\U0001f600") == ("\U0001f600", 0)


@pytest.mark.parametrize("batch", [False, True], ids=["live", "batch"])
def test_an_answer_with_half_a_character_is_stored_once_and_used(desk, batch, caplog):
    desk.server.script("row", Step(text=f"half {HALF}"))
    for _ in range(2):
        assert texts(desk.ask("row", connection={"batch": batch})) == ["half \ufffd"]
    assert [line["replaced_characters"] for line in desk.ledger() if "outcome" in line] == [1]
    assert caplog.text.count("1 broken characters in answers were replaced") == 1


def test_an_error_with_half_a_character_is_written_down(desk):
    desk.server.script("row", status(400, text=f"no {HALF}"))
    assert [one.error for one in desk.ask("row")] == ["HTTP 400: no \ufffd"]


PARTS: list[Any] = [
    ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "yes"}], "yes"),
    ([{"type": "text", "text": "y"}, {"type": "reasoning", "text": "hm"}, {"type": "text", "text": "es"}], "yes"),
    ([{"type": "text", "text": ["y"]}], None),
    ([{"type": "image_url", "image_url": {}}, {"type": "text", "text": "yes"}], None),
    ([{"text": "yes"}], None),
    (["yes"], None),
    ({"type": "text", "text": "yes"}, None),
    (7, None),
]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize(("content", "said"), PARTS)
def test_of_a_content_in_parts_the_text_is_the_answer_and_other_shapes_are_none(kind, content, said):
    found = read(kind, body(kind, content))
    assert (found.text, found.ending) == ((said, "stop") if said else ("", "other"))


def test_an_answer_in_another_shape_is_paid_for_and_a_failed_row(desk):
    content = [{"type": "image"}]
    desk.server.always(Step(body=body(desk.kind, content).encode()))
    assert [one.fault for one in desk.ask("row", max_attempts=2)] == ["other"]
    assert (desk.outcomes(), desk.server.hits()) == ({"other": 2}, 2)


@pytest.mark.parametrize(
    ("text", "said", "closed"),
    [
        ("<think>hm</think>yes", "yes", True),
        ("\n<think>\n</think>\n\nyes", "\n\nyes", True),
        ("hm</think>yes", "yes", True),  # opened in the prompt
        ("Hm.\n</think>\nyes", "\nyes", True),
        ("What is <think>? Well.\n</think>\nyes", "\nyes", True),
        ("</think>yes", "yes", True),
        ("<think>a</think>\n<think>b</think>yes", "yes", True),
        ("Close the block with `</think>` and go on.", "Close the block with `</think>` and go on.", True),
        ("Close it by </think> and go on.", "Close it by </think> and go on.", True),
        ('It ends at "</think>".', 'It ends at "</think>".', True),
        ("A <think> tag opens it.", "A <think> tag opens it.", True),
        ("Write so:\n<think>\nhm\n</think>\nyes", "Write so:\n<think>\nhm\n</think>\nyes", True),
        ("<think>hm</think>It ends by `</think>` here.", "It ends by `</think>` here.", True),
        ("<think>a <think>b</think>yes", "yes", True),
        ("<think>hm", "", False),
        ("<think>a</think> <think>b", "", False),
        ("yes <thinker>", "yes <thinker>", True),
        ("", "", True),
    ],
)
def test_thinking_is_no_part_of_a_text(text, said, closed):
    assert without_thinking(text, [["<think>", "</think>"]]) == (said, closed)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_thinking_between_a_backends_markers_is_no_answer_and_unclosed_it_is_a_failure(kind):
    thought, open_end = body(kind, "<think>hm</think> yes"), body(kind, "<think>hm, yes")
    assert (read(kind, thought).text, read(kind, thought).ending) == ("yes", "stop")
    assert (read(kind, open_end).text, read(kind, open_end).ending) == ("", "thinking")
    assert read(kind, body(kind, "<think>hm</think> ")).ending == "empty"
    assert read(kind, thought, thinking=[]).text == "<think>hm</think> yes"
    assert read(kind, body(kind, "[T]hm[/T]yes"), thinking=[["[T]", "[/T]"]]).text == "yes"


@only_openai
def test_thinking_that_was_cut_is_asked_with_more_tokens(desk):
    desk.server.script("row", Step(text="<think>hm, <think>hm", finish="length"))
    assert texts(desk.ask("row")) == ["answer to row"]
    assert [call.body["max_tokens"] for call in desk.server.calls] == [16, 32]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("markers", [[["<think>"]], [["", "x"]], "<think>", [["a", "b", "c"]]])
def test_markers_of_thinking_are_pairs_of_words(kind, markers):
    with pytest.raises(ValueError, match="thinking"):
        block(kind, {}, thinking=markers)


# The order of keys

SCHEMA = {
    "type": "object",
    "properties": {
        "why": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
        "end": {"type": "string"},
        "but": {"type": "string"},
    },
    "required": ["why", "end", "but"],
}


@pytest.mark.parametrize("batch", [False, True], ids=["live", "batch"])
def test_a_schema_is_sent_and_stored_in_the_order_written(desk, batch):
    request = replace(ask("a", "row", SAMPLING), schema=SCHEMA)
    desk.client(connection={"batch": batch}).complete([request], "test")
    path = {"openai": ("response_format", "json_schema", "schema"), "anthropic": ("output_config", "format", "schema")}
    sent = next(iter(desk.server.batches[0].sent.values())) if batch else json.loads(desk.server.calls[0].data)
    for body in (sent, desk.stored()[0]["request"]):
        for name in path[desk.kind]:
            body = body[name]
        assert list(body["properties"]) == ["why", "end", "but"]
        assert body["properties"]["why"].get("maxItems") == (3 if desk.kind == "openai" else None)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_the_order_of_a_schemas_keys_is_part_of_a_calls_key_and_that_of_no_other(kind):
    other = {**SCHEMA, "properties": dict(reversed(SCHEMA["properties"].items()))}
    provider = block(kind, {}).provider()
    requests = [replace(ask("a", "row", SAMPLING), schema=schema) for schema in (SCHEMA, other, None)]
    one, reordered, plain = (provider.call(request, 0, 16) for request in requests)
    assert one.key != reordered.key
    assert replace(plain, body=dict(reversed(plain.body.items()))).key == plain.key


def test_calls_without_a_schema_keep_the_keys_that_their_stored_answers_have():
    call = block("openai", {}).provider().call(ask("a", "row", SAMPLING), 0, 16)
    assert call.key == "693c7ffc5e4149876540972cd517f18ecd9ded8abd54b0c49876c81403796b13"


# One that fails


REFUSED = {
    "openai": {"message": "moderated", "code": 403},
    "anthropic": {"message": "moderated", "type": "permission_error"},
}


@pytest.mark.parametrize("form", ["status", "body"])
def test_a_request_that_alone_is_forbidden_is_an_error_and_the_others_are_answered(desk, form):
    error = {"type": "error", "error": REFUSED[desk.kind]}
    step = status(403, text="moderated") if form == "status" else Step(body=error)
    desk.server.script("row 0001", after=step)
    for _ in range(2):  # the second time it is the only one to send
        found = desk.ask(*rows(3))
        assert [one.finish_reason for one in found] == ["stop", "error", "stop"]
        assert "moderated" in found[1].error
    assert not (SPENT / "a-run" / HALTED).exists()
    assert desk.server.hits("row 0001") == 2


def test_a_key_that_may_nothing_is_found_out_by_another_call(desk):
    desk.server.script("row 0001", after=status(403))
    desk.server.script(CANARY, after=status(403))
    assert desk.stop(*rows(3), connection={"concurrency": 1}).status == EXIT_FATAL
    assert (desk.server.hits("row 0000"), desk.server.hits("row 0002")) == (1, 0)


@pytest.mark.parametrize("step", [status(500), Step(body={"error": {"message": "broken"}})], ids=["500", "body"])
def test_a_request_that_fails_each_time_is_an_error_and_the_others_are_answered(desk, step):
    desk.server.script("row 0001", after=step)
    for number in (1, 2):
        found = desk.ask(*rows(3))
        assert [one.finish_reason for one in found] == ["stop", "error", "stop"]
        assert desk.server.hits("row 0001") == number * MOST_TRANSIENT


def test_a_request_that_is_always_sent_too_fast_is_an_error_and_the_others_are_answered(desk):
    desk.server.script("row 0001", after=status(429, text="request too large: tokens per minute"))
    found = desk.ask(*rows(3), connection={"deadline": 0.3})
    assert [one.finish_reason for one in found] == ["stop", "error", "stop"]
    assert "request too large" in found[1].error


@pytest.mark.parametrize("batch", [False, True], ids=["live", "batch"])
def test_a_prompt_that_is_too_long_is_an_error_and_the_others_are_answered(desk, batch, monkeypatch):
    desk.server.models = {"rules": {"max_model_len": 400, "max_input_tokens": 400}}
    long = "long " * 1000  # 5,000 bytes, so 625 tokens or more
    found = desk.ask("row", long, connection={"batch": batch})
    assert [one.finish_reason for one in found] == ["stop", "error"]
    assert "rules has room for 400 tokens; this prompt and its answer may take" in found[1].error
    assert desk.server.usage["calls"] == 1
    monkeypatch.setenv("BEZOAR_REPLAY_ONLY", "1")
    assert desk.ask("row", long) == found


def test_what_failed_each_time_is_replayed_as_that(desk, monkeypatch):
    desk.server.script("row 0001", after=status(500))
    found = desk.ask(*rows(3))
    monkeypatch.setenv("BEZOAR_REPLAY_ONLY", "1")
    assert desk.ask(*rows(3)) == found


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"code": 403}, "forbidden"),
        ({"code": "401"}, "fatal"),
        ({"code": 402}, "stop"),
        ({"code": "insufficient_quota"}, "stop"),
        ({"code": 429}, "rate"),
        ({"code": 400}, "terminal"),
        ({"code": 502}, "transient"),
        ({"code": 10**9}, "transient"),
        ({"code": [403]}, "transient"),
        ("words", "transient"),
        ([], "transient"),
    ],
)
def test_an_error_under_status_200_is_what_it_says(error, expected):
    text = json.dumps({"error": error, "model": "rules"})
    with pytest.raises(Failure) as caught:
        read("openai", text)
    assert caught.value.kind == expected
    assert caught.value.perhaps_billed == (expected == "transient")


def test_a_call_that_only_looks_whether_anything_is_answered_is_live_and_counted(desk):
    desk.server.script("row", after=status(500))
    desk.ask("row")
    lines = desk.ledger()
    assert [line["outcome"] for line in lines] == ["transient"] * MOST_TRANSIENT + ["stop"]
    assert desk.micro() == desk.billed() > 0
    assert price().micro(read(desk.kind, desk.stored()[0]["response"]).usage, batch=False) == desk.micro()


@pytest.mark.parametrize("text", ["{", "[]", '{"choices": 1}', "[" * 100_000], ids=lambda text: text[:12])
def test_a_stored_answer_that_is_none_is_a_clear_error_and_not_paid_again(desk, text):
    desk.ask("row")
    (path,) = desk.folder.glob("responses/*/*.answers.jsonl")
    record = json.loads(path.read_text())
    path.write_bytes(compact({**record, "response": text}) + b"\n")
    with pytest.raises(ValueError, match="a stored answer can't be read"):
        desk.ask("row")
    assert desk.server.hits() == 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "Mon, 01 Jan 0001 00:00:00 GMT"}, None), ({"retry-after": "9" * 5000}, None)],
)
def test_a_pause_that_no_clock_knows_is_our_own(headers, seconds):
    assert failures.retry_after(headers) in (seconds, 0.0)
