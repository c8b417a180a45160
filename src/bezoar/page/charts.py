"""Charts as SVG in the page: drawn here, so that the page needs no script to show them.

Colours are CSS variables, so that one drawing fits the light and the dark theme. Sizes and margins are fixed: what is
measured by fonts would differ between machines.
"""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from bezoar.page.html import words

if TYPE_CHECKING:
    import altair as alt

SERIES = ("var(--series-1)", "var(--series-2)", "var(--series-3)", "var(--series-4)")
MUTED, GRID, INK = "var(--muted)", "var(--grid)", "var(--ink)"
LETTER = 6.7  # pixels of a letter of a label, on average
VEGA_LITE = "6.4"


class Margins(NamedTuple):
    """Pixels around a chart."""

    top: int = 8
    right: int = 14
    bottom: int = 36
    left: int = 44


def svg(chart: "alt.TopLevelMixin", label: str, margins: Margins, kind: str = "") -> Markup:
    """A chart of Altair as SVG.

    Args:
        chart: With width and height.
        label: What it shows, for people who can't see it.
        margins: Around it.
        kind: Its class in the style sheet.
    """
    import vl_convert  # slow to import

    fixed = {"autosize": {"type": "none"}, "padding": margins._asdict(), "config": _config(margins)}
    drawn = vl_convert.vegalite_to_svg(_shown(chart.to_dict()) | fixed, vl_version=VEGA_LITE)
    head, _, rest = drawn.partition(">")
    size = head[head.index('width="') :]
    start = Markup('<svg xmlns="http://www.w3.org/2000/svg" class="chart {}" role="img" aria-label="{}" ')
    return start.format(kind, words(label)) + Markup(f"{size}>{rest}")  # Vega escapes what it draws


def fitting(text: str, width: float) -> str:
    """A label that is cut if it is wider than so many pixels."""
    text, most = words(text), max(4, int(width / LETTER))
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def labels_of(names: Iterable[str]) -> str:
    """The labels of an axis whose places are numbers, as an expression of Vega."""
    return f"{json.dumps(list(names))}[datum.value]"


def _shown(value: Any) -> Any:
    """A chart with escapes in all of its texts: Vega takes any characters, and an SVG can't contain some of them."""
    if isinstance(value, dict):
        return {key: _shown(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return words(value) if isinstance(value, str) else value


def _config(margins: Margins) -> dict[str, Any]:
    axis = {
        "domainColor": GRID,
        "gridColor": GRID,
        "labelColor": MUTED,
        "labelFlush": False,
        "labelFontSize": 11,
        "labelLimit": 0,
        "labelOverlap": False,
        "labelPadding": 6,
        "tickCount": 4,
        "ticks": False,
        "title": None,
        "titleColor": MUTED,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
    }
    return {
        "axis": axis,
        "axisX": {"maxExtent": 18, "minExtent": 18, "titlePadding": 2},
        "axisY": {"maxExtent": margins.left, "minExtent": margins.left},
        "background": None,
        "font": "sans-serif",
        "legend": {"disable": True},
        "text": {"color": INK, "fontSize": 11},
        "view": {"stroke": None},
    }
