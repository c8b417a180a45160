"""Files as others write them: an error names file and line, and one odd file stops nobody without a reason."""

import datetime
import gzip
import json
import re

import pytest
from reading import normalise

from bezoar.jsonl import MARK, read_json_lines
from bezoar.steps.data.json_rows import KEPT, Malformed
from bezoar.steps.data.readers import read_table
from bezoar.steps.data.rows import TextRow, read_rows, write_rows


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    for name, content in (("a.jsonl", b'{"text": "one"}\n'), ("a.tsv", b"text\none\n")):
        (tmp_path / name).write_bytes(MARK + content)
        assert [row for _, row in read_table(tmp_path / name, "label")] == [{"text": "one"}]


def test_a_cut_gzip_file_is_an_error_with_its_place(tmp_path):
    whole = gzip.compress(b"".join(b'{"text": "%d"}\n' % number for number in range(10_000)))
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"^label:\d+: the gzip file is cut") as caught:
        list(read_table(tmp_path / "a.jsonl.gz", "label"))
    assert int(re.match(r"label:(\d+)", str(caught.value))[1]) > 100


@pytest.mark.parametrize("content", [b'{"text": "one"}\n', gzip.compress(b"", mtime=0)[:10] + b"\xff" * 40])
def test_what_is_no_sound_gzip_file_is_an_error_with_its_place(tmp_path, content):
    (tmp_path / "a.jsonl.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"^label:1: invalid gzip file"):
        list(read_table(tmp_path / "a.jsonl.gz", "label"))


def test_a_field_of_a_table_may_be_long(tmp_path):
    (tmp_path / "a.tsv").write_text(f"question\tanswer\nshort\t{'x' * 200_000}\n")
    ((place, row),) = read_table(tmp_path / "a.tsv", "label")
    assert (place, len(row["answer"])) == ("label:2", 200_000)


def test_a_carriage_return_inside_a_field_ends_no_line(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"question\tanswer\r\none\rmore\ttwo\r\n\r\nthree\tfour\r\n")
    expected = [
        ("label:2", {"question": "one\rmore", "answer": "two"}),
        ("label:4", {"question": "three", "answer": "four"}),
    ]
    assert list(read_table(tmp_path / "a.tsv", "label")) == expected


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a": %s}' % ("1" * 5000)])
def test_json_that_python_does_not_read_is_a_malformed_row_with_its_place(tmp_path, line):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "one"}}\n{line}\n{{"text": "two"}}\n')
    rows = list(read_table(tmp_path / "a.jsonl", "label"))
    assert rows == [
        ("label:1", {"text": "one"}),
        ("label:2", Malformed("not JSON", line[:KEPT])),
        ("label:3", {"text": "two"}),
    ]


def test_a_last_line_without_an_end_that_is_no_json_is_an_error_with_its_place(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "t')
    with pytest.raises(ValueError, match=r"^label:2: not JSON.*\n.*\n.*\nhint: it ends within a value"):
        list(read_table(tmp_path / "a.jsonl", "label"))


def test_an_error_names_the_source_and_not_the_temporary_copy_of_it(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": ')
    with pytest.raises(ValueError, match=r"^https://example\.org/a\.jsonl:1: not JSON"):
        list(read_table(tmp_path / "a.jsonl", "https://example.org/a.jsonl"))


def test_what_is_no_parquet_file_is_an_error_with_its_place(tmp_path):
    (tmp_path / "a.parquet").write_text("no table")
    with pytest.raises(ValueError, match=r"^label:1: invalid Parquet file"):
        list(read_table(tmp_path / "a.parquet", "label"))


def test_a_table_with_dates_and_missing_values_is_read_row_by_row(tmp_path):
    import pyarrow
    from pyarrow import parquet

    rows = [
        {"instruction": "Who?", "context": None, "day": datetime.date(2026, 1, 2), "price": float("nan")},
        {"instruction": "Who?", "context": None, "day": None, "price": 1.5},
        {"instruction": None, "context": "x", "day": None, "price": None},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    kept, dropped = normalise(read_table(tmp_path / "a.parquet", "a.parquet"), "dolly")
    assert [row.instruction for row in kept] == ["Who?"]
    assert [(row.reason, row.detail) for row in dropped] == [
        ("duplicate", "a.parquet:2"),
        ("no instruction", "a.parquet:3"),
    ]
    assert write_rows(tmp_path / "dropped.jsonl", dropped) == 2


def test_lines_of_an_artifact_are_numbered_as_before(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "one"}) + "\n\n" + json.dumps({"text": "two"}))
    assert [number for number, _ in read_json_lines(tmp_path / "rows.jsonl")] == [1, 3]
    assert [row.text for row in read_rows(tmp_path / "rows.jsonl", TextRow)] == ["one", "two"]
