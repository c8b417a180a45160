"""The words of a text for comparison, whatever its case, punctuation, accents, invisible or look-alike letters.

A row is compared as one sequence of words, an item in a few forms: a row's punctuation may be another, or gone.
"""

import re
import sys
import unicodedata
from functools import cache

from bezoar.steps.data.unspaced import UNSPACED

WORD = re.compile(rf"[^\W_{UNSPACED}]+|(?=\w)[{UNSPACED}]")
APOSTROPHES = re.compile("['`\u00b4\u02b9-\u02bf\u2018\u2019\u201b\u2032\ua78b\ua78c]")
PUNCTUATION = re.compile(r"[^\w\s]|_")
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85"
INVISIBLE = "\u115f\u1160\u2800\u3164\uffa0"  # letters that show nothing


def plain(text: str) -> str:
    """A text in compatible characters (NFKD), without accents, vowel signs, format and control characters."""
    if text.isascii() and not CONTROL.search(text):
        return text
    return unicodedata.normalize("NFKD", text).translate(_removed())


def words(text: str) -> list[str]:
    """The words of a plain text, case folded."""
    return WORD.findall(text.lower() if text.isascii() else text.casefold())


def has_look_alikes(text: str) -> bool:
    """Whether a plain text has letters that look like others of ASCII."""
    return not text.isascii() and bool(_look_alike_pattern().search(text))


def without_look_alikes(text: str) -> str:
    """A plain text with the letter of ASCII in place of each letter that looks like it."""
    return text.translate(_look_alikes())


def forms(text: str) -> list[list[str]]:
    """The words of an item: with words that end at punctuation, with punctuation removed, and with apostrophes removed.

    All of them once more without look-alikes, if the item has any, as an item in Russian does.
    """
    start = plain(text)
    found = []
    for one in [start, without_look_alikes(start)] if has_look_alikes(start) else [start]:
        found += [words(one), words(PUNCTUATION.sub("", one)), words(APOSTROPHES.sub("", one))]
    return list({tuple(one): one for one in found}.values())


@cache
def _removed() -> dict[int, None]:
    """Marks, format and control characters, which are no part of a word."""
    gone = ("Mn", "Me", "Cf", "Cc", "Cs")
    points = (point for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point)) in gone)
    return dict.fromkeys({*points, *map(ord, INVISIBLE)} - set(map(ord, SPACES)))


@cache
def _look_alikes() -> dict[int, str]:
    """By code point, the letter or digit of ASCII that looks like it, by Unicode's own list (UTS 39).

    A letter without one takes that of its capital, as the Cyrillic letters that stand for v, k, m, n and t do.
    """
    from confusable_homoglyphs.confusables import confusables_data  # reads 600 KB

    near = {one: [other["c"] for other in others] for one, others in confusables_data.items() if len(one) == 1}
    found = {one: letter for one in near if not one.isascii() and one.isalpha() and (letter := _ascii(one, near))}
    small = {one.lower(): letter.lower() for one, letter in found.items() if len(one.lower()) == 1}
    return {ord(one): letter for one, letter in (small | found).items() if not one.isascii()}


def _ascii(letter: str, near: dict[str, list[str]]) -> str | None:
    """The letter or digit of ASCII that looks like a letter, of the same case if there are several."""
    close = near[letter] + [far for one in near[letter] if not one.isascii() for far in near.get(one, [])]
    fitting = [one for one in close if len(one) == 1 and one.isascii() and one.isalnum()]
    best = min(fitting, key=lambda one: (one.isupper() != letter.isupper(), one.isdigit()), default=None)
    return "I" if best == "l" and letter.isupper() else best  # the list has one letter for I and l


@cache
def _look_alike_pattern() -> re.Pattern[str]:
    return re.compile(f"[{re.escape(''.join(map(chr, sorted(_look_alikes()))))}]")
