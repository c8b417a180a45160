"""Prompt files: YAML maps of named templates whose `{slots}` are filled once."""

import re
from pathlib import Path

import yaml

SLOT = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


def fill(template: str, **slots: str) -> str:
    """The template with each `{slot}` replaced; braces inside the filled-in text stay as they are.

    Raises:
        ValueError: The template has a slot for which no text was given.
    """

    def text_of(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in slots:
            raise ValueError(
                f"a prompt template has a slot that nothing fills\n"
                f"  found:    {{{name}}}\n  expected: {', '.join('{' + slot + '}' for slot in sorted(slots))}"
            )
        return slots[name]

    return SLOT.sub(text_of, template)


def load(path: Path | str, *expected: str) -> dict[str, str]:
    """The templates of a prompt file by name.

    Raises:
        ValueError: The file holds other names than the expected ones, or a template isn't text.
    """
    templates = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    if not isinstance(templates, dict) or not all(isinstance(text, str) for text in templates.values()):
        raise ValueError(f"{path}: not a map of prompt names to texts")
    if set(templates) != set(expected):
        raise ValueError(
            f"{path}: the prompts are not those that this method uses\n"
            f"  found:    {', '.join(sorted(templates))}\n  expected: {', '.join(sorted(expected))}"
        )
    return {name: text.rstrip("\n") for name, text in templates.items()}
