"""A job's spending on model requests, for the record of its artifact."""

import json
import os


def spend(**amounts: float) -> None:
    """Add to the job's spending: `prompt_tokens`, `completion_tokens`, `dollars`.

    `bezoar exec` sums it up when the command ends; a script that runs by hand records nothing.
    """
    path = os.environ.get("BEZOAR_COSTS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(amounts) + "\n")
