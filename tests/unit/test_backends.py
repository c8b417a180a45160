"""The backends against a real server and a real, if random, model."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bezoar.backends import Completion, Request, ask, open_backend
from bezoar.params.blocks import Sampling
from bezoar.params.data import AnthropicBackend, LocalBackend, OpenAiBackend

SAMPLING = Sampling(temperature=0.5, top_p=0.9, max_new_tokens=100)
SCHEMA = {
    "type": "object",
    "properties": {"reasons": {"type": "array", "items": {"type": "string", "enum": ["curt", "wrong"]}}},
    "required": ["reasons"],
    "additionalProperties": False,
}
OPENAI = {
    "kind": "openai",
    "model": "writer",
    "token_limit_field": "max_tokens",
    "sends_sampling": True,
    "json_schema": True,
    "connection": {"base_url_env": "TEACHER_BASE_URL", "api_key_env": "TEACHER_API_KEY", "concurrency": 4},
}
ANTHROPIC = {
    "kind": "anthropic",
    "model": "critic",
    "effort": "low",
    "json_schema": True,
    "connection": {"base_url_env": "JUDGE_BASE_URL", "api_key_env": "JUDGE_API_KEY", "concurrency": 4},
}


@pytest.fixture(autouse=True)
def addresses(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_BASE_URL", f"{server.address}/v1")
    monkeypatch.setenv("JUDGE_BASE_URL", server.address)  # Anthropic's client adds /v1 itself
    monkeypatch.setenv("TEACHER_API_KEY", "dummy")
    monkeypatch.setenv("JUDGE_API_KEY", "dummy")


def backend(block: dict[str, Any], **changes: Any) -> Any:
    kind = OpenAiBackend if block["kind"] == "openai" else AnthropicBackend
    return open_backend(kind(**block | changes), checkpoint=None, system="", seed=0)


def answer(block: dict[str, Any], text: str, **changes: Any) -> Completion:
    return backend(block, **changes).complete([ask("key", text, SAMPLING, "be kind")], "ask")[0]


both = pytest.mark.parametrize("block", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])


@both
def test_an_answer_has_text_end_and_the_models_name(block):
    found = answer(block, "Name three rivers")
    assert found.text.startswith("Here is what I think of")
    assert (found.finish_reason, found.model) == ("stop", block["model"])


@both
@pytest.mark.parametrize(("wish", "finish"), [("length", "length"), ("refusal", "refusal"), ("filtered", "refusal")])
def test_every_way_to_end_is_told_apart(block, wish, finish):
    assert answer(block, f"Name three rivers\nserver: {wish}").finish_reason == finish


def test_an_answer_longer_than_its_limit_ends_with_length():
    short = SAMPLING.model_copy(update={"max_new_tokens": 3})
    (found,) = backend(OPENAI).complete([ask("key", "Name three rivers", short)], "ask")
    assert (found.text, found.finish_reason) == ("Here is what", "length")


def test_thinking_before_the_text_is_left_out():
    assert answer(ANTHROPIC, "Name three rivers\nserver: thinking").text.startswith("Here is what I think of")


def test_openai_is_sent_these_keys_and_no_others(server):
    answer(OPENAI, "Name three rivers")
    assert server.bodies == [
        {
            "model": "writer",
            "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "Name three rivers"}],
            "max_tokens": 100,
            "temperature": 0.5,
            "top_p": 0.9,
        }
    ]


def test_reasoning_models_are_sent_another_limit_and_no_sampling(server):
    answer(OPENAI, "Name three rivers", token_limit_field="max_completion_tokens", sends_sampling=False)
    assert set(server.bodies[0]) == {"model", "messages", "max_completion_tokens"}


def test_anthropic_is_sent_these_keys_and_no_temperature(server):
    answer(ANTHROPIC, "Name three rivers")
    assert server.bodies == [
        {
            "model": "critic",
            "messages": [{"role": "user", "content": "Name three rivers"}],
            "system": "be kind",
            "max_tokens": 100,
            "output_config": {"effort": "low"},
        }
    ]


def test_a_schema_is_sent_in_each_servers_own_form(server):
    request = Request("key", (("user", "Review this"),), SAMPLING, schema=SCHEMA)
    for block in (OPENAI, ANTHROPIC):
        backend(block).complete([request], "judge")
    openai, anthropic = server.bodies
    assert openai["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "verdict", "schema": SCHEMA, "strict": True},
    }
    assert anthropic["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}


@both
def test_no_schema_is_sent_to_a_server_that_enforces_none(block, server):
    request = Request("key", (("user", 'Write JSON with "status":\n- curt: be polite'),), SAMPLING, schema=SCHEMA)
    backend(block, json_schema=False).complete([request], "judge")
    assert "response_format" not in server.bodies[0]
    assert "format" not in server.bodies[0].get("output_config", {})


@both
@pytest.mark.parametrize("part", ["api_key_env", "base_url_env"])
def test_a_missing_variable_is_named(block, part, monkeypatch, server):
    variable = block["connection"][part]
    monkeypatch.delenv(variable)
    with pytest.raises(ValueError, match=f"found: +{variable} is not set"):
        backend(block)
    assert server.hits == 0


@both
def test_a_web_page_instead_of_an_answer_is_an_error(block):
    with pytest.raises(ValueError, match=r"(?s)answer is not a .*found: +<html>maintenance</html>"):
        answer(block, "Name three rivers\nserver: html")


@both
def test_answers_keep_the_requests_order(block):
    # the first answer comes last: 0.3 s against milliseconds
    texts = ["river\nserver: slow", "mountain", "lake", "valley", "meadow"]
    found = backend(block).complete([ask(text, text, SAMPLING) for text in texts], "ask")
    assert [one.text for one in found] == [answer(block, text).text for text in texts]
    assert len({one.text for one in found}) == 5


@both
def test_no_more_requests_are_in_flight_than_allowed(block, server):
    requests = [ask(f"{n}", f"river {n}\nserver: slow", SAMPLING) for n in range(4)]
    backend(block, connection=block["connection"] | {"concurrency": 2}).complete(requests, "ask")
    assert (server.hits, server.busiest) == (4, 2)


def test_how_a_server_is_reached_is_no_part_of_a_backends_identity():
    other = {"base_url_env": None, "api_key_env": "OTHER_API_KEY", "concurrency": 9}
    for kind, block in ((OpenAiBackend, OPENAI), (AnthropicBackend, ANTHROPIC)):
        own, moved, renamed = kind(**block), kind(**block | {"connection": other}), kind(**block | {"model": "other"})
        assert own.identity() == moved.identity() != renamed.identity()
        assert set(own.identity()) == set(block) - {"connection"}


@both
def test_the_first_failure_ends_the_run(block, server):
    requests = [ask(f"{n}", f"river {n}\nserver: {'fail' if n == 0 else 'slow'}", SAMPLING) for n in range(20)]
    with pytest.raises(Exception, match="as wished"):
        backend(block, connection=block["connection"] | {"concurrency": 2}).complete(requests, "ask")
    assert server.hits < 5  # of 20


@both
def test_no_requests_need_no_server(block, server):
    assert backend(block).complete([], "ask") == []
    assert server.hits == 0


def test_equal_requests_get_equal_answers():
    first, second = (answer(OPENAI, "Name three rivers") for _ in range(2))
    assert first == second


# A local model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, random_llama) -> Path:
    texts = ["the river runs through the valley .", "answer the user .", "### System:\n### Instruction:\n### Response:"]
    return random_llama(tmp_path_factory.mktemp("model"), texts * 4, positions=128)


def local(folder: Path, batch_size: int, seed: int = 0) -> Any:
    block = {"kind": "local", "checkpoint": "tiny", "template": "student", "precision": "float32"}
    model = LocalBackend(**block, batch_size=batch_size)
    return open_backend(model, checkpoint=folder, system="answer the user .", seed=seed)


def requests_of(temperatures: list[float], new_tokens: int = 16) -> list[Request]:
    """Prompts of different lengths, so that a batch of them has padding."""
    return [
        ask(
            f"key {number}",
            "the river " * (1 + number % 4),
            Sampling(temperature=temperature, top_p=0.9, max_new_tokens=new_tokens - number % 3),
        )
        for number, temperature in enumerate(temperatures)
    ]


def test_a_draw_does_not_depend_on_its_batch(folder):
    requests = requests_of([1.0, 0.7, 0.0, 1.5, 1.0, 0.3, 0.0, 2.0])
    one, eight = local(folder, 1).complete(requests, "ask"), local(folder, 8).complete(requests, "ask")
    assert one == eight
    assert len({found.text for found in one}) > 4
    assert local(folder, 3).complete(requests[::-1], "ask") == one[::-1]


def test_a_draw_depends_on_its_key_and_the_seed(folder):
    sampling = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=16)
    first, again, other = (ask(key, "the river", sampling) for key in ("a", "a", "b"))
    found = local(folder, 3).complete([first, again, other], "ask")
    assert found[0] == found[1]
    assert found[0] != found[2]
    assert local(folder, 3, seed=1).complete([first], "ask")[0] != found[0]


def test_temperature_0_takes_the_likeliest_token_each_time(folder):
    import torch

    model = local(folder, 4)
    (request,) = requests_of([0.0], new_tokens=8)
    ids = model.tokenizer(model.prompt(request)).input_ids
    prompt = len(ids)
    while len(ids) - prompt < 8 and model.tokenizer.eos_token_id not in ids[prompt:]:
        with torch.inference_mode():
            ids.append(int(model.model(torch.tensor([ids])).logits[0, -1].argmax()))
    expected = model.tokenizer.decode(ids[prompt:], skip_special_tokens=True).strip()
    assert model.complete([request], "ask")[0].text == expected


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.1, [1]),  # 0.5 alone is more than 0.1, and the likeliest token always stays
        (0.5, [1]),  # 0.5 reaches 0.5
        (0.6, [1, 3]),  # 0.5 < 0.6 <= 0.5 + 0.25
        (0.8, [1, 2, 3]),  # 0.5 + 0.25 = 0.75 < 0.8 <= 0.75 + 0.125
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_a_nucleus_is_the_fewest_likeliest_tokens_that_reach_top_p(top_p, kept):
    import torch

    from bezoar.backends.local import nucleus

    logits = torch.log(torch.tensor([0.125, 0.5, 0.125, 0.25]) + torch.tensor([-1e-4, 0, 1e-4, 0]))
    found = nucleus(logits, top_p)
    assert torch.isfinite(found).nonzero().flatten().tolist() == kept
    assert torch.equal(found[kept], logits[kept])


def test_draws_have_the_models_frequencies():
    import torch

    from bezoar.backends.local import RowSampling

    # temperature 0.5 squares the odds: 0.2 : 0.3 : 0.5 become 4 : 9 : 25, in all 38; top_p 0.9 keeps 25 + 9 = 34 of
    # 38 = 0.895 and so needs the third as well
    draws = 3000
    requests = [ask(f"{n}", "?", Sampling(temperature=0.5, top_p=0.9, max_new_tokens=1)) for n in range(draws)]
    scores = torch.log(torch.tensor([0.2, 0.3, 0.5])).repeat(draws, 1)
    drawn = RowSampling(requests, 0, torch.device("cpu"))(torch.zeros(draws, 0), scores).argmax(dim=-1)
    for token, share in enumerate([4 / 38, 9 / 38, 25 / 38]):
        error = math.sqrt(share * (1 - share) / draws)
        assert (drawn == token).float().mean().item() == pytest.approx(share, abs=4 * error)


def test_a_prompt_that_leaves_no_room_ends_with_length_and_takes_no_neighbour_along(folder):
    sampling = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=16)
    full = ask("full", "zyx " * 128, sampling)
    short, nearly = ask("short", "the river", sampling), ask("nearly", "z" * 40, sampling)
    alone = [local(folder, 1).complete([request], "ask")[0] for request in (full, short, nearly)]
    assert (alone[0].text, alone[0].finish_reason) == ("", "length")
    assert alone[1].text
    assert local(folder, 3).complete([full, short, nearly], "ask") == alone


def test_an_answer_fills_the_models_positions_and_no_more(folder):
    model = local(folder, 4)
    sampling = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=1000)
    requests = [ask(f"{n}", "the river " * (1 + 2 * n), sampling) for n in range(4)]
    lengths = [len(model.tokenizer(model.prompt(request)).input_ids) for request in requests]
    assert all(short < long for short, long in pairwise(lengths))
    together = model.complete(requests, "ask")
    assert together == [local(folder, 1).complete([request], "ask")[0] for request in requests]
