"""Chat templates of five families, OpenBezoar's layout said twice, and tokenizers for counting."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[1]
OPENBEZOAR = ROOT / "recipes" / "templates" / "openbezoar.jinja"
MARKERS = ("### System:\n", "### Instruction:\n", "### Response:\n")
SPEAKERS = ("\n\nHuman: ", "\n\nAssistant: ")


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
