"""Rows in TRL's conversational columns, cut to a window of tokens."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field

from bezoar.blocks import Block, ModelName
from bezoar.errors import InputError, problem
from bezoar.steps import chat
from bezoar.steps.chat import RESPONSES, Turn
from bezoar.steps.data import rows
from bezoar.steps.data.families import family_of_messages, first_turn
from bezoar.steps.data.rows import Unusable

Example = dict[str, Any]  # id, keys of its family, and columns of messages: prompt and completion, or chosen, rejected
BROKEN = "\ufffd"  # a tokenizer decodes an incomplete character to this


class Limit(Block):
    """Lengths in tokens of a model's tokenizer, under its chat template."""

    tokenizer: ModelName = Field(description="Model whose tokenizer counts.")
    total: int = Field(ge=8, description="Most tokens of prompt and longest response; a longer row is cut.")
    prompt: int = Field(
        ge=4, description="Most tokens of the prompt of a cut row: the template and the end of the dialogue."
    )


def example_of(row: rows.Row, preference: bool, system: str | None, window: "Window | None") -> Example:
    """A row in the columns of a mix; a prompt-completion mix takes the chosen response of a preference.

    Args:
        row: The row.
        preference: Whether the mix is one of preferences.
        system: System text of a row without its own; None for none.
        window: Cuts the row, if given.

    Raises:
        Unusable: It has no response, or the cut leaves a text empty or makes both responses equal.
    """
    messages, responses = parts_of(row, preference)
    asked = [Turn(role=one.role, content=one.content) for one in messages]
    prompt, texts = chat.with_system(asked, system), list(responses.values())
    if window:
        prompt, texts = window.cut(prompt, texts)
    if not all([*texts, *(one["content"] for one in prompt if one["role"] != "system")]):
        raise Unusable("empty after cut")
    given = dict(zip(responses, texts, strict=True))
    if preference and given["chosen"] == given["rejected"]:
        raise Unusable("equal after cut")
    first = next(one["content"] for one in asked if one["role"] == "user")
    return {
        "id": row.model_dump()["id"],
        "family": family_of(row),
        "first_turn": first_turn(first),
        "prompt": prompt,
        **{name: [Turn(role="assistant", content=text)] for name, text in given.items()},
        **{name: value for name in rows.PAIR_NUMBERS if preference and (value := getattr(row, name)) is not None},
    }


def family_of(row: rows.Row) -> str:
    """The family of a row: rows of one tree of rewrites, or about one dialogue, share it."""
    match row:
        case rows.PairRow() | rows.FilteredRow():
            return row.root_id
        case rows.PreferenceRow():
            return family_of_messages(row.messages)
        case rows.SeedRow():
            return row.id
        case rows.ChatRow():
            return row.family
    raise TypeError(f"not a row of a mix: {type(row).__name__}")


def parts_of(row: rows.Row, preference: bool) -> tuple[list[rows.Message], dict[str, str]]:
    """The prompt of a row, and its responses by column; of a preference, the chosen one if the mix isn't of pairs.

    Raises:
        Unusable: The row has no response.
    """
    match row:
        case rows.PreferenceRow():
            if not preference:
                return row.messages, {"completion": row.chosen}
            third = {} if row.gold is None else {"gold": row.gold}
            return row.messages, {"chosen": row.chosen, "rejected": row.rejected, **third}
        case rows.FilteredRow():
            return rows.dialogue(row.instruction, system=row.system), {"completion": row.response}
        case rows.SeedRow():
            if not row.response:
                raise Unusable("no response")
            asked = chat.with_context(row.instruction, row.context)
            return rows.dialogue(asked), {"completion": row.response}
        case rows.ChatRow():
            return row.messages[:-1], {"completion": row.messages[-1].content}
    raise TypeError(f"not a row of a mix: {type(row).__name__}")


def key_of(example: Example) -> str:
    """A key that examples with the same texts share."""
    columns = [example[name] for name in ("prompt", *RESPONSES) if name in example]
    return rows.row_id(*(f"{one['role']} {rows.normalized(one['content'])}" for column in columns for one in column))


class Window:
    """Cuts dialogues to a number of tokens: a prompt loses its start, a response its end.

    A prompt's first turn is shortened; if that isn't enough, it is dropped with the answers after it. System text and
    template are never cut. A token may be a part of a character. Incomplete characters at the cut are removed, so a
    text of few tokens can become empty.

    Source: eric-mitchell/direct-preference-optimization, truncation mode `keep_end`.
    """

    def __init__(self, tokenizer: Any, limit: Limit, system: str | None) -> None:
        self.tokenizer, self.limit = tokenizer, limit
        template = self._size(chat.with_system([Turn(role="user", content="")], system))
        if template >= limit.prompt or limit.prompt >= limit.total:
            raise InputError(
                problem(
                    "the limit leaves no room",
                    found=f"prompt {limit.prompt}, total {limit.total} tokens",
                    expected=f"more for the prompt than its template's {template}, and more in total than that",
                )
            )
        self.cuts: Counter[str] = Counter()

    @classmethod
    def of_model(cls, folder: Path, limit: Limit, system: str | None) -> "Window":
        """The window of a model directory's tokenizer."""
        from bezoar.steps.models import load_tokenizer  # slow to import; few mixes count tokens

        return cls(load_tokenizer(folder), limit, system)

    def cut(self, prompt: list[Turn], responses: list[str]) -> tuple[list[Turn], list[str]]:
        """Prompt and responses, cut so that the prompt with the longest response fits."""
        if all(self._size(prompt, response) <= self.limit.total for response in responses):
            return prompt, responses
        if self._size(prompt) > self.limit.prompt:
            self.cuts["instruction"] += 1
            prompt = self._cut_prompt(prompt)
        return prompt, [self._cut_response(prompt, response) for response in responses]

    def _cut_prompt(self, prompt: list[Turn]) -> list[Turn]:
        """The end of a prompt; its only user turn is empty if not even a part of it fits."""
        place = 1 if prompt[0]["role"] == "system" else 0
        head, (first, *others) = prompt[:place], prompt[place:]

        def all_with(text: str) -> list[Turn]:
            return [*head, Turn(role="user", content=text), *others]

        text = self._shortened(first["content"], lambda one: self._size(all_with(one)), self.limit.prompt, start=True)
        later = next((number for number, one in enumerate(others) if one["role"] == "user"), None)
        if text or later is None:
            return all_with(text)
        rest = [*head, *others[later:]]
        return rest if self._size(rest) <= self.limit.prompt else self._cut_prompt(rest)

    def _cut_response(self, prompt: list[Turn], response: str) -> str:
        short = self._shortened(response, lambda one: self._size(prompt, one), self.limit.total, start=False)
        if short != response:
            self.cuts["response"] += 1
        return short

    def _shortened(self, text: str, size: Callable[[str], int], most: int, *, start: bool) -> str:
        """A text without the tokens at its start or end that make it too long; empty if all do.

        What is left may have other tokens than it had in the whole text, so its size is measured again.
        """
        tokens = self.tokenizer(text, add_special_tokens=False).input_ids
        while text and (over := size(text) - most) > 0:
            tokens = tokens[over:] if start else tokens[: max(0, len(tokens) - over)]
            text = self.tokenizer.decode(tokens)
            text = (text.lstrip(BROKEN) if start else text.rstrip(BROKEN)).strip()
        return text

    def _size(self, prompt: list[Turn], response: str | None = None) -> int:
        """Tokens of a prompt, or of a prompt with its response and all that the template writes after it."""
        if response is None:
            return len(chat.ids(self.tokenizer, prompt, prompt=True))
        whole = [*prompt, Turn(role="assistant", content=response)]
        return len(chat.ids(self.tokenizer, whole, prompt=False))
