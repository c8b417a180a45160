"""Learning curves of all stages: loss on training rows and on held-out rows, which are evaluated before step 0, too."""

from typing import Any, NamedTuple

from markupsafe import Markup

from bezoar.page.charts import SERIES, Margins, svg
from bezoar.page.forms import Point
from bezoar.page.html import Section, render
from bezoar.page.inputs import Artifact, Inputs

WIDTH, HEIGHT = 380, 200
MOST = 400  # points of a curve; a longer one is thinned evenly


class Curve(NamedTuple):
    """A stage's curve.

    Attributes:
        before, after: Loss on held-out rows at the first and the last evaluation; None without any.
        lowest: The step with the lowest loss on held-out rows.
    """

    name: str
    method: str
    mix: str
    steps: int
    before: float | None
    after: float | None
    lowest: int | None
    drawing: Markup
    artifact: Artifact


def section(inputs: Inputs) -> Section | None:
    """The curves; None without a stage."""
    curves = [_curve(inputs, name) for name in inputs.page.stages]
    return Section("curves", "Learning curves", render("curves.html.j2", curves=curves)) if curves else None


def history(inputs: Inputs, stage: str) -> list[Point]:
    """The history of a stage."""
    return inputs.checked(f"data/adapters/{stage}/history.json", list[Point])


def _curve(inputs: Inputs, name: str) -> Curve:
    block, points = inputs.page.stages[name], history(inputs, name)
    held = [(one.eval_loss, one.step) for one in points if one.eval_loss is not None]
    return Curve(
        name,
        block.method,
        block.mix,
        max((one.step for one in points), default=0),
        held[0][0] if held else None,
        held[-1][0] if held else None,
        min(held)[1] if held else None,
        _drawing(name, points),
        inputs.artifact(f"data/adapters/{name}/history.json"),
    )


def _drawing(name: str, points: list[Point]) -> Markup:
    import altair as alt  # slow to import

    trained = _thinned([(one.step, one.loss) for one in points if one.loss is not None])
    held = _thinned([(one.step, one.eval_loss) for one in points if one.eval_loss is not None])
    layers = [
        _line(alt, trained, "training rows", color=SERIES[0], strokeWidth=2),
        _line(alt, held, "held-out rows", color=SERIES[1], strokeWidth=2, strokeDash=[5, 3]),
        _points(alt, trained, "training rows", size=60, opacity=0),  # for the pointer
        _points(alt, held, "held-out rows", size=45, color=SERIES[1], opacity=1),
    ]
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    text = f"Loss of {name} by step, on training rows and on held-out rows"
    return svg(chart, text, Margins(left=38), "fluid")


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    if len(points) <= MOST:
        return points
    return [points[round(number * (len(points) - 1) / (MOST - 1))] for number in range(MOST)]


def _base(alt: Any, points: list[tuple[int, float]], what: str) -> Any:
    values = [{"step": step, "loss": loss, "text": f"step {step:,}, {what}: {loss:.4g}"} for step, loss in points]
    return alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("step:Q", axis=alt.Axis(title="step", grid=False, format="~s")),
        y=alt.Y("loss:Q", scale=alt.Scale(zero=True), axis=alt.Axis(format="~g")),
    )


def _line(alt: Any, points: list[tuple[int, float]], what: str, **style: Any) -> Any:
    return _base(alt, points, what).mark_line(aria=False, **style)


def _points(alt: Any, points: list[tuple[int, float]], what: str, **style: Any) -> Any:
    return _base(alt, points, what).mark_point(filled=True, **style).encode(description="text:N")
