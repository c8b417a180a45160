"""Count the requests that a job would send, without sending them: `bezoar plan` runs scripts this way."""

import json
import os

VARIABLE = "BEZOAR_DRY_RUN"  # the file for the counts


class Counted(SystemExit):
    """The first missing answers were counted; later requests depend on them."""


def wanted() -> bool:
    """Whether this process only counts."""
    return VARIABLE in os.environ


def count(stored: int, missing: int) -> None:
    """Add to the counts."""
    with open(os.environ[VARIABLE], "a", encoding="utf-8") as file:
        file.write(json.dumps({"stored": stored, "missing": missing}) + "\n")
