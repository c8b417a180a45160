"""Which differences are more than chance, Holm's rule among several, separability, and spread over repeats."""

import numpy as np
import pytest

from bezoar.steps.evaluate.significance import holm, p_value, separability, within_item_spread
from bezoar.steps.evaluate.stats import stratified_mean

STRATA = ["writing"] * 10 + ["math"] * 10


def differences(shift, seed=0, rows=20):
    return np.random.default_rng(seed).normal(shift, 1, size=(rows, 2))


def test_holms_rule_multiplies_the_smallest_by_all_and_never_falls():
    # sorted .01 .02 .04: times 3, 2, 1 is .03 .04 .04; the rule is Holm 1979
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    # .01 * 4, .011 * 3 = .033 is raised to .04, .02 * 2, .9 * 1
    assert holm([0.9, 0.011, 0.01, 0.02]) == pytest.approx([0.9, 0.04, 0.04, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_comparison_without_a_p_value_counts_among_the_others():
    assert holm([0.01, None, 0.02]) == pytest.approx([0.03, None, 0.04])  # 0.01 * 3, 0.02 * 2


def test_a_p_value_is_below_5_percent_where_the_interval_excludes_0():
    agree = []
    for seed in range(60):
        cells = differences(0.45, seed)
        estimate = stratified_mean(cells, STRATA, 500, 0)
        p = p_value(cells, STRATA, 500, 0)
        excluded = estimate.low > 0 or estimate.high < 0
        agree.append(excluded == (p < 0.05) or abs(p - 0.05) < 0.01)  # at the limit, one draw more or less
        assert p == p_value(-cells, STRATA, 500, 0)
    assert all(agree)
    assert 0.02 < p_value(differences(0.3), STRATA, 500, 0) <= 1
    assert p_value(differences(3), STRATA, 500, 0) == pytest.approx(2 / 501)  # never 0


def test_few_questions_have_students_p_value():
    # 3 +- sqrt(2 * (1.5^2 + 1.5^2) / 4) = 1.5: t = 2 with one degree of freedom, whose p is 1 - 2 / pi * atan(2)
    cells = np.array([[1.0, 2.0], [3.0, 6.0]])
    assert p_value(cells, ["a", "b"], 200, 0) == pytest.approx(1 - 2 / np.pi * np.arctan(2))


def test_equal_differences_are_judged_by_the_scale():
    # all 20 differences are 3 of at most 9: one further question at -9 decides
    assert p_value(np.full((20, 2), 3.0), STRATA, 2000, 0, (-9, 9)) < 0.05
    assert p_value(np.full((2, 2), 3.0), ["a", "a"], 2000, 0, (-9, 9)) > 0.05
    assert p_value(np.full((20, 2), 3.0), STRATA, 200, 0) is None
    assert p_value(np.zeros((20, 2)), STRATA, 200, 0, (-9, 9)) == 1.0
    assert p_value(np.array([[1.0]]), ["a"], 200, 0) is None


def test_separability_is_the_share_of_pairs_apart():
    # of three pairs, [0, 1] and [2, 3] are apart, and [0, 1] and [2.5, 4]; [2, 3] and [2.5, 4] overlap
    assert separability([(0, 1), (2, 3), (2.5, 4)]) == pytest.approx(2 / 3)
    assert separability([(0, 1), (1, 2)]) == 0.0
    assert separability([(0, 1), (None, 2)]) == 0.0  # without an end, it overlaps
    assert separability([(0, 1)]) is None


def test_spread_over_repeats_is_within_items_only():
    # (1, 3) and (5, 5, 8): squares 2 and 6, degrees of freedom 1 and 2
    assert within_item_spread([[1.0, 3.0], [5.0, 5.0, 8.0], [9.0]]) == pytest.approx(np.sqrt(8 / 3))
    assert within_item_spread([[1.0], [3.0]]) is None


def false_alarms(reports, seed=5):
    """Share of reports of five models of equal worth, eight comparisons each, with any difference flagged."""
    generator = np.random.default_rng(seed)
    strata = [str(place // 10) for place in range(40)]
    alarms = {"alone": 0, "holm": 0}
    for number in range(reports):
        models = generator.normal(0, 1, (40, 1)) + generator.normal(0, 1, (5, 40, 2))
        pairs = [(one, 0) for one in range(1, 5)] + [(one, one - 1) for one in range(2, 5)] + [(4, 2)]
        found = [p_value(models[a] - models[b], strata, 400, number) for a, b in pairs]
        alarms["alone"] += min(found) < 0.05
        alarms["holm"] += min(holm(found)) < 0.05
    return {name: count / reports for name, count in alarms.items()}


def test_holm_keeps_the_chance_of_any_false_flag_at_5_percent():
    found = false_alarms(150)  # a share of 0.05 of 150 is sure to 0.036
    assert found["holm"] <= 0.09
    assert found["alone"] > 0.12


@pytest.mark.long
def test_holm_keeps_the_chance_of_any_false_flag_at_5_percent_in_many_reports():
    found = false_alarms(2000)  # sure to 0.01
    assert found["holm"] <= 0.06
    assert found["alone"] > 0.15
