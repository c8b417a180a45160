"""Tokens by stage: how many a stage sees, and on how many of them the loss is taken."""

from typing import NamedTuple

from markupsafe import Markup

from bezoar.page.charts import SERIES, Margins, fitting, labels_of, svg
from bezoar.page.forms import Rows
from bezoar.page.html import Section, render
from bezoar.page.inputs import Artifact, Inputs
from bezoar.page.sections.curves import history

WIDTH, ROW, LABELS = 460, 26, 104


class Seen(NamedTuple):
    """The rows and tokens of a stage.

    Attributes:
        passes: Over its rows.
    """

    name: str
    mix: str
    rows: Rows
    passes: float
    artifact: Artifact

    @property
    def tokens(self) -> int | None:
        """Tokens that it sees in all of its passes; None if they weren't counted."""
        return None if self.rows.train.tokens is None else round(self.rows.train.tokens * self.passes)

    @property
    def trained(self) -> int | None:
        """Those among them that the loss is taken on."""
        return None if self.rows.train.trained_tokens is None else round(self.rows.train.trained_tokens * self.passes)


def section(inputs: Inputs) -> Section | None:
    """The table; None without a stage."""
    stages = [_seen(inputs, name) for name in inputs.page.stages]
    if not stages:
        return None
    body = render("tokens.html.j2", stages=stages, drawing=_drawing(stages))
    return Section("tokens", "Tokens by stage", body)


def _seen(inputs: Inputs, name: str) -> Seen:
    path = f"data/adapters/{name}/rows.json"
    passes = max((point.epoch or 0.0 for point in history(inputs, name)), default=0.0)
    mix = inputs.page.stages[name].mix
    return Seen(name, mix, inputs.checked(path, Rows), float(passes), inputs.artifact(path))


def _drawing(stages: list[Seen]) -> Markup:
    """A bar for each stage; nothing if no tokens were counted."""
    import altair as alt  # slow to import

    values = [value for place, one in enumerate(stages) for value in _values(place, one)]
    if not values:
        return Markup("")
    labels = labels_of(fitting(one.name, LABELS) for one in stages)
    axis = alt.Axis(grid=False, domain=False, labelAlign="left", labelPadding=LABELS, labelExpr=labels)
    colours = alt.Scale(domain=["with loss", "without loss"], range=[SERIES[0], "var(--series-1-soft)"])
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_bar(height=14)
        .encode(
            y=alt.Y("place:O", axis=axis, sort=None),
            x=alt.X("tokens:Q", axis=alt.Axis(format="~s", tickCount=5)),
            color=alt.Color("kind:N", scale=colours),
            order="order:O",
            description="text:N",
        )
    )
    sized = chart.properties(width=WIDTH, height=ROW * len(stages))
    return svg(sized, "Tokens by stage", Margins(top=4, bottom=22, left=LABELS + 8, right=18), "broad")


def _values(place: int, one: Seen) -> list[dict[str, object]]:
    if one.tokens is None or one.trained is None:
        return []
    parts = {"with loss": one.trained, "without loss": one.tokens - one.trained}
    return [
        {"place": place, "tokens": count, "kind": kind, "order": order, "text": f"{one.name}: {count:,} tokens {kind}"}
        for order, (kind, count) in enumerate(parts.items())
    ]
