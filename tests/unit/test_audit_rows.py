"""Every row is accounted for: malformed ones are dropped by reason, and `bezoar rows` counts and shows them."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from tree import FAULTS, SEEDS, certify

from bezoar.audit.chain import all_steps, chain, left_out, target_of
from bezoar.audit.export import cell
from bezoar.audit.waterfall import gaps, table, waterfall
from bezoar.cli import main
from bezoar.recipe.load import load
from bezoar.steps.data.accounting import Ledger

DROPPED = Counter(reason for _, reason in FAULTS.values() if reason)


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text().split("\n") if line]


def steps_of(name):
    recipe = load()
    section, block, _ = target_of(name, recipe)
    return chain(section, block, recipe)


def ids(paths):
    return [row["id"] for path in paths for row in rows_of(path)]


def test_every_malformed_line_is_dropped_by_its_reason_and_every_other_one_is_kept(tree):
    (line,) = waterfall(steps_of("mine"))
    kept = SEEDS + len(FAULTS) - DROPPED.total()
    assert line.ledger == Ledger(read=SEEDS + len(FAULTS), kept=kept, reasons=dict(DROPPED))
    assert len(rows_of("data/source/mine/rows.jsonl")) == kept
    dropped = rows_of("data/source/mine/dropped.jsonl")
    lines = Path("mine.jsonl").read_bytes().split(b"\n")
    for row in dropped:  # each names the line that it was
        file, _, number = row["detail"].partition(":")
        content = lines[int(number) - 1]
        assert file == "mine.jsonl"
        assert row["reason"] in [reason for fault, reason in FAULTS.values() if fault == content]


def test_a_file_without_any_row_in_json_is_an_error_that_says_so(tree, capsys):
    Path("mine.jsonl").write_text("instruction,response\na,b\n")
    Path("params.yaml").write_text(Path("params.yaml").read_text().replace("mine.jsonl, format: dolly", "mine.jsonl"))
    assert main(["recipe", "check"]) == 1
    assert "no columns; not JSON: 'instruction,response'" in capsys.readouterr().err


def test_no_row_is_lost_between_two_steps(tree):
    lines = waterfall(all_steps(load()))
    assert gaps(lines) == []
    by_name = {(line.kind, line.name): line.ledger for line in lines}
    assert by_name["filter", "evol"].read == by_name["generate", "evol"].kept > 20
    assert by_name["part (scheme)", "evol"].read == by_name["filter", "evol"].kept
    assert by_name["mix", "all"].kept == sum(
        len(rows_of(f"data/mixes/all/{split}.jsonl")) for split in ("train", "eval")
    )
    for line, step in [(line, step) for line in lines for step in all_steps(load()) if _same(line, step)]:
        counted = Counter(one.dropped.reason for one in left_out([step]))
        assert line.kind == "source" or counted == line.ledger.reasons  # a source keeps no rows that weren't sampled


def _same(line, step):
    return (line.kind, line.name) == (step.kind, step.name) and line.ledger and line.kind != "mix"


def test_the_table_has_every_step_and_no_wide_line(tree, capsys):
    assert main(["rows", "all"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    heads = [line.split("  ")[0] for line in shown.splitlines() if not line.startswith(" ")]
    expected = ["step", "source mine", "generate evol", "filter evol", "source more", "part (scheme) evol"]
    assert heads == [*expected, "part (source) more", "mix all", "certificate all"]
    assert "certificate all                                                   not built here" in shown
    assert main(["rows", "all", "--json"]) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert [step["read"] - step["kept"] - sum(step["reasons"].values()) for step in steps[:-1]] == [0] * 7


def test_a_certificates_drops_are_counted_against_the_mix(tree):
    row = next(row for row in rows_of("data/mixes/all/train.jsonl") if len(row["prompt"][0]["content"].split()) > 13)
    item = {"eval": "quiz", "task": "rivers", "id": "7", "texts": {"question": [row["prompt"][0]["content"]]}}
    Path("targets.jsonl").write_text(json.dumps(item) + "\n")
    certify("all", "targets.jsonl")
    lines = waterfall(steps_of("all"))
    hits = sum(json.loads(Path("data/certificates/all.json").read_text())["matching_rows"].values())
    assert lines[-1].ledger.reasons == {"evaluation item": hits}
    assert lines[-1].ledger.kept == lines[-2].ledger.kept - hits > 0
    assert gaps(lines) == []
    gone = {one.dropped.row["id"]: one for one in left_out(steps_of("all"), "evaluation item")}
    assert len(gone) == hits
    assert gone[row["id"]].step.kind == "certificate"
    assert gone[row["id"]].dropped.detail.startswith("quiz rivers 7, question: whole")
    train = Path("data/certified/all/train.jsonl")
    train.write_text("".join(f"{json.dumps(row)}\n" for row in rows_of(train)[1:]))
    (note,) = gaps(waterfall(steps_of("all")))
    assert note.startswith("certificate all read ")
    assert note.endswith("build again")


def test_a_step_whose_shards_are_partly_here_says_so(tree):
    import shutil

    shutil.rmtree("data/filtered/evol/0001")
    line = waterfall(steps_of("filters.evol"))[-1]
    assert line.missing == (Path("data/filtered/evol/0001"),)
    assert "1  shards are not here, such as data/filtered/evol/0001" in table([line])


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("[", "report.json: not JSON"),
        ("[]", "report.json: not a step's report"),
        ("{}", "report.json: not the report of a source\n  found:    no 'dropped'"),
        (
            '{"read": 3, "rows": 2, "dropped": {}, "not_taken": {}}',
            "report.json: rows got lost\n  found:    3 in, 2 out",
        ),
        ('{"read": 3, "rows": 2, "dropped": {"a": 2}, "not_taken": {"b": -1}}', "report.json: not the report of a"),
        ('{"read": "3", "rows": 3, "dropped": {}, "not_taken": {}}', "report.json: not the report of a source"),
        ('{"read": 3, "rows": 3, "dropped": [], "not_taken": {}}', "report.json: not the report of a source"),
    ],
)
def test_a_report_that_is_none_is_an_error_with_its_file(tree, report, message):
    Path("data/source/mine/report.json").write_text(report)
    with pytest.raises(ValueError, match=r"^data/source/mine/") as caught:
        waterfall(steps_of("mine"))
    assert message in str(caught.value)


def test_rows_of_a_reason_are_shown_with_their_places_and_safe_for_a_terminal(tree, capsys):
    path = Path("data/source/mine/dropped.jsonl")
    hostile = {"reason": "empty", "detail": "a\x1b[2J\u202e.jsonl:1", "row": {"instruction": "\x9b31m\n" + "x" * 200}}
    path.write_text(path.read_text() + json.dumps(hostile) + "\n")
    number = len(rows_of(path))
    assert main(["rows", "mine", "--reason", "empty"]) == 0
    shown = capsys.readouterr().out
    assert f"{path}:{number}: empty: a\\x1b[2J\\u202e.jsonl:1\n" in shown
    assert not [letter for letter in shown if letter != "\n" and not letter.isprintable()]
    assert main(["rows", "mine", "--reason", "empty", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert records[-1]["row"] == hostile["row"]
    assert records[-1]["place"] == f"{path}:{number}"


def test_a_secret_of_a_row_is_not_shown(tree, capsys):
    secret = "ghp_" + "Ab1Cd2Ef3G" * 3 + "Hi4Jk5"
    path = Path("data/source/mine/dropped.jsonl")
    row = {"reason": "no text", "detail": f"a {secret}", "row": {"a": f"\n{secret}"}}
    path.write_text(path.read_text() + json.dumps(row) + "\n")
    for flags in ([], ["--json"]):
        assert main(["rows", "mine", "--reason", "no text", *flags]) == 0
        shown = capsys.readouterr().out
        assert shown.count("[secret]") == 2
        assert secret[:10] not in shown


def test_the_part_of_a_reason_before_its_colon_takes_all_of_it(tree, capsys):
    assert main(["rows", "schemes.evol", "--reason", "judge", "--json"]) == 0
    reasons = {json.loads(line)["reason"] for line in capsys.readouterr().out.splitlines()}
    assert len(reasons) > 1
    assert all(reason.startswith("judge: ") for reason in reasons)


def test_kept_rows_are_those_of_the_last_step_that_is_built(tree, capsys):
    assert main(["rows", "schemes.evol", "--kept", "--json"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    files = [Path(f"data/filtered/evol/{shard}/kept.jsonl") for shard in ("0000", "0001")]
    assert [row["id"] for row in shown] == ids(files)
    assert {(row["step"], row["reason"]) for row in shown} == {("filter", "kept")}
    assert main(["rows", "all", "--kept"]) == 0  # whose certificate isn't built
    lines = capsys.readouterr().out.splitlines()
    places = [line.partition(": kept")[0] for line in lines if not line.startswith(" ")]
    assert {place.rpartition(":")[0] for place in places} == {
        f"data/mixes/all/{one}.jsonl" for one in ("train", "eval")
    }
    assert len(places) == len(ids([Path("data/mixes/all/train.jsonl"), Path("data/mixes/all/eval.jsonl")]))
    assert main(["rows", "all", "--kept", "--export", "kept.csv"]) == 0
    assert capsys.readouterr().out == f"kept.csv: {len(places):,} rows\n"


def test_rows_are_shown_by_their_texts_and_a_cut_is_marked(tree, capsys):
    assert main(["rows", "schemes.evol", "--kept"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("    ")
    assert "instruction: " in lines[1]
    assert max(map(len, lines[1::2])) == 80
    assert all(line.endswith("\u2026") for line in lines[1::2] if len(line) == 80)


def test_a_repeated_row_says_which_row_it_repeats(tree, capsys):
    assert main(["rows", "sources.mine", "--reason", "duplicate"]) == 0
    head, texts = capsys.readouterr().out.splitlines()
    [place] = re.findall(r" \(repeats (\S+):\d+\)$", head)
    assert place == "data/source/mine/rows.jsonl"
    row = rows_of(place)[int(head.rpartition(":")[2].rstrip(")")) - 1]
    assert texts.startswith(f"    instruction: {row['instruction'][:20]}")


def test_a_row_that_a_mix_left_out_is_shown_with_its_texts_and_those_of_the_row_that_stays(tree, capsys):
    path = Path("data/mixes/all/dropped.jsonl")
    one, other = rows_of("data/filtered/evol/0000/kept.jsonl")[:2]
    row = {"id": one["id"], "part": "evol", "kept": other["id"], "similarity": 0.9, "cluster": "c"}
    path.write_text(json.dumps({"reason": "near-duplicate", "detail": "here is near there", "row": row}) + "\n")
    assert main(["rows", "all", "--reason", "near-duplicate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}:1: near-duplicate: here is near there"
    assert f"instruction: {one['instruction']}"[:50] in lines[1]
    assert lines[2].startswith("    stays: ")
    assert f"instruction: {other['instruction']}"[:50] in lines[2]
    assert max(map(len, lines)) <= 80


def test_kept_rows_that_are_not_here_are_an_error(tree, capsys):
    import shutil

    shutil.rmtree("data/source/more")
    assert main(["rows", "sources.more", "--kept"]) == 1
    assert "source more: no kept row is here" in capsys.readouterr().err


def test_an_unknown_reason_is_an_error_with_the_known_ones(tree, capsys):
    assert main(["rows", "mine", "--reason", "nothing"]) == 1
    assert "found:    nothing\n  expected: duplicate; empty; " in capsys.readouterr().err


def test_a_reason_that_is_only_counted_says_so(tree, capsys):
    assert main(["rows", "more", "--reason", "not sampled"]) == 1
    assert "rows that a step didn't need are counted, but not kept" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_rows_are_exported_whole(tree, suffix):
    from pyarrow import parquet

    assert main(["rows", "all", "--export", f"rows{suffix}"]) == 0
    expected = list(left_out(steps_of("all")))
    if suffix == ".jsonl":
        found = rows_of("rows.jsonl")
    elif suffix == ".csv":
        with open("rows.csv", encoding="utf-8-sig", newline="") as file:
            found = [row | {"row": json.loads(row["row"])} for row in csv.DictReader(file)]
    else:
        found = [row | {"row": json.loads(row["row"])} for row in parquet.read_table("rows.parquet").to_pylist()]
    assert [(row["place"], row["reason"], row["row"]) for row in found] == [
        (one.place, one.dropped.reason, one.dropped.row) for one in expected
    ]
    assert len(found) > 30


def test_an_export_to_another_kind_of_file_is_refused(tree, capsys):
    assert main(["rows", "all", "--export", "params.yaml"]) == 1
    assert "expected: a file with suffix .jsonl, .csv, .parquet" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_never_starts_a_formula(text):
    assert not cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_name_of_two_blocks_is_the_mix_and_says_what_else_there_is(tree, capsys):
    text = Path("params.yaml").read_text().replace("  all: {parts", "  evol: {parts")
    Path("params.yaml").write_text(text)
    assert target_of("evol", load()) == ("mixes", "evol", ["filters.evol"])
    assert target_of("schemes.evol", load()) == ("filters", "evol", [])
    assert target_of("filters.evol_all", load()) == ("filters", "evol_all", [])


def test_an_unknown_name_is_an_error(tree, capsys):
    assert main(["rows", "nothing"]) == 1
    expected = (
        "no mix, selection, scheme or source of this name\n  found:    nothing\n  expected: all, random, evol, evol_all"
    )
    assert expected in capsys.readouterr().err
