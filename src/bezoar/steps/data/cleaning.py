"""Cleaning of a mix's rows: what is removed from texts, and what makes a row unusable; each change is counted."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, StringConstraints

from bezoar.blocks import Block
from bezoar.errors import InputError, problem
from bezoar.steps.data import languages, marks, personal, rows, secrets
from bezoar.steps.data.rows import Unusable

Kind = TypeVar("Kind", bound=rows.Row)
Change = Callable[[str], str]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
LETTERS = 12  # a language is told from no fewer letters


class Cleaning(Block):
    """What is cleaned in each row before duplicates are looked for; counts are in the mix's report.json."""

    thinking: bool = Field(
        False, description="Remove thinking between tags (<think>...</think> and its kin) from responses."
    )
    markup: bool = Field(False, description="Remove HTML tags and comments outside of code.")
    footnotes: bool = Field(False, description="Remove marks of footnotes and citations, such as [1] and [^1].")
    languages: list[Language] = Field(
        [],
        description="Drop rows whose prompt or response is in another language (its code, such as en); [] keeps all.",
    )
    personal: Literal["redact", "drop"] | None = Field(
        None,
        description="Addresses of e-mail and IP, telephone numbers, card and bank account numbers: replace them by "
        "their kind, or drop the row; null leaves them.",
    )
    phone_region: str | None = Field(
        None,
        pattern=r"^[A-Z]{2}$",
        description="Country of telephone numbers without a country code; null finds numbers with one only.",
    )
    secrets: Literal["redact", "drop"] | None = Field(
        "drop", description="Keys and tokens of known forms: replace them, or drop the row; null doesn't look for them."
    )


class Cleaner:
    """Cleans rows as a block says.

    Attributes:
        counts: Rows that were changed, by what was removed.
    """

    def __init__(self, block: Cleaning) -> None:
        """Take a block; raises InputError if it names a language that can't be told."""
        self.block = block
        self.counts: Counter[str] = Counter()
        unknown = sorted({*block.languages} - {*languages.known()}) if block.languages else []
        if unknown:
            known = ", ".join(languages.known())
            raise InputError(problem("languages that can't be told", found=", ".join(unknown), expected=known))

    def __call__(self, row: Kind) -> Kind:
        """A row with clean texts.

        Raises:
            Unusable: It is in another language, has personal data or a secret and is to be dropped, or nothing is left
                of a text. The reason names the kind of what was found, and nothing of the text.
        """
        found: set[str] = set()
        cleaned = changed(row, lambda role, text: self._clean(role, text, found))
        for what in ("secret", "personal"):
            kinds = sorted(one for one in found if one.startswith(f"{what}: "))
            if kinds and getattr(self.block, "secrets" if what == "secret" else what) == "drop":
                raise Unusable(kinds[0])
        if isinstance(cleaned, rows.PreferenceRow) and cleaned.chosen == cleaned.rejected:
            raise Unusable("equal after cleaning")
        self._check_language(cleaned)
        self.counts.update(found)
        return cleaned

    def _clean(self, role: str, text: str, found: set[str]) -> str:
        for name, change in self._changes:
            if name == "thinking" and role != "assistant":
                continue
            cleaner = change(text)
            if cleaner != text:
                found.add(name)
                text = cleaner
        if self.block.secrets:
            text = secrets.redacted(text, found)
        if self.block.personal:
            text = personal.redacted(text, self.block.phone_region, found)
        return text

    @cached_property
    def _changes(self) -> list[tuple[str, Change]]:
        """The changes that are asked for, in their order."""
        known: dict[str, Change] = {
            "thinking": marks.without_thinking,
            "markup": marks.without_markup,
            "footnotes": marks.without_footnotes,
        }
        return [(name, change) for name, change in known.items() if getattr(self.block, name)]

    def _check_language(self, row: rows.Row) -> None:
        """Raise Unusable if the prompt or the responses are in another language than those asked for."""
        if not self.block.languages:
            return
        texts: dict[bool, list[str]] = {True: [], False: []}
        for role, text in texts_of(row):
            if role != "system":
                texts[role == "assistant"].append(marks.prose(text))
        for joined in map("\n".join, texts.values()):
            enough = sum(map(str.isalpha, joined)) >= LETTERS
            if enough and (other := languages.other_language(joined, self.block.languages)):
                raise Unusable(f"language: {other}")


ROLES = {
    "system": "system",
    "instruction": "user",
    "context": "user",
    "response": "assistant",
    "chosen": "assistant",
    "rejected": "assistant",
    "gold": "assistant",
}
MAY_BE_EMPTY = ("system", "context")


def changed(row: Kind, change: Callable[[str, str], str]) -> Kind:
    """A row with other texts; the row itself if none has changed.

    Args:
        row: A row of a mix.
        change: From a text's role (system, user, assistant or tool) and the text to the new text.

    Raises:
        Unusable: Nothing is left of a text that a row can't do without.
    """
    data: dict[str, Any] = {}
    for name, role in ROLES.items():
        if text := getattr(row, name, None):
            data[name] = change(role, text)
    if isinstance(row, rows.ChatRow | rows.PreferenceRow):
        data["messages"] = [one.model_copy(update={"content": change(one.role, one.content)}) for one in row.messages]
    new = row.model_copy(update=data)
    if new == row:
        return row
    if _emptied(row, new):
        raise Unusable("empty after cleaning")
    return new


def _emptied(row: rows.Row, new: rows.Row) -> bool:
    """Whether a text has become empty that a row can't do without."""
    turns = zip(getattr(row, "messages", ()), getattr(new, "messages", ()), strict=True)
    pairs = [(one.content, other.content) for one, other in turns if one.role != "system"]
    pairs += [(getattr(row, name, None), getattr(new, name, None)) for name in ROLES if name not in MAY_BE_EMPTY]
    return any((one or "").strip() and not (other or "").strip() for one, other in pairs)


def texts_of(row: rows.Row) -> Iterator[tuple[str, str]]:
    """A row's texts, each with its role."""
    for name, role in ROLES.items():
        if text := getattr(row, name, None):
            yield role, text
    for one in getattr(row, "messages", ()):
        yield one.role, one.content
