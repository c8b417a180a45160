"""Whether a text is a model's refusal, or starts with chatter about the requested text.

These rules are our own; no paper has them. Evol-Instruct's rule about "sorry" is in that scheme's module.
"""

import re
from collections.abc import Iterable

_OPENING = r"(?:no[,.!]* |(?:thank you|thanks)\b[^.!?\n]{0,40}[,.!]+ (?:but |however,? )?)?"
_SORRY = (
    r"(?:unfortunately|(?:i'm|i am|we're|we are)(?: \w+)? (?:sorry|afraid)|(?:so |very )?sorry|(?:my )?apologies"
    r"|i apologi[sz]e|i regret(?: to (?:say|inform you))?)"
)
_MODEL = r"as an? (?:ai|artificial|language|large)\b[\w -]{0,40}?"
_BUT = rf"(?:(?:[,.!:;]| [-–—])? ?(?:but |that |however,? |{_MODEL},? )*)"  # noqa: RUF001  dashes that models write
_NOT_ABLE = (
    r"(?: am| are|'m|'re)? ?(?:(?:can't|cannot) (?:and|or) (?:won't|will not)|can't|cannot|can not|couldn't|could not"
    r"|(?:won't|will not)(?: be able to)?|unable to|not able to|not (?:willing|allowed|permitted) to)"
    r"(?: (?:ethically|in good conscience|really|possibly))?"
)
_THIS = r"(?:this|that|these|those|such|so|your|any such|the (?:\w+ )?(?:request|prompt|question|task|instruction)s?)\b"
_ANSWER = (  # objects of verbs of giving only
    r"(?:[\w-]+ (?:(?:or|and) )?){0,4}?(?:information|instructions|guidance|advice|content|assistance|opinions?)\b"
)
_OTHERS = r"(?:my|our|his|her|their|the (?!(?:\w+ )?(?:request|prompt|question|task|instruction)))\b"
_HELP = rf"(?:help|assist)(?: you)?(?: out)?(?:$|[.;:!]| with\b(?! {_OTHERS})| (?:in|by) {_THIS})"
_WRITE = (
    r"(?:fulfil|fulfill|accommodate|honou?r|engage in|provide|answer|respond to|create|generate|write|produce|offer"
    r"|discuss|rewrite)"
)
_DO = r"(?:participate in|complete|process|support|do)"
_REFUSED = rf"(?:{_HELP}|comply\b|{_WRITE} (?:{_THIS}|{_ANSWER})|{_DO} {_THIS}(?: request)?(?:$|[.!;:]))"
_DECLINE = (
    r"(?:i (?:must|have to|will have to|need to|respectfully|will)? ?(?:respectfully |politely )?(?:decline|refuse) ?"
    rf"(?:{_THIS}|[.!]?$|to (?:comply|help|assist|(?:{_WRITE}|{_DO}) (?:{_THIS}|{_ANSWER})))"
    r"|i(?:'m not| am not| don't feel| do not feel| would not feel| wouldn't feel)(?: \w+)? comfortable (?:with )?"
    rf"(?:(?:helping|assisting)(?: you)?(?: with)?\b(?! {_OTHERS})"
    rf"|(?:writing|providing|creating|generating|producing|answering|discussing|rewriting|completing|doing) {_THIS}))"
)
REFUSAL = re.compile(
    rf"^{_OPENING}(?:"
    # after "sorry" or "as an AI model", few more words make a refusal
    rf"(?:{_SORRY}{_BUT}(?:{_MODEL},? )?|{_MODEL},? )(?:i|we)?{_NOT_ABLE}"
    rf"(?:$|[.!,;:]| {_REFUSED}| {_WRITE}\b(?! {_OTHERS}))"
    rf"|i{_NOT_ABLE} {_REFUSED}"
    rf"|(?:{_SORRY}{_BUT})?{_DECLINE})"
)
_HERE = r"(?:here(?:'s| is| are)|this is|below is)"
_TEXT = (  # names of a rewrite, up to its start
    r"(?:prompt|instruction|question|task|request|query|version|one|rewrite|revision)s?\b"
    r"(?: (?:of|for) (?:it|(?:the|your|this|that)(?: \w+)? (?:prompt|instruction|question|task|request|query)s?)\b)?"
    r"(?: (?:that|with|which)\b[^:?!\n]{0,60})?"
    r"[*\s]*(?::|[.!]?$)"
)
_CHANGED = (
    r"(?:rewritten|reworked|rephrased|revised|modified|evolved|new|improved|complex|complicated|challenging|difficult"
    r"|harder|created)"
)
PREFACE = re.compile(
    r"^(?:(?:sure|certainly|of course|absolutely|okay|ok|great|gladly|no problem)\b(?: thing)?[!,.:]* *"
    rf"(?:{_HERE} (?:[\w'-]+ ){{0,6}}?{_TEXT}|here you (?:go|are)\b|(?:the|your|my) {_CHANGED} \w+(?: is)?:"
    r"|(?:i can|i will|i'll|let me|i'd be (?:happy|glad) to)(?: \w+)? "
    r"(?:make|rewrite|rephrase|rework|revise|evolve|create|write|help|do|add) (?:it|this|that|the|your|you|an?)\b)"
    rf"|{_HERE} (?:[\w'-]+ ){{0,4}}?{_CHANGED} (?:[\w'-]+ ){{0,3}}?{_TEXT})"
)
QUOTED = re.compile(r'"[^"\n]*"|“[^”\n]*”|«[^»\n]*»|`[^`\n]*`')
APOSTROPHES = str.maketrans("\u2018\u2019", "''")
MARKUP = ' \n\t"“”«»*_#>`'


def refuses(text: str) -> bool:
    """Whether a text starts by refusing the request."""
    return REFUSAL.match(_opening(text)) is not None


def prefaced(text: str) -> bool:
    """Whether a text starts by announcing itself: "Sure! Here is the rewritten prompt:"."""
    return PREFACE.match(_opening(text)) is not None


def phrase_in(text: str, phrases: Iterable[str]) -> str | None:
    """The first of some phrases that a text contains outside of quotations; None without one."""
    text = text.strip(" \n\t*_#>")
    if QUOTED.fullmatch(text):  # an answer in quotation marks
        text = text[1:-1]
    said = _even(QUOTED.sub(" ", text))
    return next((phrase for phrase in phrases if _even(phrase) in said), None)


def _even(text: str) -> str:
    """A text with case folded, one form of apostrophe, and whitespace as single spaces."""
    return " ".join(text.casefold().translate(APOSTROPHES).split())


def _opening(text: str) -> str:
    """The first line with text, without markup around it."""
    lines = (line.strip(MARKUP) for line in text.split("\n"))
    return _even(next((line for line in lines if line), "").replace("*", ""))
