"""Baselines of a filter: the same rules, and rows taken without a look at the verdicts."""

import json
from pathlib import Path

import pytest
import yaml
from tree import SHARDS

from bezoar.errors import BezoarError
from bezoar.recipe.load import load
from bezoar.steps.filter.baseline import Shard, write_baseline


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text().split("\n") if line]


def ids(paths):
    return [row["id"] for path in paths for row in rows_of(path)]


def test_a_baseline_keeps_what_passes_the_rules_or_as_many_of_them_as_the_judge_does(tree):
    for shard in SHARDS:
        judged, everything, drawn = (Path("data/filtered", name, shard) for name in ("evol", "evol_all", "evol_random"))
        rejected = rows_of(judged / "rejected.jsonl")
        passed = {*ids([judged / "kept.jsonl"]), *(row["row"]["id"] for row in rejected if "judge: " in row["reason"])}
        passed |= {row["row"]["id"] for row in rejected if row["reason"].startswith("failed: ")}
        broken = [row for row in rejected if row["row"]["id"] not in passed]
        assert broken
        assert len(passed) > len(rows_of(judged / "kept.jsonl")) > 2
        assert set(ids([everything / "kept.jsonl"])) == passed
        assert rows_of(everything / "rejected.jsonl") == broken
        assert set(ids([drawn / "kept.jsonl"])) < passed
        assert len(rows_of(drawn / "kept.jsonl")) == len(rows_of(judged / "kept.jsonl"))
        assert set(ids([drawn / "kept.jsonl"])) != set(ids([judged / "kept.jsonl"]))
        rest = [row for row in rows_of(drawn / "rejected.jsonl") if row["reason"] == "not drawn"]
        assert len(rest) + len(rows_of(drawn / "kept.jsonl")) == len(passed)
        assert {(row["status"], row["rating"], row["judge"]) for row in rows_of(drawn / "kept.jsonl")} == {
            ("accept", None, "")
        }


def test_a_mix_of_a_baseline_trains_on_its_rows(tree):
    assert {*ids(["data/mixes/random/train.jsonl", "data/mixes/random/eval.jsonl"])} <= {
        *ids([f"data/filtered/evol_random/{shard}/kept.jsonl" for shard in SHARDS])
    }


def test_a_draw_depends_on_the_seed_alone_and_not_on_the_judges_order(tree):
    folder = Path("data/filtered/evol/0000")
    for number, seed in enumerate((0, 0, 1)):
        if number == 1:  # the same rows in another order
            for path in folder.glob("*.jsonl"):
                path.write_text("".join(f"{json.dumps(row)}\n" for row in reversed(rows_of(path))))
        shard = Shard(folder / "kept.jsonl", folder / "rejected.jsonl")
        write_baseline("random", shard, seed, Path(f"data/drawn/{number}"))
    drawn = [set(ids([f"data/drawn/{number}/kept.jsonl"])) for number in range(3)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_filter_that_keeps_nothing_has_a_baseline_without_rows(tree):
    Path("none.jsonl").touch()
    write_baseline(
        "random", Shard(Path("none.jsonl"), Path("data/filtered/evol/0000/rejected.jsonl")), 0, Path("out/0")
    )
    assert rows_of("out/0/kept.jsonl") == []
    report = json.loads(Path("out/0/report.json").read_text())
    assert (
        report["rows"] == len(rows_of("data/filtered/evol/0000/rejected.jsonl")) == len(rows_of("out/0/rejected.jsonl"))
    )


def refusal(**filters):
    data = yaml.safe_load(Path("params.yaml").read_text())
    data["filters"] |= filters
    Path("params.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(BezoarError) as caught:
        load()
    return str(caught.value)


def test_a_baseline_is_like_a_filter_that_decides(tree):
    found = refusal(evol_all={"method": "accept_all", "like": "evol_random"})
    assert "filters.evol_all.like: no filter that judges\n  found:    evol_random\n  expected: evol" in found


def test_a_scheme_needs_a_filter_that_decides(tree):
    found = refusal(evol={"method": "random", "like": "evol_all"})
    assert "a scheme has no filter\n  found:    none for evol" in found


def test_a_filter_that_decides_has_a_schemes_name(tree):
    assert "filters.other: a filter has its scheme's name" in refusal(other={"judge": None})
