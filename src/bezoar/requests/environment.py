"""Addresses and keys from the environment; messages never show them."""

import os

from bezoar.errors import InputError, problem


def from_environment(variable: str, what: str) -> str:
    """The value of an environment variable.

    Raises:
        ValueError: It isn't set; the message names the variable, never a value.
    """
    value = os.environ.get(variable)
    if not value:
        raise InputError(
            problem(
                f"no {what} in the environment",
                found=f"{variable} is not set",
                expected=f"{variable}=<{what}>",
                hint="with BEZOAR_REPLAY_ONLY=1 none is needed if all answers are stored",
            )
        )
    return value
