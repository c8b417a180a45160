"""Sampling from a checkpoint, and critique and revision: what is asked, what is dropped and why."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bezoar.blocks import Sampling
from bezoar.errors import InputError
from bezoar.requests.base import Completion, Request
from bezoar.steps.data.rows import ChatRow, GeneratedRow, Message, PreferenceRow, SeedRow, read_rows, row_id, write_rows
from bezoar.steps.data.shard import deal, shard_of
from bezoar.steps.generate.revise import Revise, revised
from bezoar.steps.generate.sample import Sample, sampled
from bezoar.steps.generate.scheme import write_shard
from bezoar.steps.generate.seeds import Dealt, PromptRow

TEMPLATES = {"critique": "Criticise {instruction} / {response}", "revision": "Improve {response} by {critique}"}
SEEDS = {"kind": "source", "name": "mine"}


class Model:
    """Answers with a function of the request, and keeps all requests."""

    def __init__(self, answer: Callable[[Request], str | Completion] = lambda request: request.key) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    def complete(self, requests: list[Request], what: str) -> list[Completion]:
        self.requests += requests
        found = [self.answer(request) for request in requests]
        return [one if isinstance(one, Completion) else Completion(one, "stop", "model") for one in found]


def prompt(name: str, **columns: Any) -> PromptRow:
    values = {"root_id": row_id("root", name), "system": None, "instruction": name, "response": f"seed of {name}"}
    return PromptRow.model_validate({"id": row_id(name), "category": None} | values | columns)


def sample(**values: Any) -> Sample:
    return Sample.model_validate({"method": "sample", "seeds": SEEDS, "teacher": "student"} | values)


def revise(**values: Any) -> Revise:
    block = {"method": "revise", "seeds": SEEDS, "teacher": "student", "prompts": "revise.yaml"}
    return Revise.model_validate(block | values)


def test_each_prompt_is_answered_n_times_with_a_draw_of_its_own() -> None:
    model = Model()
    rows, dropped = sampled([prompt("a"), prompt("b", system="Be brief.")], model, sample(n=3), "own")
    assert not dropped
    assert [request.key for request in model.requests] == [
        f"sample:{row_id(name)}:{n}" for name in "ab" for n in range(3)
    ]
    assert [request.sample for request in model.requests] == ["0", "1", "2"] * 2  # each is paid for once
    assert model.requests[3].messages == (("system", "Be brief."), ("user", "b"))
    assert len({row.id for row in rows}) == 6
    assert {(row.seed_id, row.root_id) for row in rows} == {(row_id(n), row_id("root", n)) for n in "ab"}


def test_draws_and_ids_of_a_sample_do_not_depend_on_its_name() -> None:
    first, second = Model(), Model()
    one, _ = sampled([prompt("a")], first, sample(n=2), "spin_1")
    other, _ = sampled([prompt("a")], second, sample(n=2), "spin_2")
    assert [request.key for request in first.requests] == [request.key for request in second.requests]
    assert [row.id for row in one] == [row.id for row in other]


def test_answers_cut_at_the_token_limit_are_dropped_and_counted(tmp_path: Path) -> None:
    ends = {"0": "length", "1": "stop", "2": "refusal"}
    model = Model(lambda request: Completion("Some words", ends[request.sample], "model"))
    seeds = [prompt("a"), prompt("b")]
    block = sample(n=3, max_failed_share=0.5)
    rows, dropped = sampled(seeds, model, block, "own")
    write_shard(tmp_path / "own/0000", rows, dropped, len(seeds) * 3, block)
    report = json.loads((tmp_path / "own/0000/report.json").read_text())
    assert (report["candidates"], report["rows"]) == (6, 2)
    assert report["dropped"] == {"cut at the token limit": 2}  # no fault of the model's server
    assert report["failed"] == {"failed: refusal": 2}


def rows_of_kinds() -> list[list[Any]]:
    """Files of each kind of row with the prompts a, b and one that can't be asked."""
    turns = [
        Message(role="user", content="c"),
        Message(role="assistant", content="d"),
        Message(role="user", content="e"),
    ]
    seeds = [
        SeedRow(id=row_id(name), instruction=name, context=None, response=name.upper(), category=None)
        for name in ("a", "b", "a")
    ]
    chats = [
        ChatRow(id=row_id(n), family=row_id(n), messages=[*turns[:1], Message(role="assistant", content="D")])
        for n in ("1", "2")
    ]
    chats.append(ChatRow(id=row_id("3"), family="f", messages=[*turns, Message(role="assistant", content="F")]))
    preferences = [
        PreferenceRow(id=row_id("4"), messages=turns[:1], chosen="good", rejected="bad"),
        PreferenceRow(id=row_id("5"), messages=turns, chosen="good", rejected="bad"),
    ]
    return [seeds, chats, preferences]


def test_prompts_of_one_turn_are_dealt_once_and_the_others_counted(tmp_path: Path) -> None:
    found = []
    for number, rows in enumerate(rows_of_kinds()):
        write_rows(tmp_path / f"{number}.jsonl", rows)
        dealt = Dealt([tmp_path / f"{number}.jsonl"], 2, answered=False)
        found.append(([(row.instruction, row.response) for _, _, row in dealt], dict(dealt.unused)))
    assert found == [
        ([("a", "A"), ("b", "B")], {"same prompt as another row": 1}),
        ([("c", "D")], {"same prompt as another row": 1, "more than one turn": 1}),
        ([("c", "good")], {"more than one turn": 1}),
    ]


def test_rows_of_a_source_are_dealt_by_their_ids(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", rows_of_kinds()[0])
    dealt = [(shard, row.id) for shard, _, row in Dealt([tmp_path / "rows.jsonl"], 2, answered=False)]
    assert dealt == [(shard_of(row_id(name), 2), row_id(name)) for name in "ab"]


def generated(name: str, response: str) -> GeneratedRow:
    model = Model(lambda request: response)
    return sampled([prompt(name)], model, sample(), "own")[0][0]


def test_rows_of_a_scheme_stay_in_their_shard_and_each_answer_is_revised(tmp_path: Path) -> None:
    answers = [[generated("a", "one"), generated("a", "two")], [generated("b", "three")]]
    paths = [tmp_path / "own" / f"{shard:04d}" / "rows.jsonl" for shard in (0, 1)]
    for path, rows in zip(paths, answers, strict=True):
        write_rows(path, rows)
    dealt = Dealt(paths, 2, answered=True)
    deal(dealt, 2, tmp_path / "seed", dealt.unused, hint="")
    shards = [list(read_rows(tmp_path / f"seed/{shard:04d}.jsonl", PromptRow)) for shard in (0, 1)]
    assert [sorted(row.response or "" for row in rows) for rows in shards] == [["one", "two"], ["three"]]
    assert {row.root_id for row in shards[0]} == {row_id("root", "a")}


def test_seeds_without_a_prompt_are_an_error(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", rows_of_kinds()[2][1:])
    dealt = Dealt([tmp_path / "rows.jsonl"], 1, answered=False)
    with pytest.raises(InputError, match="too few rows are left"):
        deal(dealt, 1, tmp_path / "seed", dealt.unused, hint="look")


def test_an_answer_is_criticised_and_then_revised_by_the_critique() -> None:
    critic, teacher = Model(lambda request: "too short"), Model(lambda request: "A longer one.")
    rows, dropped = revised([prompt("a")], teacher, critic, revise(), TEMPLATES, "revised")
    assert not dropped
    assert critic.requests[0].turns == ["Criticise a / seed of a"]
    assert teacher.requests[0].turns == ["Improve seed of a by too short"]
    assert (rows[0].response, rows[0].parent_ids, rows[0].prompt_hash) == (
        "A longer one.",
        [row_id("a")],
        teacher.requests[0].prompt_hash,
    )


def test_what_gives_no_revision_is_counted_by_reason() -> None:
    def answer(request: Request) -> str | Completion:
        what, name = request.key.split(":")
        cut = {row_id("cut critique"): "critique", row_id("cut revision"): "revision"}
        if cut.get(name) == what:
            return Completion("Half", "length", "model")
        if name == row_id("refused"):
            return Completion("No.", "refusal", "model")
        return "seed of same" if name == row_id("same") else f"better {name}"

    names = ("cut critique", "cut revision", "refused", "same", "good", "x" * 5000)
    model = Model(answer)
    rows, dropped = revised([prompt(name) for name in names], model, model, revise(), TEMPLATES, "revised")
    assert [row.seed_id for row in rows] == [row_id("good")]
    assert sorted(row.reason for row in dropped) == [
        "critique cut at the token limit",
        "failed: refusal",
        "revision cut at the token limit",
        "revision equals the answer",
        "too long",
    ]


def test_one_model_that_criticises_and_revises_is_asked_twice_for_each_answer() -> None:
    from dataclasses import dataclass

    @dataclass
    class Known:
        """A scheme of 10 seeds in 2 shards, and prompts of 30 tokens."""

        shards: int = 2

        def seeds(self, scheme: str) -> int:
            return 10

        def tokens(self, path: str) -> int:
            return 30

    alone, apart = revise(sampling=Sampling(max_new_tokens=50)), revise(critic="other")
    assert alone.demand([], Known(), "teacher").calls == 10  # type: ignore[arg-type]
    assert apart.demand([], Known(), "teacher").calls == 5  # type: ignore[arg-type]
    assert apart.demand([], Known(), "critic").calls == 5  # type: ignore[arg-type]
