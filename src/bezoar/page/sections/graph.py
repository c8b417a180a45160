"""The graph: which block is made from which, from sources to evaluations."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from bezoar.page.block import Page, PagePart
from bezoar.page.charts import INK, MUTED, SERIES, Margins, fitting, svg
from bezoar.page.html import Section, render
from bezoar.page.inputs import Inputs

WIDE, TALL = 122, 34  # pixels of a box
SCROLLS = 832  # pixels: a wider graph is drawn as wide as that at least, and scrolls where there is less room
COLOURS = {"data": SERIES[0], "model": SERIES[1], "evaluation": SERIES[2]}
GROUPS = {
    "source": "data",
    "scheme": "data",
    "filter": "data",
    "scores": "data",
    "pairs": "data",
    "selection": "data",
    "mix": "data",
    "base model": "model",
    "stage": "model",
    "evaluation": "evaluation",
}
PARTS = {"source": "source", "selected": "selection"}  # by kind of a part, the kind of its block

Name = tuple[str, str]  # kind and name of a block


class Place(NamedTuple):
    """Where a block is: the middle of its box, in pixels."""

    x: float
    y: float


def section(inputs: Inputs) -> Section | None:
    """The graph; None for a recipe whose blocks have nothing to do with each other."""
    arrows = list(dict.fromkeys(edges(inputs.page)))
    if not arrows:
        return None
    return Section("graph", "The graph", render("graph.html.j2", drawing=_drawing(arrows), arrows=_words(arrows)))


def edges(page: Page) -> Iterator[tuple[Name, Name]]:
    """Each block with a block that is made from it."""
    checkpoints: dict[str, Name] = {name: ("base model", name) for name in page.models}
    checkpoints |= {name: ("stage", name) for name in page.stages}
    yield from ((("source", one), ("base model", name)) for name, model in page.models.items() for one in model.sources)
    for name, scheme in page.schemes.items():
        yield ("scheme" if name in page.follows else "source", scheme.seeds), ("scheme", name)
        if scheme.weights:
            yield checkpoints[scheme.weights], ("scheme", name)
    yield from ((("scheme", scheme), ("filter", name)) for name, scheme in page.filters.items() if name != scheme)
    yield from ((("scheme", scheme), ("scores", name)) for name, scheme in page.scores.items())
    kinds = {"schemes": "scheme", "scores": "scores"}
    for name, rows in page.pairs.items():
        yield from (((kinds[section], one), ("pairs", name)) for section, one in rows)
    kept = {name: ("scheme" if name == scheme else "filter", name) for name, scheme in page.filters.items()}

    def source_of(part: PagePart) -> Name:
        return kept[part.name] if part.kind == "scheme" else (PARTS[part.kind], part.name)

    yield from ((source_of(part), ("selection", name)) for name, part in page.selections.items())
    for name, parts in page.mixes.items():
        yield from ((source_of(part), ("mix", name)) for part in parts)
    for name, stage in page.stages.items():
        yield checkpoints[stage.init_from], ("stage", name)
        yield ("mix", stage.mix), ("stage", name)
    yield from (
        (checkpoints[one], ("evaluation", name)) for name, block in page.evals.items() for one in block.checkpoints
    )


def layout(arrows: Sequence[tuple[Name, Name]]) -> tuple[dict[Name, Place], list[list[Place]]]:
    """Places of the blocks, and the points of each arrow, by Sugiyama's method; parts of the graph side by side."""
    from grandalf.graphs import Graph
    from grandalf.layouts import SugiyamaLayout

    vertices, lines = _numbered(arrows)
    left = 0.0
    for part in Graph(list(vertices.values()), lines).C:
        sugiyama = SugiyamaLayout(part)
        sugiyama.xspace, sugiyama.yspace, sugiyama.dw = 12, 34, 6  # arrows that pass a row of boxes are narrow
        sugiyama.init_all()
        sugiyama.draw()
        left = _shift(list(part.sV), list(part.sE), left)
    places = {name: Place(*vertex.view.xy) for name, vertex in vertices.items()}
    return places, [[Place(*point) for point in line.view.points] for line in lines]


def _numbered(arrows: Sequence[tuple[Name, Name]]) -> tuple[dict[Name, Any], list[Any]]:
    """Vertices and edges of grandalf whose hashes are numbers: by default they are addresses, and a layout varies."""
    from grandalf.graphs import Edge, Vertex

    class Numbered:
        number: int
        view: _View

        def __hash__(self) -> int:
            return self.number

    class Box(Numbered, Vertex):
        pass

    class Arrow(Numbered, Edge):
        pass

    vertices = {name: Box(name) for name in dict.fromkeys(name for arrow in arrows for name in arrow)}
    lines = [Arrow(vertices[source], vertices[target]) for source, target in arrows]
    for number, one in enumerate([*vertices.values(), *lines]):
        one.number, one.view = number, _View()
    return vertices, lines


class _View:
    """A box, or the way of an arrow, as grandalf asks for it."""

    def __init__(self) -> None:
        self.w, self.h = WIDE, TALL
        self.xy = (0.0, 0.0)
        self.points: list[tuple[float, float]] = []

    def setpath(self, points: list[tuple[float, float]]) -> None:
        """Take the points."""
        self.points = list(points)


def _shift(vertices: list[Any], lines: list[Any], left: float) -> float:
    """Move a part of the graph so that it begins at a place; returns where it ends."""
    points = [one.view.xy for one in vertices] + [point for one in lines for point in one.view.points]
    away = left - min(x for x, _ in points) + WIDE / 2
    for one in vertices:
        one.view.xy = (one.view.xy[0] + away, one.view.xy[1])
    for line in lines:
        line.view.points = [(x + away, y) for x, y in line.view.points]
    return max(x for x, _ in points) + away + WIDE


def _drawing(arrows: Sequence[tuple[Name, Name]]) -> Markup:
    import altair as alt  # slow to import

    places, ways = layout(arrows)
    right = max(place.x for way in [list(places.values()), *ways] for place in way) + WIDE / 2
    deep = max(place.y for place in places.values()) + TALL / 2
    scales = {"x": alt.Scale(domain=[0, right], nice=False), "y": alt.Scale(domain=[0, deep], reverse=True, nice=False)}
    x, y = alt.X("x:Q", scale=scales["x"], axis=None), alt.Y("y:Q", scale=scales["y"], axis=None)
    lines = alt.Chart(alt.Data(values=list(_lines(ways)))).encode(x=x, y=y, detail="way:N", order="order:Q")
    tips = alt.Chart(alt.Data(values=[{"x": way[-1].x, "y": way[-1].y - TALL / 2 - 3} for way in ways]))
    tips = tips.encode(x=x, y=y)
    boxes = alt.Chart(alt.Data(values=[_box(name, place) for name, place in places.items()])).encode(x=x, y=y)
    chart = alt.layer(
        lines.mark_line(interpolate="basis", color=MUTED, opacity=0.6, strokeWidth=1.25, aria=False),
        tips.encode(x=x, y=y).mark_point(
            shape="triangle-down", filled=True, size=34, color=MUTED, opacity=1, aria=False
        ),
        _rects(alt, boxes),
        boxes.mark_text(dy=-6, fontSize=11, color=INK, aria=False).encode(text="label:N"),
        boxes.mark_text(dy=8, fontSize=9, color=MUTED, aria=False).encode(text="kind:N"),
    )
    sized = chart.properties(width=right, height=deep)
    return svg(sized, "The graph of blocks", Margins(4, 4, 4, 4), "graph" if right > SCROLLS else "")


def _rects(alt: Any, boxes: Any) -> Any:
    colour = alt.Color("group:N", scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())))
    rects = boxes.mark_rect(
        width=WIDE, height=TALL, fill="var(--back)", cornerRadius=6, strokeWidth=1.5, opacity=1, fillOpacity=1
    )
    return rects.encode(stroke=colour, description="text:N")


def _lines(ways: list[list[Place]]) -> Iterator[dict[str, Any]]:
    """Points of the arrows, which leave a box downwards and enter the next one from above."""
    for number, way in enumerate(ways):
        first, last = way[0], way[-1]
        starts = [Place(first.x, first.y + TALL / 2 + away) for away in (0, 16)]
        ends = [Place(last.x, last.y - TALL / 2 - away) for away in (20, 4)]
        for order, one in enumerate([*starts, *way[1:-1], *ends]):
            yield {"x": one.x, "y": one.y, "way": number, "order": order}


def _box(name: Name, place: Place) -> dict[str, Any]:
    kind, label = name
    shown = {"kind": kind, "group": GROUPS[kind], "label": fitting(label, WIDE), "text": f"{kind} {label}"}
    return {"x": place.x, "y": place.y, **shown}


def _words(arrows: Sequence[tuple[Name, Name]]) -> dict[Name, list[Name]]:
    """By block, the blocks that it is made from."""
    found: dict[Name, list[Name]] = {}
    for source, target in arrows:
        found.setdefault(target, []).append(source)
    return found
