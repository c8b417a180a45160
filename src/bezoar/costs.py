"""What a job spends on model requests; it goes into the record of its artifact."""

import json
import os


def spend(**amounts: float) -> None:
    """Add to what the job has spent: `prompt_tokens`, `completion_tokens`, `dollars`.

    `bezoar exec` adds it up when the command ends; a script that is run by hand records nothing.
    """
    path = os.environ.get("BEZOAR_COSTS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(amounts) + "\n")
