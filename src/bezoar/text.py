"""Text from outside: make it safe to store, and to show on a terminal or in a log."""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"
CONTROLS = re.compile(  # category Cc but \n and \t; Cf, Cs, Zl, Zp; invisible letters and marks; what XML can't contain
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\ud800-\udfff\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


def printable(text: str, *, lines: bool = True) -> str:
    r"""A text with escapes, such as `\x1b`, for characters that control a terminal or are invisible.

    Control characters (also carriage returns), bidirectional marks, invisible characters, lone surrogates.

    Args:
        text: From anywhere.
        lines: Whether to keep newlines and tabs; if not, the result is one line.
    """
    shown = CONTROLS.sub(_escaped, text)
    return shown if lines else shown.replace("\n", "\\n").replace("\t", "\\t")


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def show(text: object = "", *, file: TextIO | None = None, end: str = "\n") -> None:
    """Print a text with its control characters escaped; `print` isn't allowed here (ruff's T201)."""
    print(printable(str(text)), file=file or sys.stdout, end=end, flush=True)


def replace_surrogates(text: str) -> tuple[str, int]:
    """A text that UTF-8 can encode, and how many lone surrogates were replaced by U+FFFD.

    JSON can contain them (backslash, ud83d); UTF-8 can't.
    """
    return SURROGATE.subn(REPLACEMENT, text)


def without_thinking(text: str, markers: Iterable[Sequence[str]]) -> tuple[str, bool]:
    """A text without the thinking at its start, and whether the thinking was closed.

    Thinking is the text between two markers at the start; without a closing marker it is the whole text. Some chat
    templates open it in the prompt: then it is the text before a closing marker that nothing opened. A marker that is
    only mentioned, as in a sentence, in quotes or in code, is text.

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
    """The text after a closing marker that nothing opened; the whole text if there is none.

    Such a marker starts the text, is alone on its line, or follows a word or a full stop directly.
    """
    end = re.escape(closing)
    found = re.search(rf"\A\s*{end}|^[ \t]*{end}[ \t]*$|(?<=[^\s`'\"“«(]){end}(?![`'\"”»)])", text, re.MULTILINE)
    if not found:
        return text
    before = text[: found.start()]
    alone = found[0] != closing or before.endswith("\n")
    opened = re.search(rf"^[ \t]*{re.escape(opening)}", before, re.MULTILINE) if alone else opening in before
    return text if opened else text[found.end() :]
