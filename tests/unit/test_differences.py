"""Paired differences of a report: with whom, which are flagged, and those of scores that are means over items."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from harness_data import write_settings

from bezoar.steps.evaluate.harness import Harness
from bezoar.steps.evaluate.likelihood import Likelihood
from bezoar.steps.report import harness as harness_table
from bezoar.steps.report.differences import differences, draws_of
from bezoar.steps.report.item_differences import paired_mean


def block(**changes):
    values = {"method": "likelihood", "checkpoints": ["base", "sft", "dpo"], "mixes": ["a"]}
    return Likelihood(**values | changes)


def compared(evaluation, p_values, scores=("a",)):
    """The differences of an evaluation, whose p-values come by pair."""
    asked = []

    def compare(score, name, other):
        asked.append((score, name, other))
        p = p_values.get(frozenset((name, other)), 1.0)
        return {"mean": 1.0, "low": 0.0, "high": 2.0, "p": p}

    return *differences(evaluation, scores, compare), asked


def test_each_checkpoint_is_compared_with_the_first_and_the_one_before_it():
    table, summary, asked = compared(block(), {})
    assert asked == [("a", "sft", "base"), ("a", "dpo", "base"), ("a", "dpo", "sft")]
    assert table["a"]["base"] == {"difference_to_first": None, "difference_to_previous": None, "compared_to": {}}
    assert table["a"]["sft"]["difference_to_first"] == table["a"]["sft"]["difference_to_previous"]
    assert table["a"]["dpo"]["difference_to_previous"]["to"] == "sft"
    assert summary == {"count": 3, "significant": 0, "level": 0.05, "method": "Holm 1979"}


def test_a_named_checkpoint_is_compared_with_all_others_and_no_pair_counts_twice():
    table, summary, _ = compared(block(compare_to=["sft"]), {})
    assert list(table["a"]["base"]["compared_to"]) == list(table["a"]["dpo"]["compared_to"]) == ["sft"]
    assert table["a"]["sft"]["compared_to"] == {}
    assert summary["count"] == 3


@pytest.mark.parametrize(("checkpoints", "scores"), [(3, 1), (40, 1), (40, 8)])
def test_the_smallest_p_value_is_flagged_among_any_number_of_comparisons(checkpoints, scores):
    names = [f"c{number}" for number in range(checkpoints)]
    evaluation = block(checkpoints=names, compare_to=[names[1]])
    draws = draws_of(evaluation, scores, 100)
    smallest = {frozenset((names[2], names[1])): 2 / (draws + 1)}
    _, summary, _ = compared(evaluation, smallest, tuple(map(str, range(scores))))
    assert summary["significant"] == scores
    assert draws == max(100, 40 * summary["count"])


def test_few_comparisons_have_the_draws_of_the_other_intervals():
    assert draws_of(block(), 1, 2000) == 2000


def test_a_flag_is_holms_among_all_comparisons_of_all_scores():
    p_values = {frozenset(("sft", "base")): 0.01, frozenset(("dpo", "sft")): 0.02}
    one, summary, _ = compared(block(), p_values)  # 0.01 * 3 = 0.03, 0.02 * 2 = 0.04
    assert one["a"]["sft"]["difference_to_first"]["p_holm"] == pytest.approx(0.03)
    assert one["a"]["dpo"]["difference_to_previous"]["significant"]
    assert summary["significant"] == 2
    two, summary, _ = compared(block(), p_values, ("a", "b"))  # six comparisons, two of each p: 0.01 * 6 = 0.06
    assert not two["a"]["sft"]["difference_to_first"]["significant"]
    assert summary == {"count": 6, "significant": 0, "level": 0.05, "method": "Holm 1979"}


def test_what_can_not_be_compared_counts_nothing():
    table, summary = differences(block(), ["a"], lambda *_: None)
    assert table["a"]["dpo"]["difference_to_first"] is None
    assert summary["count"] == 0


def test_an_unknown_checkpoint_to_compare_with_is_a_problem():
    (found,) = block(compare_to=["other"]).problems(SimpleNamespace(mixes={}))
    assert (found.key, found.found) == (("compare_to", 0), "other")


def test_a_paired_mean_is_students():
    # differences 1, 0, 1, 0: mean 0.5, error sqrt(1 / 3 / 4); t with 3 degrees of freedom at 0.975: 3.182446
    found = paired_mean({1: 1.0, 2: 1.0, 3: 1.0, 4: 0.0, 9: 5.0}, {1: 0.0, 2: 1.0, 3: 0.0, 4: 0.0})
    error = np.sqrt(1 / 3 / 4)
    assert (found["mean"], found["items"]) == (0.5, 4)
    assert found["standard_error"] == pytest.approx(error, rel=1e-6)
    assert found["high"] == pytest.approx(0.5 + 3.182446 * error, rel=1e-6)
    assert found["p"] == pytest.approx(0.181690, rel=1e-4)  # of t = 1.732051
    assert paired_mean({1: 1.0}, {2: 1.0}) is None
    assert paired_mean({1: 1.0, 2: 2.0}, {1: 1.0, 2: 2.0})["p"] == 1.0
    assert paired_mean({1: 2.0, 2: 3.0}, {1: 1.0, 2: 2.0})["p"] is None


def test_a_paired_difference_of_shares_stays_on_their_scale():
    one, other = dict(enumerate([1.0] * 9 + [0.5])), dict.fromkeys(range(10), 0.0)
    found = paired_mean(one, other)  # 0.95 + 2.262 * 0.05 = 1.063
    assert (found["mean"], found["high"]) == (0.95, 1.0)
    assert paired_mean(other, one)["low"] == -1.0
    assert paired_mean(one | {9: 2.0}, other)["high"] > 1.1 + 0.1  # no shares


def written(folder, checkpoint, values, *, score=None):
    """A result of one task with two metrics; `f1` isn't a mean over items."""
    path = folder / checkpoint / "task"
    path.mkdir(parents=True)
    mean = sum(values) / len(values) if score is None else score
    results = {"acc,none": mean, "acc_stderr,none": 0.05, "f1,none": 0.3, "f1_stderr,none": "N/A"}
    result = {"results": {"task": results}, "n-samples": {"task": {"effective": len(values)}}, "versions": {"task": 1}}
    result["n-shot"] = {"task": 0}
    (path / "result.json").write_text(json.dumps(result))
    rows = [
        {"task": "task", "id": str(number), "filter": "none", "scores": {"acc": value, "f1": value}}
        for number, value in enumerate(values)
    ]
    (path / "items.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))


def test_a_report_of_the_harness_has_paired_differences_of_means_over_items(tmp_path):
    evaluation = Harness(method="harness", checkpoints=["base", "sft", "dpo"], tasks=["task"], compare_to=["dpo"])
    right = [1.0, 0.0] * 50
    for name, values in {"base": right, "sft": [1.0] * 90 + [0.0] * 10, "dpo": right}.items():
        written(tmp_path, name, values)
    write_settings(tmp_path / "tasks/task")
    harness_table.write_report(tmp_path, tmp_path / "tasks", evaluation, tmp_path / "bench.json", {})
    report = json.loads((tmp_path / "bench.json").read_text())
    acc = report["checkpoints"]["sft"]["task"]["metrics"]["acc"]
    assert (acc["score"], acc["difference_to_first"]["mean"]) == (0.9, 0.4)
    assert acc["difference_to_first"]["significant"]
    assert acc["compared_to"]["dpo"]["mean"] == 0.4
    gap = report["checkpoints"]["dpo"]["task"]["metrics"]["acc"]["difference_to_first"]
    assert (gap["mean"], gap["p"], gap["significant"]) == (0.0, 1.0, False)
    assert "difference_to_first" not in report["checkpoints"]["sft"]["task"]["metrics"]["f1"]
    assert report["comparisons"]["count"] == 3
    assert report["comparisons"]["separability"]["task acc"] == pytest.approx(2 / 3, abs=1e-6)
