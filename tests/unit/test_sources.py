"""Where rows come from: files of every kind, pinned by their sha256, and shards that a new row leaves alone."""

import gzip
import hashlib
import json
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from reading import read, taken

from bezoar.errors import InputError
from bezoar.files import files_in
from bezoar.recipe.cards import place_of
from bezoar.steps.data.readers import read_table
from bezoar.steps.data.rows import SeedRow, row_id
from bezoar.steps.data.shard import shard_of, write_shards
from bezoar.steps.data.source import write_source
from bezoar.steps.data.sources import Builtin, File, Source, Url, rows_of

LIMITS = [{}, {"limit": 3}, {"limit": 50, "sample": 20}]
ROWS = [{"text": "one"}, {"text": "two\twords"}, {"text": "東京"}]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def address(tmp_path):
    """Serves the test's folder on loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def source(**keys):
    origin = Builtin(kind="builtin", set="text", rows=1, prompts=None)
    return Source(origin=origin, format="text", **keys)


def json_lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_json_lines_are_read_plain_and_gzipped(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(json_lines(ROWS))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json_lines(ROWS)))
    expected = [(f"label:{number}", row) for number, row in enumerate(ROWS, start=1)]
    assert list(read_table(tmp_path / "a.jsonl", "label")) == expected
    assert list(read_table(tmp_path / "a.jsonl.gz", "label")) == expected


def test_tab_separated_columns_keep_their_quotes(tmp_path):
    content = b'question\tanswer\nsay "hi"\t"hi"\n'
    (tmp_path / "a.tsv").write_bytes(content)
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(content))
    expected = {"question": 'say "hi"', "answer": '"hi"'}
    assert list(read_table(tmp_path / "a.tsv", "label")) == [("label:2", expected)]
    assert [row for _, row in read_table(tmp_path / "a.tsv.gz", "label")] == [expected]


@pytest.mark.parametrize("line", ["one", "one\ttwo\tthree"])
def test_a_line_with_other_columns_than_the_header_is_an_error(tmp_path, line):
    (tmp_path / "a.tsv").write_text(f"question\tanswer\na\tb\n{line}\n")
    with pytest.raises(ValueError, match=r"^label:3: not as many columns"):
        list(read_table(tmp_path / "a.tsv", "label"))


def test_parquet_is_read_row_by_row(tmp_path):
    import pyarrow
    from pyarrow import parquet

    rows = [{"text": str(number), "parts": ["a", "b"]} for number in range(1003)]  # more than a batch of 1,000
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = list(read_table(tmp_path / "a.parquet", "label"))
    assert [row for _, row in found] == rows
    assert found[-1][0] == "label:1003"


def test_a_kind_of_file_that_is_not_read_is_an_error(tmp_path):
    (tmp_path / "a.docx").write_bytes(b"PK\x03\x04")
    message = r"unknown kind of file\n  found:    .docx, and neither JSON nor Parquet inside\n  expected: .jsonl, "
    with pytest.raises(ValueError, match=message):
        list(read_table(tmp_path / "a.docx", "label"))


def test_a_pinned_file_and_address_give_their_rows(tmp_path, address):
    path, content = tmp_path / "a.jsonl", json_lines(ROWS)
    path.write_bytes(content)
    (tmp_path / "scratch").mkdir()
    for origin in (
        File(kind="file", path=str(path), sha256=sha256(content)),
        Url(kind="url", url=f"{address}/a.jsonl", sha256=sha256(content)),
    ):
        assert [row for _, row in rows_of(origin, 0, tmp_path / "scratch")] == ROWS


@pytest.mark.parametrize("query", ["", "?download=a/b", "?name=c.jsonl"])
def test_the_path_of_an_address_says_the_kind_of_its_file_whatever_its_query_is(tmp_path, address, query):
    content = b"text\none\n"
    (tmp_path / "a.csv").write_bytes(content)
    (tmp_path / "scratch").mkdir()
    origin = Url(kind="url", url=f"{address}/a.csv{query}", sha256=sha256(content))
    assert [row for _, row in rows_of(origin, 0, tmp_path / "scratch")] == [{"text": "one"}]


@pytest.mark.parametrize("kind", ["file", "url"])
def test_other_content_than_the_pinned_one_is_an_error(tmp_path, address, kind):
    path, content = tmp_path / "a.jsonl", json_lines(ROWS)
    path.write_bytes(content)
    if kind == "file":
        origin = File(kind="file", path=str(path), sha256="0" * 64)
    else:
        origin = Url(kind="url", url=f"{address}/a.jsonl", sha256="0" * 64)
    (tmp_path / "scratch").mkdir()
    place = path if kind == "file" else f"{address}/a.jsonl"
    message = (
        f"{place}: the content doesn't have the pinned sha256\n"
        f"  found:    sha256 {sha256(content)}\n  expected: sha256 {'0' * 64}\nhint: "
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        next(rows_of(origin, 0, tmp_path / "scratch"))


def test_an_address_with_a_dropped_row_gives_equal_bytes_twice(tmp_path, address):
    row = {"instruction": "Sing.", "context": "", "response": "La."}
    content = json_lines([row, row])  # the second is a duplicate, and is dropped with its place
    (tmp_path / "dolly.jsonl").write_bytes(content)
    url = f"{address}/dolly.jsonl"
    origin = Url(kind="url", url=url, sha256=sha256(content))
    block = Source(origin=origin, format="dolly")
    found = []
    for name in ("first", "second"):
        out = tmp_path / name / "dolly"
        write_source(block, 0, out)
        found.append([(path.name, path.read_bytes()) for path in files_in(out)])
    assert found[0] == found[1]
    (dropped,) = [json.loads(content) for name, content in found[0] if name == "dropped.jsonl"]
    assert (dropped["reason"], dropped["detail"]) == ("duplicate", f"{url}:2")


def test_limit_and_then_sample_are_taken_in_the_sources_order():
    placed = [(f"a.jsonl:{number}", {"text": f"{number}"}) for number in range(100)]
    texts = [[int(row.text) for row in read(placed, source(**keys), 0, "name")[0]] for keys in LIMITS]
    assert texts[:2] == [list(range(100)), [0, 1, 2]]
    assert texts[2] == sorted(set(texts[2]))
    assert (len(texts[2]), texts[2][-1] < 50) == (20, True)


def test_the_same_seed_draws_the_same_rows():
    rows = list(range(1000))
    drawn = taken(rows, 10, 0)
    assert taken(rows, 10, 0) == drawn
    assert taken(rows, 10, 1) != drawn


def test_a_smaller_sample_is_a_part_of_a_larger_one_whatever_the_order_of_rows():
    rows = [f"row {number}" for number in range(100)]
    small, large = taken(rows, 10, 0), taken(rows, 30, 0)
    assert set(small) < set(large)
    assert set(taken(rows[::-1], 10, 0)) == set(small)


def test_more_rows_than_there_are_can_not_be_drawn():
    message = "sources.dolly.sample\n  found:    4\n  expected: at most 3 rows"
    with pytest.raises(ValueError, match=message):
        taken([1, 2, 3], 4, 0, "dolly")


@pytest.mark.parametrize(
    ("path", "inside", "name"),
    [
        ("rows/b.jsonl", True, "rows/b.jsonl"),
        ("rows", True, "rows/b.jsonl"),
        ("rows/*.jsonl", True, "rows/b.jsonl"),
        ("rows/b.jsonl", False, "b.jsonl"),
        ("rows", False, "b.jsonl"),
        ("rows*/*.jsonl", False, "rows/b.jsonl"),
    ],
)
def test_each_row_has_its_file_and_line_and_a_file_outside_of_the_project_only_its_name(
    tmp_path, monkeypatch, path, inside, name
):
    (tmp_path / "rows").mkdir()
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path if inside else tmp_path / "project")
    (tmp_path / "rows/b.jsonl").write_bytes(json_lines([{"text": "one"}, {"words": "two"}, {"text": "three"}]))
    block = Source(path=path if inside else f"../{path}", sample=2, format="text")
    write_source(block, 0, tmp_path / "out/mine")
    places = [json.loads(line) for line in (tmp_path / "out/mine/places.jsonl").read_text().splitlines()]
    assert places == [{"id": None, "file": name, "line": 1}, {"id": None, "file": name, "line": 3}]
    write_source(block.model_copy(update={"sample": 1}), 0, tmp_path / "out/one")
    (row,), (place,) = (read_table(tmp_path / f"out/one/{one}.jsonl", one) for one in ("rows", "places"))
    assert place[1]["line"] == (1 if row[1]["text"] == "one" else 3)


def test_a_row_of_an_array_also_has_its_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_text('[{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]')
    write_source(Source(path="a.json"), 0, tmp_path / "out")
    places = [row for _, row in read_table(tmp_path / "out/places.jsonl", "")]
    assert [(row["line"], row["item"]) for row in places] == [(1, 1), (1, 2)]


def members(folder: Path) -> dict[str, bytes]:
    """The content of each shard of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.jsonl"))}


def sharded(folder: Path, names) -> dict[str, bytes]:
    """Four shards of some rows."""
    rows = [SeedRow(id=row_id(name), instruction=name, context=None, response=None, category=None) for name in names]
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_bytes(json_lines([row.model_dump() for row in rows]))
    write_shards(folder / "rows.jsonl", 4, folder / "shards")
    return members(folder / "shards")


def test_a_new_row_changes_one_shard_only(tmp_path):
    names = [f"row {number}" for number in range(20)]
    before = sharded(tmp_path / "before", names)
    after = sharded(tmp_path / "after", [*names, "new"])
    changed = [name for name in before if before[name] != after[name]]
    assert changed == [f"{shard_of(row_id('new'), len(before)):04d}.jsonl"]


def test_a_source_without_rows_has_no_shards(tmp_path):
    with pytest.raises(ValueError, match=r"shard shards: too few rows are left\n  found:    no row at all"):
        sharded(tmp_path / "none", [])
    assert not (tmp_path / "none" / "shards").exists()


def test_a_folder_with_shards_is_not_replaced(tmp_path):
    names = [f"row {number}" for number in range(20)]
    sharded(tmp_path / "some", names)
    before = members(tmp_path / "some" / "shards")
    with pytest.raises(InputError, match="is not empty and would be replaced"):
        sharded(tmp_path / "some", names[1:])
    assert members(tmp_path / "some" / "shards") == before


def test_the_order_of_rows_changes_no_shard(tmp_path):
    names = [f"row {number}" for number in range(20)]
    shards = sharded(tmp_path / "forward", names)
    assert sharded(tmp_path / "backward", reversed(names)) == shards
    assert sum(content.count(b"\n") for content in shards.values()) == 20


@pytest.mark.parametrize("url", ["https://ann:secret@host/a", "https://token@host", "ftp://host/a"])
def test_an_address_with_a_password_is_refused(url):
    with pytest.raises(ValueError, match="url"):
        Url(kind="url", url=url, sha256="0" * 64)


def test_a_card_has_no_signature_of_an_address():
    origin = Url(kind="url", url="https://host/a@b.jsonl?X-Amz-Signature=1#top", sha256="0" * 64)
    assert place_of(Source(origin=origin, format="text")) == f"https://host/a@b.jsonl (sha256 {'0' * 64})"
