"""Prompt files: YAML maps of named templates with `{slots}`."""

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from bezoar.errors import InputError, problem
from bezoar.problems import yaml_of

FENCE_DIGITS = 16
SLOT = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


def fill(template: str, **slots: str) -> str:
    """The template with each `{slot}` replaced; braces in the inserted texts stay as they are.

    Raises:
        ValueError: The template has a slot for which no text was given.
    """

    def text_of(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in slots:
            known = ", ".join(f"{{{slot}}}" for slot in sorted(slots))
            raise InputError(problem("a prompt template has an unknown slot", found=f"{{{name}}}", expected=known))
        return slots[name]

    return SLOT.sub(text_of, template)


def fence(seed: int, call: str, *texts: str) -> str:
    """A delimiter for texts of others in a prompt: the same for the same arguments, and in none of the texts.

    Args:
        seed: The recipe's, so that authors of texts can't know the delimiter.
        call: The call of the prompt.
        texts: The texts between two delimiters.
    """
    number = 0
    while True:
        whole = "\0".join((str(seed), call, str(number), *texts))
        mark = f"[{hashlib.sha256(whole.encode(errors='surrogatepass')).hexdigest()[:FENCE_DIGITS]}]"
        if not any(mark in text for text in texts):
            return mark
        number += 1


def load(path: Path | str, needs: Mapping[str, Collection[str]]) -> dict[str, str]:
    """The templates of a prompt file by name.

    Args:
        path: The prompt file.
        needs: The required templates by name, each with its slots (bezoar.steps.generate.templates).

    Raises:
        ValueError: The file isn't YAML or has other names, or a template isn't text or has other slots.
    """
    templates, _ = yaml_of(path)
    if not isinstance(templates, dict) or set(templates) != set(needs):
        found = ", ".join(sorted(map(str, templates))) if isinstance(templates, dict) else repr(templates)[:200]
        raise InputError(
            problem(
                f"{path}: the prompts are not those that this method uses",
                found=found,
                expected=", ".join(sorted(needs)),
            )
        )
    for name, text in templates.items():
        if not isinstance(text, str):
            raise InputError(problem(f"{path}: {name}: not text", found=f"{text!r:.200}", expected="a prompt template"))
        check_slots(path, name, text, needs[name])
    return {name: text.rstrip("\n") for name, text in templates.items()}


def check_slots(path: Path | str, name: str, template: str, slots: Collection[str]) -> None:
    """Check that a template has exactly these slots; one that is never filled (no slots) may be any text.

    Raises:
        ValueError: It lacks a slot, or has another one.
    """
    found = set(SLOT.findall(template))
    if slots and found != set(slots):
        texts = [", ".join(f"{{{slot}}}" for slot in sorted(some)) for some in (found, slots)]
        raise InputError(
            problem(
                f"{path}: {name}: the slots are not those that this method fills",
                found=texts[0] or "none",
                expected=texts[1],
            )
        )
