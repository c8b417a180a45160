"""Counting what a job would send, without sending it: `bezoar plan` runs scripts so."""

import json
import os

VARIABLE = "BEZOAR_DRY_RUN"  # a file to write the counts to


class Counted(SystemExit):
    """The first answers that are missing were counted; what follows depends on them."""


def wanted() -> bool:
    """Whether this process is to count only."""
    return VARIABLE in os.environ


def tell(stored: int, missing: int) -> None:
    """Add to the counts."""
    with open(os.environ[VARIABLE], "a", encoding="utf-8") as file:
        file.write(json.dumps({"stored": stored, "missing": missing}) + "\n")
