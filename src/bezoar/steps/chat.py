"""Dialogues under a model's own chat template: the same text and tokens in training and wherever the model answers."""

import json
from collections.abc import Sequence
from typing import Any, TypedDict

from bezoar.errors import InputError, problem

FAULTS = (ArithmeticError, LookupError, TypeError, ValueError)  # of a template's expressions, which jinja2 lets pass
RESPONSES = ("completion", "chosen", "rejected", "gold")  # columns of a mix with an answer to its `prompt`


class Turn(TypedDict):
    """A message in TRL's conversational columns: role and content."""

    role: str
    content: str


def with_system(messages: Sequence[Turn], system: str | None) -> list[Turn]:
    """A dialogue under a system text, unless it has its own."""
    if system is None or (messages and messages[0]["role"] == "system"):
        return list(messages)
    return [Turn(role="system", content=system), *messages]


def render(tokenizer: Any, messages: Sequence[Turn], *, prompt: bool) -> str:
    """The text of a dialogue under the tokenizer's chat template.

    Args:
        tokenizer: Has the template.
        messages: The dialogue.
        prompt: End with what the template writes before an answer.

    Raises:
        InputError: There is no template, or it refuses the dialogue or leaves out one of its turns.
    """
    from jinja2 import TemplateError, TemplateSyntaxError  # not needed when a recipe is read

    check_template(tokenizer)
    try:
        text = str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt))
    except (TemplateError, *FAULTS) as error:
        line = f" (line {error.lineno})" if isinstance(error, TemplateSyntaxError) else ""
        raise _unfit(tokenizer, messages, f"refuses a dialogue: {error}{line}") from error
    for message in messages:
        if message["role"] != "assistant" and not _is_in(message["content"].strip(), text):
            raise _unfit(tokenizer, messages, f"leaves out a turn of {message['role']}")
    return text


def _is_in(content: str, text: str) -> bool:
    """Whether a text has a turn's content, as it is or, as some templates write results of a tool, as JSON."""
    return content in text or any(json.dumps(content, ensure_ascii=one)[1:-1] in text for one in (True, False))


def ids(tokenizer: Any, messages: Sequence[Turn], *, prompt: bool) -> list[int]:
    """The tokens of a dialogue; a start token only where the template writes one."""
    return split(tokenizer, render(tokenizer, messages, prompt=prompt))


def split(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text that a chat template made."""
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def check_template(tokenizer: Any) -> None:
    """Check that a tokenizer has a chat template.

    Raises:
        InputError: It has none.
    """
    if not tokenizer.chat_template:
        raise InputError(
            problem(
                f"{tokenizer.name_or_path}: the tokenizer has no chat template",
                found="no chat_template.jinja, and no chat_template in tokenizer_config.json",
                expected="one of them, or a template of your own",
                hint="set models.<name>.chat_template to a file, for example recipes/templates/openbezoar.jinja",
            )
        )


def with_context(instruction: str, context: str | None) -> str:
    """An instruction and its context, with a blank line between them (the layout is our choice)."""
    return f"{instruction}\n\n{context}" if context else instruction


def _unfit(tokenizer: Any, messages: Sequence[Turn], what: str) -> InputError:
    roles = ", ".join(message["role"] for message in messages)
    return InputError(
        problem(
            f"{tokenizer.name_or_path}: the chat template {what}",
            found=f"roles {roles}",
            expected="a template that takes these roles, with every turn in its text",
            hint="without system turns: prompt.system: null; another template: models.<name>.chat_template",
        )
    )
