"""A filter's quota: met exactly over all shards, whatever their number, by as few verdicts as possible."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from mains import script
from test_filter import ROOT, TEXTS, USER, Choosy, Moody, ParrotJudge, apples, block, made

from bezoar.recipe.recipe import Recipe
from bezoar.steps.backends.verifier import VerifierBackend
from bezoar.steps.data.rows import DroppedRow, FilteredRow, rank, read_rows, write_rows
from bezoar.steps.data.shard import shard_of
from bezoar.steps.filter.quota import write_up_to_quota


def filled(folder, rows, quota, judge=None, shards=2, at_once=None, **changes):
    """Kept and rejected rows of each shard, and its report."""
    files = [folder / f"{shard:04d}" / "rows.jsonl" for shard in range(shards)]
    for shard, path in enumerate(files):
        write_rows(path, [row for row in rows if shard_of(row.id, shards) == shard])
    out = folder / "filtered"
    values = block(quota=quota, **changes | ({} if judge else {"judge": None, "prompts": None}))
    write_up_to_quota(files, judge, values, TEXTS if judge else None, 0, at_once, out)
    return [
        (
            list(read_rows(one / "kept.jsonl", FilteredRow)),
            list(read_rows(one / "rejected.jsonl", DroppedRow)),
            json.loads((one / "report.json").read_text()),
        )
        for one in sorted(out.iterdir())
    ]


def reasons(found):
    return Counter(row.reason for _, rejected, _ in found for row in rejected)


def kept_of(found):
    return {row.id for kept, _, _ in found for row in kept}


def good(row):
    return int(row.response.split()[1]) % 3 == 0


@pytest.mark.parametrize("shards", [1, 2, 64, 400])
def test_a_quota_is_met_exactly_by_the_same_rows_whatever_the_number_of_shards(shards, tmp_path):
    rows, judge = apples(300), Choosy()
    found = filled(tmp_path, rows, 80, judge, shards)
    ordered = sorted(rows, key=lambda row: rank(0, row.id))
    first = [row.id for row in ordered if good(row)][:80]
    assert kept_of(found) == set(first)
    assert sum(len(kept) for kept, _, _ in found) == 80
    last = next(place for place, row in enumerate(ordered) if row.id == first[-1])
    assert len(judge.requests) == last + 1  # no row is judged in vain
    assert reasons(found) == {"judge: status": last + 1 - 80, "over quota": 300 - last - 1}
    for kept, rejected, report in found:
        assert (report["rows"], report["kept"]) == (len(kept) + len(rejected), len(kept))


def test_a_shard_with_few_good_rows_is_made_up_for_by_another(tmp_path):
    rows = [row for row in apples(400) if good(row) == (shard_of(row.id, 2) == 0)]
    found = filled(tmp_path, rows, 40, Choosy())
    assert [len(kept) for kept, _, _ in found] == [40, 0]


@pytest.mark.parametrize("at_once", [1, 5, None])
def test_each_round_judges_no_more_rows_than_are_still_wanted(at_once, tmp_path):
    judge = Choosy()
    kept = 0
    assert len(kept_of(filled(tmp_path, apples(60), 15, judge, at_once=at_once))) == 15
    requests = iter(judge.requests)
    for size in judge.rounds:
        assert size <= min(15 - kept, at_once or 15)
        kept += sum(int(next(requests).subject.response.split()[1]) % 3 == 0 for _ in range(size))


def test_without_a_judge_the_first_rows_that_pass_the_rules_are_kept(tmp_path):
    rows = [*apples(20), made(response=""), made(response="as an AI")]
    found = filled(tmp_path, rows, 12)
    assert kept_of(found) == {row.id for row in sorted(apples(20), key=lambda row: rank(0, row.id))[:12]}
    assert reasons(found) == {"empty response": 1, "refusal": 1, "over quota": 8}


def test_a_row_that_two_shards_have_counts_once(tmp_path):
    rows = apples(6)
    twice = rows[0].model_copy(update={"response": "Another apple."})  # of the same instruction, and so the same id
    for shard, some in enumerate([rows, [twice, rows[1]]]):
        write_rows(tmp_path / f"{shard:04d}" / "rows.jsonl", some)
    files = [tmp_path / f"{shard:04d}" / "rows.jsonl" for shard in range(2)]
    values = block(judge=None, prompts=None, quota=6)
    write_up_to_quota(files, None, values, None, 0, None, tmp_path / "out")
    assert [row.reason for row in read_rows(tmp_path / "out" / "0001" / "rejected.jsonl", DroppedRow)] == [
        "duplicate"
    ] * 2


@pytest.mark.parametrize("quota", [11, 12, 31])
def test_a_quota_that_too_few_rows_meet_is_an_error(quota, tmp_path):
    message = (
        "too few rows are accepted\n  found:    10 of 30 that pass the cheap rules, in all shards\n"
        f"  expected: {quota}, the quota\nhint: generate more candidates; "
    )
    judge = Choosy()
    with pytest.raises(ValueError, match=message):
        filled(tmp_path, apples(30), quota, judge)
    assert len(judge.requests) == 30  # all were judged, none twice
    assert not (tmp_path / "filtered").exists()


def test_a_quota_that_all_rows_just_meet_leaves_none_over(tmp_path):
    found = filled(tmp_path, apples(5), 5, ParrotJudge())
    assert (len(kept_of(found)), reasons(found)) == (5, {})


def test_rows_that_failed_are_made_up_for_and_counted(tmp_path):
    rows = apples(4)
    before = [row.id for row in sorted(rows, key=lambda row: rank(0, row.id))].index(rows[0].id)
    found = filled(tmp_path, rows, 3, Moody(), max_failed_share=0.34)
    assert len(kept_of(found)) == 3
    expected = {"failed: unreadable verdict": 1} if before < 3 else {"over quota": 1}
    assert reasons(found) == expected


def test_a_judge_that_fails_is_told_before_a_quota_that_is_not_met_for_it(tmp_path):
    with pytest.raises(ValueError, match="found:    5 of 5 rows without a verdict"):
        filled(tmp_path, apples(5), 5, ParrotJudge("hm"), max_failed_share=0.5)


def test_rows_over_the_quota_are_not_lost(tmp_path):
    assert len(kept_of(filled(tmp_path, apples(100), 1, ParrotJudge(), max_dropped_share=0.1))) == 1


def test_the_script_reads_all_shards_and_writes_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = Recipe.model_validate(yaml.safe_load((ROOT / "recipes" / "tiny.yaml").read_text())).resolved()
    recipe["shards"] = 3
    recipe["filters"]["evol"]["quota"] = 20
    Path("params.yaml").write_text(yaml.safe_dump(recipe))
    Path("prompts.yaml").write_text(yaml.safe_dump(TEXTS.model_dump() | {"user": USER}))
    for shard in range(3):
        write_rows(f"evol/{shard:04d}/rows.jsonl", [row for row in apples(90) if shard_of(row.id, 3) == shard])
    judge = Choosy()
    monkeypatch.setattr(VerifierBackend, "open", lambda self, **_: judge)
    names = ("filters.evol", "backends.judge", "prompt", "seed", "budget", "shards")
    files = ("--generated", "evol", "--prompts", "prompts.yaml")
    script("filter/quota").main(["--params", *names, *files, "--out", "out"])
    reports = [json.loads(path.read_text()) for path in sorted(Path("out").glob("*/report.json"))]
    assert sum(report["kept"] for report in reports) == 20
    assert [sum(report["rows"] for report in reports), len(reports)] == [90, 3]


def test_a_quota_makes_one_job_of_the_filter_and_only_that_asks():
    recipe = Recipe.model_validate(yaml.safe_load((ROOT / "recipes" / "openbezoar-3b.yaml").read_text()))
    values = recipe.model_dump() | {"schemes": recipe.resolved()["schemes"]}
    values["filters"]["lamini"]["quota"] = 1504
    one = Recipe.model_validate(values)
    assert one.filters["lamini"].stage_names() == ["quota-lamini"]
    assert {rule for rule, name, *_ in one.asking if name == "lamini"} == {"generate", "quota"}
    assert {rule for rule, name, *_ in recipe.asking if name == "lamini"} == {"generate", "filter"}
