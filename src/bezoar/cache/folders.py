"""Contents of a job's input folders, as `bezoar exec` found them: no job reads a checkpoint again to name it."""

import json
import os
from collections.abc import Mapping

from bezoar.cache import CacheError, foreign
from bezoar.cache.hashing import Hasher
from bezoar.errors import problem

VARIABLE = "BEZOAR_FOLDERS"
MOST = 1 << 15  # characters; Linux takes 128 KiB for one variable


def told(inputs: Mapping[str, str]) -> dict[str, str]:
    """The variable that tells a job the MD5 of each input folder; no variable for no folder or for very many."""
    folders = {path: md5 for path, md5 in inputs.items() if md5.endswith(".dir")}
    text = json.dumps(folders)
    return {VARIABLE: text} if folders and len(text) <= MOST else {}


def content_of(folder: str | os.PathLike[str]) -> str:
    """MD5 of a folder's content in DVC's form: what the job was told, else by a look at its files.

    Raises:
        CacheError: There is no such folder, or it can't be read.
    """
    path = os.path.normpath(folder)
    if md5 := _told().get(path):
        return foreign.content_md5(md5)
    hasher = Hasher()
    content = hasher.content(path)
    if content is None or not content.files:
        found = "nothing" if content is None else "a file, or a folder without files"
        raise CacheError(problem(f"{path}: no model directory", found=found, expected="a folder with weights"))
    hasher.save()
    return content.md5


def _told() -> dict[str, object]:
    text = os.environ.get(VARIABLE)
    return foreign.table(foreign.from_json(text.encode())) if text else {}
