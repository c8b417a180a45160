"""Public formats and how their rows become ours, on made-up rows and on real samples where there are any."""

import re
from collections import Counter

import pytest

from bezoar.chat import dialogue
from bezoar.formats import FORMATS, normalise
from bezoar.params.data import RowFormat
from bezoar.sources import read_table

DOLLY = {"instruction": " Who? ", "context": "", "response": "Ada.", "category": "open_qa"}
TASK = {
    "id": "seed_task_7",
    "name": "pair",
    "instruction": "Say the opposite.",
    "instances": [{"input": "hot", "output": "cold"}, {"input": "up", "output": "down"}],
    "is_classification": True,
}
FLAN = {"inputs": "1 + 1?", "targets": "2", "task_source": "CoT", "task_name": "sums", "template_type": "zs_opt"}
REFERENCE = {
    "question_id": 101,
    "answer_id": "x",
    "model_id": "gpt-4",
    "choices": [{"index": 0, "turns": ["one", "two"]}],
    "tstamp": 1.5,
}
PROMPT = dict.fromkeys(("name", "type", "system_prompt", "prompt_template", "description", "category"), "x") | {
    "output_format": "[[rating]]"
}
ROWS = {
    "text": {"text": "A text."},
    "chat": {"system": None, "instruction": "Hi", "response": "Hello"},
    "dolly": DOLLY,
    "flan": FLAN,
    "seed_tasks": TASK,
    "hh_rlhf": {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello", "rejected": "\n\nHuman: Hi\n\nAssistant: No"},
    "questions": {"question_id": 81, "category": "writing", "turns": ["one", "two"]},
    "references": REFERENCE,
    "judge_prompts": PROMPT,
    "items": {"anything": 1},
}


def one(name, row):
    """The only row of a format, and the only reason for which it was dropped; one of the two is None."""
    kept, dropped = normalise([("file.jsonl:1", row)], name)
    return (kept[0] if kept else None), (dropped[0].reason if dropped else None)


def pair(*turns, chosen="yes", rejected="no", prompt=None):
    """An HH-RLHF row; `turns` are the dialogue's, user first."""
    speakers = ("\n\nHuman: ", "\n\nAssistant: ")
    prompt = prompt or "".join(speakers[place % 2] + turn for place, turn in enumerate(turns))
    return {"chosen": f"{prompt}\n\nAssistant: {chosen}", "rejected": f"{prompt}\n\nAssistant: {rejected}"}


def test_every_format_of_the_schema_is_read():
    message = "params.data.RowFormat and formats.FORMATS differ\nhint: give both the same names"
    assert set(FORMATS) == set(RowFormat.__args__) == set(ROWS), message


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_of_each_format_is_kept(name):
    kept, dropped = normalise([("file.jsonl:1", ROWS[name])], name)
    assert (len(kept), dropped) == (1, [])


@pytest.mark.parametrize("name", sorted(set(ROWS) - {"items"}))
def test_a_row_of_another_format_is_an_error_that_names_its_line(name):
    with pytest.raises(ValueError, match=re.escape(f"file.jsonl:3: not a row of format {name}: ")) as error:
        normalise([("file.jsonl:1", ROWS[name]), ("file.jsonl:3", {"question": "?"})], name)
    assert str(error.value).endswith("\n  found:    question")


def test_a_column_of_another_type_is_an_error():
    with pytest.raises(ValueError, match=r"file\.jsonl:1: not a row of format dolly"):
        normalise([("file.jsonl:1", DOLLY | {"context": None})], "dolly")


def test_dolly_becomes_a_seed():
    row, _ = one("dolly", DOLLY | {"context": " A text. "})
    assert (row.instruction, row.context, row.response, row.category) == ("Who?", "A text.", "Ada.", "open_qa")


def test_dolly_may_lack_its_category():
    row, _ = one("dolly", {name: DOLLY[name] for name in ("instruction", "context", "response")})
    assert (row.context, row.category) == (None, None)


def test_of_a_seed_task_the_first_instance_is_kept():
    row, _ = one("seed_tasks", TASK)
    assert (row.instruction, row.context, row.response) == ("Say the opposite.", "hot", "cold")
    assert row.category == "classification"
    assert one("seed_tasks", TASK | {"is_classification": False})[0].category is None


def test_flan_keeps_its_columns_and_its_target():
    row, _ = one("flan", FLAN)
    assert (row.instruction, row.response, row.context) == ("1 + 1?", "2", None)
    assert (row.task_source, row.task_name, row.template_type) == ("CoT", "sums", "zs_opt")


def test_a_row_without_text_is_dropped_as_empty():
    assert one("dolly", DOLLY | {"instruction": "  "}) == (None, "empty")
    assert one("flan", FLAN | {"inputs": ""}) == (None, "empty")
    assert one("chat", ROWS["chat"] | {"response": "\n"}) == (None, "empty")


def test_a_row_that_stood_before_is_dropped_as_duplicate():
    kept, dropped = normalise([("f:1", DOLLY), ("f:2", DOLLY | {"response": "Grace."})], "dolly")
    assert [row.response for row in kept] == ["Ada."]
    assert [(row.reason, row.detail) for row in dropped] == [("duplicate", "f:2")]


def test_items_pass_as_they_are_even_twice():
    kept, dropped = normalise([("f:1", {"a": 1}), ("f:2", {"a": 1})], "items")
    assert (kept, dropped) == ([{"a": 1}, {"a": 1}], [])


def test_a_pair_shares_everything_up_to_its_last_assistant_turn():
    row, _ = one("hh_rlhf", pair("Hi", "Hello", "Sing", chosen="la", rejected=" no "))
    assert (row.turns, row.chosen, row.rejected) == (["Hi", "Hello", "Sing"], "la", "no")


def test_a_response_may_speak_of_assistants():
    row, _ = one("hh_rlhf", pair("Hi", chosen="I am an Assistant: yes", rejected="no"))
    assert row.chosen == "I am an Assistant: yes"


def test_turns_make_the_transcript_again():
    turns = ["Hi", "Hello", "Sing\n\nloud"]
    row, _ = one("hh_rlhf", pair(*turns))
    assert "\n\n" + dialogue(row.turns) + "\n\nAssistant: yes" == pair(*turns)["chosen"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (pair("Hi", chosen=""), "empty response"),
        (pair("Hi", rejected="  \n"), "empty response"),
        (pair("Hi", chosen="no"), "chosen equals rejected"),
        (pair("Hi") | {"rejected": "\n\nHuman: Ho\n\nAssistant: no"}, "prompts differ"),
        (pair("Hi") | {"chosen": "Hi\n\nAssistant: no"}, "does not start with a human turn"),
        ({"chosen": "\n\nHuman: Hi", "rejected": "\n\nHuman: Hi"}, "no assistant turn"),
        (pair(prompt="\n\nHuman: a\n\nHuman: b"), "speakers do not alternate"),
        (pair(prompt="\n\nHuman: a\n\nHuman: b\n\nHuman: c"), "speakers do not alternate"),
        (pair(prompt="\n\nHuman: a\n\nAssistant: b\n\nAssistant: c"), "speakers do not alternate"),
    ],
)
def test_a_pair_that_teaches_nothing_is_dropped_with_its_reason(row, reason):
    assert one("hh_rlhf", row) == (None, reason)


@pytest.mark.parametrize(
    ("file", "name", "rows", "reasons"),
    [
        ("seed_tasks.jsonl", "seed_tasks", 175, {}),
        ("dolly_sample.jsonl", "dolly", 100, {}),
        ("flan_cot_sample.jsonl", "flan", 420, {}),
        ("hh_rlhf_harmless_sample.jsonl", "hh_rlhf", 399, {"empty response": 1}),  # 1 of 800 responses is empty
        ("mt_bench/question.jsonl", "questions", 80, {}),
        ("mt_bench/reference_answer_gpt-4.jsonl", "references", 30, {}),
        ("mt_bench/judge_prompts.jsonl", "judge_prompts", 8, {}),
    ],
)
def test_real_samples_are_read_whole(real, file, name, rows, reasons):
    kept, dropped = normalise(read_table(real / file, file), name)
    assert (len(kept), Counter(row.reason for row in dropped)) == (rows, reasons)


def test_real_samples_hold_what_their_page_says(real):
    def rows(file, name):
        return normalise(read_table(real / file, file), name)[0]

    seeds = rows("seed_tasks.jsonl", "seed_tasks")
    assert sum(row.context is not None for row in seeds) == 125
    assert sum(row.category == "classification" for row in seeds) == 26
    assert sum(row.context is not None for row in rows("dolly_sample.jsonl", "dolly")) == 34
    assert set(Counter(row.task_name for row in rows("flan_cot_sample.jsonl", "flan")).values()) == {60}
    pairs = rows("hh_rlhf_harmless_sample.jsonl", "hh_rlhf")
    humans = [(len(row.turns) + 1) // 2 for row in pairs]
    assert (min(humans), max(humans)) == (1, 10)
