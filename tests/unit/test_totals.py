"""What a recipe asks for is dealt exactly, whatever the number of shards; a new seed row changes few of them."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from mains import script

from bezoar.recipe.recipe import Recipe
from bezoar.steps.data.rows import SeedRow, read_rows, row_id, write_rows
from bezoar.steps.generate.lamini import ListingCall

ROOT = Path(__file__).parents[2]
SHARES = {"CoT": 0.0295, "NIv2": 0.0864, "Flan2021": 0.4912, "P3": 0.3929}  # Orca's paper
COUNTS = {"CoT": 163, "NIv2": 477, "Flan2021": 2711, "P3": 2169}  # of 5,520
MANY = pytest.mark.parametrize("shards", [1, 2, 64, 400])


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("topics.txt").write_text("art\nbees\nchess\ndance\n")


def seeds(count):
    """Seed rows of LaMini."""
    empty = dict.fromkeys(("context", "response", "category"))
    return [SeedRow(id=row_id(f"seed {number}"), instruction=f"Seed {number}.", **empty) for number in range(count)]


def queries(count):
    """Queries of each collection, of which every fourth is of another template."""
    return [
        SeedRow(
            id=row_id(name, str(number)),
            instruction=f"{name} {number}",
            context=None,
            response="target",
            category=None,
            task_source=name,
            task_name=f"{name} task {number % 7}",
            template_type="fs_opt" if number % 4 == 0 else "zs_opt",
        )
        for name in SHARES
        for number in range(count)
    ]


def dealt(method, rows, shards, kind, **changes):
    """What each shard got, and the report."""
    out = Path(f"{len(list(Path().iterdir()))}-{method}")
    recipe = Recipe.model_validate(yaml.safe_load((ROOT / "recipes" / "tiny.yaml").read_text())).resolved()
    recipe["shards"] = shards
    recipe["schemes"][method] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(recipe))
    write_rows("rows.jsonl", rows)
    keys = [key for key in Recipe.model_validate(recipe).schemes[method].deals if key in recipe["schemes"][method]]
    names = [*(f"schemes.{method}.{key}" for key in keys), *(["seed"] if keys else []), "shards"]
    topics = ["--topics", "topics.txt"] if method == "lamini" else []
    script(f"shard/{method}").main(["--params", *names, "--rows", "rows.jsonl", *topics, "--out", str(out)])
    files = sorted(out.glob("*.jsonl"))
    assert [path.name for path in files] == [f"{shard:04d}.jsonl" for shard in range(shards)]
    return [list(read_rows(path, kind)) for path in files], json.loads((out / "report.json").read_text())


def changed(before, after):
    return sum(one != two for one, two in zip(before, after, strict=True))


@MANY
def test_lamini_makes_all_of_its_calls(shards):
    found, report = dealt("lamini", seeds(175), shards, ListingCall, calls=150, topic_share=0.4)
    assert sorted(call.number for calls in found for call in calls) == list(range(150))
    assert sum(bool(call.topics) for calls in found for call in calls) == 60
    assert all(len(call.examples) > 1 for calls in found for call in calls)
    assert report == {"rows": 150, "unused": {}}


@MANY
def test_orca_draws_each_collections_share(shards):
    rows = queries(4000)
    found, report = dealt("orca", rows, shards, SeedRow, candidates=5520, shares=SHARES, templates=["zs_opt"])
    drawn = [row for some in found for row in some]
    assert Counter(row.task_source for row in drawn) == COUNTS
    assert row_id(*sorted(row.id for row in drawn)) == "56afc88d78dc5a45"  # the same rows for each number of shards
    assert report == {"rows": 5520, "unused": {"template not wanted": 4000, "beyond its share": 16_000 - 9520}}


@MANY
def test_evol_deals_every_row_once(shards):
    found, report = dealt("evol", seeds(600), shards, SeedRow)
    assert sorted(row.id for some in found for row in some) == sorted(row.id for row in seeds(600))
    assert report == {"rows": 600, "unused": {}}


def test_a_new_seed_row_changes_few_shards():
    new = SeedRow.model_validate(seeds(1)[0].model_dump() | {"id": row_id("new"), "instruction": "New."})
    before, after = (dealt("lamini", rows, 64, ListingCall, calls=512)[0] for rows in (seeds(175), [*seeds(175), new]))
    hit = sum(any(new.id in [row.id for row in call.examples] for call in calls) for calls in after)
    assert 0 < changed(before, after) == hit < 24
    before, after = (dealt("evol", rows, 64, SeedRow)[0] for rows in (seeds(175), [*seeds(175), new]))
    assert changed(before, after) == 1
    values = {"candidates": 400, "shares": SHARES, "templates": ["zs_opt"]}
    for number in range(5):
        more = [*queries(300), queries(301 + number)[300 + number]]
        before, after = (dealt("orca", rows, 64, SeedRow, **values)[0] for rows in (queries(300), more))
        assert changed(before, after) <= 2
