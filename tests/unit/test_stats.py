"""Means with intervals: questions are drawn whole and within their category."""

import numpy as np
import pytest

from bezoar.steps.evaluate.stats import Estimate, stratified_mean

CATEGORIES = ["writing"] * 10 + ["math"] * 10


def noise(rows=20, seed=1):
    return np.random.default_rng(seed).normal(5, 1, size=(rows, 2))


def width(estimate):
    return estimate.high - estimate.low


def rule_of_three(count):
    """The largest share, with a chance of 2.5 %, of a score that none of a number of questions has."""
    return 1 - 0.025 ** (1 / count)


@pytest.mark.parametrize("count", [2, 20, 80])
def test_the_interval_of_constants_is_as_wide_as_the_scale_lets_others_lie(count):
    strata = [str(place // 10) for place in range(count)]
    estimate = stratified_mean(np.full((count, 2), 7.0), strata, 4000, 0, bounds=(1, 10))
    assert estimate.mean == 7.0
    assert estimate.low == pytest.approx(7 - 6 * rule_of_three(count), abs=0.1)
    assert estimate.high == pytest.approx(7 + 3 * rule_of_three(count), abs=0.1)
    lowest = stratified_mean(np.full((count, 2), 1.0), strata, 4000, 0, bounds=(1, 10))
    assert (lowest.mean, lowest.low) == (1.0, 1.0)
    assert lowest.high == pytest.approx(1 + 9 * rule_of_three(count), abs=0.2)


def test_constants_on_no_scale_have_no_interval():
    assert stratified_mean(np.full((20, 2), 7.0), CATEGORIES, 200, 0) == Estimate(7.0, None, None)


def test_one_score_that_differs_from_all_others_widens_both_sides():
    # 79 tens and a 1: with a share of 0.0677 of ones, 1 or fewer are among 80 in 2.5 % of cases (Clopper-Pearson)
    cells = np.array([[10.0]] * 79 + [[1.0]])
    estimate = stratified_mean(cells, [str(place // 10) for place in range(80)], 4000, 0, bounds=(1, 10))
    assert estimate.mean == 9.8875
    assert estimate.low == pytest.approx(10 - 9 * 0.0677, abs=0.1)
    assert estimate.mean < estimate.high <= 10


def test_the_mean_is_that_of_all_cells():
    cells = np.array([[1.0, 2.0], [3.0, 6.0], [5.0, 5.0], [5.0, 5.0]])
    assert stratified_mean(cells, ["a", "b", "c", "c"], 200, 0).mean == 4.0  # (1 + 2 + 3 + 6 + 4 * 5) / 8


def test_strata_of_one_question_are_taken_together():
    # Student's t with one degree of freedom: 3 +- 12.706 * sqrt(2 * (1.5^2 + 1.5^2) / 4)
    estimate = stratified_mean(np.array([[1.0, 2.0], [3.0, 6.0]]), ["a", "b"], 200, 0)
    assert estimate.mean == 3.0
    assert estimate.high - 3.0 == pytest.approx(3.0 - estimate.low) == pytest.approx(12.706 * 1.5, rel=1e-3)
    alone = stratified_mean(np.array([[1.0], [3.0], [5.0]]), ["a", "b", "b"], 200, 0)
    together = stratified_mean(np.array([[1.0], [3.0], [5.0]]), ["b", "b", "b"], 200, 0)
    assert alone == together


def test_one_question_has_no_interval():
    assert stratified_mean(np.array([[4.0, 6.0]]), ["a"], 200, 0) == Estimate(5.0, None, None)


def test_an_interval_stays_on_the_scale():
    cells = np.array([[1.0, 1.0], [1.0, 2.0]])
    estimate = stratified_mean(cells, ["a", "a"], 200, 0, bounds=(1, 10))
    assert (estimate.low, estimate.high) == (1.0, pytest.approx(1.25 + 12.706 * 0.25, rel=1e-3))


def test_strata_that_differ_narrow_the_interval():
    # every question of a category has the same score: which are drawn changes nothing within the categories
    cells = np.array([[9.0, 9.0]] * 10 + [[1.0, 1.0]] * 10)
    stratified = stratified_mean(cells, CATEGORIES, 500, 0, bounds=(1, 10))
    plain = stratified_mean(cells, ["all"] * 20, 500, 0, bounds=(1, 10))
    assert (stratified.mean, plain.mean) == (5.0, 5.0)
    assert width(stratified) == pytest.approx((4 + 5) * rule_of_three(20), rel=0.1)
    assert width(plain) > 2 * width(stratified)


def test_turns_of_a_question_move_together():
    # both turns of a question are equal, so 20 questions say no more than 20 numbers: the standard error is
    # deviation / sqrt(20), and the interval about twice 2.09 of it (Student's t, 19 degrees of freedom); with turns
    # apart it would be 1 / sqrt(2) of that
    scores = noise()[:, :1]
    both = stratified_mean(np.hstack([scores, scores]), ["all"] * 20, 4000, 0)
    expected = 2 * 2.09 * float(scores.std(ddof=1)) / np.sqrt(20)
    assert width(both) == pytest.approx(expected, rel=0.1)


def test_missing_cells_count_nothing():
    cells = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, np.nan]])
    estimate = stratified_mean(cells, ["a", "a", "a"], 500, 0)
    assert estimate.mean == 3.0  # (1 + 3 + 5) / 3
    assert estimate == stratified_mean(cells[:2], ["a", "a"], 500, 0)
    # questions' distances from the mean are 1 - 3 and 8 - 2 * 3, so the error is sqrt(2 * 8) / 3
    assert estimate.high == pytest.approx(3 + 12.706 * np.sqrt(2 * 8) / 3, rel=1e-3)


def test_no_score_at_all_is_an_error():
    with pytest.raises(ValueError, match="no score to average"):
        stratified_mean(np.full((2, 2), np.nan), ["a", "b"], 200, 0)


def test_the_difference_of_a_model_to_itself_is_0():
    cells = noise()
    estimate = stratified_mean(cells - cells, CATEGORIES, 500, 0, bounds=(-9, 9))
    assert estimate.mean == 0.0
    assert -9 * 0.2 < estimate.low < 0 < estimate.high < 9 * 0.2  # 20 questions: 0.168 by the rule of three


def test_a_paired_difference_is_surer_than_two_intervals():
    # one model is about half a point better at each question: paired, that is sure, though questions vary widely
    base, better = noise(), noise() + 0.1 * noise(seed=2)
    difference = stratified_mean(better - base, CATEGORIES, 500, 0)
    assert 0.4 < difference.low < difference.mean < difference.high < 0.6
    assert width(stratified_mean(base, CATEGORIES, 500, 0)) > 0.5


def test_errors_of_rounding_are_no_spread():
    base = noise()
    assert stratified_mean(base + 0.5 - base, CATEGORIES, 500, 0) == Estimate(pytest.approx(0.5), None, None)


def test_the_same_seed_gives_the_same_interval():
    cells = noise()
    assert stratified_mean(cells, CATEGORIES, 500, 0) == stratified_mean(cells, CATEGORIES, 500, 0)
    assert stratified_mean(cells, CATEGORIES, 500, 0) != stratified_mean(cells, CATEGORIES, 500, 1)


# --- Coverage -------------------------------------------------------------------------------------------------------

MEANS = {  # of 8 categories' answers, as a share of the scale
    "middling": np.linspace(0.35, 0.65, 8),
    "good": np.linspace(0.7, 0.92, 8),
    "of all kinds": np.linspace(0.15, 0.9, 8),
}


def tables(means, count, generator):
    """Ratings (tables, 80 questions, 2 turns) from 1 to 10: questions differ by category and in themselves."""
    share = np.repeat(means, 10)
    quality = generator.beta(3.5 * share, 3.5 * (1 - share), size=(count, 80))
    ratings = 1 + 9 * quality[..., None] - [0.0, 0.5] + generator.normal(0, 1.5, size=(count, 80, 2))
    return np.clip(np.rint(ratings), 1, 10)


def coverage(count, draws):
    """Share of tables whose interval holds the truth: of the average, of one category, of a paired difference."""
    generator = np.random.default_rng(7)
    strata = [str(place // 10) for place in range(80)]
    held = []
    for means in MEANS.values():
        truth = tables(means, 20_000, generator).reshape(-1, 8, 20).mean(axis=(0, 2))
        for number, (table, other) in enumerate(zip(*[tables(means, count, generator) for _ in "ab"], strict=True)):
            category = number % 8
            own = slice(10 * category, 10 * category + 10)
            found = (
                (truth.mean(), stratified_mean(table, strata, draws, number, (1, 10))),
                (truth[category], stratified_mean(table[own], strata[own], draws, number, (1, 10))),
                (0.0, stratified_mean(table - other, strata, draws, number, (-9, 9))),
            )
            held.append([one.low <= value <= one.high for value, one in found])
    return np.mean(held, axis=0)


def test_95_percent_intervals_hold_the_truth_in_94_to_96_percent_of_tables():
    # a share of 900 tables is sure to 0.007; a percentile bootstrap's are 0.93 and, of a category, 0.89
    assert coverage(300, 300) == pytest.approx([0.95] * 3, abs=0.01)


@pytest.mark.long
def test_95_percent_intervals_hold_the_truth_as_often_in_many_tables():
    # a share of 9,000 tables is sure to 0.0023
    assert coverage(3000, 1000) == pytest.approx([0.95] * 3, abs=0.01)


def rare(share, usual, other, rows=80):
    """A maker of tables with one rating in all cells but a share of them."""
    return lambda generator: np.where(generator.random((rows, 1)) < share, other, usual), usual + share * (
        other - usual
    )


def one_varied_category():
    """A maker of tables where ten questions of 80 have 10 in 85 % of cases, and 3 otherwise; all others have 3."""

    def made(generator):
        table = np.full((80, 1), 3.0)
        table[:10, 0] = np.where(generator.random(10) < 0.85, 10.0, 3.0)
        return table

    return made, 3 + 7 * 0.85 / 8


NEARLY_CONSTANT = {
    "2 % tens": (rare(0.02, 1.0, 10.0), 0.97),
    "5 % tens": (rare(0.05, 1.0, 10.0), 0.95),
    "10 % tens": (rare(0.1, 1.0, 10.0), 0.94),
    "2 % ones": (rare(0.02, 10.0, 1.0), 0.97),
    "one varied category": (one_varied_category(), 0.85),  # docs/explanation/coverage.md: too few
    "ten questions": (rare(0.1, 10.0, 1.0, rows=10), 0.97),
}


def held(made, truth, count, draws):
    """Share of tables whose interval holds the truth."""
    generator = np.random.default_rng(7)
    found = []
    for number in range(count):
        table = made(generator)
        strata = [str(place // 10) for place in range(len(table))]
        estimate = stratified_mean(table, strata, draws, number, (1, 10))
        found.append(estimate.low <= truth <= estimate.high)
    return np.mean(found)


@pytest.mark.parametrize("name", NEARLY_CONSTANT)
def test_intervals_of_nearly_constant_ratings_hold_the_truth(name):
    (made, truth), least = NEARLY_CONSTANT[name]
    assert held(made, truth, 100, 200) >= least - 0.05  # a share of 100 tables is sure to about 0.02


@pytest.mark.long
@pytest.mark.parametrize("name", NEARLY_CONSTANT)
def test_intervals_of_nearly_constant_ratings_hold_the_truth_in_many_tables(name):
    (made, truth), least = NEARLY_CONSTANT[name]
    assert held(made, truth, 1000, 1000) >= least
