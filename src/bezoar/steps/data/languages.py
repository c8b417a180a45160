"""The language of a text, by py3langid, whose model comes with it."""

from collections.abc import Iterable
from functools import cache
from typing import Any

START = 2_000  # characters of a text that are looked at
SURE = 0.5  # least probability: lists of names look like any language
FEW = 0.1  # probability under which a text is in none of some languages: English and its creoles look alike
UNSURE = "und"
NONE = "zxx"  # of a text that is no language, such as a chess position


def language_of(text: str) -> str:
    """A text's language, as ISO 639 writes it, or `und` if it isn't clear."""
    return _surely(_identifier().rank(text[:START]))


def other_language(text: str, languages: Iterable[str]) -> str | None:
    """A text's language if it is surely in none of some languages; else None."""
    ranked = _identifier().rank(text[:START])
    found, language = dict(ranked), _surely(ranked)
    return None if language == UNSURE or sum(found[one] for one in languages) >= FEW else language


def _surely(ranked: list[tuple[str, float]]) -> str:
    """The most likely language of all, or `und`."""
    language, probability = ranked[0]
    return language if probability >= SURE and language != NONE else UNSURE


def known() -> list[str]:
    """The languages that can be told."""
    return sorted(_identifier().labels)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # slow to import, and few mixes ask for it

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
