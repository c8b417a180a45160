"""What a job spends on models, so that its record can say what its artifact cost."""

import json
import os


def spend(**amounts: float) -> None:
    """Add to what the job has spent: `prompt_tokens`, `completion_tokens`, `dollars`.

    `bezoar exec` sums it up when the command ends; a script that is run by hand has nobody to tell.
    """
    path = os.environ.get("BEZOAR_COSTS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(amounts) + "\n")
