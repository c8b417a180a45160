"""Charts as SVG in the page: drawn here, so that the page needs no script to show them.

Colours are CSS variables, so that one drawing fits the light and the dark theme. Sizes and margins are fixed: what is
measured by fonts would differ between machines.
"""

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    import altair as alt

SERIES = ("var(--series-1)", "var(--series-2)", "var(--series-3)", "var(--series-4)")
MUTED, GRID, INK = "var(--muted)", "var(--grid)", "var(--ink)"


def svg(chart: "alt.TopLevelMixin", label: str, margins: tuple[int, int, int, int] = (8, 12, 34, 44)) -> Markup:
    """A chart of Altair as SVG.

    Args:
        chart: With width and height.
        label: What it shows, for people who can't see it.
        margins: Pixels above, to the right, below, and to the left.
    """
    import vl_convert  # slow to import

    spec = chart.to_dict() | {
        "autosize": {"type": "none"},
        "padding": dict(zip(("top", "right", "bottom", "left"), margins, strict=True)),
        "config": _config(),
    }
    drawn = vl_convert.vegalite_to_svg(spec, vl_version="6.4")
    start, _, rest = drawn.partition(">")
    size = start[start.index('viewBox="') :]
    head = Markup('<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" aria-label="{}" ').format(label)
    return head + Markup(f"{size}>{rest}")  # Vega escapes what it draws


def _config() -> dict[str, Any]:
    axis = {
        "domainColor": GRID,
        "gridColor": GRID,
        "labelColor": MUTED,
        "labelFontSize": 11,
        "labelLimit": 0,
        "labelOverlap": False,
        "labelPadding": 5,
        "maxExtent": 30,
        "minExtent": 30,
        "tickColor": GRID,
        "tickCount": 5,
        "ticks": False,
        "titleColor": MUTED,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
    }
    return {
        "axis": axis,
        "axisX": {"maxExtent": 16, "minExtent": 16, "titlePadding": 4},
        "background": None,
        "font": "sans-serif",
        "legend": {"disable": True},
        "text": {"color": INK, "fontSize": 11},
        "view": {"stroke": None},
    }
