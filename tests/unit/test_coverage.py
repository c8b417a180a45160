"""How often 95 % intervals hold the truth, with noise that a question's games, repeats and models share.

tests/unit/test_stats.py has the ratings of MT-Bench, tests/unit/test_bradley_terry.py strengths and style.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom

from bezoar.steps.evaluate import standings
from bezoar.steps.evaluate.stats import stratified_mean, weighted_mean
from bezoar.steps.report.item_differences import paired_mean
from bezoar.steps.results.harness import ends

STRATA = [str(place // 10) for place in range(80)]


def held(found, truth):
    return found.low <= truth <= found.high


def points(count, ability, common, generator, strong):
    """Sums and weights (count, 80) of two games; a question's games share its answers, its models its difficulty."""
    category = np.repeat(np.linspace(-0.8, 0.8, 8), 10)
    odds = ability + category + common + generator.normal(0, 1, (count, 80))
    latent = odds[..., None] + generator.logistic(0, 1, (count, 80, 2))
    score = np.where(np.abs(latent) < 0.4, 0.5, latent > 0)
    weight = np.where(np.abs(latent) > 2.5, strong, 1.0)
    return (score * weight).sum(-1), weight.sum(-1)


def pairs(count, draws, strong):
    """Share of tables whose interval holds the truth: of a win rate, and of two models' difference."""
    generator = np.random.default_rng(7)

    def tables(number):
        common = generator.normal(0, 1, (number, 80))
        return [points(number, ability, common, generator, strong) for ability in (-0.3, 0.6)]

    truths = [sums.sum() / weights.sum() for sums, weights in tables(20_000)]
    one, other = tables(count)
    found = []
    for place in range(count):
        mine, theirs = ((sums[place], weights[place]) for sums, weights in (one, other))
        gaps = standings.paired(theirs, mine)
        found.append(
            [
                held(standings.win_rate(mine, STRATA, draws, place), truths[0]),
                held(stratified_mean(gaps, STRATA, draws, place, (-1, 1)), truths[1] - truths[0]),
            ]
        )
    return np.mean(found, axis=0)


def families(count, draws):
    """The same for log-likelihoods per token, of families of answers whose lengths and difficulties vary."""
    generator = np.random.default_rng(7)

    def tables(number):
        tokens = generator.integers(5, 120, (number, 60)) * generator.choice([1, 1, 2], (number, 60))
        difficulty = generator.normal(0, 0.5, (number, 60)) - 0.002 * tokens
        return tokens.astype(float), (difficulty - 1.5 + generator.normal(0, 0.1, (number, 60))) * tokens

    tokens, sums = tables(50_000)
    truth = sums.sum() / tokens.sum()
    tokens, sums = tables(count)
    strata = ["all"] * 60
    return np.mean(
        [held(weighted_mean(sums[n], tokens[n], strata, draws, n, (-np.inf, 0)), truth) for n in range(count)]
    )


def items(count, number=200):
    """The same for a paired difference of right answers, of items whose difficulty both models share."""
    generator = np.random.default_rng(7)

    def tables(rows):
        odds = generator.normal(0, 1.5, (rows, number))
        return [(generator.random((rows, number)) < expit(odds + ability)).astype(float) for ability in (0.0, 0.4)]

    truth = np.subtract(*[one.mean() for one in reversed(tables(20_000))])
    one, other = tables(count)
    found = [paired_mean(dict(enumerate(b)), dict(enumerate(a))) for a, b in zip(one, other, strict=True)]
    return np.mean([held(SimpleNamespace(**gap), truth) for gap in found])


def shares(number, least, most):
    """The chance that the interval of a share of right answers holds the truth, for truths in a range; exact."""
    right = np.arange(number + 1)
    found = [ends("acc", k / number, np.sqrt(k * (number - k) / number**2 / (number - 1)), number) for k in right]
    low, high = np.array(found).T
    assert (low >= 0).all()
    assert (high <= 1).all()
    truths = np.linspace(least, most, 400)
    return np.mean([binom.pmf(right, number, p)[(low <= p) & (p <= high)].sum() for p in truths])


def parts(count, number=100):
    """Share of tables whose interval holds the truth: of means of values between 0 and 1, most of which are 1."""
    generator = np.random.default_rng(7)
    values = generator.choice([0.0, 0.4, 0.8, 1.0], (count, number), p=[0.02, 0.05, 0.13, 0.8])
    truth = 0.05 * 0.4 + 0.13 * 0.8 + 0.8
    found = [ends("f1", one.mean(), one.std(ddof=1) / np.sqrt(number), number) for one in values]
    return np.mean([low <= truth <= high and high <= 1 for low, high in found])


@pytest.mark.parametrize("number", [20, 50, 100, 200, 1000])
@pytest.mark.parametrize(("least", "most"), [(0.02, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 0.98)])
def test_intervals_of_a_harness_tasks_share_hold_the_truth_and_stay_on_its_scale(number, least, most):
    assert shares(number, least, most) == pytest.approx(0.95, abs=0.01)


def test_intervals_of_means_of_parts_hold_the_truth():
    assert parts(4000) == pytest.approx(0.94, abs=0.01)  # few of 100 values are far from 1; sure to 0.007


@pytest.mark.parametrize("strong", [1.0, 3.0])
def test_intervals_of_win_rates_and_their_differences_hold_the_truth(strong):
    assert pairs(300, 200, strong) == pytest.approx([0.95] * 2, abs=0.03)  # sure to 0.025


def test_intervals_of_likelihoods_hold_the_truth():
    assert families(400, 200) == pytest.approx(0.95, abs=0.025)  # sure to 0.022


def test_intervals_of_differences_of_items_hold_the_truth():
    assert items(600) == pytest.approx(0.95, abs=0.02)  # sure to 0.018


@pytest.mark.long
@pytest.mark.parametrize("strong", [1.0, 3.0])
def test_intervals_of_win_rates_and_their_differences_hold_the_truth_in_94_to_96_percent_of_many_tables(strong):
    assert pairs(6000, 1000, strong) == pytest.approx([0.95] * 2, abs=0.01)  # sure to 0.006


@pytest.mark.long
def test_intervals_of_likelihoods_hold_the_truth_in_94_to_96_percent_of_many_tables():
    assert families(6000, 1000) == pytest.approx(0.95, abs=0.01)


@pytest.mark.long
def test_intervals_of_differences_of_items_hold_the_truth_in_94_to_96_percent_of_many_tables():
    assert items(10_000) == pytest.approx(0.95, abs=0.01)
