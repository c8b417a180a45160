"""Learning curves of all stages: loss or reward on training rows and on held-out rows, the latter at step 0, too."""

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
        figure: What is drawn: `loss`, or `reward` for a stage that has one.
        before, after: It on held-out rows at the first and the last evaluation; None without any.
        best: The step with the lowest loss, or the highest reward, on held-out rows.
    """

    name: str
    method: str
    mix: str
    steps: int
    figure: str
    before: float | None
    after: float | None
    best: int | None
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
    figure = "reward" if any(one.eval_reward is not None for one in points) else "loss"
    held = _values(points, f"eval_{figure}")
    sign = -1 if figure == "reward" else 1
    return Curve(
        name,
        block.method,
        block.mix,
        max((one.step for one in points), default=0),
        figure,
        held[0][1] if held else None,
        held[-1][1] if held else None,
        min(held, key=lambda one: (sign * one[1], one[0]))[0] if held else None,
        _drawing(name, points, figure),
        inputs.artifact(f"data/adapters/{name}/history.json"),
    )


def _values(points: list[Point], figure: str) -> list[tuple[int, float]]:
    """Steps and values of a figure, where there is one."""
    return [(one.step, value) for one in points if (value := getattr(one, figure)) is not None]


def _drawing(name: str, points: list[Point], figure: str) -> Markup:
    import altair as alt  # slow to import

    trained, held = (_thinned(_values(points, one)) for one in (figure, f"eval_{figure}"))
    layers = [
        _line(alt, trained, figure, "training rows", color=SERIES[0], strokeWidth=2),
        _line(alt, held, figure, "held-out rows", color=SERIES[1], strokeWidth=2, strokeDash=[5, 3]),
        _points(alt, trained, figure, "training rows", size=60, opacity=0),  # for the pointer
        _points(alt, held, figure, "held-out rows", size=45, color=SERIES[1], opacity=1),
    ]
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    text = f"{figure.capitalize()} of {name} by step, on training rows and on held-out rows"
    return svg(chart, text, Margins(left=38), "fluid")


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    if len(points) <= MOST:
        return points
    return [points[round(number * (len(points) - 1) / (MOST - 1))] for number in range(MOST)]


def _base(alt: Any, points: list[tuple[int, float]], figure: str, what: str) -> Any:
    values = [{"step": step, figure: value, "text": f"step {step:,}, {what}: {value:.4g}"} for step, value in points]
    return alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("step:Q", axis=alt.Axis(title="step", grid=False, format="~s")),
        y=alt.Y(f"{figure}:Q", scale=alt.Scale(zero=True), axis=alt.Axis(format="~g")),
    )


def _line(alt: Any, points: list[tuple[int, float]], figure: str, what: str, **style: Any) -> Any:
    return _base(alt, points, figure, what).mark_line(aria=False, **style)


def _points(alt: Any, points: list[tuple[int, float]], figure: str, what: str, **style: Any) -> Any:
    return _base(alt, points, figure, what).mark_point(filled=True, **style).encode(description="text:N")
