"""Instruct-SkillMix: one list of skills for a scheme, draws that stay as they are, and no draw without a reason."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from test_generate import ParrotTeacher, every_fault, seed_row

from bezoar.blocks import Sampling
from bezoar.errors import InputError
from bezoar.requests.base import Completion
from bezoar.steps import prompts
from bezoar.steps.data.rows import GeneratedRow, read_rows
from bezoar.steps.generate import skill_list, skillmix
from bezoar.steps.generate.scheme import write_shard
from bezoar.steps.generate.skill_list import NEEDS, Listing, SkillRow, listed
from bezoar.steps.generate.skillmix import Drawing, Skillmix

PROMPTS = ROOT / "recipes/prompts/skillmix/skillmix.yaml"
TEMPLATES = {"skills": "{examples}\n{count}", "instruction": "{skills}\n{query_type}", "answer_system": "Be brief."}
TYPES = ["a question", "a plan"]


def block(**changes: Any) -> Skillmix:
    values = {"method": "skillmix", "seeds": "mine", "teacher": "parrot", "prompts": "p.yaml", "rows": 40}
    return Skillmix(**values | {"query_types": TYPES, "sampling": Sampling(temperature=1.0)} | changes)


def drawing(rows: int = 40, **changes: Any) -> Drawing:
    return Drawing(rows=rows, query_types=TYPES, **changes)


def skills(count: int) -> list[SkillRow]:
    return [SkillRow(id=f"{number:016x}", skill=f"skill {number}") for number in range(count)]


def draws(count: int, block: Drawing, shards: int = 1, seed: int = 0) -> list[Any]:
    return [draw for _, _, draw in skillmix.dealt(skills(count), block, seed, shards)]


def test_the_prompts_are_those_that_the_method_fills():
    assert set(prompts.load(PROMPTS, NEEDS)) == set(NEEDS)


def test_a_skill_is_a_line_and_a_sentence_is_none():
    text = "1. Weighing evidence\n- **Meal planning**\n\n* Weighing evidence.\n"
    text += "Here are the skills that such a request needs:"
    found, dropped = listed(text)
    assert found == ["Weighing evidence", "Meal planning", "Weighing evidence"]
    assert dropped == [("too many words", "Here are the skills that such a request needs:")]


def test_each_skill_is_listed_once_over_all_calls_and_the_others_have_a_reason():
    answers = iter(["- Logic\n- Rhyme", Completion("- Lo", "length", "parrot"), "- logic.\n- Haggling over a price"])
    teacher = ParrotTeacher(lambda _: next(answers))
    listing = Listing(skill_calls=3, examples_per_call=2, skills_per_call=2)
    seeds = [seed_row(name) for name in ("a", "b", "c")]
    rows, dropped, seen = skill_list.list_skills(seeds, teacher, listing, TEMPLATES, 0)
    assert [row.skill for row in rows] == ["Logic", "Rhyme", "Haggling over a price"]
    assert [(row.reason, row.detail) for row in dropped] == [("failed: length", "- Lo"), ("duplicate", "logic")]
    assert seen == 5
    shown = [request.turns[0].split("\n") for request in teacher.requests]
    assert all(len({*lines} & {"a", "b", "c"}) == 2 and lines[-1] == "2" for lines in shown)


def test_a_list_without_skills_is_an_error(tmp_path):
    with pytest.raises(InputError, match="skills mine: too few rows are left"):
        skill_list.write_skills([], [], 0, tmp_path / "mine")


def test_a_row_combines_as_many_different_skills_as_it_should():
    found = draws(10, drawing(200))
    assert {len({*draw.skills}) for draw in found} == {2}
    pairs = Counter(frozenset(draw.skills) for draw in found)
    assert len(pairs) > 35  # of 45 pairs, in 200 draws
    assert {draw.query_type for draw in found} == {*TYPES}
    assert {len({*draw.skills}) for draw in draws(10, drawing(skills_per_row=3))} == {3}


def test_fewer_skills_than_a_row_combines_are_an_error():
    with pytest.raises(InputError, match="too few skills\n  found:    1 skills\n  expected: 2 or more"):
        draws(1, drawing())


@given(st.integers(2, 30), st.integers(1, 20), st.integers(1, 5))
def test_draws_depend_neither_on_shards_nor_on_how_many_there_are(count, rows, shards):
    few, many = draws(count, drawing(rows), 1), draws(count, drawing(rows + 7), shards)
    assert many[:rows] == few


def test_a_new_skill_changes_few_rows():
    before, after = draws(50, drawing(400)), draws(51, drawing(400))
    changed = sum(one != other for one, other in zip(before, after, strict=True))
    assert 0 < changed < 40  # 400 rows of 2 skills: 16 are expected to have the new one of 51


def test_a_row_has_its_skills_and_its_kind_and_an_answer():
    some = draws(9, drawing(5))
    teacher = ParrotTeacher()
    rows, dropped = skillmix.made(some, teacher, block(), TEMPLATES, "mixed")
    assert dropped == []
    for draw, row in zip(some, rows, strict=True):
        assert (row.operation, row.topics) == (draw.query_type, list(draw.skills))
        asked = "\n".join(f"- {skill}" for skill in draw.skills) + f"\n{draw.query_type}"
        assert row.instruction == row.response == asked  # a parrot's
        assert (row.scheme, row.root_id, row.seed_id) == ("mixed", row.id, None)
    answers = [request for request in teacher.requests if request.key.startswith("answer:")]
    assert {request.system for request in answers} == {"Be brief."}
    assert [request.prompt_hash for request in answers] == [row.prompt_hash for row in rows]


@every_fault
@pytest.mark.parametrize("step", ["write", "answer"])
def test_a_draw_without_an_instruction_or_an_answer_has_failed(step, fault, reason, detail):
    teacher = ParrotTeacher(lambda one: fault if one.key.startswith(step) else f"text {one.key}")
    rows, dropped = skillmix.made(draws(9, drawing(3)), teacher, block(), TEMPLATES, "mixed")
    assert rows == []
    assert [(row.reason, row.detail) for row in dropped] == [(reason, detail)] * 3
    assert [row.row["number"] for row in dropped] == [0, 1, 2]


def test_an_instruction_that_is_there_already_or_is_too_long_is_dropped(tmp_path):
    texts = iter(["Say it.", "say it", "x" * 50])
    teacher = ParrotTeacher(lambda one: next(texts) if one.key.startswith("write") else "Said.")
    rows, dropped = skillmix.made(draws(9, drawing(3)), teacher, block(max_characters=40), TEMPLATES, "mixed")
    assert [row.instruction for row in rows] == ["Say it."]
    assert [row.reason for row in dropped] == ["duplicate", "too long"]
    write_shard(tmp_path / "mixed" / "0000", rows, dropped, 3, block())
    assert [row.topics for row in read_rows(tmp_path / "mixed/0000/rows.jsonl", GeneratedRow)] == [rows[0].topics]
    report = json.loads(Path(tmp_path / "mixed/0000/report.json").read_text())
    assert (report["candidates"], report["rows"], report["dropped"]) == (3, 1, {"duplicate": 1, "too long": 1})


class Nothing:
    """What is known before a job: a prompt file has 100 tokens."""

    shards = 2

    def seeds(self, scheme: str) -> None:
        return None

    def tokens(self, path: str) -> int:
        return 100


def test_the_list_and_the_shards_are_estimated_apart():
    made = block(rows=41, skill_calls=7)
    asked = [
        made.demand([path], Nothing(), "teacher") for path in ("data/source/mine/rows.jsonl", "data/seed/a/0000.jsonl")
    ]
    assert [one.calls for one in asked] == [7, 2 * 21]
