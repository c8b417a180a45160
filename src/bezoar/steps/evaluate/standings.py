"""Points of games by question: win rates, paired differences, seats, and the rows of a Bradley-Terry fit."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bezoar.steps.data.rows import QuestionRow
from bezoar.steps.evaluate.bradley_terry import Games
from bezoar.steps.evaluate.pairwise import GameRow
from bezoar.steps.evaluate.stats import Array, Estimate, stratified_mean, weighted_mean
from bezoar.steps.evaluate.style import Feature, difference

FEWEST_DECIDED = 11  # games: fewer that name one seat may be chance, 2 ** -10
Points = tuple[Array, Array]  # (questions,): sums and weights of the points


def points_of(
    rows: Iterable[GameRow],
    questions: Sequence[QuestionRow],
    strong: float = 1.0,
    *,
    strict: bool = True,
    missing: float | None = None,
) -> Points:
    """The sum of a model's points of each question, and their weights.

    Args:
        rows: The verdicts on one model.
        questions: The questions, in the order of the result.
        strong: How many games a much better answer counts as.
        strict: An empty answer loses whatever the judge says; otherwise it has the judge's points.
        missing: The points of a game without a verdict; None leaves it out.

    Raises:
        ValueError: A game was judged twice, or is of an unknown question.
    """
    place = {question.question_id: number for number, question in enumerate(questions)}
    sums, weights = np.zeros(len(questions)), np.zeros(len(questions))
    seen = set()
    for row in rows:
        key = (row.question_id, row.turn, row.game, row.sample_index)
        if key in seen or row.question_id not in place:
            raise ValueError(
                f"question {row.question_id}, turn {row.turn}, game {row.game}: judged twice, or not a question of "
                "this evaluation"
            )
        seen.add(key)
        points = row.points if strict else row.score
        points = missing if points is None else points
        if points is not None:
            sums[place[row.question_id]] += points * row.weight(strong)
            weights[place[row.question_id]] += row.weight(strong)
    return sums, weights


def win_rate(
    points: Points, strata: list[str], draws: int, seed: int, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate | None:
    """The share of points, with its interval for other questions; None without a point.

    It equals the chance that Bradley-Terry gives a player with games against one other only. Unlike there, a player
    that wins all games has an interval: the scale bounds it.
    """
    sums, weights = points
    there = weights > 0
    if not there.any():
        return None
    names = [strata[place] for place in np.flatnonzero(there)]
    return weighted_mean(sums[there], weights[there], names, draws, seed, bounds)


def paired(one: Points, other: Points) -> Array | None:
    """Differences (questions, 1) of two models' win rates; NaN where one has no points; None if none is left.

    Their mean is the difference of both rates over the questions left. Where weights differ between questions, each
    value is the question's influence on that difference, so that the spread of the values is right.
    """
    there = (one[1] > 0) & (other[1] > 0)
    if not there.any():
        return None
    found = np.full(len(there), np.nan)
    rates = [(sums[there].sum() / weights[there].sum()) for sums, weights in (one, other)]
    parts = [
        rate + there.sum() * (sums[there] - rate * weights[there]) / weights[there].sum()
        for rate, (sums, weights) in zip(rates, (one, other), strict=True)
    ]
    found[there] = parts[0] - parts[1]
    return found[:, None]


def games_of(
    verdicts: Mapping[str, list[GameRow]],
    questions: Sequence[QuestionRow],
    baseline: str,
    strong: float,
    features: Sequence[Feature],
) -> Games:
    """The games of all models against the baseline: both games and all repeats of a turn in one row."""
    place = {question.question_id: number for number, question in enumerate(questions)}
    sums: dict[tuple[str, int, int], list[float]] = {}
    styles: dict[tuple[str, int, int], list[float]] = {}
    for model, rows in verdicts.items():
        for row in rows:
            if row.points is None:
                continue
            key = (model, place[row.question_id], row.turn)
            total = sums.setdefault(key, [0.0, 0.0])
            total[0] += row.points * row.weight(strong)
            total[1] += row.weight(strong)
            styles[key] = [difference(one, row.model_counts, row.baseline_counts) for one in features]
    weight = np.array([total[1] for total in sums.values()])
    return Games(
        first=[model for model, _, _ in sums],
        second=[baseline] * len(sums),
        share=np.array([total[0] for total in sums.values()]) / weight,
        weight=weight,
        cluster=np.array([number for _, number, _ in sums], dtype=np.intp),
        features=np.array(list(styles.values())).reshape(len(sums), len(features)),
    )


def length_gaps(rows: Iterable[GameRow], questions: Sequence[QuestionRow]) -> Array:
    """How many characters a model's answers have more than the baseline's, in the order of `games_of`."""
    place = {question.question_id: number for number, question in enumerate(questions)}
    found = {
        (place[row.question_id], row.turn): row.model_counts["length"] - row.baseline_counts["length"]
        for row in rows
        if row.points is not None
    }
    return np.array(list(found.values()), dtype=float)


def pairs_of(rows: Iterable[GameRow]) -> list[tuple[GameRow, GameRow]]:
    """Both games of each turn and repeat, where both have a verdict."""
    found: dict[tuple[str, int, int, int], dict[int, GameRow]] = {}
    for row in rows:
        if row.score is not None:
            found.setdefault((row.model, row.question_id, row.turn, row.sample_index), {})[row.game] = row
    return [(games[1], games[2]) for games in found.values() if len(games) == 2]


def flips(one: GameRow, other: GameRow) -> bool:
    """Whether both games of a turn name the same seat: the verdict moves to the other answer when the seats swap."""
    return one.first_seat == other.first_seat != 0.5


def flipped(rows: Sequence[GameRow], questions: Sequence[QuestionRow], draws: int, seed: int) -> Estimate | None:
    """The share of turns whose verdict flips with the seats; None if no turn has both verdicts."""
    return _by_question(
        [(one.question_id, float(flips(one, two))) for one, two in pairs_of(rows)], questions, draws, seed
    )


def first_seat(rows: Sequence[GameRow], questions: Sequence[QuestionRow], draws: int, seed: int) -> Estimate | None:
    """Seat A's share of the points of turns with both verdicts: one half for a judge that seats don't matter to."""
    values = [(row.question_id, row.first_seat or 0.0) for pair in pairs_of(rows) for row in pair]
    return _by_question(values, questions, draws, seed)


def seat_of_equals(rows: Sequence[GameRow], questions: Sequence[QuestionRow], draws: int, seed: int) -> Estimate | None:
    """Seat A's share of the points between equal answers; None without a verdict.

    The questions' own shares bound the interval, since a pilot's few equal verdicts show no spread.
    """
    values = [(row.question_id, row.first_seat) for row in rows if row.first_seat is not None]
    by_question: dict[int, list[float]] = {}
    for number, value in values:
        by_question.setdefault(number, []).append(value)
    shares = [sum(one) / len(one) for one in by_question.values()] or [0.5]
    return _by_question(values, questions, draws, seed, (min(shares), max(shares)))


def names_one_seat(rows: Iterable[GameRow]) -> str | None:
    """`first` or `second` if all games with a winner name that seat, so that no answer matters; else None."""
    decided = [row.first_seat for row in rows if row.score not in (None, 0.5)]
    if len(set(decided)) != 1 or len(decided) < FEWEST_DECIDED:
        return None
    return "first" if decided[0] == 1.0 else "second"


def fastchat(rows: Iterable[GameRow]) -> dict[str, float | int | None]:
    """FastChat's table of a model: a turn is won if both games are, lost if both are, else a tie.

    `win_rate` is its adjusted rate, (wins + ties / 2) / turns. Turns without both verdicts don't count.
    """
    found = [one.score for one, two in pairs_of(rows) if one.score == two.score]
    turns = len(pairs_of(rows))
    wins, losses = found.count(1.0), found.count(0.0)
    ties = turns - wins - losses
    return {"wins": wins, "losses": losses, "ties": ties, "win_rate": (wins + ties / 2) / turns if turns else None}


def _by_question(
    values: list[tuple[int, float]],
    questions: Sequence[QuestionRow],
    draws: int,
    seed: int,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate | None:
    """The mean of values, whose interval redraws questions whole."""
    if not values:
        return None
    by_question: dict[int, list[float]] = {}
    for number, value in values:
        by_question.setdefault(number, []).append(value)
    width = max(map(len, by_question.values()))
    kept = [question for question in questions if question.question_id in by_question]
    cells = np.array([_padded(by_question[question.question_id], width) for question in kept])
    return stratified_mean(cells, [question.category for question in kept], draws, seed, bounds)


def _padded(values: list[float], width: int) -> list[float]:
    return [*values, *[np.nan] * (width - len(values))]
