"""Means with intervals: questions are drawn whole and within their category."""

import numpy as np
import pytest

from bezoar.stats import Estimate, stratified_mean

CATEGORIES = ["writing"] * 10 + ["math"] * 10


def noise(rows=20, seed=1):
    return np.random.default_rng(seed).normal(5, 1, size=(rows, 2))


def width(estimate):
    return estimate.high - estimate.low


def test_the_interval_of_constants_is_a_point():
    assert stratified_mean(np.full((20, 2), 7.0), CATEGORIES, 200, 0) == Estimate(7.0, 7.0, 7.0)


def test_the_mean_is_that_of_all_cells():
    cells = np.array([[1.0, 2.0], [3.0, 6.0]])
    estimate = stratified_mean(cells, ["a", "b"], 200, 0)
    assert estimate == Estimate(3.0, 3.0, 3.0)  # (1 + 2 + 3 + 6) / 4; a stratum of one question is always drawn


def test_strata_that_differ_narrow_the_interval():
    # every question of a category has the same score: which are drawn changes nothing within the categories
    cells = np.array([[9.0, 9.0]] * 10 + [[1.0, 1.0]] * 10)
    stratified = stratified_mean(cells, CATEGORIES, 500, 0)
    plain = stratified_mean(cells, ["all"] * 20, 500, 0)
    assert (stratified.mean, plain.mean) == (5.0, 5.0)
    assert width(stratified) == 0
    assert plain.low < 5 < plain.high


def test_turns_of_a_question_move_together():
    # both turns of a question are equal, so 20 questions say no more than 20 numbers: the standard error is
    # deviation / sqrt(20), and the interval about twice 1.96 of it; with turns apart it would be 1 / sqrt(2) of that
    scores = noise()[:, :1]
    both = stratified_mean(np.hstack([scores, scores]), ["all"] * 20, 4000, 0)
    expected = 2 * 1.96 * float(scores.std()) / np.sqrt(20)
    assert width(both) == pytest.approx(expected, rel=0.1)


def test_missing_cells_count_nothing():
    cells = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, np.nan]])
    estimate = stratified_mean(cells, ["a", "a", "a"], 500, 0)
    assert estimate.mean == 3.0  # (1 + 3 + 5) / 3
    assert 1.0 <= estimate.low <= estimate.high <= 4.0  # from the first question alone to the second alone


def test_draws_without_any_score_are_passed_over():
    # one of four draws takes the empty question twice
    cells = np.array([[np.nan], [7.0]])
    assert stratified_mean(cells, ["a", "a"], 500, 0) == Estimate(7.0, 7.0, 7.0)


def test_no_score_at_all_is_an_error():
    with pytest.raises(ValueError, match="no score to average"):
        stratified_mean(np.full((2, 2), np.nan), ["a", "b"], 200, 0)


def test_the_difference_of_a_model_to_itself_is_0():
    cells = noise()
    assert stratified_mean(cells - cells, CATEGORIES, 500, 0) == Estimate(0.0, 0.0, 0.0)


def test_a_paired_difference_is_surer_than_two_intervals():
    # one model is always half a point better: paired, that is certain, though the questions' scores vary widely
    base = noise()
    difference = stratified_mean(base + 0.5 - base, CATEGORIES, 500, 0)
    assert (difference.mean, difference.low) == (pytest.approx(0.5), pytest.approx(0.5))
    assert width(stratified_mean(base, CATEGORIES, 500, 0)) > 0.5


def test_the_same_seed_gives_the_same_interval():
    cells = noise()
    assert stratified_mean(cells, CATEGORIES, 500, 0) == stratified_mean(cells, CATEGORIES, 500, 0)
    assert stratified_mean(cells, CATEGORIES, 500, 0) != stratified_mean(cells, CATEGORIES, 500, 1)
