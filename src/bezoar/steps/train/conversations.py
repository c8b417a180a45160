"""Tokens of a dialogue, and which of them are trained, by rendering its prefixes with the model's chat template.

The tokens before an answer are those that the model gets as a prompt. They end where the tokens of the whole
dialogue differ from those of the prompt, as in TRL.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from bezoar.errors import InputError, problem
from bezoar.jsonl import read_json_lines
from bezoar.logs import logger
from bezoar.steps import chat
from bezoar.steps.chat import RESPONSES, Turn


@dataclass(frozen=True)
class Tokens:
    """A dialogue's tokens.

    Attributes:
        ids: All tokens.
        spans: Of each trained answer, the first token, and the first one after what the template writes to end it.
    """

    ids: list[int]
    spans: list[tuple[int, int]]

    @property
    def mask(self) -> list[int]:
        """1 for each token that is trained, 0 for the others."""
        mask = [0] * len(self.ids)
        for start, end in self.spans:
            mask[start:end] = [1] * (end - start)
        return mask


def tokens_of(tokenizer: Any, prompt: list[Turn], answer: list[Turn], *, every_turn: bool) -> Tokens:
    """Tokens of a prompt and its answer; with `every_turn`, the assistant's turns in the prompt are trained, too.

    Raises:
        InputError: The template writes the beginning of the dialogue differently in the whole dialogue.
    """
    messages = [*prompt, *answer]
    text = chat.render(tokenizer, messages, prompt=False)
    ids = chat.split(tokenizer, text)
    first = 0 if every_turn else len(prompt)
    places = [place for place in range(first, len(messages)) if messages[place]["role"] == "assistant"]
    spans = []
    for place in places:
        ends = []
        for beginning, asks in ((messages[:place], True), (messages[: place + 1], False)):
            start = chat.render(tokenizer, beginning, prompt=asks)
            if not text.startswith(start):
                raise _rewritten(tokenizer, place, last=place == len(messages) - 1)
            ends.append(len(ids) if start == text else _shared(chat.split(tokenizer, start), ids))
        spans.append((ends[0], ends[1]))
    return Tokens(ids, spans)


def _shared(first: list[int], second: list[int]) -> int:
    """The number of tokens at the start that two texts share."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _rewritten(tokenizer: Any, place: int, *, last: bool) -> InputError:
    if last:
        what, hint = "writes a prompt that differs from the start of the whole dialogue", "a template of your own"
        return InputError(
            problem(
                f"{tokenizer.name_or_path}: the chat template {what}",
                found="a prompt that the whole dialogue doesn't start with",
                expected="the same text in training and in a prompt",
                hint=f"{hint}: models.<name>.chat_template",
            )
        )
    return InputError(
        problem(
            f"{tokenizer.name_or_path}: the chat template rewrites earlier turns",
            found=f"turn {place + 1} has another text in the whole dialogue than when it is answered",
            expected="with loss_on: all, a template that only adds to a dialogue",
            hint="loss_on: last trains the last answer of each dialogue",
        )
    )


def read(
    path: Path, tokenizer: Any, *, every_turn: bool, rows: Iterable[tuple[int, Any]] | None = None
) -> Iterator[list[Tokens]]:
    """The tokens of each row of a mix's file, once for each of its responses; `rows` are other forms of its rows.

    Raises:
        InputError: The template doesn't fit a row; the message has its place.
    """
    for number, row in read_json_lines(path) if rows is None else rows:
        answers = [row[name] for name in RESPONSES if name in row]
        try:
            yield [tokens_of(tokenizer, row["prompt"], answer, every_turn=every_turn) for answer in answers]
        except InputError as error:
            raise InputError(f"{path}:{number}: {error}") from error


def count(
    path: Path,
    tokenizer: Any,
    ends: list[int],
    max_length: int,
    *,
    every_turn: bool,
    rows: Iterable[tuple[int, Any]] | None = None,
) -> dict[str, int]:
    """Counts of rows, of their tokens, and of rows that are too long.

    TRL cuts such rows, or drops them if no answer starts in time. A row's length is that of its prompt with the longest
    response. `tokens` are those of all responses with their prompts, as far as they are kept, and `trained_tokens`
    those among them that the loss is taken on.

    Args:
        path: A mix's file.
        tokenizer: The model's.
        ends: All tokens that end an answer of the model.
        max_length: Most tokens of a row.
        every_turn: Whether the assistant's turns in the prompt are trained, too.
        rows: The rows with their lines, if they are trained on in another form than in the file.

    Raises:
        InputError: An answer isn't ended by an end token, so the model wouldn't learn to stop.
    """
    counts = dict.fromkeys(("rows", "cut", "dropped", "tokens", "trained_tokens"), 0)
    early = 0
    for number, row in enumerate(read(path, tokenizer, every_turn=every_turn, rows=rows), start=1):
        found = [sum(one in ends for one in tokens.ids[slice(*span)]) for tokens in row for span in tokens.spans]
        if 0 in found:
            raise _endless(tokenizer, f"{path}, row {number}", row[0], ends)
        early += max(found) > 1
        first = min(tokens.spans[0][0] for tokens in row)
        longest = max(len(tokens.ids) for tokens in row)
        counts["rows"] += 1
        counts["dropped" if first >= max_length else "cut"] += longest > max_length
        if first < max_length:
            counts["tokens"] += sum(min(len(tokens.ids), max_length) for tokens in row)
            counts["trained_tokens"] += sum(sum(tokens.mask[:max_length]) for tokens in row)
    if early:
        logger.warning(f"{path}: {early:,} rows have an end token within an answer: the model learns to stop there")
    return counts


def _endless(tokenizer: Any, place: str, tokens: Tokens, ends: list[int]) -> InputError:
    start, end = tokens.spans[-1]
    return InputError(
        problem(
            f"{place}: the chat template ends an answer without an end token of the model",
            found=f"{tokenizer.decode(tokens.ids[start:end])[-80:]!r}",
            expected=" or ".join(map(repr, tokenizer.convert_ids_to_tokens(ends))),
            hint="write eos_token after an answer in models.<name>.chat_template",
        )
    )
