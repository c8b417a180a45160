"""The graph of blocks with what a run did with their jobs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from bezoar.cache.job import Step
from bezoar.page.block import Page
from bezoar.page.charts import LETTER, fitting
from bezoar.page.html import Section, render
from bezoar.page.run.facts import STATES, Job
from bezoar.page.sections.graph import SCROLLS, TALL, WIDE, Name, Place, edges, layout

# By rule, the kind of block that its jobs belong to; those of other rules belong to the evaluation with their name.
KINDS = {
    "source": "source",
    "skills": "scheme",
    "shard": "scheme",
    "generate": "scheme",
    "filter": "filter",
    "quota": "filter",
    "baseline": "filter",
    "score": "scores",
    "pairs": "pairs",
    "select": "selection",
    "mix": "mix",
    "certificate": "mix",
    "certified": "mix",
    "clearance": "mix",
    "dataset": "mix",
    "base": "base model",
    "train": "stage",
    "merge": "stage",
}
SMALL = 5.0  # pixels of a letter of a box's second line


class Box(NamedTuple):
    """A block as it is drawn.

    Attributes:
        state: The first of STATES that a job of it has; empty without a job.
        below: Its kind, and the states of its jobs, as far as they fit.
        text: All of them.
    """

    x: float
    y: float
    label: str
    state: str
    below: str
    text: str


def section(page: Page, jobs: Iterable[Job]) -> Section | None:
    """The graph; None for a recipe whose blocks have nothing to do with each other."""
    arrows = list(dict.fromkeys(edges(page)))
    if not arrows:
        return None
    found = states(page, jobs)
    places, ways = layout(arrows)
    boxes = [_box(name, place, found.get(name, Counter())) for name, place in places.items()]
    right = max(place.x for way in [list(places.values()), *ways] for place in way) + WIDE / 2
    deep = max(place.y for place in places.values()) + TALL / 2
    size: dict[str, Any] = {
        "kind": "graph" if right > SCROLLS else "",
        "width": round(right + 8),
        "height": round(deep + 8),
        "wide": WIDE,
        "tall": TALL,
    }
    drawn = [_path(way) for way in ways]
    shown = [state for state in STATES if any(box.state == state for box in boxes)]
    return Section("graph", "The graph", render("run_graph.html.j2", boxes=boxes, ways=drawn, states=shown, **size))


def states(page: Page, jobs: Iterable[Job]) -> dict[Name, Counter[str]]:
    """By block, its jobs by state."""
    found: dict[Name, Counter[str]] = {}
    for job in jobs:
        for name in _blocks(page, job.step):
            found.setdefault(name, Counter())[job.state] += 1
    return found


def words(counts: Counter[str]) -> str:
    """Jobs by state, in words."""
    return ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])


def _blocks(page: Page, step: Step) -> Iterator[Name]:
    if not step.block:
        return
    name, kind = step.block[0], KINDS.get(step.rule)
    if kind == "filter" and page.filters.get(name) == name:
        yield "scheme", name  # the graph has one box for both
    elif kind:
        yield kind, name
    elif name in page.evals:
        yield "evaluation", name
    else:
        yield from (("evaluation", one) for one, block in page.evals.items() if block.answers == name)


def _box(name: Name, place: Place, counts: Counter[str]) -> Box:
    kind, label = name
    said = words(counts) or "no jobs"
    state = next((one for one in STATES if counts[one]), "")
    below = fitting(f"{kind} \u00b7 {said}", WIDE * LETTER / SMALL)
    return Box(round(place.x, 1), round(place.y, 1), fitting(label, WIDE), state, below, f"{kind} {label}: {said}")


def _path(way: Sequence[Place]) -> str:
    """An arrow as a path of SVG: it leaves a box downwards and enters the next one from above."""
    first, last = way[0], way[-1]
    points = [Place(first.x, first.y + TALL / 2), *way[1:-1], Place(last.x, last.y - TALL / 2 - 4)]
    parts = [f"M{points[0].x:.1f} {points[0].y:.1f}"]
    for one, other in pairwise(points):
        middle = (one.y + other.y) / 2
        parts.append(f"C{one.x:.1f} {middle:.1f} {other.x:.1f} {middle:.1f} {other.x:.1f} {other.y:.1f}")
    return " ".join(parts)
