"""How often 95 % intervals hold the truth, with noise that a question's games, repeats and models share.

tests/unit/test_stats.py has the ratings of MT-Bench, tests/unit/test_bradley_terry.py strengths and style.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit

from bezoar.steps.evaluate import standings
from bezoar.steps.evaluate.stats import stratified_mean, weighted_mean
from bezoar.steps.report.item_differences import paired_mean

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
