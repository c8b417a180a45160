"""Labels by people: a sample that leads nobody, read back as spreadsheets save it, and figures of all rows."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from bezoar.audit import agreement
from bezoar.audit.agreement import Cells, figures
from bezoar.audit.chain import chain
from bezoar.audit.labels import between, with_filter
from bezoar.audit.sample import KEPT, Labels, beside, draw, read_sample, read_sheet, shares, write_sheet
from bezoar.cli import main
from bezoar.recipe.load import load

SHEET = Path("labels/evol.csv")


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text().split("\n") if line]


def cells_of(path, encoding="utf-8-sig"):
    with path.open(encoding=encoding, newline="") as file:
        return list(csv.DictReader(file))


def fill(path, verdict_of, **dialect):
    """Fill in a sheet as a spreadsheet would save it."""
    rows = cells_of(SHEET)
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], **dialect)
    writer.writeheader()
    writer.writerows(row | {"verdict": verdict_of(row["row"].removeprefix("id:"))} for row in rows)
    path.write_bytes(text.getvalue().encode("utf-8-sig"))


def verdicts_of_the_filter():
    kept = [row["id"] for path in Path("data/filtered/evol").glob("*/kept.jsonl") for row in rows_of(path)]
    return lambda name: "accept" if name in kept else "reject"


@pytest.fixture
def sheet(tree):
    assert main(["label", "evol", "--rows", "20"]) == 0
    return SHEET


def read(capsys, *words):
    capsys.readouterr()
    assert main(["label", "evol", "--read", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_sheet_shows_texts_alone_in_an_order_that_tells_nothing(sheet):
    rows, decided = cells_of(sheet), verdicts_of_the_filter()
    sample = read_sample(beside(sheet), "evol")
    assert list(rows[0]) == ["row", "system", "instruction", "response", "verdict", "note"]
    assert {row["verdict"] for row in rows} == {""}
    drawn = [decided(row["row"].removeprefix("id:")) for row in rows]
    assert drawn.count("accept") == 10
    assert drawn != sorted(drawn) != sorted(drawn, reverse=True)
    assert sorted(name for one in sample.strata for name in one.sampled) == sorted(row["row"][3:] for row in rows)
    assert sum(one.rows for one in sample.strata) == sum(
        len(rows_of(path)) for path in Path("data/filtered/evol").glob("*/*.jsonl")
    )


def test_the_same_seed_draws_the_same_rows_and_a_larger_sample_contains_a_smaller_one(tree):
    step = chain("filters", "evol", load())[-1]
    draws = [draw(step, rows, seed)[0] for rows, seed in ((12, 0), (12, 0), (12, 1), (30, 0))]
    first, again, other, more = draws
    assert first == again != other
    assert {*first.stratum_of()} < {*more.stratum_of()}


def test_nobodys_labels_are_replaced(sheet, capsys):
    assert main(["label", "evol"]) == 1
    assert "labels/evol.csv would be replaced" in capsys.readouterr().err


@pytest.mark.parametrize(
    "dialect", [{}, {"delimiter": ";"}, {"delimiter": "\t"}, {"quoting": csv.QUOTE_ALL, "lineterminator": "\n"}]
)
def test_labels_that_are_the_filters_agree_with_it(sheet, capsys, dialect):
    fill(sheet, verdicts_of_the_filter(), **dialect)
    (found,) = read(capsys, sheet)["people"]
    assert found["table"]["kept"]["reject"] == found["table"]["rejected"]["accept"] == 0
    for name in ("agreement", "kappa", "ac1", "precision", "recall"):
        assert found["figures"][name]["value"] == pytest.approx(1)
        assert 0.3 < found["figures"][name]["low"] < 1  # a few labels don't prove that there is no error


def test_the_text_has_the_figures_and_fits_a_terminal(sheet, capsys):
    fill(sheet, verdicts_of_the_filter())
    assert main(["label", "evol", "--read", str(sheet)]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "Cohen's kappa" in shown
    assert "judge: " in shown


def test_unsure_and_empty_rows_are_counted_and_left_out(sheet, capsys):
    names = [row["row"].removeprefix("id:") for row in cells_of(sheet)]
    fill(sheet, lambda name: {names[0]: "Unsure", names[1]: " "}.get(name, "ACCEPT "))
    (found,) = read(capsys, sheet)["people"]
    assert (found["unsure"], found["empty"]) == (1, 1)
    assert sum(one["accept"] + one["reject"] for one in found["strata"]) == len(names) - 2


def test_two_people_are_compared_with_the_filter_and_with_each_other(sheet, capsys):
    decided, other = verdicts_of_the_filter(), Path("labels/other.csv")
    fill(other, lambda name: "accept" if int(name, 16) % 3 else decided(name))
    fill(sheet, decided)
    found = read(capsys, sheet, other)
    assert [Path(one["sheet"]).name for one in found["people"]] == ["evol.csv", "other.csv"]
    (pair,) = found["pairs"]
    assert sum(pair["table"]) == pair["both"] == len(cells_of(sheet))
    assert pair["table"][1] == 0  # nothing that the first alone accepts
    assert pair["figures"].keys() == {"agreement", "kappa", "ac1"}
    assert found["people"][1]["figures"]["kappa"]["value"] < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("id:", "id:f", 1), ":2: row f"),
        (lambda text: text + text.split("\r\n")[-2] + "\r\n", "twice in the sheet"),
        (lambda text: text.replace(",,\r\n", ",maybe,\r\n", 1), "verdict 'maybe'"),
        (lambda text: text.replace("row,", "number,", 1), "row without an id: not in the sample"),
        (lambda text: text.replace(",,\r\n", ",\r\n", 1), "not as many columns as the header line has"),
        (lambda text: text, "no labels"),
    ],
)
def test_a_sheet_that_does_not_fit_is_an_error_with_the_line(sheet, capsys, change, message):
    text = sheet.read_bytes().decode("utf-8-sig")
    sheet.write_bytes(change(text).encode())
    assert main(["label", "evol", "--read", str(sheet)]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("labels/evol.csv")
    assert message in shown


def test_a_sheet_of_another_filter_or_without_its_sample_is_an_error(sheet, capsys):
    assert main(["label", "evol_all", "--read", str(sheet)]) == 1
    assert "of another filter\n  found:    evol\n  expected: evol_all" in capsys.readouterr().err
    assert main(["label", "evol", "--read", str(sheet), "--sample", "other.sample.json"]) == 1  # not the one beside it
    assert "other.sample.json: no such file" in capsys.readouterr().err
    beside(sheet).write_text("{}")
    assert main(["label", "evol", "--read", str(sheet)]) == 1
    assert "labels/evol.sample.json: not a sample\n  found:    filter" in capsys.readouterr().err
    beside(sheet).unlink()
    assert main(["label", "evol", "--read", str(sheet)]) == 1
    assert "labels/evol.sample.json: no such file" in capsys.readouterr().err


def test_a_filter_that_changed_since_is_noted(sheet, capsys):
    fill(sheet, verdicts_of_the_filter())
    assert read(capsys, sheet)["changed"] == 0
    sampled = {*read_sample(beside(sheet), "evol").stratum_of()}
    path = Path("data/filtered/evol/0000/kept.jsonl")
    gone = [row for row in rows_of(path) if row["id"] in sampled]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows_of(path) if row not in gone))
    assert read(capsys, sheet)["changed"] == len(gone) > 0


def test_a_row_that_two_shards_have_is_drawn_once(tree):
    first, second = (Path("data/filtered/evol") / shard / "kept.jsonl" for shard in ("0000", "0001"))
    second.write_text(second.read_text() + first.read_text())
    sample, texts = draw(chain("filters", "evol", load())[-1], 1000, 0)
    drawn = [name for one in sample.strata for name in one.sampled]
    assert len(drawn) == len(set(drawn)) == len(texts) == sum(one.rows for one in sample.strata)


def test_a_cell_runs_no_formula_and_fits_a_spreadsheet(tree):
    path = Path("data/filtered/evol/0000/kept.jsonl")
    hostile = {"instruction": '=HYPERLINK("http://x","y")\n"quoted", \x1b[2J', "response": "-1+" + "x" * 40_000}
    row = rows_of(path)[0] | hostile
    path.write_text(json.dumps(row) + "\n")
    step = chain("filters", "evol", load())[-1]
    sample, texts = draw(step, 1000, 0)
    write_sheet(sample, texts, SHEET)
    shown = next(one for one in cells_of(SHEET) if one["row"] == f"id:{row['id']}")
    assert shown["instruction"] == '\'=HYPERLINK("http://x","y")\n"quoted", \\x1b[2J'
    assert shown["response"].startswith("'-1+xxx")
    assert 32_000 < len(shown["response"]) < 32_767
    fill(SHEET, lambda name: "accept")
    assert len(read_sheet(SHEET, sample).verdicts) == len(texts)


def test_a_sheet_has_no_secret(tree):
    secret = "ghp_" + "Ab1Cd2Ef3G" * 3 + "Hi4Jk5"
    path = Path("data/filtered/evol/0000/kept.jsonl")
    path.write_text(json.dumps(rows_of(path)[0] | {"response": f"Take\n{secret}"}) + "\n")
    write_sheet(*draw(chain("filters", "evol", load())[-1], 1000, 0), SHEET)
    assert "Take\n[secret]" in [one["response"] for one in cells_of(SHEET)]
    assert secret[:10] not in SHEET.read_text()


@pytest.mark.parametrize(
    ("sizes", "rows", "kept", "others"),
    [
        ({KEPT: 900, "a": 90, "b": 10}, 100, 50, {"a": 45, "b": 5}),
        ({KEPT: 900, "a": 99, "b": 1}, 100, 50, {"a": 49, "b": 1}),
        ({KEPT: 10, "a": 90}, 100, 10, {"a": 90}),
        ({KEPT: 900, "a": 10}, 100, 90, {"a": 10}),
        ({KEPT: 5, "a": 5}, 100, 5, {"a": 5}),
        ({KEPT: 900, "a": 1000, "b": 10, "c": 2}, 10, 5, {"a": 2, "b": 2, "c": 2}),
    ],
)
def test_half_of_a_sample_is_rejected_rows_and_every_reason_has_some(sizes, rows, kept, others):
    assert shares(sizes, rows) == {KEPT: kept, **others}


def test_figures_are_those_of_all_rows_and_not_of_the_sample():
    # kept: 900 rows, 9 of 10 accepted; rejected: 100 rows, 4 of 10 accepted
    found = figures([Cells(900, (9, 1, 0, 0), (0, 1)), Cells(100, (0, 0, 4, 6), (2, 3))], 0)
    both, first, second, none = 0.81, 0.09, 0.04, 0.06
    chance = 0.9 * 0.85 + 0.1 * 0.15
    middle = (0.9 + 0.85) / 2
    expected = {
        "agreement": both + none,
        "kappa": (both + none - chance) / (1 - chance),
        "ac1": (both + none - 2 * middle * (1 - middle)) / (1 - 2 * middle * (1 - middle)),
        "precision": both / (both + first),
        "recall": both / (both + second),
    }
    assert {name: one.value for name, one in found.items()} == pytest.approx(expected)
    assert all(one.low < one.value < one.high for one in found.values())


def test_figures_agree_with_published_ones():
    # the paradox of kappa in Gwet 2008: of 125 rows both accept 118, one alone 5 and 2, none is rejected by both
    table = np.array([118, 5, 2, 0]) / 125
    assert float(agreement.kappa(table)) == pytest.approx(-0.0234, abs=5e-4)
    assert float(agreement.ac1(table)) == pytest.approx(0.9407, abs=5e-4)
    # Cohen's kappa of 20, 5, 10, 15 is 0.4
    assert float(agreement.kappa(np.array([20, 5, 10, 15]) / 50)) == pytest.approx(0.4)


def test_a_figure_that_is_not_defined_has_no_value():
    found = figures([Cells(10, (0, 0, 0, 10))], 0)
    assert (found["recall"].value, found["kappa"].value) == (None, None)
    assert found["agreement"].value == 1


def test_a_stratum_without_labels_counts_with_those_of_its_verdict():
    strata = [Cells(900, (9, 1, 0, 0), (0, 1)), Cells(50, (0, 0, 4, 6), (2, 3)), Cells(50, (0, 0, 0, 0), (2, 3))]
    assert figures(strata, 0)["recall"].value == pytest.approx(0.81 / 0.85)
    with pytest.raises(ValueError, match="no labels of rows with one of the verdicts"):
        figures([strata[0], strata[2]], 0)


@pytest.mark.parametrize(
    ("sizes", "rates", "labelled"),
    [
        ((800, 100, 60, 40), (0.9, 0.2, 0.1, 0.3), (50, 25, 15, 10)),
        ((8000, 1000, 600, 400), (0.99, 0.02, 0.01, 0.03), (50, 25, 15, 10)),
        ((8000, 300, 200, 100, 50, 20, 10, 5, 2), (0.95, *[0.1] * 8), (50, 20, 12, 6, 4, 3, 2, 2, 2)),
        ((300, 700), (0.8, 0.3), (50, 50)),
    ],
)
def test_intervals_contain_the_truth_about_as_often_as_they_say(monkeypatch, sizes, rates, labelled):
    monkeypatch.setattr(agreement, "DRAWS", 1000)
    generator, tables = np.random.default_rng(0), 200
    hits = dict.fromkeys(agreement.FIGURES, 0)
    for number in range(tables):
        true, strata = np.zeros(4), []
        for place, (size, rate, count) in enumerate(zip(sizes, rates, labelled, strict=True)):
            accepted = generator.random(size) < rate
            drawn = accepted[generator.permutation(size)[:count]]
            side = 2 * (place > 0)
            true[side : side + 2] += np.array([accepted.sum(), size - accepted.sum()]) / sum(sizes)
            counts = [0, 0, 0, 0]
            counts[side : side + 2] = int(drawn.sum()), int(count - drawn.sum())
            strata.append(Cells(size, tuple(counts), (side, side + 1)))
        for name, one in figures(strata, number).items():
            value = float(agreement.FIGURES[name](true))
            hits[name] += one.low - 1e-9 <= value <= one.high + 1e-9
    # 200 tables: a true coverage of 0.95 gives 0.9 or less in 1 of 500
    assert min(hits.values()) / tables >= 0.88


def test_labels_of_one_verdict_alone_are_an_error(sheet):
    sample = read_sample(beside(sheet), "evol")
    names = [name for one in sample.strata if one.kept for name in one.sampled]
    with pytest.raises(ValueError, match="too few labels"):
        with_filter(Labels(sheet, dict.fromkeys(names, True)), sample)
    with pytest.raises(ValueError, match="too few labels"):
        between(Labels(sheet, {names[0]: True}), Labels(sheet, {names[1]: True}), sample)


def test_paths_are_those_of_the_folder_that_one_is_in(sheet, monkeypatch, capsys):
    fill(sheet, verdicts_of_the_filter())
    Path("Snakefile").touch()
    monkeypatch.chdir("labels")
    assert main(["label", "evol", "--read", "evol.csv"]) == 0
    assert "labels/evol.csv: " in capsys.readouterr().out
