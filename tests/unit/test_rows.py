"""Row types and JSON lines: what is read is checked once, and an error names its place."""

import gzip
import json
import re

import pytest
from pydantic import ValidationError

from bezoar.jsonl import read_json_lines
from bezoar.steps.data.rows import (
    ChatRow,
    FilteredRow,
    GeneratedRow,
    PreferenceRow,
    SeedRow,
    TextRow,
    dialogue,
    read_rows,
    row_id,
    row_type,
    write_rows,
)

MESSAGES = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
CHAT = {"id": "a", "family": "a", "messages": MESSAGES}


def test_what_is_written_is_read_back(tmp_path):
    rows = [
        ChatRow(**CHAT),
        ChatRow(**CHAT | {"id": "b", "messages": dialogue("Hi", "naïve 東京 🙂\nline", system="")}),
    ]
    assert write_rows(tmp_path / "rows.jsonl", rows) == 2
    assert list(read_rows(tmp_path / "rows.jsonl", ChatRow)) == rows


def test_equal_rows_have_equal_bytes(tmp_path):
    for name in ("first", "second"):
        write_rows(tmp_path / name, [ChatRow(**dict(reversed(CHAT.items())))])
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_characters_are_written_as_they_are(tmp_path):
    write_rows(tmp_path / "rows.jsonl", [TextRow(text="東京")])
    assert (tmp_path / "rows.jsonl").read_text(encoding="utf-8") == '{"text": "東京"}\n'


def test_a_gzipped_file_is_unpacked(tmp_path):
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "one"}\n{"text": "two"}\n'))
    assert [row.text for row in read_rows(path, TextRow)] == ["one", "two"]


def test_blank_lines_are_passed_over_and_counted_as_lines(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"text": "one"}\n \n{"text": "two"}')
    assert list(read_json_lines(path)) == [(2, {"text": "one"}), (4, {"text": "two"})]


def test_a_separator_inside_a_text_ends_no_line(tmp_path):
    text = "one\u2028two\x85three"  # str.splitlines would split here
    write_rows(tmp_path / "rows.jsonl", [TextRow(text=text)])
    assert [row.text for row in read_rows(tmp_path / "rows.jsonl", TextRow)] == [text]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (json.dumps(CHAT | {"messages": ""}), "'messages' does not fit a ChatRow\n  found:    ''\n  expected: "),
        (json.dumps(CHAT | {"answer": "x"}), "'answer' does not fit a ChatRow\n  found:    'x'\n  expected: Extra"),
        (json.dumps({"id": "a"}), "'family' does not fit a ChatRow"),
        (
            '{"id": ',
            "not JSON\n  found:    Expecting value: nothing more\n  expected: whole values in JSON\nhint: it ends",
        ),
        (
            '{"id": "a',
            "not JSON\n  found:    Unterminated string starting at: '\"a'\n  expected: whole values in JSON\nhint:",
        ),
        ('{"id" 1}', "not JSON\n  found:    Expecting ':' delimiter: '1}'\n  expected: whole values in JSON"),
        ("[1", "not JSON\n  found:    Expecting ',' delimiter: nothing more\n"),
    ],
)
def test_an_error_names_file_line_and_field(tmp_path, line, message):
    path = tmp_path / "evol.jsonl"
    path.write_text(f"{json.dumps(CHAT)}\n{line}\n")
    with pytest.raises(ValueError, match=re.escape(f"{path}:2: {message}")):
        list(read_rows(path, ChatRow))


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        ("", "no turns"),
        ("s", "ends with a turn of system"),
        ("u", "ends with a turn of user"),
        ("au", "starts with a turn of assistant"),
        ("t", "starts with a turn of tool"),
        ("uua", "user turn after user"),
        ("usa", "system turn after user"),
        ("uaa", "assistant turn after assistant"),
        ("uta", "tool turn after user"),
        ("uat", "ends with a turn of tool"),
        ("uatu", "user turn after tool"),
        ("uaUa", "empty turn of user"),
        ("uA", "empty turn of assistant"),
    ],
)
def test_turns_in_another_order_are_refused_with_the_reason(roles, reason):
    with pytest.raises(ValidationError, match=re.escape(f"Value error, {reason} [")):
        ChatRow(id="a", family="a", messages=turns(roles))


@pytest.mark.parametrize("roles", ["ua", "sua", "Sua", "uaua", "uata", "suatta"])
def test_a_dialogue_of_every_order_that_templates_know_is_a_row(roles):
    assert len(ChatRow(id="a", family="a", messages=turns(roles)).messages) == len(roles)
    assert PreferenceRow(id="a", messages=turns(roles + "u"), chosen="a", rejected="b").chosen == "a"
    with pytest.raises(ValidationError, match="ends with a turn of assistant"):
        PreferenceRow(id="a", messages=turns(roles), chosen="a", rejected="b")


def turns(roles):
    """Messages by the first letters of their roles; a capital for an empty one."""
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": names[one.lower()], "content": "" if one.isupper() else one} for one in roles]


def test_bytes_that_are_not_utf_8_are_an_error_on_their_own_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "one"}\n{"text": "two"}\n{"text": "\xff"}\n')
    with pytest.raises(ValueError, match=re.escape(f"{path}:3: not UTF-8: ")):
        list(read_rows(path, TextRow))


def test_nothing_is_left_of_rows_that_could_not_be_written(tmp_path):
    def rows():
        yield {"text": "one"}
        raise RuntimeError("the teacher is gone")

    with pytest.raises(RuntimeError, match="the teacher is gone"):
        write_rows(tmp_path / "rows.jsonl", rows())
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_json_does_not_know_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_rows(tmp_path / "rows.jsonl", [{"rating": float("nan")}])


def test_an_id_depends_on_its_parts_and_where_they_end():
    assert re.fullmatch("[0-9a-f]{16}", row_id("one"))
    assert row_id("one", "two") == row_id("one", "two")
    assert row_id("one", "two") != row_id("onet", "wo")
    assert row_id("one", "two") != row_id("two", "one")


# What a mix is made of


SEED = SeedRow(id="a", instruction="Hi", context=None, response=None, category=None)
PREFERENCE = PreferenceRow(id="a", messages=dialogue("Hi"), chosen="Hello", rejected="No")
GENERATED = GeneratedRow(
    scheme="evol",
    root_id="a",
    parent_ids=[],
    round=0,
    topics=[],
    response="Hello",
    teacher="t",
    prompt_hash="0",
    finish_reason="stop",
    id="a",
    seed_id=None,
    operation=None,
    category=None,
    system=None,
    instruction="Hi",
)
VERDICT = {"status": "accept", "rating": 9.0, "reason": "", "judge": "j", "judge_prompt_hash": "0"}
FILTERED = FilteredRow(**GENERATED.model_dump(), **VERDICT)


@pytest.mark.parametrize("row", [ChatRow(**CHAT), SEED, PREFERENCE, FILTERED], ids=lambda row: type(row).__name__)
def test_the_columns_of_the_first_row_say_what_rows_a_mix_is_made_of(tmp_path, row):
    write_rows(tmp_path / "rows.jsonl", [row, row])
    assert row_type(tmp_path / "rows.jsonl") is type(row)


def test_a_file_without_rows_is_of_any_type(tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n")
    assert list(read_rows(tmp_path / "rows.jsonl", row_type(tmp_path / "rows.jsonl"))) == []


@pytest.mark.parametrize("row", [GENERATED, TextRow(text="one")], ids=lambda row: type(row).__name__)
def test_rows_that_nobody_trains_on_are_refused_with_their_columns(tmp_path, row):
    write_rows(tmp_path / "rows.jsonl", [row])
    message = (
        f"{tmp_path}/rows.jsonl: not rows of a mix\n  found:    {', '.join(row.model_dump())}\n  expected: rows with"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        row_type(tmp_path / "rows.jsonl")
