"""Whether a text is a model's refusal, or opens with chatter about the text that was asked for.

No paper has these rules; they are our own. Evol-Instruct's rule about "sorry" is in the script of that scheme.
"""

import re
from collections.abc import Iterable

_SORRY = (
    r"(?:unfortunately|(?:i'm|i am|we're|we are)(?: \w+)? (?:sorry|afraid)|(?:so |very )?sorry|(?:my )?apologies"
    r"|i apologi[sz]e)"
)
_MODEL = r"as an? (?:ai|artificial|language|large)\b[\w -]{0,40}?"
_BUT = rf"(?:[,.!:;]? (?:but |that |however,? |{_MODEL},? )*)"
_NOT_ABLE = (
    r"(?:(?:i|we)(?: am| are|'m|'re)? )?(?:can't|cannot|can not|couldn't|could not|won't|will not|unable to|not able to"
    r"|not (?:comfortable|willing|allowed)(?: to)?|(?:must|have to) (?:decline|refuse))"
)
_REFUSED = (
    r"(?: (?:ethically |in good conscience |really |possibly )?(?:help|assist)(?: you)?"
    r"(?:$|[.,;:!]| (?:with|in|by|out)\b)"
    r"| (?:comply|fulfil|fulfill|accommodate|honou?r|engage|participate|provide|answer|respond|create|generate|write"
    r"|produce|offer|discuss|rewrite|complete|process|support|do (?:that|this|so))\b|$|[.!,;:])"
)
REFUSAL = re.compile(rf"^(?:{_SORRY}{_BUT})?(?:{_MODEL},? )?{_NOT_ABLE}{_REFUSED}")
PREFACE = re.compile(
    r"^(?:(?:sure|certainly|of course|absolutely|okay|ok|great|gladly|no problem)\b(?: thing)?[!,.:]* *"
    r"(?:here\b|i can\b|i'd\b|i will\b|i'll\b|let me\b|below\b|this is\b)"
    r"|(?:here(?:'s| is| are)|this is|below is)\b[^.?!\n]{0,40}"
    r"\b(?:rewritten|reworked|rephrased|revised|modified|evolved|new|improved|more complex|harder|created)\b"
    r"[^.?!\n]{0,60}:)"
)
QUOTED = re.compile(r'"[^"\n]*"|“[^”]*”|«[^»]*»|`[^`]*`')
APOSTROPHES = str.maketrans("\u2018\u2019", "''")
MARKUP = ' \n\t"“”«»*_#>`'


def refuses(text: str) -> bool:
    """Whether a text opens by saying that what was asked won't be done."""
    return REFUSAL.match(_opening(text)) is not None


def prefaced(text: str) -> bool:
    """Whether a text opens by announcing itself: "Sure! Here is the rewritten prompt:"."""
    return PREFACE.match(_opening(text)) is not None


def phrase_in(text: str, phrases: Iterable[str]) -> str | None:
    """The first of some phrases that a text says itself, rather than quotes; None if it says none of them."""
    said = QUOTED.sub(" ", _even(text).strip(MARKUP))
    return next((phrase for phrase in phrases if _even(phrase) in said), None)


def _even(text: str) -> str:
    """A text without case, with one form of apostrophe, and one blank for any white space."""
    return " ".join(text.casefold().translate(APOSTROPHES).split())


def _opening(text: str) -> str:
    """The first line that says something, without the markup around it."""
    lines = (line.strip(MARKUP) for line in text.split("\n"))
    return _even(next((line for line in lines if line), "").replace("*", ""))
