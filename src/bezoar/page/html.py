"""HTML from templates: everything that comes from data is escaped."""

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from bezoar.text import printable

DASH = "\u2013"


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        id: Its anchor.
        title: Its heading, also in the navigation.
        body: Its content.
    """

    id: str
    title: str
    body: Markup


def render(template: str, /, **values: Any) -> Markup:
    """A template of this package with these values."""
    return Markup(environment().get_template(template).render(**values))  # autoescape is on


def json_data(name: str, data: Any) -> Markup:
    """Data for the page's script, as an element that no browser executes."""
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, Markup(escaped_json(data)))


def escaped_json(data: Any) -> str:
    """JSON that is safe in an element: ASCII, with escapes for `<`, `>` and `&`."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def environment() -> Environment:
    """Jinja with autoescape in every template, and an error for a value that is missing."""
    made = Environment(
        loader=PackageLoader("bezoar.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {one.__name__: one for one in (breakable, chance, count, counted, number, share, signed, words)}
    return made


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many decimals; a dash for None."""
    return DASH if value is None else f"{value:.{digits}f}".replace("-", "\u2212")


def decimals(values: Iterable[float | None]) -> int:
    """How many decimals to show: three of shares, two of others."""
    return 3 if all(abs(value) <= 1 for value in values if value is not None) else 2


def signed(value: float | None, digits: int = 2) -> str:
    """A difference, with its sign."""
    return DASH if value is None else f"{value:+.{digits}f}".replace("-", "\u2212")


def chance(value: float | None) -> str:
    """A p-value."""
    return DASH if value is None else "<.001" if value < 0.001 else f"{value:.3f}"


def count(value: int | None) -> str:
    """A whole number with thousands separated."""
    return DASH if value is None else f"{value:,}"


def counted(number: int, noun: str) -> str:
    """A number of things by their singular, such as `1 row`, `2 rows`, `2 mixes`."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('x') else 's'}"


def share(part: float, whole: float) -> str:
    """A part of a whole in per cent."""
    return f"{part / whole:.1%}" if whole else DASH


def breakable(text: str) -> Markup:
    """A name that may be broken after underscores where there is little room."""
    return escape(words(text)).replace("_", Markup("_<wbr>"))


def words(text: str) -> str:
    """A text from elsewhere, with escapes for characters that are invisible or reorder what is shown."""
    return printable(str(text))
