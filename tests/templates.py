"""Chat templates of five families, OpenBezoar's layout said twice, and tokenizers for counting."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[1]
OPENBEZOAR = ROOT / "recipes" / "templates" / "openbezoar.jinja"
MARKERS = ("### System:\n", "### Instruction:\n", "### Response:\n")
SPEAKERS = ("\n\nHuman: ", "\n\nAssistant: ")


@dataclass(frozen=True)
class Family:
    """A family of chat templates.

    Attributes:
        template: As its models' authors publish it.
        marks: Special tokens that it writes, apart from start and end of a text.
        end: The token that ends an answer; None for the tokenizer's end token.
        system: Whether it takes a system turn.
        adds: Whether it only adds to a dialogue, and never rewrites earlier turns.
    """

    template: str
    marks: tuple[str, ...] = ()
    end: str | None = None
    system: bool = True
    adds: bool = True


FAMILIES = {
    "chatml": Family(  # SmolLM2, with its own system text
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM<|im_end|>\\n' }}{% endif %}"
        "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        ("<|im_start|>", "<|im_end|>"),
        end="<|im_end|>",
    ),
    "llama3": Family(  # Llama 3
        "{% set loop_messages = messages %}{% for message in loop_messages %}"
        "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
        "+ message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        end="<|eot_id|>",
    ),
    "mistral": Family(  # Mistral 7B Instruct v0.2
        "{{ bos_token }}{% for message in messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
        "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}",
        system=False,
    ),
    "gemma": Family(  # Gemma 1 and 2
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
        "{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}"
        "{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}",
        ("<start_of_turn>", "<end_of_turn>"),
        end="<end_of_turn>",
        system=False,
    ),
    "openbezoar": Family(OPENBEZOAR.read_text(encoding="utf-8"), adds=False),
}


def student_prompt(instruction: str, system: str) -> str:
    """OpenBezoar's prompt, said apart from its template."""
    blocks = (system, instruction, "")
    return "\n\n".join(marker + block for marker, block in zip(MARKERS, blocks, strict=True))


def transcript(turns: Sequence[str]) -> str:
    """Several turns as OpenBezoar's one instruction, in HH-RLHF's layout."""
    if len(turns) == 1:
        return turns[0]
    return "".join(SPEAKERS[number % 2] + turn for number, turn in enumerate(turns)).removeprefix("\n\n")


def said(*turns: str, system: str | None = None) -> list[dict[str, str]]:
    """Messages of user and assistant in alternation, user first, perhaps under a system message."""
    head = [] if system is None else [{"role": "system", "content": system}]
    return head + [{"role": ("user", "assistant")[number % 2], "content": turn} for number, turn in enumerate(turns)]


def answered(*turns: str, system: str | None = None) -> dict[str, list[dict[str, str]]]:
    """The columns of a mix's row: a prompt and the answer to it."""
    messages = said(*turns, system=system)
    return {"prompt": messages[:-1], "completion": messages[-1:]}


class Layout:
    """The base class of tokenizers that only count: OpenBezoar's layout, with a word or a byte as its end token."""

    chat_template, name_or_path, end = "OpenBezoar's", "counting", ""

    def apply_chat_template(self, messages: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool) -> str:
        assert not tokenize
        system = messages[0]["content"] if messages[0]["role"] == "system" else ""
        turns = [one["content"] for one in messages if one["role"] != "system"]
        assert add_generation_prompt == (len(turns) % 2 == 1)
        if add_generation_prompt:
            return student_prompt(transcript(turns), system)
        return student_prompt(transcript(turns[:-1]), system) + turns[-1] + self.end


class Words(Layout):
    """A tokenizer whose tokens are words; an id is a word's place in the order of first use."""

    end = " <end>"

    def __init__(self) -> None:
        self.words: list[str] = []

    def __call__(self, text: str, add_special_tokens: bool) -> Any:
        assert not add_special_tokens
        for word in text.split():
            if word not in self.words:
                self.words.append(word)
        return SimpleNamespace(input_ids=[self.words.index(word) for word in text.split()])

    def decode(self, ids: list[int]) -> str:
        return " ".join(self.words[one] for one in ids)


class Bytes(Layout):
    """A tokenizer whose tokens are bytes."""

    end = "\0"

    def __call__(self, text: str, add_special_tokens: bool) -> Any:
        return SimpleNamespace(input_ids=list(text.encode()))

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode(errors="replace")
