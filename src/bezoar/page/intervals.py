"""Scores with their intervals, a row for each checkpoint."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from bezoar.page.charts import SERIES, Margins, fitting, labels_of, svg
from bezoar.page.html import number

WIDTH, ROW, LABELS = 210, 26, 104


class Bar(NamedTuple):
    """A score and the ends of its interval; None if nothing bounds it."""

    name: str
    score: float
    low: float | None
    high: float | None


def drawing(bars: Sequence[Bar], label: str, digits: int = 2) -> Markup:
    """A point for each score, with a line over its interval."""
    import altair as alt  # slow to import

    values = [_value(place, bar, digits) for place, bar in enumerate(bars)]
    names = alt.Axis(
        grid=False,
        domain=False,
        labelAlign="left",
        labelPadding=LABELS,
        labelExpr=labels_of(fitting(bar.name, LABELS) for bar in bars),
    )
    y = alt.Y("place:O", axis=names, sort=None)
    scale = alt.Scale(zero=False, nice=True)
    base = alt.Chart(alt.Data(values=values)).encode(y=y, description="text:N")
    line = base.mark_rule(strokeWidth=3, color=SERIES[0], opacity=0.45)
    ends = line.encode(x=alt.X("low:Q", scale=scale, axis=alt.Axis(format="~g")), x2="high:Q")
    point = base.mark_point(filled=True, size=90, color=SERIES[0], opacity=1).encode(x=alt.X("score:Q", scale=scale))
    chart = alt.layer(ends, point).properties(width=WIDTH, height=ROW * max(1, len(bars)))
    return svg(chart, label, Margins(top=4, bottom=22, left=LABELS + 8, right=18))


def _value(place: int, bar: Bar, digits: int) -> dict[str, Any]:
    known = bar.low is not None and bar.high is not None
    ends = f", 95 % interval {number(bar.low, digits)} to {number(bar.high, digits)}" if known else ", no interval"
    low, high = (bar.low, bar.high) if known else (bar.score, bar.score)
    text = f"{bar.name}: {number(bar.score, digits)}{ends}"
    return {"place": place, "score": bar.score, "low": low, "high": high, "text": text}
