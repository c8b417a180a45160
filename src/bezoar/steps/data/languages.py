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
    language, probability = _identifier().rank(text[:START])[0]
    return str(language) if probability >= SURE and language != NONE else UNSURE


def is_one_of(text: str, languages: Iterable[str]) -> bool:
    """Whether a text may be in one of some languages."""
    found = dict(_identifier().rank(text[:START]))
    return language_of(text) == UNSURE or sum(found[one] for one in languages) >= FEW


def known() -> list[str]:
    """The languages that can be told."""
    return sorted(_identifier().labels)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # slow to import, and few mixes ask for it

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
