"""Row types of the artifacts, validated when a file is read, and JSON lines."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bezoar.errors import InputError, problem
from bezoar.files import whole
from bezoar.jsonl import read_json_lines

END_PUNCTUATION = " .!?,;:\u2026"
PLACE = re.compile(r"(.*):(\d+)(?: \(item ([\d,]+)\))?", re.DOTALL)  # file, line, number in an array
FAILED = "failed: "  # prefix of reasons that mean no usable answer of a model, not a bad row


class Unusable(ValueError):
    """A row can't be used; the argument is the reason, under which it is counted."""


class Row(BaseModel):
    """One line of a JSON-lines artifact."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TextRow(Row):
    """Raw text for pre-training."""

    text: str = Field(min_length=1)


class SeedRow(Row):
    """Where a scheme starts: a human's instruction, or a task's query."""

    id: str
    instruction: str = Field(min_length=1)
    context: str | None
    response: str | None
    category: str | None
    task_source: str | None = None
    task_name: str | None = None
    template_type: str | None = None


class Message(Row):
    """One turn of a dialogue; only a system message may be empty."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str


FOLLOWS = {None: ("system", "user"), "system": ("user",), "user": ("assistant",), "assistant": ("user", "tool")}
FOLLOWS |= {"tool": ("assistant", "tool")}  # the roles that may come after a role


def check_turns(messages: Sequence[Message], last: Literal["user", "assistant"]) -> None:
    """Check the order of a dialogue: perhaps a system message, then user and assistant in alternation.

    Turns of a tool may stand between two turns of the assistant.

    Raises:
        Unusable: A turn is empty, or not one that may follow the turn before it, or the last one is of another role.
    """
    before = None
    for message in messages:
        if message.role not in FOLLOWS[before]:
            raise Unusable(f"{message.role} turn after {before}" if before else f"starts with a turn of {message.role}")
        if not message.content and message.role != "system":
            raise Unusable(f"empty turn of {message.role}")
        before = message.role
    if before != last:
        raise Unusable(f"ends with a turn of {before}" if before else "no turns")


class ChatRow(Row):
    """A dialogue that ends with the assistant's turn."""

    id: str
    family: str = Field(description="Rows of one family are near-duplicates and stay on one side of a split.")
    messages: list[Message] = Field(description="Perhaps a system message, then user and assistant in alternation.")

    @field_validator("messages")
    @classmethod
    def _ordered(cls, messages: list[Message]) -> list[Message]:
        check_turns(messages, "assistant")
        return messages


def _absent(value: Any) -> bool:
    """Whether a value is left out of a row's line."""
    return value is None


class PreferenceRow(Row):
    """A dialogue that ends with a user turn, with a chosen and a rejected response, and what is known of them."""

    id: str
    messages: list[Message] = Field(description="As in a ChatRow, but with a user turn at the end.")
    chosen: str = Field(min_length=1)
    rejected: str = Field(min_length=1)
    gold: str | None = Field(None, min_length=1, exclude_if=_absent, description="A third response, the best one.")
    score_chosen: float | None = Field(None, allow_inf_nan=False, exclude_if=_absent)
    score_rejected: float | None = Field(None, allow_inf_nan=False, exclude_if=_absent)
    win_rate_chosen: float | None = Field(
        None, ge=0, le=1, exclude_if=_absent, description="How often it beats other responses to the dialogue."
    )
    win_rate_rejected: float | None = Field(None, ge=0, le=1, exclude_if=_absent)

    @field_validator("messages")
    @classmethod
    def _ordered(cls, messages: list[Message]) -> list[Message]:
        check_turns(messages, "user")
        return messages


class PairRow(PreferenceRow):
    """Two answers to a prompt of one turn, of which one is the better, with their origins."""

    root_id: str = Field(description="First ancestor of the prompt; rows of its family share it.")
    chosen_id: str = Field(description="Row of the chosen response: a generated one, or a seed.")
    rejected_id: str


class GeneratedRow(Row):
    """A scheme's result: an instruction with a teacher's response, and their origins."""

    id: str
    scheme: str
    seed_id: str | None = Field(description="Seed row that it descends from; null if several were examples.")
    root_id: str = Field(description="First ancestor; a tree of rewrites shares it.")
    parent_ids: list[str]
    operation: str | None = Field(description="Rewrite (Evol), or label of the listing mode (LaMini).")
    round: int = Field(ge=0)
    category: str | None
    topics: list[str]
    system: str | None
    instruction: str = Field(min_length=1)
    response: str
    teacher: str = Field(description="Model that answered, by its server's name for it.")
    prompt_hash: str = Field(description="sha256 of the messages that the response answers.")
    finish_reason: str


class FilteredRow(GeneratedRow):
    """A generated row with the judge's verdict."""

    status: str
    rating: float | None
    reason: str
    judge: str
    judge_prompt_hash: str


class DroppedRow(Row):
    """A row that was dropped, and why."""

    reason: str
    detail: str
    row: dict[str, Any]

    @property
    def failed(self) -> bool:
        """Whether a model gave no usable answer; that says nothing about the row."""
        return self.reason.startswith(FAILED)


class PlaceRow(Row):
    """Where a row of a source is from."""

    id: str | None
    file: str = Field(description="Path in the project, address, or repository, revision and split.")
    line: int = Field(ge=1)
    item: int | None = Field(None, ge=1, description="Number of the row in an array, if it is in one.")


class QuestionRow(Row):
    """A question of one or more turns (FastChat's question.jsonl; MT-Bench's have two)."""

    question_id: int
    category: str
    turns: list[str] = Field(min_length=1)
    reference: list[str] | None = None


class Choice(Row):
    index: int
    turns: list[str]


class AnswerRow(Row):
    """A model's answers to a question (FastChat's model_answer; also its reference_answer)."""

    question_id: int
    answer_id: str
    model_id: str
    choices: list[Choice] = Field(min_length=1)
    tstamp: float


class TurnRow(Row):
    """How a model's answer to one turn of a question ended."""

    question_id: int
    turn: int = Field(ge=1)
    finish_reason: str
    tokens: int | None = Field(description="Sampled, with the one that ends the answer; null if a server doesn't say.")
    logprob: float | None = Field(
        description="Sum of the sampled tokens' log-probabilities at temperature 1, or as the server gives them, in "
        "nats; null if it doesn't give each of them."
    )


class JudgePromptRow(Row):
    """A judge prompt of MT-Bench (FastChat's judge_prompts.jsonl)."""

    name: str
    type: str
    system_prompt: str
    prompt_template: str
    description: str
    category: str
    output_format: str


PAIR_NUMBERS = ("score_chosen", "score_rejected", "win_rate_chosen", "win_rate_rejected")
TRAINABLE: tuple[type[Row], ...] = (FilteredRow, ChatRow, PreferenceRow, PairRow, SeedRow)  # rows of mixes
Kind = TypeVar("Kind", bound=Row)


def row_id(*parts: str) -> str:
    """16 hexadecimal digits that depend on the parts alone."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def dialogue(*turns: str, system: str | None = None) -> list[Message]:
    """Messages of user and assistant in alternation, user first, perhaps under a system message."""
    roles: tuple[Literal["user", "assistant"], ...] = ("user", "assistant")
    head = [] if system is None else [Message(role="system", content=system)]
    return head + [Message(role=roles[number % 2], content=turn) for number, turn in enumerate(turns)]


def rank(seed: int, *parts: str) -> str:
    """A row's place in the order of a recipe's draws: of two sets drawn from the same rows, one contains the other.

    It depends on the seed and the row's id alone, not on what draws.
    """
    return row_id(str(seed), *parts)


def normalized(text: str) -> str:
    """A text for comparison: case folded, without end punctuation, whitespace as single spaces."""
    plain = " ".join(text.casefold().split())
    return plain.rstrip(END_PUNCTUATION) or plain


def row_type(path: Path, kinds: tuple[type[Row], ...] = TRAINABLE, use: str = "a mix") -> type[Row]:
    """The type of a file's rows, by the columns of the first one; SeedRow for a file without rows.

    Args:
        path: The file.
        kinds: The types that may be.
        use: What takes such rows, for the message.

    Raises:
        ValueError: The rows are of no such type.
    """
    first = next((row for _, row in read_json_lines(path)), None)
    if first is None:
        return SeedRow
    found = [kind for kind in kinds if _columns(kind) <= set(first) <= set(kind.model_fields)]
    if not found:
        expected = "rows with a response, or preferences"
        raise InputError(problem(f"{path}: not rows of {use}", found=", ".join(map(str, first)), expected=expected))
    return found[0]


def _columns(kind: type[Row]) -> set[str]:
    """The columns that each line of a row type has."""
    return {name for name, field in kind.model_fields.items() if field.exclude_if is None}


def reasons_of(rows: Iterable[DroppedRow]) -> dict[str, int]:
    """Counts of dropped rows by reason."""
    return dict(sorted(Counter(row.reason for row in rows).items()))


def read_rows(path: Path | str, kind: type[Kind]) -> Iterator[Kind]:
    """The rows of a JSON-lines file.

    Raises:
        ValueError: A line isn't JSON or doesn't fit the row type; the message gives file, line and field.
    """
    return (row for _, row in placed_rows(path, kind))


def placed_rows(path: Path | str, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """The place (`path:line`) of each row of a JSON-lines file, and the row.

    Raises:
        ValueError: A line isn't JSON or doesn't fit the row type; the message gives file, line and field.
    """
    for number, data in read_json_lines(path):
        try:
            yield f"{path}:{number}", kind.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise InputError(
                problem(
                    f"{path}:{number}: '{field}' does not fit a {kind.__name__}",
                    found=f"{first['input']!r:.200}",
                    expected=first["msg"],
                )
            ) from error


def file_of(place: str) -> str:
    """The file of a place, which is `file:line`."""
    return place.rpartition(":")[0]


def split_place(place: str) -> tuple[str, int, int | None]:
    """File and line of a place, and the row's number in an array, if it is in one."""
    found = PLACE.fullmatch(place)
    if not found:
        raise ValueError(f"not a place: {place!r}")
    return found[1], int(found[2]), int(found[3].replace(",", "")) if found[3] else None


def write_rows(path: Path | str, rows: Iterable[Row | dict[str, Any]]) -> int:
    """Write rows as JSON lines, completely or not at all; returns their number."""
    number = 0
    with writer(path) as write:
        for row in rows:
            write(row)
            number += 1
    return number


@contextmanager
def writer(path: Path | str) -> Iterator[Callable[[Row | dict[str, Any]], object]]:
    """A function that writes a row as a line of JSON; the file is there if the block ends without an exception."""
    with whole(path) as partial, partial.open("w", encoding="utf-8") as file:
        yield lambda row: file.write(line_of(row))


def line_of(row: Row | dict[str, Any]) -> str:
    """A row as a line of JSON."""
    data = row.model_dump() if isinstance(row, Row) else row
    return json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n"
