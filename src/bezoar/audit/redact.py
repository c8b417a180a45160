"""Values to show without the keys and tokens in their texts: rows have them until a mix is cleaned."""

from typing import Any

from bezoar.steps.data.secrets import redacted


def without_secrets(value: Any) -> Any:
    """The value, with `[secret]` for each key or token in a text at any depth.

    The texts are looked at before they become JSON: behind the `n` of an escaped newline, a token looks like a part of
    a word.
    """
    if isinstance(value, str):
        return redacted(value, set())
    if isinstance(value, dict):
        return {without_secrets(name): without_secrets(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(one) for one in value]
    return value
