"""Bradley-Terry by hand, what separates, weights instead of copies, style held equal, and how often intervals hold."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from bezoar.steps.evaluate.bradley_terry import ALIKE, DECIDED, LIMIT, Games, coefficients, fit
from bezoar.steps.evaluate.style import counts, difference, length_controlled, style_controlled, usable


def games(results, weight=1.0, features=None):
    """Games against `base`, each of a question of its own: by player, the points of its games."""
    rows = [(name, points) for name, all_points in results.items() for points in all_points]
    return Games(
        first=[name for name, _ in rows],
        second=["base"] * len(rows),
        share=np.array([points for _, points in rows]),
        weight=np.broadcast_to(np.array(weight, dtype=float), len(rows)),
        cluster=np.arange(len(rows)),
        features=np.zeros((len(rows), 0)) if features is None else features,
    )


def fitted(one, draws=200, strata=None):
    return fit(one, "base", strata or ["all"] * (one.cluster.max() + 1), draws, 0)


def test_strengths_are_the_log_odds_of_the_games_won():
    # A wins 3 of 4: log(3 / 1) = 1.098612; B wins 1 of 4; so A beats B with odds 3 / (1 / 3) = 9 to 1
    found = fitted(games({"A": [1, 1, 1, 0], "B": [1, 0, 0, 0]}))
    assert found.players == ["A", "B"]
    assert found.found == pytest.approx([1.098612, -1.098612], abs=1e-6)
    assert expit(found.found[0] - found.found[1]) == pytest.approx(0.9)
    assert found.rate("A").mean == pytest.approx(0.75)


def test_players_that_never_met_are_compared_by_others():
    # A beats B 3 of 4, B beats base 3 of 4: A's log-odds against base are 2 log 3
    share, ones = np.array([1, 1, 1, 0, 1, 1, 1, 0.0]), np.ones(8)
    one = Games(["A"] * 4 + ["B"] * 4, ["B"] * 4 + ["base"] * 4, share, ones, np.arange(8), np.zeros((8, 0)))
    assert fitted(one).found == pytest.approx([2 * math.log(3), math.log(3)])


def test_a_tie_is_half_a_game_and_the_anchor_half_of_all():
    assert fitted(games({"A": [1, 0.5, 0.5, 0.5]})).rate("A").mean == pytest.approx(2.5 / 4)
    assert fitted(games({"A": [0.5] * 8})).found == pytest.approx([0])


def test_the_fit_is_the_maximum_of_the_likelihood():
    generator = np.random.default_rng(1)
    design, share, weight = generator.normal(size=(60, 3)), generator.random(60), generator.random(60)

    def loss(found):
        return -(weight * (share * np.log(expit(design @ found)) + (1 - share) * np.log(expit(-design @ found)))).sum()

    expected = minimize(loss, np.zeros(3), tol=1e-12).x
    assert coefficients(design, share, weight[None, :])[0] == pytest.approx(expected, abs=1e-5)


def test_a_player_that_wins_all_games_has_no_finite_strength_and_says_so():
    found = fitted(games({"A": [1] * 12, "B": [1, 0] * 6}))
    assert not found.finite
    assert LIMIT <= found.found[0] < LIMIT + 3  # bounded, and as near to 1 as a rate can be
    assert (found.rate("A").low, found.rate("A").high) == (0.0, 1.0)
    assert fitted(games({"A": [1] * 11 + [0], "B": [1, 0] * 6})).finite


def test_a_weight_counts_in_the_rate_and_narrows_nothing():
    # 40 strong wins and 40 weak losses: 0.5 with weight 1, 3 / 4 with weight 3
    points = [1] * 40 + [0] * 40
    plain = fitted(games({"A": points}), 1000)
    strong = fitted(games({"A": points}, [3.0] * 40 + [1.0] * 40), 1000)
    assert (plain.rate("A").mean, strong.rate("A").mean) == pytest.approx((0.5, 0.75))
    tripled = fitted(games({"A": points}, 3.0), 1000)
    assert (tripled.low, tripled.high) == (pytest.approx(plain.low), pytest.approx(plain.high))
    copies = fitted(games({"A": points * 3}), 1000)  # each as a question of its own, as copied rows are
    assert np.ptp([copies.low, copies.high]) < 0.65 * np.ptp([plain.low, plain.high])


def test_games_of_a_question_are_drawn_together():
    # both games of a question are equal: 40 questions say as much as 40 games, and not as 80
    points = [1, 0, 0, 1] * 10
    apart, ones = fitted(games({"A": points}), 1000), np.ones(80)
    twice = Games(["A"] * 80, ["base"] * 80, np.repeat(points, 2), ones, np.repeat(np.arange(40), 2), np.zeros((80, 0)))
    together = fitted(twice, 1000)
    assert (together.low, together.high) == (pytest.approx(apart.low), pytest.approx(apart.high))


def test_the_same_seed_gives_the_same_interval():
    one = games({"A": [1, 0, 0, 1] * 10})
    assert fitted(one).low == fitted(one).low
    assert fitted(one).low != fit(one, "base", ["all"] * 40, 200, 1).low


# --- Style ----------------------------------------------------------------------------------------------------------


def test_markup_counts_outside_of_code():
    text = "# Title\n\n1. one\n- two\n**bold** and __bold__\n```\n# no header\n- no item\n```"
    assert counts(text) == {"length": len(text), "headers": 1, "lists": 2, "bold": 2}


def test_differences_are_relative_and_change_sign_with_the_seats():
    one, other = counts("a" * 30), counts("# a" + "a" * 7)
    assert difference("length", one, other) == (30 - 10) / 40
    assert difference("headers", one, other) == pytest.approx(-(1 / 10) / (1 / 10 + 1))
    assert difference("headers", other, one) == -difference("headers", one, other)
    assert difference("length", counts(""), counts("")) == difference("bold", counts(""), counts("")) == 0.0


def longer_wins(seed=0, questions=200):
    """Games of a player as good as the base, whose answers are longer in two cases of three; the longer one wins."""
    generator = np.random.default_rng(seed)
    gaps = generator.normal(150, 300, questions)
    share = (generator.random((questions, 2)) < expit(np.tanh(gaps / gaps.std(ddof=1)) * 2)[:, None]).mean(axis=1)
    first, second = ["A"] * questions, ["base"] * questions
    return Games(first, second, share, np.full(questions, 2.0), np.arange(questions), gaps[:, None]), gaps


def test_at_equal_length_a_win_by_length_is_none():
    one, gaps = longer_wins()
    strata = ["all"] * 200
    raw = fit(games({"A": one.share}), "base", strata, 300, 0).rate("A")
    held = length_controlled(one, "base", gaps, strata, 300, 0)
    assert raw.low > 0.55
    assert held.rate("A").low < 0.5 < held.rate("A").high
    assert held.effect(0).low > 1  # log-odds per tanh of a standard deviation; 2 in truth
    style = style_controlled(one, "base", strata, 300, 0)
    assert style.rate("A").low < 0.52
    assert style.effect(0).low > 0.5


def test_answers_of_equal_length_leave_the_raw_rate():
    one = games({"A": [1, 1, 1, 0] * 5})
    found = length_controlled(one, "base", np.zeros(20), ["all"] * 20, 200, 0)
    assert found.found == pytest.approx([math.log(3)])
    assert found.rate("A").mean == pytest.approx(0.75)


def test_length_that_decides_all_games_has_no_finite_fit():
    gaps = np.array([100.0, -100.0] * 20)
    found = length_controlled(games({"A": [1, 0] * 20}), "base", gaps, ["all"] * 40, 200, 0)
    assert not found.finite


@pytest.mark.parametrize("questions", [1, 2, 40])
def test_a_feature_that_is_the_same_in_all_games_is_no_estimate(questions):
    one = games({"A": [1, 0.5, 1, 0.5] * 10})
    one = Games(
        one.first[:questions],
        one.second[:questions],
        *(values[:questions] for values in (one.share, one.weight, one.cluster)),
        features=np.full((questions, 1), 0.2),
    )
    strata = ["all"] * questions
    found = style_controlled(one, "base", strata, 200, 0)
    assert (found.finite, found.why) == (False, ALIKE)
    assert (found.rate("A").low, found.rate("A").high) == (0.0, 1.0)
    for gap in (100.0, 100 + np.arange(questions) / 100):  # equal, or so nearly that tanh is 1 in all of them
        held = length_controlled(one, "base", np.broadcast_to(gap, questions), strata, 200, 0)
        assert (held.finite, held.why) == (False, ALIKE)


def with_headers(points):
    """Games of which some, each in a question of its own, differ in length, and the last ones in a header, too."""
    generator = np.random.default_rng(2)
    share = np.array([*generator.choice([0, 0.25, 0.5, 0.75, 1], 77), *points])
    features = np.zeros((len(share), 2))
    features[:, 0] = generator.normal(0, 0.3, len(share))
    features[77:, 1] = 0.2
    return games({"A": share}, 2.0, features)


def test_a_feature_without_a_finite_effect_is_left_out_with_its_turns():
    strata = ["all"] * 78
    rates = []
    for points in (1.0, 0.0, 0.5):  # the limit of the fit is the same: the header takes its one turn all to itself
        kept, names, left = usable(with_headers([points]), "base", ["length", "headers"])
        found = style_controlled(kept, "base", strata, 200, 0)
        rates.append(found.rate("A"))
        assert found.finite
        if points == 0.5:
            assert (names, left) == (["length", "headers"], {})
        else:
            assert (names, list(left)) == (["length"], ["headers"])
            assert left["headers"] == "its effect isn't finite; turns that differ in it are left out: 1"
    assert [one.mean for one in rates] == pytest.approx([rates[0].mean] * 3)
    assert all(0.3 < one.low < one.mean < one.high < 0.7 for one in rates)


def test_redrawn_games_that_lose_one_effect_keep_the_others():
    # without the one lost turn of three, which a redraw leaves out in a third of cases, a header wins all games
    kept, names, _ = usable(with_headers([1.0, 1.0, 0.0]), "base", ["length", "headers"])
    found = style_controlled(kept, "base", ["all"] * 80, 200, 0)
    assert names == ["length", "headers"]
    assert (found.effect(1).low, found.effect(1).high) == (None, None)
    assert 0.3 < found.rate("A").low < found.rate("A").high < 0.7
    assert found.effect(0).low is not None


def test_two_features_that_always_agree_are_no_estimate():
    one = longer_wins()[0]
    twice = Games(one.first, one.second, one.share, one.weight, one.cluster, np.hstack([one.features, -one.features]))
    assert style_controlled(twice, "base", ["all"] * 200, 200, 0).why == ALIKE
    assert fitted(games({"A": [1] * 12, "B": [1, 0] * 6})).why == DECIDED


# --- Coverage -------------------------------------------------------------------------------------------------------

ABILITY = np.linspace(-0.6, 0.9, 3)


def tables(count, questions, generator):
    """Points (tables, 3 models, questions) of two games each, and a style feature that moves them.

    Questions differ by category and in themselves, for all models alike, and each pair of games shares its answers.
    """
    category = np.repeat(np.linspace(-0.8, 0.8, 8), questions // 8)
    common, own = generator.normal(0, 1, (count, 1, questions)), generator.normal(0, 0.7, (count, 3, questions))
    style = generator.normal(0.5, 1, (count, 3, questions))
    odds = ABILITY[:, None] + category + common + own + 0.6 * style
    return (generator.random((count, 3, questions, 2)) < expit(odds)[..., None]).mean(axis=-1), style


def games_of(share, style, *, with_style):
    models, questions = share.shape
    return Games(
        first=[f"m{model}" for model in range(models) for _ in range(questions)],
        second=["base"] * share.size,
        share=share.ravel(),
        weight=np.full(share.size, 2.0),
        cluster=np.tile(np.arange(questions), models),
        features=style.reshape(-1, 1) if with_style else np.zeros((share.size, 0)),
    )


def coverage(count, draws, *, with_style, questions=80):
    """Share of tables whose intervals hold the truth: of each model's strength, and of the style's effect."""
    generator = np.random.default_rng(7)
    share, style = (one[0] for one in tables(1, 200_000, generator))
    _, design = games_of(share, style, with_style=with_style).design("base")
    truth = coefficients(design, share.ravel(), np.ones((1, share.size)))[0]
    strata = [str(place // (questions // 8)) for place in range(questions)]
    held = []
    for number, (one, other) in enumerate(zip(*tables(count, questions, generator), strict=True)):
        found = fit(games_of(one, other, with_style=with_style), "base", strata, draws, number)
        held.append((found.low <= truth) & (truth <= found.high))
    return np.mean(held)


@pytest.mark.parametrize("with_style", [False, True])
def test_intervals_of_strengths_and_style_hold_the_truth(with_style):
    # 3 or 4 numbers of 120 tables, which depend on each other: the share is sure to about 0.03
    assert coverage(120, 200, with_style=with_style) == pytest.approx(0.95, abs=0.03)


@pytest.mark.long
@pytest.mark.parametrize("questions", [80, 400])
@pytest.mark.parametrize("with_style", [False, True])
def test_intervals_of_strengths_and_style_hold_the_truth_in_94_to_96_percent_of_many_tables(with_style, questions):
    # sure to about 0.006; an interval of percentiles holds it in 0.941 of tables with 80 questions
    count = 3000 if questions == 80 else 1500
    assert coverage(count, 500, with_style=with_style, questions=questions) == pytest.approx(0.95, abs=0.01)


def length_coverage(count, draws, questions=80):
    """The same of one model's strength at equal length, where length moves the judge as the formula says."""
    generator = np.random.default_rng(7)

    def made(number):
        gaps = generator.normal(100, 250, (number, questions))
        category = np.repeat(np.linspace(-0.8, 0.8, 8), questions // 8)
        odds = 0.3 + category + generator.normal(0, 1, (number, questions)) + 1.5 * np.tanh(gaps / 250)
        return (generator.random((number, questions, 2)) < expit(odds)[..., None]).mean(axis=-1), gaps

    share, gaps = made(4000)
    design = np.stack([np.ones(share.size), np.tanh(gaps.ravel() / 250)], axis=1)
    truth = expit(coefficients(design, share.ravel(), np.ones((1, share.size)))[0][0])
    strata = [str(place // (questions // 8)) for place in range(questions)]
    held = []
    for number, (one, gap) in enumerate(zip(*made(count), strict=True)):
        rows = games({"A": one}, 2.0)
        rate = length_controlled(rows, "base", gap, strata, draws, number).rate("A")
        held.append(rate.low <= truth <= rate.high)
    return np.mean(held)


def test_intervals_of_rates_at_equal_length_hold_the_truth():
    assert length_coverage(300, 200) == pytest.approx(0.95, abs=0.03)  # sure to 0.025


@pytest.mark.long
def test_intervals_of_rates_at_equal_length_hold_the_truth_in_94_to_96_percent_of_many_tables():
    assert length_coverage(6000, 500) == pytest.approx(0.95, abs=0.01)
