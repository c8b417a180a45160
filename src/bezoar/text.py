"""Text from elsewhere: made fit to be stored, and to be shown on a terminal or in a log."""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"
CONTROLS = re.compile(  # category Cc but \n and \t; Cf, Cs, Zl, Zp; and letters and marks that show nothing
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\ud800-\udfff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


def printable(text: str, *, lines: bool = True) -> str:
    r"""A text with escapes, such as `\x1b`, for all that a terminal obeys or doesn't show.

    Control characters (a carriage return, too), bidirectional marks, invisible characters, halves of surrogate pairs.

    Args:
        text: From anywhere.
        lines: Whether newlines and tabs stay; without, the result is one line.
    """
    shown = CONTROLS.sub(_escaped, text)
    return shown if lines else shown.replace("\n", "\\n").replace("\t", "\\t")


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def show(text: object = "", *, file: TextIO | None = None, end: str = "\n") -> None:
    """Print a text as what it is; in place of `print`, which passes everything on (ruff's T201 refuses it here)."""
    print(printable(str(text)), file=file or sys.stdout, end=end, flush=True)


def replace_surrogates(text: str) -> tuple[str, int]:
    """A text that UTF-8 can hold, and how many halves of surrogate pairs were replaced by U+FFFD.

    JSON can spell such a half (backslash, ud83d); no file can be written with it.
    """
    return SURROGATE.subn(REPLACEMENT, text)


def without_thinking(text: str, markers: Iterable[Sequence[str]]) -> tuple[str, bool]:
    """A text without the thinking that it begins with, and whether that was closed.

    Thinking stands between two markers, before anything else; unclosed, it is all of the text. Or it is what stands
    before a closing marker that nothing opened, since some chat templates open it in the prompt. A marker that is only
    spoken of, as in a sentence, in quotes or in code, is text.

    Args:
        text: A model's answer.
        markers: Pairs of an opening and a closing marker.
    """
    for opening, closing in markers:
        text = _after_unopened(text, opening, closing)
        while text.lstrip().startswith(opening):
            _, found, text = text.lstrip().partition(closing)
            if not found:
                return "", False
    return text, True


def _after_unopened(text: str, opening: str, closing: str) -> str:
    """A text from behind a closing marker on that nothing in it opened; all of it if there is none.

    Such a marker is the first thing of the text, alone on its line, or right behind a word or a full stop.
    """
    end = re.escape(closing)
    found = re.search(rf"\A\s*{end}|^[ \t]*{end}[ \t]*$|(?<=[^\s`'\"“«(]){end}(?![`'\"”»)])", text, re.MULTILINE)
    if not found:
        return text
    before = text[: found.start()]
    alone = found[0] != closing or before.endswith("\n")
    opened = re.search(rf"^[ \t]*{re.escape(opening)}", before, re.MULTILINE) if alone else opening in before
    return text if opened else text[found.end() :]
