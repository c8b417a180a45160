"""Agreement of two raters on a stratified sample: a filter and a person, or two people.

Every figure is one of the whole population: each stratum counts with all of its rows, however many were labelled.
Intervals are posterior intervals of the strata's shares under Jeffreys' prior, with the rows that nobody labelled drawn
from what they predict; so they also hold where all labels agree, where a bootstrap has no spread.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
DRAWS = 10_000


@dataclass(frozen=True)
class Figure:
    """An estimate with its 95 % interval; None where it isn't defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Cells:
    """One stratum: its rows, and how many labelled ones are in each of the four cells of the table.

    Attributes:
        rows: Of the population.
        counts: Labelled rows: both accept, the first alone, the second alone, neither.
        possible: The cells that a row of this stratum can be in: of a filter's stratum, two.
    """

    rows: int
    counts: tuple[int, int, int, int]
    possible: tuple[int, ...] = (0, 1, 2, 3)

    @property
    def labelled(self) -> int:
        """Labelled rows."""
        return sum(self.counts)


def agreement(tables: Array) -> Array:
    """Share of rows on which both agree."""
    return np.asarray(tables[..., 0] + tables[..., 3])


def kappa(tables: Array) -> Array:
    """Cohen's kappa: agreement beyond what the two acceptance rates give by chance.

    Source: Cohen 1960.
    """
    first, second = _rates(tables)
    return _beyond(agreement(tables), first * second + (1 - first) * (1 - second))


def ac1(tables: Array) -> Array:
    """Gwet's AC1, which stays meaningful where nearly all rows are accepted, or nearly none.

    Source: Gwet 2008, doi:10.1348/000711006X126600.
    """
    first, second = _rates(tables)
    middle = (first + second) / 2
    return _beyond(agreement(tables), 2 * middle * (1 - middle))


def precision(tables: Array) -> Array:
    """Of the rows that the first accepts, the share that the second accepts."""
    return _ratio(tables[..., 0], tables[..., 0] + tables[..., 1])


def recall(tables: Array) -> Array:
    """Of the rows that the second accepts, the share that the first accepts."""
    return _ratio(tables[..., 0], tables[..., 0] + tables[..., 2])


FIGURES: dict[str, Callable[[Array], Array]] = {
    "agreement": agreement,
    "kappa": kappa,
    "ac1": ac1,
    "precision": precision,
    "recall": recall,
}


def figures(strata: Sequence[Cells], seed: int) -> dict[str, Figure]:
    """Each figure with its interval."""
    strata = pooled(strata)
    best, drawn = population(strata), draws(strata, seed)
    return {name: _figure(of, best, drawn) for name, of in FIGURES.items()}


def population(strata: Sequence[Cells]) -> Array:
    """The shares of the four cells in the population, as far as labels tell."""
    total = sum(one.rows for one in strata)
    parts = [one.rows / total * np.array(one.counts) / one.labelled for one in strata]
    return np.asarray(np.sum(parts, axis=0))


def draws(strata: Sequence[Cells], seed: int) -> Array:
    """(draws, 4): the same shares as they may be, given the labels.

    Strata of one verdict share Jeffreys' prior of half a row a cell by their sizes: with half a row in each of many
    small strata, the prior would outweigh the labels.
    """
    generator, total = np.random.default_rng(seed), sum(one.rows for one in strata)
    sizes = {
        cells: sum(one.rows for one in strata if one.possible == cells) for cells in {one.possible for one in strata}
    }
    found = np.zeros((DRAWS, 4))
    for one in strata:
        counts = np.array([one.counts[cell] for cell in one.possible], dtype=float)
        chances = generator.dirichlet(counts + 0.5 * one.rows / sizes[one.possible], size=DRAWS)
        rest = generator.multinomial(one.rows - one.labelled, chances)
        found[:, list(one.possible)] += (counts + rest) / total
    return found


def pooled(strata: Sequence[Cells]) -> list[Cells]:
    """The strata with labels; rows of the others count with those that can be in the same cells.

    Raises:
        ValueError: There are none with labels.
    """
    found = []
    for one in strata:
        alike = [other for other in strata if other.possible == one.possible]
        labelled = sum(other.rows for other in alike if other.labelled)
        if not labelled:
            raise ValueError("no labels of rows with one of the verdicts")
        if one.labelled:
            rows = round(one.rows * sum(other.rows for other in alike) / labelled)
            found.append(Cells(rows, one.counts, one.possible))
    return found


def _figure(of: Callable[[Array], Array], best: Array, drawn: Array) -> Figure:
    value, values = float(of(best)), of(drawn)
    values = values[~np.isnan(values)]
    if np.isnan(value) or not len(values):
        return Figure(None, None, None)
    low, high = np.percentile(values, [2.5, 97.5])
    return Figure(value, min(value, float(low)), max(value, float(high)))


def _rates(tables: Array) -> tuple[Array, Array]:
    """How often each accepts."""
    return tables[..., 0] + tables[..., 1], tables[..., 0] + tables[..., 2]


def _beyond(found: Array, chance: Array) -> Array:
    return _ratio(found - chance, 1 - chance)


def _ratio(part: Array, of: Array) -> Array:
    """A ratio; NaN where it isn't defined."""
    whole = np.asarray(of, dtype=float)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 1e-12)
