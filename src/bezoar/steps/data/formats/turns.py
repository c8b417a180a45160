"""Turns as public data sets write them, in OpenAI's or ShareGPT's words, as messages."""

from typing import Any, Literal

from bezoar.steps.data.formats.common import optional_text
from bezoar.steps.data.rows import ChatRow, Message, Unusable, row_id

ROLES: dict[str, Literal["system", "user", "assistant", "tool"]] = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bing", "bard", "model"), "assistant"),
    **dict.fromkeys(("tool", "observation", "function", "function_response", "ipython"), "tool"),
}
MEANT = ("tool_calls", "function_call", "reasoning_content", "thinking", "images", "audio")  # not text, or not only
TOOLS = ("tools", "functions")
NAME = 30  # characters of a name in a reason


def are_turns(value: Any) -> bool:
    """Whether a value is a list of turns, by its first one."""
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and ({"role", "content"} <= first.keys() or {"from", "value"} <= first.keys())


def messages_in(row: dict[str, Any], column: str) -> list[Message]:
    """A column's turns as messages, under the row's system text if it has one.

    Raises:
        Unusable: There are none, or one has what no message holds, such as a call of a function.
    """
    found = row[column]
    if not isinstance(found, list):
        raise Unusable(f"no {column}" if found is None else f"{column} is not a list")
    return under_system(row, [message(turn) for turn in found])


def under_system(row: dict[str, Any], messages: list[Message]) -> list[Message]:
    """Messages, under the text in the row's column `system` if it has one.

    Raises:
        Unusable: They have a system message of their own, or the row has tools.
    """
    for name in TOOLS:
        if row.get(name) not in (None, "", "[]", []):
            raise Unusable(f"{name} are given")
    system = optional_text(row, "system")
    if system is None or (messages and messages[0] == Message(role="system", content=system)):
        return messages
    if messages and messages[0].role == "system":
        raise Unusable("two system texts")
    return [Message(role="system", content=system), *messages]


def message(turn: Any) -> Message:
    """A turn as a message, without surrounding whitespace.

    Raises:
        Unusable: It has an unknown role, or what no message holds.
    """
    if not isinstance(turn, dict):
        raise Unusable("a turn is not an object with role and content")
    name = turn.get("role", turn.get("from"))
    role = ROLES.get(name.lower()) if isinstance(name, str) else None
    if role is None:
        raise Unusable(f"a turn of {name[:NAME]!r}" if isinstance(name, str) else "a turn without a role")
    for key in MEANT:
        if turn.get(key):
            raise Unusable(f"a turn with {key}")
    if role == "assistant" and turn.get("weight") == 0:
        raise Unusable("an assistant turn with weight 0")
    return Message(role=role, content=_text(turn.get("content", turn.get("value"))).strip())


def _text(content: Any) -> str:
    """A turn's text; OpenAI's form is also a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise Unusable("a turn's content is not text")
    texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise Unusable("a turn with more than text")
    return "".join(map(str, texts))


def chat_row(kind: str, messages: list[Message]) -> ChatRow:
    """A dialogue as a row, whose id depends on all of it."""
    name = row_id(kind, *(text for one in messages for text in (one.role, one.content)))
    return ChatRow(id=name, family=name, messages=messages)
