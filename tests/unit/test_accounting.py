"""Rows in and rows out of a source: all are accounted for, and an empty or decimated one is an error."""

import re

import pytest
import reading

from bezoar.steps.data import accounting
from bezoar.steps.data.rows import DroppedRow
from bezoar.steps.data.sources import Builtin, Source

DOLLY = {"instruction": "Who?", "context": "", "response": "Ada."}


def block(format="dolly", **changes):
    origin = Builtin(kind="builtin", set="dolly", rows=1, prompts=None)
    return Source(**{"origin": origin, "format": format} | changes)


def read(rows, **changes):
    placed = [(f"mine.jsonl:{number}", row) for number, row in enumerate(rows, start=1)]
    return reading.read(iter(placed), block(**changes), 0, "mine")


def dolly(number):
    return [DOLLY | {"instruction": f"Who is number {one}?"} for one in range(number)]


def test_rows_that_are_out_or_counted_are_conserved():
    accounting.check_conserved("mix a", 10, 7, {"duplicate": 2, "not drawn": 1})


@pytest.mark.parametrize(("rows_in", "rows_out"), [(10, 6), (10, 8)])
def test_rows_that_got_lost_or_doubled_are_an_error(rows_in, rows_out):
    message = f"mix a: rows got lost\n  found:    10 in, {rows_out} out, 3 counted (2 duplicate, 1 not drawn)"
    with pytest.raises(ValueError, match=re.escape(message)):
        accounting.check_conserved("mix a", rows_in, rows_out, {"duplicate": 2, "not drawn": 1})


def test_an_error_has_reasons_by_count_with_their_first_places():
    rows = [DroppedRow(reason=reason, detail=f"f:{line}", row={}) for line, reason in enumerate("abbbab")]
    tally = accounting.Tally(rows)
    assert list(tally.first_places().items()) == [("b", "f:1, f:2, f:3"), ("a", "f:0, f:4")]
    assert (len(tally), tally.sorted()) == (6, {"a": 2, "b": 4})


def test_a_share_says_nothing_about_the_few_rows_of_a_shard():
    rows = [DroppedRow(reason="a", detail="", row={})] * 20
    accounting.check_dropped("generate evol", 19, rows[:19], 0.5, key="k", hint="h")
    with pytest.raises(ValueError, match="found:    20 of 20 rows dropped"):
        accounting.check_dropped("generate evol", 20, rows, 0.5, key="k", hint="h")


@pytest.mark.parametrize(
    ("rows", "format", "reason"),
    [
        ([{"prompt": f"Hi {n}", "chosen": "yes", "rejected": "no"} for n in range(20)], "hh_rlhf", "does not start"),
        ([{"question": f"{n}?"} for n in range(20)], "dolly", "no instruction"),
        (
            [
                {"inputs": f"{n}?", "targets": "", "task_source": "CoT", "task_name": "a", "template_type": "zsopt"}
                for n in range(20)
            ],
            "flan",
            "template_type is none of zs_opt, zs_noopt, fs_opt, fs_noopt",
        ),
    ],
)
def test_a_source_of_which_no_row_fits_is_an_error_with_reason_count_and_first_places(rows, format, reason):
    message = (
        rf"source mine: too few rows are left\n  found:    20 of 20 rows dropped\n +20 {reason}[^:]*: mine.jsonl:1, "
    )
    with pytest.raises(ValueError, match=message) as caught:
        read(rows, format=format)
    assert "mine.jsonl:3\n" in str(caught.value)
    assert f"the first rows have {', '.join(sorted(rows[0]))}" in str(caught.value)


def test_an_empty_source_is_an_error():
    with pytest.raises(ValueError, match=r"it has no rows\n  found:    nothing, or a header without rows"):
        read([])


def test_a_source_bears_a_share_of_dropped_rows():
    rows = [*dolly(7), {}, {}, {}]
    kept, dropped, report = read(rows, max_dropped_share=0.3)
    assert (len(kept), len(dropped), report["dropped"]) == (7, 3, {"no instruction": 3})
    message = (
        r"3 no instruction: mine.jsonl:8, .*\n  expected: at most a share of 0.29 \(sources.mine.max_dropped_share"
    )
    with pytest.raises(ValueError, match=message):
        read(rows, max_dropped_share=0.29)


def test_rows_that_are_not_taken_are_counted():
    kept, _, report = read(dolly(10), limit=8, sample=3)
    assert len(kept) == 3
    assert report == {
        "format": "dolly",
        "read": 8,  # no row after the eighth is read
        "rows": 3,
        "dropped": {},
        "not_taken": {"not sampled": 5},
        "replaced": {},
    }


def test_further_instances_count_as_rows_and_not_against_the_bound():
    instances = [{"input": "", "output": str(number)} for number in range(9)]
    tasks = [{"id": str(n), "instruction": f"Do {n}.", "instances": instances} for n in range(3)]
    kept, _, report = read(tasks, format="seed_tasks")
    assert (len(kept), report["read"], report["dropped"]) == (3, 27, {"further instance": 24})


def test_replaced_characters_are_in_the_report():
    _, _, report = read([DOLLY, DOLLY | {"instruction": "a\ud83d"}])
    assert report["replaced"] == {"halves of surrogate pairs, now U+FFFD": 1}
