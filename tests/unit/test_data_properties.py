"""Whatever the rows are: each is counted, a new one changes one shard, no duplicate stays, splits share nothing."""

import json
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mixes import folders, kept

from bezoar.errors import InputError
from bezoar.steps.data.families import CLUSTER, KEYS
from bezoar.steps.data.mix import Mix, NearDuplicates, Part
from bezoar.steps.data.mixing import write_mix
from bezoar.steps.data.rows import SeedRow, row_id, write_rows
from bezoar.steps.data.shard import shard_of, write_shards
from bezoar.steps.data.shingles import jaccard, shingles
from bezoar.steps.data.source import write_source
from bezoar.steps.data.sources import Source

SOME = settings(max_examples=15, suppress_health_check=list(HealthCheck))
VALUE = st.one_of(st.none(), st.integers(), st.text("ab \x00\ud83d", max_size=3), st.lists(st.integers(), max_size=1))
LINE = st.one_of(VALUE, st.dictionaries(st.sampled_from(["instruction", "output", "id"]), VALUE))
ANSWERS = st.lists(st.integers(0, 9), min_size=12, max_size=12)


def lines_of(path: Path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def files_of(folder: Path):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@SOME
@given(st.lists(LINE, max_size=8), st.integers(1, 12), st.integers(1, 3))
def test_each_row_of_a_source_is_kept_with_its_place_or_dropped_with_it(rows, limit, sample):
    rows = [{"instruction": "Say one.", "output": "1"}, *rows, *({"instruction": f"{n}", "output": "."} for n in "234")]
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "mine.jsonl"), Path(folder, "out")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        block = Source(path=str(path), format="alpaca", limit=limit, max_dropped_share=1.0)
        block = block.model_copy(update={"sample": min(sample, limit)}) if limit < 4 else block
        write_source(block, 0, out)
        made, places, dropped = (lines_of(out / f"{name}.jsonl") for name in ("rows", "places", "dropped"))
        report = json.loads((out / "report.json").read_text())
    assert [row["id"] for row in made] == [place["id"] for place in places]
    assert len({row["id"] for row in made}) == len(made) == report["rows"]
    taken = [place["line"] for place in places]
    lost = [int(row["detail"].rpartition(":")[2]) for row in dropped]
    assert taken == sorted(taken)
    assert not {*taken} & {*lost}
    assert report["read"] == len(made) + len(dropped) + sum(report["not_taken"].values())
    assert {*taken, *lost} <= set(range(1, report["read"] + 1)) <= set(range(1, len(rows) + 1))
    if not report["not_taken"]["not sampled"]:
        assert {*taken, *lost} == set(range(1, report["read"] + 1))


def seed(number):
    text = {"instruction": f"Say {number}.", "context": None, "response": None, "category": None}
    return SeedRow(id=row_id(str(number)), **text)


def dealt(folder, rows, shards):
    write_rows(folder / "rows.jsonl", rows)
    write_shards(folder / "rows.jsonl", shards, folder / "shards")
    return {name: lines for name, lines in files_of(folder / "shards").items() if name != "report.json"}


@SOME
@given(st.lists(st.integers(0, 99), min_size=1, max_size=20, unique=True), st.integers(1, 9), st.randoms())
def test_a_new_row_changes_one_shard_and_the_order_of_rows_none(numbers, shards, chance):
    rows = [seed(number) for number in numbers]
    with tempfile.TemporaryDirectory() as folder:
        found = dealt(Path(folder, "a"), rows, shards)
        assert dealt(Path(folder, "b"), chance.sample(rows, len(rows)), shards) == found
        more = dealt(Path(folder, "c"), [seed(100), *rows], shards)
    assert len(found) == shards
    assert sorted(line for text in found.values() for line in text.splitlines()) == sorted(
        json.dumps(row.model_dump()).encode() for row in rows
    )
    changed = [name for name in found if found[name] != more[name]]
    assert changed == [f"{shard_of(seed(100).id, shards):04d}.jsonl"]


def answered(place, answer, words):
    """A row of a scheme; those with the same number of an answer differ in one word at most."""
    text = " ".join(f"w{answer}x{number}" for number in range(200))
    changes = {
        "instruction": f"Tell{',' * (place % 3)} {answer}",
        "response": text.replace(f"w{answer}x{words} ", "other ") if words else text,
        "rating": float(words % 3),
    }
    return kept(f"{place}").model_copy(update=changes)


def written(folder, rows, earlier, parts, **keys):
    """A mix's files; its rows are spread over two parts."""
    where = folders(folder, schemes={"evol": rows[::2], "orca": rows[1::2]})
    drawn = [Part(kind="scheme", name=name, rows=number) for name, number in parts]
    bounds = {"max_missing_share": 1.0, "max_dropped_share": 1.0}
    out = folder / "mix"
    write_mix(Mix(parts=drawn, **bounds, **keys), where, None, earlier, "s", 0, out)
    return out


MIXES = {
    "answers": st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=8, max_size=24),
    "drawn": st.tuples(st.none() | st.integers(1, 9), st.none() | st.integers(1, 9)),
    "chance": st.randoms(),
}


def made(answers, first=50):
    """Rows with some answers; six are like no other, so that a mix has rows to train on and to hold out."""
    rows = [answered(place, answer, words) for place, (answer, words) in enumerate(answers)]
    return [*rows, *(answered(place, place, 0) for place in range(first, first + 6))]


@SOME
@given(**MIXES)
def test_each_row_of_a_mix_is_an_example_or_counted_and_no_duplicate_stays(answers, drawn, chance):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = made(answers)
        parts = list(zip(("evol", "orca"), drawn, strict=True))
        try:
            out = written(folder / "a", rows, [], parts, eval_rows=2)
        except InputError:  # nothing is left to train on: both parts may be few rows of one family
            assume(False)
        found = {path.stem: lines_of(path) for path in out.glob("*.jsonl")}
        report = json.loads((out / "report.json").read_text())
        mixed = [*chance.sample(rows[::2], len(rows[::2])), *chance.sample(rows[1::2], len(rows[1::2]))]
        shuffled = [row for pair in zip(mixed[: len(rows[::2])], mixed[len(rows[::2]) :], strict=False) for row in pair]
        if len(shuffled) == len(rows):
            again = written(folder / "b", shuffled, [], parts, eval_rows=2)
            assert [files_of(again)[one] for one in SPLITS] == [files_of(out)[one] for one in SPLITS]
    examples = found["train"] + found["eval"]
    ids = [row["id"] for row in examples]
    lost = {row["row"]["id"]: row["row"] for row in found["dropped"]}
    assert len({*ids}) == len(ids) == report["train"] + report["eval"]
    assert not {*ids} & {*lost}
    assert len(ids) + len(lost) + sum(part["not_drawn"] for part in report["parts"]) == len(rows)
    texts = {row.id: (shingles(row.instruction), shingles(row.response)) for row in rows}
    for row, about in lost.items():
        assert min(map(jaccard, texts[row], texts[about["kept"]])) >= 0.8
        assert about["kept"] not in lost
    for place, one in enumerate(ids):
        assert all(min(map(jaccard, texts[one], texts[other])) < 0.8 for other in ids[:place])
    assert [row["id"] for row in found["origins"]] == ids


SPLITS = ("train.jsonl", "eval.jsonl")


@SOME
@given(answers=MIXES["answers"], later=MIXES["answers"], within=st.booleans())
def test_splits_share_no_family_and_no_cluster_also_with_earlier_mixes(answers, later, within):
    near = NearDuplicates(within_families=within)
    parts = [("evol", None), ("orca", None)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = written(folder / "a", made(answers), [], parts, eval_rows=2, near_duplicates=near)
        rows = [row.model_copy(update={"id": row_id(row.id)}) for row in made(later, 80)]
        after = written(folder / "b", rows, [before / "train.jsonl"], parts, eval_rows=2, near_duplicates=near)
        trained, held = (
            lines_of(after / "train.jsonl") + lines_of(before / "train.jsonl"),
            lines_of(after / "eval.jsonl"),
        )
        origins = lines_of(after / "origins.jsonl")
    for key in KEYS:
        assert not {row[key] for row in held} & {row[key] for row in trained}
    sides = {side: {row[CLUSTER] for row in origins if row["split"] == side} - {None} for side in ("train", "eval")}
    assert not sides["train"] & sides["eval"]
    texts = [[shingles(row["completion"][0]["content"]) for row in side] for side in (trained, held)]
    assert all(jaccard(one, other) < 0.8 for one in texts[0] for other in texts[1])
