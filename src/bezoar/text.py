"""Text of others made fit to use: halves of characters, and what a model thought aloud."""

import re
from collections.abc import Iterable, Sequence

SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def replace_surrogates(text: str) -> tuple[str, int]:
    """A text that UTF-8 can hold, and how many halves of surrogate pairs were replaced by U+FFFD.

    JSON can spell such a half (backslash, ud83d); no file can be written with it.
    """
    return SURROGATE.subn(REPLACEMENT, text)


def without_thinking(text: str, markers: Iterable[Sequence[str]]) -> tuple[str, bool]:
    """A text without the parts between two markers, and whether the last of them was closed.

    What stands before a closing marker that nothing opened is thinking, too: some chat templates open it in the prompt.
    An unclosed part is left out to the end.

    Args:
        text: A model's answer.
        markers: Pairs of an opening and a closing marker.
    """
    for opening, closing in markers:
        kept: list[str] = []
        inside = False
        for piece in re.split(f"({re.escape(opening)}|{re.escape(closing)})", text):
            if piece == opening:
                inside = True
            elif piece == closing:
                kept, inside = (kept if inside else []), False
            elif not inside:
                kept.append(piece)
        text = "".join(kept)
        if inside:
            return text, False
    return text, True
