"""Log-probabilities of a first token's alternatives: of a local model, and of a server, stored and replayed."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT
from desk import only_openai
from faults import OK, Step

from bezoar.blocks import Sampling
from bezoar.errors import InputError
from bezoar.problems import RecipeError
from bezoar.recipe.load import load
from bezoar.requests.base import Request, Subject, ask
from bezoar.requests.reading import alternatives_of
from bezoar.steps.backends.local import LocalBackend
from bezoar.steps.backends.verifier import VerifierBackend
from bezoar.world import ITEMS

ONE_TOKEN = Sampling(max_new_tokens=1)
PROMPTS = ["Is it so?", "Is this another and a longer question, which needs padding?", "No?"]


def wanted(text: str, count: int = 5) -> Request:
    """A request for the first token's alternatives."""
    return replace(ask(text, text, ONE_TOKEN), top_logprobs=count)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, random_llama: Callable[..., Path]) -> Path:
    return random_llama(tmp_path_factory.mktemp("model"), [*PROMPTS, "Yes", "No"] * 4, positions=128)


def local(folder: Path, batch_size: int = 3) -> Any:
    block = LocalBackend(kind="local", checkpoint="small", batch_size=batch_size, dtype="float32")
    return block.open(checkpoint=folder, system=None, seed=0)


def test_a_local_models_alternatives_are_its_own_distribution(folder):
    judge = local(folder)
    asked = [wanted(text) for text in PROMPTS]
    for request, found in zip(asked, judge.complete(asked, "ask"), strict=True):
        with torch.inference_mode():
            logits = judge.model(torch.tensor([judge.tokens(request)])).logits[0, -1].float()
        values, tokens = logits.log_softmax(dim=0).topk(5)
        assert [text for text, _ in found.alternatives] == [judge.tokenizer.decode([one]) for one in tokens.tolist()]
        assert [value for _, value in found.alternatives] == pytest.approx(values.tolist(), abs=1e-4)
        assert found.tokens == 1


def test_only_requests_that_want_alternatives_get_any_and_a_draw_does_not_change_them(folder):
    plain = ask("plain", PROMPTS[0], ONE_TOKEN)
    hot = replace(wanted(PROMPTS[0], 3), sampling=Sampling(temperature=2.0, top_p=0.5, max_new_tokens=4))
    nothing, three, five = local(folder).complete([plain, hot, wanted(PROMPTS[0])], "ask")
    assert nothing.alternatives is None
    assert len(three.alternatives) == 3
    for one, other in zip(three.alternatives, five.alternatives, strict=False):
        assert one == (other[0], pytest.approx(other[1], abs=1e-5))  # of temperature 1, whatever is drawn


def test_a_prompt_without_room_has_no_alternatives(folder):
    found = local(folder).complete([wanted("so " * 300)], "ask")[0]
    assert (found.finish_reason, found.alternatives) == ("length", None)


def body_of(alternatives: Any, finish: str = "length", content: str = "Yes") -> Step:
    """A chat completion with these alternatives of its first token."""
    logprobs = alternatives and {"content": [{"token": content, "logprob": -0.1, "top_logprobs": alternatives}]}
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": content},
        "logprobs": logprobs,
    }
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    return Step(body={"id": "1", "object": "chat.completion", "model": "rules", "choices": [choice], "usage": usage})


def listed(**probabilities: float) -> list[dict[str, Any]]:
    return [{"token": name, "logprob": math.log(one), "bytes": None} for name, one in probabilities.items()]


@only_openai
def test_a_servers_alternatives_are_asked_for_once_stored_and_replayed(desk, monkeypatch):
    desk.server.script("row 0000", body_of(listed(Yes=0.6, No=0.2)))
    first = desk.client().complete([wanted("row 0000")], "test")
    assert first[0].alternatives == (("Yes", math.log(0.6)), ("No", math.log(0.2)))
    assert first[0].finish_reason == "stop"  # a longer answer has no other alternatives: it isn't asked again
    sent = desk.server.calls[0].body
    assert (sent["logprobs"], sent["top_logprobs"], sent["max_tokens"]) == (True, 5, 1)
    monkeypatch.setenv("BEZOAR_REPLAY_ONLY", "1")
    again = desk.client().complete([wanted("row 0000")], "test")
    assert (again, again[0].alternatives) == (first, first[0].alternatives)
    assert desk.server.hits() == 1
    with pytest.raises(InputError, match="answers are missing, and BEZOAR_REPLAY_ONLY is set"):
        desk.client().complete([wanted("row 0000", 3)], "test")  # another number is another call


def summed(*values: Any, tokens: int | None = None) -> Step:
    """A chat completion with these log-probabilities of its tokens, of which it counts so many."""
    content = [{"token": "t", "logprob": value} for value in values]
    count = len(values) if tokens is None else tokens
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes, it is."}}
    usage = {"prompt_tokens": 5, "completion_tokens": count, "total_tokens": 5 + count}
    return Step(body={"model": "rules", "choices": [choice | {"logprobs": {"content": content}}], "usage": usage})


@only_openai
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (summed(-0.5, -0.25, -2), -2.75),
        (summed(0.0), 0.0),
        (summed(-0.5, -0.25, tokens=3), None),  # without the token that ends it: no sum of the whole answer
        (summed(-0.5, None), None),
        (summed(-0.5, 0.5), None),
        (summed(-0.5, -math.inf), None),
        (summed(-0.5, -(10**400)), None),
        (OK, None),  # no list, as from `transformers serve`
    ],
)
def test_a_servers_answer_has_the_sum_of_its_log_probabilities_and_keeps_it(desk, monkeypatch, step, expected):
    desk.server.script("row 0000", step)
    asked = replace(ask("row 0000", "row 0000", Sampling(max_new_tokens=9)), logprobs=True)
    (found,) = desk.client().complete([asked], "test")
    assert found.logprob == expected
    assert desk.server.calls[0].body["logprobs"] is True
    assert "top_logprobs" not in desk.server.calls[0].body
    monkeypatch.setenv("BEZOAR_REPLAY_ONLY", "1")
    assert desk.client().complete([asked], "test")[0].logprob == expected


@only_openai
def test_a_call_without_alternatives_has_the_key_of_before(desk):
    desk.client().complete([ask("row 0000", "row 0000", ONE_TOKEN)], "test")
    assert {"logprobs", "top_logprobs"} & set(desk.server.calls[0].body) == set()


@only_openai
@pytest.mark.parametrize("step", [body_of(None), OK], ids=["cut", "whole"])
def test_a_server_that_sends_no_alternatives_is_told_apart_and_not_asked_again(desk, step):
    desk.server.script("row 0000", step)
    (found,) = desk.client().complete([wanted("row 0000")], "test")
    assert (found.alternatives, desk.server.hits()) == (None, 1)


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        [],
        "text",
        {"content": None},
        {"content": []},
        {"content": [None]},
        {"content": [{"top_logprobs": []}]},
        {"content": [{"top_logprobs": {"Yes": -1.0}}]},
        {"content": [{"top_logprobs": [{"token": "Yes"}]}]},
        {"content": [{"top_logprobs": [{"token": 1, "logprob": -1.0}]}]},
        {"content": [{"top_logprobs": [{"token": "Yes", "logprob": 0.5}]}]},
        {"content": [{"top_logprobs": [{"token": "Yes", "logprob": True}]}]},
        {"content": [{"top_logprobs": [{"token": "Yes", "logprob": "-inf"}]}]},
        {"content": [{"top_logprobs": [{"token": "Yes", "logprob": -1.0}, None]}]},
    ],
)
def test_what_is_no_list_of_alternatives_is_none(logprobs):
    assert alternatives_of(logprobs) is None


def test_a_broken_character_of_a_token_is_replaced():
    assert alternatives_of({"content": [{"top_logprobs": [{"token": "\ud800", "logprob": -1}]}]}) == (("�", -1.0),)


def test_the_verifier_declares_0_or_1():
    turns = ("add two and three .",)
    asked = [
        Request(text, (("user", text),), ONE_TOKEN, Subject(turns, "", form="item", item=text), top_logprobs=5)
        for text in ITEMS
    ]
    found = VerifierBackend(kind="verifier").open().complete(asked, "ask")
    assert {one.alternatives for one in found} == {(("No", 0.0),)}  # an empty response meets nothing


def recipe_with(tmp_path: Path, judge: str) -> Path:
    """The embedded recipe, with a checklist and a paid judge."""
    data = yaml.safe_load((ROOT / "recipes/tiny.yaml").read_text())
    connection = {"api_key_env": "JUDGE_API_KEY"}
    data["backends"] |= {
        "claude": {"kind": "anthropic", "model": "claude", "connection": connection},
        "gpt": {"kind": "openai", "model": "gpt", "connection": connection},
        "reasoner": {"kind": "openai", "model": "o", "sends_sampling": False, "connection": connection},
    }
    data["evals"]["checked"] = {
        "method": "checklist",
        "checkpoints": ["tiny_llama"],
        "answers": "mtbench",
        "author": "claude",
        "judge": judge,
        "prompts": "recipes/prompts/judging/checklist.yaml",
    }
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


@pytest.mark.parametrize("judge", ["gpt", "judge", "teacher"])
def test_a_judge_that_gives_log_probabilities_is_taken(tmp_path, judge, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert load(recipe_with(tmp_path, judge)).evals["checked"].judge == judge


@pytest.mark.parametrize("judge", ["claude", "reasoner"])
def test_a_judge_without_log_probabilities_is_refused_before_anything_is_spent(tmp_path, judge, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(RecipeError) as error:
        load(recipe_with(tmp_path, judge))
    said = str(error.value)
    assert "evals.checked.judge: no backend that gives log-probabilities" in said
    assert f"found:    {judge}\n" in said
    assert "expected: gpt, judge, teacher" in said
    assert "hint: a `local` one does" in said
