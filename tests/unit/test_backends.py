"""The backends against a real server and a real, if random, model."""

import json
import math
import re
import shutil
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from bezoar.blocks import Sampling
from bezoar.errors import InputError, Stopped
from bezoar.requests.anthropic import AnthropicBackend
from bezoar.requests.base import Completion, Request, ask
from bezoar.requests.blocks import Budget
from bezoar.requests.openai import OpenAiBackend
from bezoar.steps.backends.local import LocalBackend

SAMPLING = Sampling(temperature=0.5, top_p=0.9, max_new_tokens=100)
SCHEMA = {
    "type": "object",
    "properties": {"reasons": {"type": "array", "items": {"type": "string", "enum": ["curt", "wrong"]}}},
    "required": ["reasons"],
    "additionalProperties": False,
}
CONNECTION = {
    "base_url_env": "TEACHER_BASE_URL",
    "server": None,
    "api_key_env": "TEACHER_API_KEY",
    "concurrency": 4,
    "requests_per_minute": None,
    "tokens_per_minute": None,
    "timeout": 20.0,
    "deadline": 20.0,
    "batch": False,
}
OPENAI = {
    "kind": "openai",
    "model": "writer",
    "token_limit_field": "max_tokens",
    "sends_sampling": True,
    "json_schema": True,
    "max_attempts": 1,
    "max_output_tokens": None,
    "connection": CONNECTION,
}
ANTHROPIC = {
    "kind": "anthropic",
    "model": "critic",
    "effort": "low",
    "json_schema": True,
    "max_attempts": 1,
    "max_output_tokens": None,
    "connection": CONNECTION | {"base_url_env": "JUDGE_BASE_URL", "api_key_env": "JUDGE_API_KEY"},
}
NO_CEILING = {"dollars": None, "tokens": None}
BUDGET = Budget(prices="prices.yaml", run=NO_CEILING, stages={}, approve_above=None)
FREE = dict.fromkeys(("input", "cached", "written", "written_1h", "output"), 0) | {"batch": 1, "long_prompts": None}


@pytest.fixture(autouse=True)
def addresses(server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the servers are; and a folder for answers, with a price of each model."""
    monkeypatch.chdir(tmp_path)
    prices = [{"model": name, "since": date(2026, 1, 1), "source": "made up"} | FREE for name in ("writer", "critic")]
    Path("prices.yaml").write_text(yaml.safe_dump({"prices": prices}))
    monkeypatch.setenv("TEACHER_BASE_URL", f"{server.address}/v1")
    monkeypatch.setenv("JUDGE_BASE_URL", server.address)  # Anthropic's client adds /v1 itself
    monkeypatch.setenv("TEACHER_API_KEY", "dummy")
    monkeypatch.setenv("JUDGE_API_KEY", "dummy")


def backend(block: dict[str, Any], **changes: Any) -> Any:
    kind = OpenAiBackend if block["kind"] == "openai" else AnthropicBackend
    return kind(**block | changes).open(checkpoint=None, system="", seed=0, budget=BUDGET)


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
    made = backend(block)  # which needs nothing yet: all may be answered already
    with pytest.raises(ValueError, match=f"found: +{variable} is not set"):
        made.complete([ask("key", "Name three rivers", SAMPLING)], "ask")
    assert server.hits == 0


@both
def test_what_is_answered_needs_no_key_no_address_and_no_server(block, monkeypatch, server):
    first = answer(block, "Name three rivers")
    for part in ("api_key_env", "base_url_env"):
        monkeypatch.delenv(block["connection"][part])
    assert answer(block, "Name three rivers") == first
    assert server.hits == 1


@both
def test_a_model_without_a_price_is_not_asked(block, server):
    with pytest.raises(ValueError, match="no price for the model other\n  found:    prices of critic, writer\n"):
        answer(block, "Name three rivers", model="other")
    assert server.hits == 0


def test_a_model_that_the_server_does_not_have_is_not_asked(server):
    Path("prices.yaml").write_text(Path("prices.yaml").read_text().replace("writer", "scribe"))
    with pytest.raises(Stopped, match=r"found:    the server has no model scribe, but judge, .*, writer\n"):
        answer(OPENAI, "Name three rivers", model="scribe")
    assert server.hits == 0


@both
def test_a_web_page_instead_of_an_answer_is_an_error_and_never_an_answer(block, server):
    short = block["connection"] | {"deadline": 0.01}  # within which it would be asked again
    found = answer(block, "Name three rivers\nserver: html", connection=short)
    assert (found.text, found.finish_reason) == ("", "error")
    assert re.search(r"not JSON.*<html>maintenance</html>", found.error)
    assert server.hits >= 2  # at last with other words, which were answered


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
    other = {"base_url_env": None, "api_key_env": "OTHER_API_KEY", "concurrency": 9, "timeout": 1.0, "deadline": 2.0}
    other |= {"requests_per_minute": 3, "tokens_per_minute": 4, "batch": True}
    other |= {"server": {"command": ["serve", "{port}"], "health": "/health", "start": 1.0, "idle": 1.0}}
    for kind, block in ((OpenAiBackend, OPENAI), (AnthropicBackend, ANTHROPIC)):
        own, moved, renamed = kind(**block), kind(**block | {"connection": other}), kind(**block | {"model": "other"})
        assert own.identity() == moved.identity() != renamed.identity()
        assert set(own.identity()) == set(block) - {"connection"} | {"checkpoint", "thinking"}


@both
def test_a_request_that_is_refused_for_good_is_an_error_and_the_others_are_answered(block, server):
    texts = ["river", "lake\nserver: fail", "valley", "meadow"]
    requests = [ask(text, text, SAMPLING) for text in texts]
    first, failed, *others = backend(block, max_attempts=3).complete(requests, "ask")
    assert failed == Completion("", "error", block["model"], "HTTP 400: as wished")
    assert (failed.fault, [one.finish_reason for one in (first, *others)]) == ("error", ["stop"] * 3)
    assert server.hits == 4  # it isn't tried again


@both
@pytest.mark.parametrize("wished", ["refusal", "filtered"])
def test_a_refusal_is_asked_again_and_ends_as_one(block, wished, server):
    found = answer(block, f"Name three rivers\nserver: {wished}", max_attempts=3)
    assert (found.finish_reason, found.fault) == ("refusal", "refusal")
    assert server.bodies == [server.bodies[0]] * 3


@both
def test_a_cut_answer_gets_twice_the_room_up_to_a_limit(block, server):
    found = answer(block, "Name three rivers\nserver: length", max_attempts=5, max_output_tokens=300)
    assert (found.finish_reason, found.fault) == ("length", "length")
    assert [body["max_tokens"] for body in server.bodies] == [100, 200, 300]


@both
def test_a_cut_answer_that_fits_in_the_end_is_one(block):
    short = SAMPLING.model_copy(update={"max_new_tokens": 5})
    (found,) = backend(block, max_attempts=2).complete([ask("key", "Name three rivers", short)], "ask")
    assert (found.text.split()[:5], found.fault) == ("Here is what I think".split(), None)


def test_equal_requests_of_one_sample_share_an_answer_and_others_are_drawn_apart(server):
    requests = [ask(key, "Name three rivers", SAMPLING, sample=sample) for key, sample in ("a0", "b0", "a1")]
    found = backend(OPENAI).complete(requests, "ask")
    assert server.hits == 2
    assert found[0] == found[1]


@both
def test_no_requests_need_no_server(block, server):
    assert backend(block).complete([], "ask") == []
    assert server.hits == 0


def test_equal_requests_get_equal_answers_and_are_sent_once(server):
    first, second = (answer(OPENAI, "Name three rivers") for _ in range(2))
    assert first == second
    assert server.hits == 1


@pytest.mark.parametrize(
    ("text", "finish", "fault"),
    [
        ("A river.", "stop", None),
        ("", "stop", "empty"),
        ("A ri", "length", "length"),
        ("", "length", "length"),
        ("I can't.", "refusal", "refusal"),
        ("", "error", "error"),
    ],
)
def test_only_a_whole_answer_with_text_can_be_used(text, finish, fault):
    assert Completion(text, finish, "writer").fault == fault


# A local model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, random_llama) -> Path:
    texts = ["the river runs through the valley .", "answer the user .", "### System:\n### Instruction:\n### Response:"]
    return random_llama(tmp_path_factory.mktemp("model"), texts * 4, positions=128)


def local(folder: Path, batch_size: int, seed: int = 0) -> Any:
    block = {"kind": "local", "checkpoint": "tiny", "template": "tokenizer", "dtype": "float32"}
    model = LocalBackend(**block, batch_size=batch_size)
    return model.open(checkpoint=folder, system="answer the user .", seed=seed, budget=BUDGET)


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
    ids = model.tokens(request)
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

    from bezoar.steps.backends.local import nucleus

    logits = torch.log(torch.tensor([0.125, 0.5, 0.125, 0.25]) + torch.tensor([-1e-4, 0, 1e-4, 0]))
    (found,) = nucleus(logits[None], torch.tensor([[top_p]]))
    assert torch.isfinite(found).nonzero().flatten().tolist() == kept
    assert torch.equal(found[kept], logits[kept])


def test_draws_have_the_models_frequencies():
    import torch

    from bezoar.steps.backends.local import RowSampling

    # temperature 0.5 squares the odds: 0.2 : 0.3 : 0.5 become 4 : 9 : 25, in all 38; top_p 0.9 keeps 25 + 9 = 34 of
    # 38 = 0.895 and so needs the third as well
    draws = 3000
    requests = [ask(f"{n}", "?", Sampling(temperature=0.5, top_p=0.9, max_new_tokens=1)) for n in range(draws)]
    scores = torch.log(torch.tensor([0.2, 0.3, 0.5])).repeat(draws, 1)
    sampling = RowSampling(requests, 0, torch.device("cpu"), 0, {9})
    drawn = sampling(torch.zeros(draws, 0, dtype=torch.long), scores).argmax(dim=-1)
    for token, share in enumerate([4 / 38, 9 / 38, 25 / 38]):
        error = math.sqrt(share * (1 - share) / draws)
        assert (drawn == token).float().mean().item() == pytest.approx(share, abs=4 * error)


def test_a_row_that_has_ended_or_is_greedy_is_not_drawn():
    import torch

    from bezoar.steps.backends.local import RowSampling

    def request(temperature):
        return ask("x", "?", Sampling(temperature=temperature, top_p=1.0, max_new_tokens=4))

    sampling = RowSampling([request(0.0), request(1.0), request(1.0)], 0, torch.device("cpu"), 1, {9})
    scores = torch.zeros(3, 5)
    found = sampling(torch.tensor([[9, 1], [9, 9], [9, 1]]), scores.clone())  # the prompt's own end token is none
    assert torch.equal(found[:2], scores[:2])
    assert not torch.equal(found[2], scores[2])


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
    lengths = [len(model.tokens(request)) for request in requests]
    assert all(short < long for short, long in pairwise(lengths))
    together = model.complete(requests, "ask")
    assert together == [local(folder, 1).complete([request], "ask")[0] for request in requests]


def with_settings(folder: Path, copy: Path, **settings: Any) -> Path:
    """A copy of a model directory with another generation_config.json."""
    shutil.copytree(folder, copy)
    (copy / "generation_config.json").write_text(json.dumps(settings))
    return copy


def test_generation_settings_of_a_checkpoint_change_no_answer(folder, tmp_path):
    settings = {"repetition_penalty": 5.0, "do_sample": True, "temperature": 3.0, "min_new_tokens": 9, "num_beams": 2}
    requests = requests_of([0.0, 0.0, 1.0])
    changed = local(with_settings(folder, tmp_path / "model", eos_token_id=2, **settings), 3)
    assert changed.complete(requests, "ask") == local(folder, 3).complete(requests, "ask")


def test_a_text_may_take_the_place_of_the_chat_template_for_one_turn(folder):
    block = {"kind": "local", "checkpoint": "tiny", "template": "{system} Q: {prompt} A:", "dtype": "float32"}
    model = LocalBackend(**block).open(checkpoint=folder, system="be kind", seed=0)
    once, own = ask("a", "why?", SAMPLING), ask("a", "why?", SAMPLING, system="be curt")
    assert model.tokenizer.decode(model.tokens(once)) == "be kind Q: why? A:"
    assert model.tokenizer.decode(model.tokens(own)) == "be curt Q: why? A:"
    several = Request("a", (("user", "why?"), ("assistant", "so"), ("user", "and?")), SAMPLING)
    with pytest.raises(InputError, match="a text template takes one turn only\n  found:    3 turns for "):
        model.tokens(several)


def test_a_checkpoint_without_a_template_is_asked_nothing(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "bare")
    (tmp_path / "bare/chat_template.jinja").unlink()
    with pytest.raises(InputError, match=r"bare: the tokenizer has no chat template\n"):
        local(tmp_path / "bare", 1)


def test_every_end_token_of_a_checkpoint_ends_an_answer(folder, tmp_path):
    import torch

    (request,) = requests_of([0.0], new_tokens=16)
    model = local(folder, 1)
    whole = model.complete([request], "ask")[0].text
    prompt = torch.tensor([model.tokens(request)])
    ids = model.model.generate(prompt, max_new_tokens=16, do_sample=False)[0, prompt.shape[1] :].tolist()
    other = next(one for place, one in enumerate(ids) if place >= 2 and one not in ids[:place])
    ended = local(with_settings(folder, tmp_path / "model", eos_token_id=[2, other]), 1)
    (found,) = ended.complete([request], "ask")
    assert found.finish_reason == "stop"
    assert whole.startswith(found.text)
    assert model.tokenizer.decode([other]) not in found.text
    assert len(found.text) < len(whole)
