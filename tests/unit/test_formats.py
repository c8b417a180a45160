"""Public formats and their conversion to our row types, on made-up rows and on real samples if there are any."""

import datetime
import decimal
import json
import math
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError
from reading import normalise
from templates import transcript

from bezoar.steps.data import formats
from bezoar.steps.data.accounting import Tally
from bezoar.steps.data.formats import Format, RowFormat
from bezoar.steps.data.normalise import FORMATS, FURTHER, NO_NUMBERS, SURROGATES
from bezoar.steps.data.readers import read_table
from bezoar.steps.data.rows import dialogue

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
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
ROWS = {
    "text": {"text": "A text."},
    "messages": {"messages": TURNS},
    "sharegpt": {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    "alpaca": {"instruction": "Sum up.", "input": "A text.", "output": "Short."},
    "prompt_completion": {"prompt": "Hi", "completion": "Hello"},
    "prompt_response": {"prompt": "Hi", "response": "Hello"},
    "question_answer": {"question": "Who?", "answer": "Ada."},
    "chat": {"system": None, "instruction": "Hi", "response": "Hello"},
    "preference": {"prompt": "Hi", "chosen": "Hello", "rejected": "No"},
    "implicit_preference": {"chosen": TURNS, "rejected": [TURNS[0], {"role": "assistant", "content": "No"}]},
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


def test_every_module_of_formats_is_listed_and_tested_here():
    names = [
        path.stem for path in Path(formats.__file__).parent.glob("*.py") if path.stem not in ("__init__", "common")
    ]
    modules = [import_module(f"{formats.__name__}.{name}") for name in names]
    defined = {one.name for module in modules for one in vars(module).values() if isinstance(one, Format)}
    assert defined == set(FORMATS) == set(ROWS), "hint: list a new format in src/bezoar/steps/data/formats/__init__.py"


def test_a_format_that_is_none_is_refused_with_the_names_of_all():
    known = TypeAdapter(RowFormat)
    assert [known.validate_python(name) for name in FORMATS] == list(FORMATS)
    with pytest.raises(ValidationError, match="'text', 'messages', 'sharegpt', 'alpaca'"):
        known.validate_python("dolli")


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_row_of_each_format_is_kept(name):
    kept, dropped = normalise([("file.jsonl:1", ROWS[name])], name)
    assert (len(kept), [row for row in dropped if row.reason != FURTHER]) == (1, [])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("text", "no text"),
        ("messages", "no messages"),
        ("sharegpt", "no conversations"),
        ("alpaca", "no instruction"),
        ("prompt_completion", "no prompt"),
        ("prompt_response", "no prompt"),
        ("question_answer", "no answer"),
        ("preference", "no chosen"),
        ("implicit_preference", "no chosen"),
        ("chat", "no instruction"),
        ("dolly", "no instruction"),
        ("flan", "no inputs"),
        ("seed_tasks", "no instruction"),
        ("hh_rlhf", "no chosen"),
        ("questions", "'question_id' does not fit"),
        ("references", "'question_id' does not fit"),
        ("judge_prompts", "'name' does not fit"),
    ],
)
def test_a_row_of_another_format_is_dropped_with_its_place_and_stops_no_other(name, reason):
    kept, dropped = normalise([("file.jsonl:1", ROWS[name]), ("file.jsonl:3", {"question": "?"})], name)
    assert len(kept) == 1
    assert [(row.reason, row.detail) for row in dropped if row.reason != FURTHER] == [(reason, "file.jsonl:3")]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (DOLLY | {"context": 5}, "context is not text"),
        (DOLLY | {"instruction": None}, "no instruction"),
        (DOLLY | {"instruction": ["Who?"]}, "instruction is not text"),
        ([1, 2], "not a row of columns"),
        ("Who?", "not a row of columns"),
    ],
)
def test_a_row_that_does_not_fit_is_dropped_by_reason(row, reason):
    assert one("dolly", row) == (None, reason)


@pytest.mark.parametrize("column", ["context", "response", "category"])
def test_null_in_an_optional_column_is_an_absent_one(column):
    row, _ = one("dolly", DOLLY | {column: None})
    assert (row.instruction, getattr(row, column)) == ("Who?", None)
    assert one("dolly", {name: value for name, value in DOLLY.items() if name != column})[0] == row


def test_a_chat_row_without_system_is_one_whose_system_is_null():
    row = {"instruction": "Hi", "response": "Hello"}
    assert one("chat", row) == one("chat", row | {"system": None})
    assert one("chat", row)[0].messages == dialogue("Hi", "Hello")
    assert one("chat", row | {"system": "Be kind."})[0].messages == dialogue("Hi", "Hello", system="Be kind.")


def test_a_text_may_have_other_columns_beside_it():
    assert one("text", {"text": "A text.", "date": datetime.date(2026, 1, 2)})[0].text == "A text."


def test_half_a_surrogate_pair_becomes_a_replacement_character_and_is_counted():
    replaced = Tally()
    rows = [("f:1", DOLLY), ("f:2", DOLLY | {"instruction": "Who \ud83d?", "category": "\ude00"})]
    kept, _ = normalise(rows, "dolly", replaced)
    assert (kept[1].instruction, kept[1].category) == ("Who \ufffd?", "\ufffd")
    assert (replaced.sorted(), replaced.first_places()) == ({SURROGATES: 2}, {SURROGATES: "f:2"})
    json.dumps(kept[1].model_dump(), ensure_ascii=False).encode()  # UTF-8 can write it


def test_columns_of_a_table_are_written_as_json_knows_them():
    row = {
        "day": datetime.date(2026, 1, 2),
        "at": datetime.datetime(2026, 1, 2, 3, 4),
        "price": decimal.Decimal("1.50"),
        "bytes": b"abc",
        "deep": [{"more": float("nan")}, math.inf, 1.5],
    }
    replaced = Tally()
    (kept,), _ = normalise([("f:1", row)], "items", replaced)
    expected = {"day": "2026-01-02", "at": "2026-01-02T03:04:00", "price": "1.50", "bytes": "abc"}
    assert kept == expected | {"deep": [{"more": None}, None, 1.5]}
    assert (replaced.sorted(), replaced.first_places()) == ({NO_NUMBERS: 2}, {NO_NUMBERS: "f:1"})


def test_a_date_beside_a_duplicate_is_written_with_the_dropped_row():
    row = DOLLY | {"day": datetime.date(2026, 1, 2)}
    kept, (dropped,) = normalise([("f:1", row), ("f:2", row)], "dolly")
    assert (len(kept), dropped.reason, dropped.row["day"]) == (1, "duplicate", "2026-01-02")


def test_a_row_that_is_nested_too_deeply_is_dropped():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    kept, dropped = normalise([("f:1", {"a": deep}), ("f:2", {"a": 1})], "items")
    assert (kept, [(row.reason, row.detail) for row in dropped]) == ([{"a": 1}], [("nested too deeply", "f:1")])


def test_what_no_json_has_is_dropped_with_its_place():
    kept, dropped = normalise([("f:1", {"a": object()}), ("f:2", {"a": True, "b": None})], "items")
    assert kept == [{"a": True, "b": None}]
    assert [(row.reason, row.detail) for row in dropped] == [("a value of type object", "f:1")]


def test_further_instances_of_a_seed_task_are_counted():
    kept, dropped = normalise([("f:7", TASK)], "seed_tasks")
    assert len(kept) == 1
    assert [(row.reason, row.detail, row.row["output"]) for row in dropped] == [(FURTHER, "f:7", "down")]


@pytest.mark.parametrize("spelt", ["zsopt", "zs-opt", None])
def test_a_template_that_flan_does_not_have_is_dropped(spelt):
    reason = "template_type is none of zs_opt, zs_noopt, fs_opt, fs_noopt"
    assert one("flan", FLAN | {"template_type": spelt}) == (None, reason)


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
    assert (row.messages, row.chosen, row.rejected) == (dialogue("Hi", "Hello", "Sing"), "la", "no")


def test_a_response_may_speak_of_assistants():
    row, _ = one("hh_rlhf", pair("Hi", chosen="I am an Assistant: yes", rejected="no"))
    assert row.chosen == "I am an Assistant: yes"


def test_a_response_may_speak_of_humans():
    row, _ = one("hh_rlhf", pair("Hi", chosen="I ask every Human: who are you?\nHuman: me", rejected="no"))
    assert row.chosen == "I ask every Human: who are you?\nHuman: me"


def test_a_transcript_with_line_ends_of_windows_is_read_like_any_other():
    windows = {name: text.replace("\n", "\r\n") for name, text in pair("Hi", "Hello", "Sing").items()}
    assert one("hh_rlhf", windows) == one("hh_rlhf", pair("Hi", "Hello", "Sing"))


def test_turns_make_the_transcript_again():
    turns = ["Hi", "Hello", "Sing\n\nloud"]
    row, _ = one("hh_rlhf", pair(*turns))
    assert row.messages == dialogue(*turns)
    assert "\n\n" + transcript([one.content for one in row.messages]) + "\n\nAssistant: yes" == pair(*turns)["chosen"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (pair("Hi", chosen=""), "empty response"),
        (pair("Hi", "", "Sing"), "empty turn"),
        (pair("Hi", rejected="  \n"), "empty response"),
        (pair("Hi", chosen="no"), "chosen equals rejected"),
        (pair("Hi") | {"rejected": "\n\nHuman: Ho\n\nAssistant: no"}, "prompts differ"),
        (pair("Hi") | {"chosen": "Hi\n\nAssistant: no"}, "does not start with a human turn"),
        ({"chosen": "\n\nHuman: Hi", "rejected": "\n\nHuman: Hi"}, "no assistant turn"),
        (pair("hello 1", chosen="yes\n\nHuman: thanks, bye"), "ends with a human turn"),
        (pair("Hi", rejected="no\n\nHuman:"), "ends with a human turn"),
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
    humans = [sum(one.role == "user" for one in row.messages) for row in pairs]
    assert (min(humans), max(humans)) == (1, 10)


def test_a_pair_may_have_scores_win_rates_and_a_third_answer():
    numbers = {"score_chosen": 8, "score_rejected": "2.5", "win_rate_chosen": 0.75, "win_rate_rejected": 0}
    chats = {"gold": [TURNS[0], {"role": "assistant", "content": " Good day "}], "win_rate_chosen": ""}
    rows = [("f:1", ROWS["preference"] | numbers | {"gold": "Good day"}), ("f:2", ROWS["implicit_preference"] | chats)]
    (first,), dropped = normalise(rows[:1], "preference")
    (second,), others = normalise(rows[1:], "implicit_preference")
    assert [*dropped, *others] == []
    assert (first.gold, second.gold) == ("Good day", "Good day")
    assert [getattr(first, name) for name in numbers] == [8.0, 2.5, 0.75, 0.0]
    assert second.win_rate_chosen is None
    plain = normalise([("f:1", ROWS["preference"])], "preference")[0][0]
    assert set(plain.model_dump()) == {"id", "messages", "chosen", "rejected"}  # what isn't there is in no line


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"score_chosen": "good"}, "score_chosen is not a number"),
        ({"score_rejected": True}, "score_rejected is not a number"),
        ({"win_rate_chosen": 80}, "win_rate_chosen is not between 0 and 1"),
        ({"gold": [TURNS[0] | {"content": "Bye"}, TURNS[1]]}, "prompts differ"),
    ],
)
def test_what_is_no_score_and_no_answer_is_a_reason(columns, reason):
    name = "implicit_preference" if "gold" in columns else "preference"
    kept, dropped = normalise([("f:1", ROWS[name] | columns)], name)
    assert ([one.reason for one in dropped], kept) == ([reason], [])
