"""Texts without thinking, markup or footnote marks. Code in fences or backticks stays as it is."""

import html
import re
from collections.abc import Callable

from bezoar import text as texts

CODE = re.compile(r"(^[ \t]*(?:```|~~~).*?(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)|`[^`\n]+`)", re.MULTILINE | re.DOTALL)

TAGS = ("think", "thinking", "thought", "thoughts", "reasoning", "reflection", "scratchpad", "seed:think")
THINKING = [
    *((f"<{tag}>", f"</{tag}>") for tag in TAGS),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
]
BLOCKS = [
    re.compile(rf"^[ \t]*{re.escape(opening)}.*?(?:{re.escape(closing)}[ \t]*\n?|\Z)", re.M | re.S | re.I)
    for opening, closing in THINKING
]
SOLUTION = re.compile(r"</?(?:answer|solution)>|<\|(?:begin|end)_of_solution\|>", re.I)
FINAL = re.compile(r"(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>")


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """A text whose parts outside of code are changed."""
    parts = CODE.split(text) if "`" in text or "~~~" in text else [text]
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))


def prose(text: str) -> str:
    """A text without its code."""
    return CODE.sub(" ", text) if "`" in text or "~~~" in text else text


# ---- Thinking ----


def without_thinking(text: str) -> str:
    """A response without its thinking, which starts a line; thinking that never ends takes all that follows.

    A tag that is only mentioned, as in a sentence, in quotes or in code, stays.
    """
    lower = text.lower()
    if not any(mark.lower() in lower for pair in THINKING for mark in pair):
        return text
    start, _ = texts.without_thinking(text, THINKING)
    code = [found.span() for found in CODE.finditer(start)]

    def removed(found: re.Match[str]) -> str:
        return found[0] if any(first <= found.start() < last for first, last in code) else ""

    for block in BLOCKS:
        cut = block.sub(removed, start)
        if cut != start:
            start, code = cut, [found.span() for found in CODE.finditer(cut)]
    if start == text:
        return text
    return FINAL.sub("", SOLUTION.sub("", start)).strip()  # what frames the answer that is left


# ---- Markup ----

VOID = "br|hr|img|input|wbr|meta|link"
PAIRED = (
    "a|abbr|article|aside|b|blockquote|body|button|caption|center|cite|code|dd|del|details|div|dl|dt|em|figcaption|"
    "figure|font|footer|form|h[1-6]|head|header|html|i|iframe|ins|kbd|label|li|main|mark|nav|ol|option|p|pre|q|s|samp|"
    "section|select|small|span|strong|sub|summary|sup|table|tbody|td|tfoot|th|thead|title|tr|tt|u|ul|var|video"
)
TAG = re.compile(rf"<(/?)({VOID}|{PAIRED})(?:\s[^<>]*)?/?>", re.I)
HIDDEN = re.compile(r"<!--|<!doctype[^<>]*>\n?|<(script|style)(?:\s[^<>]*)?>", re.I)
ENDS = {None: re.compile("-->"), "script": re.compile("</script>", re.I), "style": re.compile("</style>", re.I)}
BREAKS = re.compile(r"br|hr|p|div|li|tr|h[1-6]|table|ul|ol|blockquote|section|article|dd|dt", re.I)
ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}|#\d{1,6}|#x[0-9a-fA-F]{1,5});")


def without_markup(text: str) -> str:
    """A text without HTML tags and comments, and with characters for entities; blocks end a line.

    A tag that is opened and never closed, or the other way round, is a mention and stays.
    """
    return outside_code(text, _without_tags) if "<" in text or "&" in text else text


def _without_hidden(text: str) -> str:
    """A text without comments, document types, scripts and styles; one that is opened and never ends stays."""
    parts, at, endless = list[str](), 0, set[str | None]()
    for found in HIDDEN.finditer(text):
        kind, last = found[1] and found[1].lower(), found.end()
        if found.start() < at:
            continue
        if kind or found[0] == "<!--":
            if kind in endless:
                continue
            end = ENDS[kind].search(text, last)
            if end is None:  # then none of the later ones ends either, and no text is read twice
                endless.add(kind)
                continue
            last = end.end()
        parts.append(text[at : found.start()])
        at = last
    return "".join([*parts, text[at:]])


def _without_tags(text: str) -> str:
    plain = _without_hidden(text)
    tags = [(found[1], found[2].lower()) for found in TAG.finditer(plain)]
    names = {name for slash, name in tags if slash} & {name for slash, name in tags if not slash}

    def removed(found: re.Match[str]) -> str:
        name = found[2].lower()
        if name not in names and not re.fullmatch(VOID, name):
            return found[0]
        return "\n" if BREAKS.fullmatch(name) and (found[1] or name in ("br", "hr")) else ""

    plain = TAG.sub(removed, plain)
    if plain != text:
        plain = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", plain)).strip(
            "\n" if text.strip("\n") == text else ""
        )
    return ENTITY.sub(lambda found: html.unescape(found[0]).replace("\xa0", " "), plain)


# ---- Footnotes ----

NUMBER = r"[1-9]\d{0,2}"
DEFINITION = re.compile(r"^\[\^[\w-]{1,20}\]:.*\n?", re.M)
REFERENCE = re.compile(r"\[\^[\w-]{1,20}\]|【\d+(?:[:†][^【】\n]{0,60})?】")
AFTER = r"(?:(?<=[.,;:!?)\]\"”\u2019»])|(?<=[^\W\d_]{3}))"  # a full stop and its kin, or a word of three letters
BRACKETS = re.compile(
    rf"{AFTER}(?:\[(?:{NUMBER}(?:[ ]?[,\u2013-][ ]?{NUMBER})*|note {NUMBER})\]| ?\[citation needed\])+"
    r"(?=$|[\s.,;:!?)\]\"”\u2019»])",
    re.M | re.I,
)
RAISED = re.compile(rf"{AFTER}<sup>\s*\[?{NUMBER}\]?\s*</sup>", re.I)
SUPERSCRIPT = re.compile(
    r"(?<=[.,;:!?)\"”\u2019»])[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}|(?<=[^\W\d_]{4})(?:[¹⁴⁵⁶⁷⁸⁹]|[¹²³⁴⁵⁶⁷⁸⁹][⁰¹²³⁴⁵⁶⁷⁸⁹]{1,2})(?!\w)"
)
INDEX = re.compile(r"\w\[(?:0|i|j|k|-1)\]|\[\d+\]\s*=[^=]")  # brackets of this text are indices


def without_footnotes(text: str) -> str:
    """A text without marks of footnotes and citations; an index such as `rows[1]`, a unit or a power stays."""
    return outside_code(text, _without_marks)


def _without_marks(text: str) -> str:
    plain = REFERENCE.sub("", DEFINITION.sub("", text)) if "[^" in text or "【" in text else text
    plain = RAISED.sub("", plain) if "<" in plain else plain
    if "]" in plain and not INDEX.search(plain):
        plain = BRACKETS.sub("", plain)
    return SUPERSCRIPT.sub("", plain)
