"""Flows of rows from step to step as a Sankey diagram; rows that are left out end in a node for each reason."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from bezoar.page.charts import SERIES, Margins, fitting, svg
from bezoar.page.html import counted

WIDTH, TALL = 360, 170  # pixels between the first and the last column; of the largest column
NODE, SPACE, LINE, LABEL = 9, 7, 15, 165  # width, distance, height of a label, and its width
POINTS = 16  # of a link's edge


class Node(NamedTuple):
    """Rows at a step, or those that a step left out for a reason.

    Attributes:
        column: From 0.
        lost: Whether these rows were left out.
    """

    name: str
    column: int
    rows: int
    lost: bool = False


class Link(NamedTuple):
    """Rows that go from a node to another one, by their places in the list of nodes."""

    source: int
    target: int
    rows: int


class Box(NamedTuple):
    """Where a node is, in pixels."""

    x: float
    top: float
    height: float


def drawing(nodes: Sequence[Node], links: Sequence[Link], label: str) -> Markup:
    """The diagram; `label` says what it shows."""
    import altair as alt  # slow to import

    boxes = layout(nodes)
    deep = max((box.top + max(box.height, LINE) for box in boxes), default=TALL)
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, WIDTH + NODE], nice=False), axis=None)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, deep], reverse=True, nice=False), axis=None)
    links_of = alt.Chart(alt.Data(values=list(_ribbons(nodes, links, boxes)))).mark_area(opacity=0.75)
    ribbons = links_of.encode(x=x, y=y, y2="y2:Q", detail="link:N", color=_colour(alt, "-soft"), description="text:N")
    values = [_values(node, box) for node, box in zip(nodes, boxes, strict=True)]
    base = alt.Chart(alt.Data(values=values))
    rects = base.mark_rect().encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=_colour(alt), description="text:N")
    texts = base.mark_text(align="left", baseline="middle", dx=5, aria=False).encode(
        x="x2:Q", y="middle:Q", text="label:N"
    )
    chart = (
        alt.layer(ribbons, rects, texts).resolve_scale(color="independent").properties(width=WIDTH + NODE, height=deep)
    )
    return svg(chart, label, Margins(6, LABEL, 8, 2), "broad")


def layout(nodes: Sequence[Node]) -> list[Box]:
    """Where nodes are: rows that go on at the top of a column, those left out below them; room for each label."""
    columns = max((node.column for node in nodes), default=0)
    totals = [sum(node.rows for node in nodes if node.column == column) for column in range(columns + 1)]
    scale = TALL / max(1, *totals)
    below = [0.0] * (columns + 1)
    boxes = []
    for node in nodes:
        height = max(1.5, node.rows * scale)
        boxes.append(Box(WIDTH * node.column / max(1, columns), below[node.column], height))
        below[node.column] += max(height + SPACE, LINE)
    return boxes


def _ribbons(nodes: Sequence[Node], links: Sequence[Link], boxes: Sequence[Box]) -> Iterator[dict[str, Any]]:
    """Points of the upper and the lower edge of each link: it leaves one box below the links before it."""
    left, right = [0.0] * len(nodes), [0.0] * len(nodes)
    for number, link in enumerate(links):
        source, target = nodes[link.source], nodes[link.target]
        start, end = boxes[link.source], boxes[link.target]
        thick = (
            start.height * link.rows / max(1, source.rows),
            end.height * link.rows / max(1, target.rows),
        )
        tops = (start.top + left[link.source], end.top + right[link.target])
        left[link.source] += thick[0]
        right[link.target] += thick[1]
        text = f"{counted(link.rows, 'row')}: {source.name} to {target.name}"
        for point in range(POINTS + 1):
            share = point / POINTS
            eased = share * share * (3 - 2 * share)
            top = tops[0] + (tops[1] - tops[0]) * eased
            height = max(1.0, thick[0] + (thick[1] - thick[0]) * eased)
            x = start.x + NODE + (end.x - start.x - NODE) * share
            place = {"x": round(x, 2), "y": round(top, 2), "y2": round(top + height, 2)}
            yield {**place, "link": number, "kind": _kind(target), "text": text}


def _values(node: Node, box: Box) -> dict[str, Any]:
    place = {"x": box.x, "x2": box.x + NODE, "y": box.top, "y2": box.top + box.height}
    text = f"{node.name}: {counted(node.rows, 'row')}"
    label = fitting(f"{node.rows:,} {node.name}", LABEL)
    return {**place, "middle": box.top + box.height / 2, "kind": _kind(node), "text": text, "label": label}


def _kind(node: Node) -> str:
    return "left out" if node.lost else "kept"


def _colour(alt: Any, tone: str = "") -> Any:
    colours = [colour.replace(")", f"{tone})") for colour in SERIES[:2]]
    return alt.Color("kind:N", scale=alt.Scale(domain=["kept", "left out"], range=colours))


def steps(ledgers: Sequence[tuple[str, int, dict[str, int]]], first: str) -> tuple[list[Node], list[Link]]:
    """Nodes and links of steps in a row.

    Args:
        ledgers: By step, what its rows are called, their number, and those that it left out by reason.
        first: What the rows are called that go into the first step.
    """
    _, rows, reasons = ledgers[0]
    nodes, links = [Node(first, 0, rows + sum(reasons.values()))], []
    before = 0
    for column, (name, rows, reasons) in enumerate(ledgers, start=1):
        kept = len(nodes)
        nodes += [Node(name, column, rows), *(Node(one, column, count, lost=True) for one, count in reasons.items())]
        links += [Link(before, place, nodes[place].rows) for place in range(kept, len(nodes))]
        before = kept
    return nodes, links
