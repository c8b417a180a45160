"""Tables for a terminal, by rich; what isn't a terminal gets plain lines.

Rich is imported by the functions that draw, since every job starts this package.
"""

import io
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, TextIO

from bezoar.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text


WIDE = 100_000  # columns of what isn't a terminal: its lines aren't wrapped


def is_terminal(file: TextIO | None = None) -> bool:
    """Whether a stream, stdout by default, is a terminal: a table is drawn on it, and plain lines go anywhere else."""
    return (file or sys.stdout).isatty()


def console(file: TextIO | None = None, *, width: int | None = None) -> "Console":
    """A console of a stream, stdout by default: as wide as the terminal, without colours where they aren't wanted.

    Rich follows NO_COLOR, TERM=dumb and COLUMNS. What isn't a terminal gets whole lines.
    """
    from rich.console import Console

    file = file or sys.stdout
    if width is None and not is_terminal(file):
        width = WIDE
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False)


def draw(*parts: "RenderableType", file: TextIO | None = None) -> None:
    """Draw on a stream, stdout by default."""
    from rich.console import Group

    console(file).print(Group(*parts))


def plain(*parts: "RenderableType", width: int = 80) -> str:
    """The lines of what a terminal of a width, without colours, shows."""
    from rich.console import Group

    made = io.StringIO()
    console(made, width=width).print(Group(*parts))
    return "\n".join(one.rstrip() for one in made.getvalue().splitlines())


def cut(text: str, most: int) -> str:
    """A text of at most so many characters; one that was longer ends with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def line(text: str, style: str = "", *, crop: bool = False) -> "Text":
    """A text with its control characters escaped; with `crop`, one line that ends at the edge of the terminal."""
    from rich.text import Text

    shown = printable(text)
    return Text(shown, style, no_wrap=True, overflow="ellipsis") if crop else Text(shown, style)


def table(head: Iterable[str], rows: Iterable[Iterable[str]], right: Iterable[str] = ()) -> "Table":
    """A table without borders. The first and the last column wrap where the terminal is too narrow.

    Args:
        head: Names of the columns.
        rows: Their cells.
        right: Columns of numbers, to be aligned at the right.
    """
    from rich.table import Table

    names, numbers = list(head), set(right)
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", collapse_padding=True)
    for name in names:
        made.add_column(
            name,
            justify="right" if name in numbers else "left",
            style="cyan" if name == names[0] else "",
            no_wrap=name not in (names[0], names[-1]),
            overflow="fold" if name in (names[0], names[-1]) else "ellipsis",
        )
    for row in rows:
        made.add_row(*(line(cell) for cell in row))
    return made
