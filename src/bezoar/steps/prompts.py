"""Prompt files: YAML maps of named templates whose `{slots}` are filled once."""

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from bezoar.errors import InputError, problem
from bezoar.problems import yaml_of

FENCE_DIGITS = 16
SLOT = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


def fill(template: str, **slots: str) -> str:
    """The template with each `{slot}` replaced; braces inside the filled-in text stay as they are.

    Raises:
        ValueError: The template has a slot for which no text was given.
    """

    def text_of(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in slots:
            known = ", ".join(f"{{{slot}}}" for slot in sorted(slots))
            raise InputError(
                problem("a prompt template has a slot that nothing fills", found=f"{{{name}}}", expected=known)
            )
        return slots[name]

    return SLOT.sub(text_of, template)


def fence(seed: int, call: str, *texts: str) -> str:
    """A mark to set texts of others off in a prompt: the same for the same arguments, and in none of the texts.

    Args:
        seed: Of the recipe, so that nobody who writes a text knows the mark.
        call: Whose prompt it is.
        texts: What is to stand between two of them.
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
        needs: The slots of each template that the file has to hold, by its name (bezoar.steps.generate.templates).

    Raises:
        ValueError: The file isn't YAML or holds other names, or a template isn't text or has other slots.
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
            raise InputError(
                problem(f"{path}: {name}: not a text", found=f"{text!r:.200}", expected="a prompt template")
            )
        check_slots(path, name, text, needs[name])
    return {name: text.rstrip("\n") for name, text in templates.items()}


def check_slots(path: Path | str, name: str, template: str, slots: Collection[str]) -> None:
    """Nothing, if a template has just these slots; one that is never filled (no slots) may hold any text.

    Raises:
        ValueError: It lacks a slot, or has another.
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
