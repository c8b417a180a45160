"""A model directory as a server loads it: without the checkpoint's own sampling settings."""

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from bezoar.files import write_json
from bezoar.logs import logger

GENERATION = "generation_config.json"
NO_SETTINGS = {"transformers_version", "_from_model_config"}


def neutral(folder: Path, links: Path) -> Path:
    """The folder itself if its generation_config.json names tokens only; else links to its files, and the tokens.

    Servers apply that file to every request: a repetition penalty in it changes most answers, and a job that loads
    the checkpoint ignores it.

    Args:
        folder: The model directory.
        links: Folder for the links; a former one is replaced.
    """
    given = _settings(folder / GENERATION)
    tokens = {name: value for name, value in given.items() if name.endswith("_token_id")}
    more = sorted(given.keys() - tokens.keys() - NO_SETTINGS)
    if not more:
        return folder
    logger.info(f"{folder / GENERATION}: the server gets its tokens without {', '.join(more)}")
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir(parents=True)
    for path in folder.iterdir():
        if path.name != GENERATION:
            (links / path.name).symlink_to(path.resolve())
    write_json(links / GENERATION, tokens)
    return links


def _settings(path: Path) -> dict[str, Any]:
    """The settings in a file; none if there is no such file, or it holds something else."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        return found if isinstance(found, dict) else {}
    return {}
