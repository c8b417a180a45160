"""Rows in TRL's columns, cut to a window of tokens."""

from collections import Counter
from pathlib import Path
from typing import Any

from pydantic import Field

from bezoar.blocks import Block, ModelName
from bezoar.errors import InputError, problem
from bezoar.steps import chat
from bezoar.steps.data import rows
from bezoar.steps.data.families import first_turn
from bezoar.steps.data.rows import Unusable

Example = dict[str, str]  # id, keys of its family, and the text columns
BROKEN = "\ufffd"  # a tokenizer decodes an incomplete character to this


class Limit(Block):
    """Lengths in tokens of a model's tokenizer."""

    tokenizer: ModelName = Field(description="Model whose tokenizer counts.")
    total: int = Field(ge=8, description="Most tokens of prompt and longest response; a longer row is cut.")
    prompt: int = Field(
        ge=4, description="Most tokens of the prompt of a cut row: the template and the end of the instruction."
    )


def example_of(row: rows.Row, preference: bool, system: str, window: "Window | None") -> Example:
    """A row in the columns of a mix; a prompt-completion mix takes the chosen response of a preference.

    Raises:
        Unusable: It has no response, or the cut leaves a text empty.
    """
    match row:
        case rows.PreferenceRow():
            if preference:
                return of_preference(row, system, window)
            one = rows.ChatRow(
                id=row.id,
                family=rows.row_id(*row.turns),
                system=None,
                instruction=chat.dialogue(row.turns),
                response=row.chosen,
            )
            return of_chat(one, system, window, row.turns[0])
        case rows.FilteredRow():
            columns = row.model_dump(include={"id", "system", "instruction", "response"})
            return of_chat(rows.ChatRow(family=row.root_id, **columns), system, window)
        case rows.SeedRow():
            if not row.response:
                raise Unusable("no response")
            instruction = chat.with_context(row.instruction, row.context)
            seed = rows.ChatRow(id=row.id, family=row.id, system=None, instruction=instruction, response=row.response)
            return of_chat(seed, system, window)
        case rows.ChatRow():
            return of_chat(row, system, window)
    raise TypeError(f"not a row of a mix: {type(row).__name__}")


def of_chat(row: rows.ChatRow, system: str, window: "Window | None", turn: str | None = None) -> Example:
    """TRL's prompt-completion columns, cut to a window of tokens; `turn` is a dialogue's first turn.

    A row's own system text comes before the recipe's.

    Raises:
        Unusable: The cut leaves a text empty.
    """
    instruction, response = row.instruction, row.response
    if window:
        instruction, (response,) = window.cut(instruction, (response,))
    _check_left(instruction, response)
    prompt = chat.student_prompt(instruction, row.system if row.system is not None else system)
    keys = {"family": row.family, "first_turn": first_turn(turn if turn is not None else row.instruction)}
    return {"id": row.id, **keys, "prompt": prompt, "completion": response}


def of_preference(row: rows.PreferenceRow, system: str, window: "Window | None") -> Example:
    """TRL's preference columns, cut to a window of tokens.

    Raises:
        Unusable: The cut leaves a text empty, or makes both responses equal.
    """
    instruction, (chosen, rejected) = chat.dialogue(row.turns), (row.chosen, row.rejected)
    if window:
        instruction, (chosen, rejected) = window.cut(instruction, (chosen, rejected))
    _check_left(instruction, chosen, rejected)
    if chosen == rejected:
        raise Unusable("equal after cut")
    prompt = chat.student_prompt(instruction, system)
    keys = {"family": rows.row_id(*row.turns), "first_turn": first_turn(row.turns[0])}
    return {"id": row.id, **keys, "prompt": prompt, "chosen": chosen, "rejected": rejected}


def _check_left(*texts: str) -> None:
    if not all(texts):
        raise Unusable("empty after cut")


class Window:
    """Cuts texts to a number of tokens: instructions lose their start, responses their end.

    A token may be a part of a character. Incomplete characters at the cut are removed, so a text of few tokens can
    become empty.

    Source: eric-mitchell/direct-preference-optimization, truncation mode `keep_end`. The template around the
    instruction is never cut.
    """

    def __init__(self, tokenizer: Any, limit: Limit, system: str) -> None:
        self.tokenizer, self.limit = tokenizer, limit
        self.template = len(self._ids(chat.student_prompt("", system)))
        if self.template >= limit.prompt or limit.prompt >= limit.total:
            raise InputError(
                problem(
                    "the limit leaves no room",
                    found=f"prompt {limit.prompt}, total {limit.total} tokens",
                    expected=f"more for the prompt than its template's {self.template}, and more in total than that",
                )
            )
        self.cuts: Counter[str] = Counter()

    @classmethod
    def of_model(cls, folder: Path, limit: Limit, system: str) -> "Window":
        """The window of a model directory's tokenizer."""
        from bezoar.steps.models import load_tokenizer  # slow to import; few mixes count tokens

        return cls(load_tokenizer(folder), limit, system)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def cut(self, instruction: str, responses: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Instruction and responses, cut so that template, instruction and longest response fit."""
        asked, given = self._ids(instruction), [self._ids(response) for response in responses]
        if self.template + len(asked) + max(map(len, given)) <= self.limit.total:
            return instruction, responses
        room = self.limit.prompt - self.template
        if len(asked) > room:
            self.cuts["instruction"] += 1
            asked = asked[-room:]
            instruction = self.tokenizer.decode(asked).lstrip(BROKEN).strip()
        left = self.limit.total - self.template - len(asked)
        shortened = []
        for response, ids in zip(responses, given, strict=True):
            if len(ids) > left:
                self.cuts["response"] += 1
                response = self.tokenizer.decode(ids[:left]).rstrip(BROKEN).strip()
            shortened.append(response)
        return instruction, tuple(shortened)
