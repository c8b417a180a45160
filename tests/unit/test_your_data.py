"""Rows as people have them: docs/reference/formats.md row by row, files of all kinds, and formats found by looking."""

import bz2
import csv
import gzip
import io
import json
import lzma
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import normalise, read

from bezoar.cache.storable import IGNORED_FOLDERS
from bezoar.cli import main
from bezoar.errors import InputError
from bezoar.recipe import local_rows
from bezoar.steps.data import json_rows, readers
from bezoar.steps.data.detect import found_format
from bezoar.steps.data.formats import FORMATS
from bezoar.steps.data.normalise import FURTHER
from bezoar.steps.data.readers import files_at, read_table
from bezoar.steps.data.rows import ChatRow, PreferenceRow, SeedRow, TextRow
from bezoar.steps.data.sources import Source, rows_of

ROOT = Path(__file__).parents[2]
TABLE = re.compile(r"^\| `(\w+)`[^|]*\| `(\{.*?\})` \| (.*) \|$", re.MULTILINE)
EXAMPLES = TABLE.findall((ROOT / "docs/reference/formats.md").read_text(encoding="utf-8"))
ROWS = [{"question": f'What is "{n}", é?', "answer": f"It is {n};\nor, {n}."} for n in range(1, 6)]


def shown(row) -> str:
    """A row as docs/reference/formats.md writes it."""
    match row:
        case ChatRow():
            parts = [(one.role, one.content) for one in row.messages]
        case PreferenceRow():
            said = [(one.role, one.content) for one in row.messages]
            parts = [*said, ("chosen", row.chosen), ("rejected", row.rejected)]
        case SeedRow():
            parts = [("seed", row.instruction), ("context", row.context), ("response", row.response)]
        case TextRow():
            parts = [("text", row.text)]
        case _:
            return str(row)
    return " / ".join(f"{name}: {text}" for name, text in parts if text).replace("\n", "⏎")


def packed(content: bytes, suffix: str) -> bytes:
    import pyarrow

    if suffix == ".zst":
        sink = pyarrow.BufferOutputStream()
        with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(content)
        return sink.getvalue().to_pybytes()
    return {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix](content)


def separated(rows, delimiter: str = ",") -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()  # with line ends of Windows


def parquet_of(rows) -> bytes:
    import pyarrow
    from pyarrow import parquet

    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def lines_of(rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


KINDS = {
    "lines.jsonl": lines_of(ROWS),
    "lines.json": lines_of(ROWS),
    "windows.jsonl": lines_of(ROWS).replace(b"\n", b"\r\n"),
    "mark.jsonl": b"\xef\xbb\xbf" + lines_of(ROWS),
    "array.json": json.dumps(ROWS).encode(),
    "pretty.json": json.dumps(ROWS, indent=2).encode(),
    "array.jsonl": json.dumps(ROWS).encode(),
    "object.json": json.dumps({"version": 1, "tags": ["a"], "data": ROWS, "more": {"a": []}}).encode(),
    "pretty_object.json": b"\xef\xbb\xbf" + json.dumps({"version": 1, "data": ROWS}, indent=1).encode(),
    "commas.csv": separated(ROWS),
    "semicolons.csv": separated(ROWS, ";"),
    "mark.csv": b"\xef\xbb\xbf" + separated(ROWS),
    "table.parquet": parquet_of(ROWS),
    "lines_without_suffix": lines_of(ROWS),
    "parquet_without_suffix": parquet_of(ROWS),
}


@pytest.mark.parametrize("packing", ["", ".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_file_is_read_also_packed(tmp_path, name, packing):
    path = tmp_path / f"{name}{packing}"
    path.write_bytes(packed(KINDS[name], packing))
    found = list(read_table(path, path.name))
    assert [row for _, row in found] == ROWS
    assert all(place.startswith(f"{path.name}:") for place, _ in found)
    assert len({place for place, _ in found}) == len(ROWS)


@pytest.mark.parametrize("packing", [".gz", ".bz2", ".xz", ".zst"])
def test_a_packed_file_that_is_cut_is_an_error_with_its_place(tmp_path, packing):
    content = packed(lines_of([{"text": f"{number} {number**9}"} for number in range(20_000)]), packing)
    (tmp_path / f"a.jsonl{packing}").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"^label:\d+: the \w+ file is cut"):
        list(read_table(tmp_path / f"a.jsonl{packing}", "label"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '[{"a": 1},\n{"a" 2}]', "label:2: not JSON\n  found:    Expecting ':' delimiter: '2}]'\n"),
        ("a.json", '[{"a": 1}\n{"a": 2}]', "label:2: not JSON\n  found:    '{'\n  expected: , or ]"),
        ("a.json", '[{"a": 1},', "label:1: not JSON\n  found:    Expecting value: nothing more\n"),
        ("a.json", '[{"a": 1}] x', "label:1: not JSON\n  found:    'x' after the end of the document"),
        (
            "a.json",
            '{"a": [{}],\n"b": [{}]}',
            "label:2: not JSON\n  found:    two lists of rows in one object: a and",
        ),
        ("a.json", '{"a": [{}],\n"b":', "label:2: not JSON\n  found:    Expecting value: nothing more\n"),
        ("a.json", '[{"a": %s' % ("[" * 100_000), "label:1: not JSON\n  found:    values that are nested too deeply"),
        ("a.csv", 'a,b\n1,"2\n3,4\n', "label:2: not CSV: unexpected end of data"),
        ("a.csv", 'a,b\n1,"2\n3"\n1\n', "label:4: not as many columns as the header line has"),
        ("a.csv", "a,a\n1,2\n", "label:1: duplicate column\n  found:    a\n"),
        ("a.txt", "a text\n", "label: unknown kind of file\n  found:    .txt, and neither JSON nor Parquet inside"),
    ],
)
def test_a_file_that_is_not_sound_is_an_error_with_its_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        list(read_table(tmp_path / name, "label"))


def test_a_file_with_one_conversation_is_one_row(tmp_path):
    row = {"id": "a", "tags": ["x"], "conversations": [{"from": "human", "value": "Hi"}]}
    for content in (json.dumps(row), json.dumps(row, indent=2)):
        (tmp_path / "a.json").write_text(content)
        assert [one for _, one in read_table(tmp_path / "a.json", "a.json")] == [row]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(rows=st.lists(JSON, max_size=6), indent=st.sampled_from([None, 0, 3]), chunk=st.integers(1, 9))
def test_an_array_is_read_in_pieces_of_any_size(tmp_path_factory, rows, indent, chunk):
    path = tmp_path_factory.getbasetemp() / "array.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(json_rows, "CHUNK", chunk)
        assert [row for _, row in json_rows._Text(path, "label").rows()] == rows


def test_a_large_array_is_not_in_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": "x" * 1000}] * 8000))  # 8 MB on one line
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_table(path, "a")) == 8000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


# Formats


def test_the_page_has_every_format():
    assert {name for name, _, _ in EXAMPLES} == set(FORMATS)


@pytest.mark.parametrize(("name", "example", "becomes"), EXAMPLES)
def test_each_example_of_the_page_is_found_and_becomes_what_it_says(name, example, becomes):
    row = json.loads(example)
    if name != "items":
        assert found_format([row], "mine") == name
        assert found_format([row | {"more": 1, "id": 7, "score": 0.5}], "mine") == name
    (kept,), _ = normalise([("file.jsonl:1", row)], name)
    if "MT-Bench" in becomes:
        assert re.findall(r"\d+|single", becomes)[0] in str(kept)
    elif name == "items":
        assert kept == row
    else:
        assert shown(kept) == becomes


BOTH = "user: Hi / chosen: Hello / rejected: No"
HI = {"role": "user", "content": "Hi"}
HELLO = {"role": "assistant", "content": "Hello"}
NO = {"role": "assistant", "content": "No"}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PAIR = {"chosen": [HI, HELLO], "rejected": [HI, NO]}


def one(name, row):
    """The only row of a format, or the only reason for which it was dropped."""
    kept, dropped = normalise([("file.jsonl:1", row)], name)
    return shown(kept[0]) if kept else dropped[0].reason


@pytest.mark.parametrize(
    ("name", "row", "becomes"),
    [
        ("messages", {"messages": [HI, HELLO, HI, NO]}, "user: Hi / assistant: Hello / user: Hi / assistant: No"),
        ("messages", {"messages": [{"role": "developer", "content": "S"}, HI, HELLO]}, "system: S / user: Hi / "),
        ("messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, HELLO]}, "user: Hi"),
        ("messages", {"messages": [HI, HELLO], "tools": None, "system": "S"}, "system: S / user: Hi / "),
        ("messages", {"messages": [HI, HELLO | {"tool_calls": None}], "tools": []}, "user: Hi / assistant: Hello"),
        ("messages", {"messages": [HI, HELLO], "tools": [{"type": "function"}]}, "tools are given"),
        (
            "messages",
            {"messages": [HI, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
            "a turn with tool_calls",
        ),
        (
            "messages",
            {"messages": [HI, {"role": "assistant", "content": "f()"}, {"role": "tool", "content": "1"}, HELLO]},
            "user: Hi / assistant: f() / tool: 1 / assistant: Hello",
        ),
        (
            "messages",
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, HELLO]},
            "a turn with more than text",
        ),
        ("messages", {"messages": [HI, HELLO | {"weight": 0}]}, "an assistant turn with weight 0"),
        ("messages", {"messages": [HI, {"role": "narrator", "content": "x"}]}, "a turn of 'narrator'"),
        ("messages", {"messages": [HI]}, "ends with a turn of user"),
        ("messages", {"messages": []}, "no turns"),
        ("messages", {"messages": None}, "no messages"),
        ("messages", {"messages": "Hi"}, "messages is not a list"),
        ("messages", {"messages": [HI, HELLO], "system": 5}, "system is not text"),
        ("messages", {"messages": [{"role": "system", "content": "A"}, HI, HELLO], "system": "B"}, "two system texts"),
        ("sharegpt", {"conversations": [HI, HELLO]}, "user: Hi / assistant: Hello"),
        ("sharegpt", {"conversations": [{"from": "gpt", "value": "Hello"}]}, "starts with a turn of assistant"),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "function_call", "value": "f"}]},
            "a turn of 'function_call'",
        ),
        ("alpaca", {"instruction": "Do.", "output": "Done."}, "user: Do. / assistant: Done."),
        ("alpaca", {"instruction": "Do.", "input": None, "output": "Done."}, "user: Do. / assistant: Done."),
        (
            "alpaca",
            {"instruction": "More.", "output": "Done.", "system": "S", "history": [["Hi", "Hello"]]},
            "system: S / user: Hi / assistant: Hello / user: More. / assistant: Done.",
        ),
        ("alpaca", {"instruction": "Do.", "output": "x", "history": [["Hi"]]}, "history is not a list of pairs"),
        ("question_answer", {"question": "Who?", "answer": {"text": ["Ada"]}}, "answer is not text"),
        (
            "preference",
            {"prompt": [HI], "chosen": [HELLO], "rejected": [NO]},
            BOTH,
        ),
        ("preference", {"prompt": [HI], **PAIR}, BOTH),
        ("preference", {"prompt": "Hi", "system": "S", **PAIR}, f"system: S / {BOTH}"),
        (
            "preference",
            {"prompt": [HI | {"content": "Ho"}], **PAIR},
            "the messages do not start with the prompt",
        ),
        ("preference", {"prompt": "Hi", "chosen": "A", "rejected": "A"}, "chosen equals rejected"),
        ("preference", {"prompt": "Hi", "chosen": "A", "rejected": " "}, "empty response"),
        ("prompt_completion", {"prompt": "Hi", "completion": "Hello", "tools": [{}]}, "tools are given"),
        ("question_answer", {"question": "Hi", "answer": "Hello", "functions": "[{}]"}, "functions are given"),
        ("alpaca", {"instruction": "Hi", "output": "Hello", "tools": "[{}]"}, "tools are given"),
        ("preference", {"prompt": "Hi", "chosen": "A", "rejected": "B", "tools": [{}]}, "tools are given"),
        ("preference", {"prompt": [HI], **PAIR, "tools": [{}]}, "tools are given"),
        ("implicit_preference", {"chosen": [HI, HELLO], "rejected": [HELLO, HI, NO]}, "prompts differ"),
        ("implicit_preference", {"chosen": [HELLO], "rejected": [NO]}, "no turns"),
        ("implicit_preference", {"chosen": [HI], "rejected": [HI]}, "chosen does not end with a turn of the assistant"),
    ],
)
def test_a_row_is_kept_whole_or_dropped_with_a_reason(name, row, becomes):
    found = one(name, row)
    assert found.startswith(becomes) if becomes.endswith("/ ") or becomes == "user: Hi" else found == becomes


def test_a_format_is_found_by_values_where_columns_do_not_tell():
    transcript = "\n\nHuman: Hi\n\nAssistant: Hello"
    assert found_format([{"chosen": transcript, "rejected": transcript}], "mine") == "hh_rlhf"
    assert found_format([PAIR], "mine") == "implicit_preference"
    assert found_format([PAIR | {"prompt": "Hi", "messages": [HI, HELLO], "score_chosen": 5.0}], "mine") == "preference"
    assert found_format([{"prompt": "Hi", "chosen": "A", "rejected": "B"}], "mine") == "preference"
    assert found_format([{"prompt": "Hi", "prompt_id": "1", "messages": [HI, HELLO]}], "mine") == "messages"


def test_a_few_odd_first_rows_do_not_hide_the_format():
    rows = [{"messages": None}, {}, {"messages": [HI, HELLO]}, {"messages": [HI, HELLO]}]
    assert found_format(rows, "mine") == "messages"


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"query": "?", "reply": "!"}, "query, reply"),
        ({"chosen": "A", "rejected": "B"}, "chosen, rejected"),
        ({"prompt": "\n\nHuman: Hi\n\nAssistant:", "chosen": "A", "rejected": "B"}, "chosen, prompt, rejected"),
        ({}, "no columns"),
        ("text", "no columns"),
    ],
)
def test_rows_of_no_format_are_an_error_that_lists_the_formats_with_their_columns(row, found):
    with pytest.raises(ValueError, match="mine") as caught:
        found_format([row], "mine")
    what, shown_, *expected, hint = str(caught.value).split("\n")
    assert what == "source mine: its rows are of no known format"
    assert shown_ == f"  found:    {found}"
    assert [line.removeprefix("  expected: ").strip().split(" (")[0] for line in expected] == [*FORMATS][:-1]
    assert "            hh_rlhf (chosen, rejected: transcripts of Human and Assistant)" in expected
    assert hint.startswith("hint: say what its columns are in sources.mine.columns, such as {prompt: question}; ")


def test_rows_of_two_formats_are_an_error_that_names_both():
    with pytest.raises(ValueError, match="its rows fit 2 formats") as caught:
        found_format([{"messages": [HI, HELLO], "text": "Hi Hello"}], "mine")
    _, shown_, expected, hint = str(caught.value).split("\n")
    assert shown_ == "  found:    messages, text"
    assert expected == "  expected: one of text (text); messages (messages: lists of role and content)"
    assert hint == "hint: name it in sources.mine.format"


# Columns under other names


def rows_from(rows, **keys):
    """What a source of these rows keeps, and its report."""
    placed = ((f"mine.jsonl:{number}", row) for number, row in enumerate(rows, start=1))
    kept, dropped, report = read(placed, Source(path="mine.jsonl", **keys), 0, "mine")
    return [shown(row) for row in kept], dropped, report


def test_columns_are_read_under_the_names_that_formats_know():
    rows = [{"question": f"{n}?", "better": {"text": "A"}, "worse": {"text": "B"}, "x": 1} for n in range(3)]
    columns = {"prompt": "question", "chosen": "better.text", "rejected": "worse.text"}
    kept, _, report = rows_from(rows, columns=columns)
    assert kept[0] == "user: 0? / chosen: A / rejected: B"
    assert (report["format"], report["rows"]) == ("preference", 3)


def test_a_dotted_name_may_be_that_of_a_column():
    assert rows_from([{"a.b": "A text."}], columns={"text": "a.b"})[0] == ["text: A text."]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"prompt": "questoin"},
            ".prompt: no such column in its first 1 rows\n  found:    questoin\n",
        ),
        (
            {"promt": "question"},
            ": the format question_answer has no such column\n  found:    promt\n",
        ),
    ],
)
def test_an_unknown_name_of_a_column_is_an_error(columns, message):
    rows = [{"question": "Who?", "answer": "Ada."}]
    keys = {"format": "question_answer"} if "promt" in columns else {}
    with pytest.raises(ValueError, match=re.escape(f"sources.mine.columns{message}")):
        rows_from(rows, columns=columns, **keys)


# Sources of several files


def test_the_files_of_a_folder_and_of_a_pattern_come_in_the_order_of_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("rows/b.jsonl", "rows/a.csv", "rows/more/c.json.gz", "rows/README.md", "rows/d.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")
    assert readers.UNHASHED == IGNORED_FOLDERS  # an edit there would be no reason to run
    for name in IGNORED_FOLDERS:
        Path("rows/more", name).mkdir()
        Path("rows/more", name, "e.jsonl").touch()
    assert files_at("rows") == ["rows/a.csv", "rows/b.jsonl", "rows/more/c.json.gz"]
    assert files_at("rows/*.*") == ["rows/README.md", "rows/a.csv", "rows/b.jsonl", "rows/d.txt"]
    assert files_at("rows/**/*.gz") == ["rows/more/c.json.gz"]
    assert files_at("rows/d.txt") == ["rows/d.txt"]
    assert files_at("nothing") == files_at("rows/*.zst") == []


@pytest.mark.parametrize("links", [{"rows/again": "."}, {"rows/a/up": ".."}, {"rows/a/x": "../b", "rows/b/y": "../a"}])
def test_a_folder_with_a_cycle_of_links_is_refused(tmp_path, links):
    for name in ("rows/a", "rows/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "x.jsonl").touch()
    (tmp_path / "rows/beside").symlink_to("a")  # no cycle
    assert len(files_at(str(tmp_path / "rows"))) == 3
    for link, target in links.items():
        (tmp_path / link).symlink_to(target)
    with pytest.raises(InputError, match="leads to a folder around it"):
        files_at(str(tmp_path / "rows"))


def folder_of(tmp_path, *files) -> Source:
    """A source of a folder with files."""
    (tmp_path / "rows").mkdir()
    for number, rows in enumerate(files):
        (tmp_path / f"rows/{number}.jsonl").write_bytes(lines_of(rows))
    return Source(path=str(tmp_path / "rows"))


def test_rows_of_all_files_are_read_as_one_source(tmp_path):
    source = folder_of(tmp_path, ROWS[:2], ROWS[2:])
    kept, _, report = read(rows_of(source.origin, 0, tmp_path), source, 0, "mine")
    assert (len(kept), report["read"]) == (5, 5)
    assert source.files() == [str(tmp_path / "rows")]


def test_a_file_that_loses_its_rows_is_an_error_even_if_others_keep_theirs(tmp_path):
    many = [{"question": f"{n}?", "answer": "!"} for n in range(100)]
    source = folder_of(tmp_path, many, [{"text": f"{n}"} for n in range(20)])
    with pytest.raises(ValueError, match=r"rows/1.jsonl: too few rows are left") as caught:
        read(rows_of(source.origin, 0, tmp_path), source, 0, "mine")
    assert "20 of 20 rows dropped\n            20 no question: " in str(caught.value)
    assert "rows/1.jsonl:1, " in str(caught.value)


def test_no_row_after_the_limit_is_read():
    numbers = iter(range(1000))
    rows = ({"text": f"text {number}"} for number in numbers)
    assert len(rows_from(rows, limit=30)[0]) == 30
    assert next(numbers) == 30


# No row vanishes

SHAREGPT = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": ""}]
VALUES = JSON | st.sampled_from(["Hi", [HI, HELLO], [HI], SHAREGPT])
COLUMNS = sorted({column for one in FORMATS.values() for column in (*one.columns, *one.optional)})


@given(
    rows=st.lists(st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=6) | JSON, max_size=5),
    name=st.sampled_from(sorted(FORMATS)),
)
def test_every_row_that_is_read_is_kept_or_dropped_with_its_place(rows, name):
    kept, dropped = normalise([(f"f:{number}", row) for number, row in enumerate(rows)], name)
    own = [row for row in dropped if row.reason != FURTHER]
    assert len(kept) + len(own) == len(rows)
    assert {row.detail for row in own} <= {f"f:{number}" for number in range(len(rows))}


@given(example=st.sampled_from(EXAMPLES), key=st.sampled_from(["system", "tools", "more"]), value=VALUES)
def test_a_further_column_stops_no_format_from_being_found(example, key, value):
    name, row, _ = example
    if name != "items":
        assert found_format([json.loads(row) | {key: value}], "mine") == name


# --- bezoar recipe check ----------------------------------------------------------------------------------------------

TALK = {"messages": [{"role": role, "content": f"{role} {n}"} for n in (1, 2) for role in ("user", "assistant")]}
ASKS = "{% if add_generation_prompt %}<assistant>{% endif %}"
TURN = "<{{ m.role }}>{{ m.content }}"
ADDS = "{% for m in messages %}" + TURN + "{% endfor %}" + ASKS
FORGETS = "{% for m in messages %}{% if m.role == 'user' or loop.last %}" + TURN + "{% endif %}{% endfor %}" + ASKS


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Writes a recipe of one source, one mix and one stage, with rows and a chat template, and checks it."""
    monkeypatch.chdir(tmp_path)

    def check(rows, *, template=ADDS, eval_rows=2, stage=None, source=None):
        Path("rows.jsonl").write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in rows))
        Path("a.jinja").write_text(template)
        model = {"method": "hub", "repository": "a/b", "revision": "0" * 40, "chat_template": "a.jinja"}
        recipe = {
            "recipe": "mine",
            "sources": {"mine": {"path": "rows.jsonl", **(source or {})}},
            "mixes": {"mine": {"parts": ["mine"], "eval_rows": eval_rows}},
            "models": {"base": model},
            "stages": {"sft": {"init_from": "base", "mix": "mine", **(stage or {})}},
        }
        Path("params.yaml").write_text(json.dumps(recipe, indent=1))
        return main(["recipe", "check"])

    return check


def test_rows_that_do_not_fit_are_shown_by_the_check(project, capsys):
    assert project([*ROWS, {"question": "?"}, "not JSON", ROWS[0], {"question": "?", "answer": 7}]) == 0
    shown = capsys.readouterr().out
    assert "note: sources.mine: 4 of 9 rows don't fit, and are left out\n" in shown
    for reason, line in (("no answer", 6), ("not JSON", 7), ("duplicate", 8), ("answer is not text", 9)):
        assert f"  1 {reason}: rows.jsonl:{line}\n" in shown
    assert project(ROWS) == 0
    assert "don't fit" not in capsys.readouterr().out


def test_of_a_large_file_the_first_rows_are_checked(project, capsys, monkeypatch):
    monkeypatch.setattr(local_rows, "MOST", 4)
    monkeypatch.setattr(local_rows.look, "__defaults__", (4,))
    assert project([{"question": "?"}, *ROWS], eval_rows=50) == 0  # nobody knows how many more there are
    assert "note: sources.mine: 1 of the first 4 rows don't fit" in capsys.readouterr().out


def test_more_unfit_rows_than_the_bound_allows_are_an_error_before_the_run(project, capsys):
    assert project([*ROWS, *[{"question": "?"}] * 6]) == 1
    assert re.search(r"params.yaml:\d+: source mine: too few rows are left", capsys.readouterr().err)
    assert project([*ROWS, *[{"question": "?"}] * 6], source={"max_dropped_share": 0.6}) == 0


def test_a_mix_that_holds_out_all_rows_is_an_error_before_the_run(project, capsys):
    assert project(ROWS, eval_rows=5) == 1
    said = capsys.readouterr().err
    assert "mixes.mine.eval_rows: nothing is left to train on\n" in said
    assert "found:    5 rows to hold out, of 5 in mine\n" in said
    assert "hint: a tenth of them: eval_rows: 1" in said
    assert project(ROWS, eval_rows=3) == 0
    assert "note: mixes.mine: 3 of its 5 rows are held out (eval_rows), and 2 trained on\n" in capsys.readouterr().out


def test_a_template_that_rewrites_earlier_turns_is_an_error_before_the_run(project, capsys):
    turns = [*[TALK["messages"][:2]] * 4, TALK["messages"]]
    rows = [{"messages": [{**one, "content": f"{one['content']} {n}"} for one in some]} for n, some in enumerate(turns)]
    assert project(rows) == 0
    assert project(rows, template=FORGETS) == 1
    said = capsys.readouterr().err
    assert re.search(
        r"params.yaml:\d+: stages.sft: rows.jsonl:5: a.jinja: the chat template rewrites earlier turns", said
    )
    assert "loss_on: last" in said
    assert project(rows, template=FORGETS, stage={"loss_on": "last"}) == 0
    assert project(rows[:4], template=FORGETS) == 0  # no row has two answers
