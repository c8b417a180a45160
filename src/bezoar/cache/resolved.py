"""The whole recipe of a run, with defaults: in params.resolved.yaml for DVC, and as a copy for the run's jobs."""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from bezoar import yaml12
from bezoar.cache import CacheError
from bezoar.cache.dvc import PARAMS, RESOLVED, Dumper
from bezoar.cache.hashing import Content
from bezoar.errors import problem
from bezoar.files import whole

HEAD = (
    f"# Generated from {PARAMS}: all values, with their defaults. DVC's stages take them from here. Don't edit:\n"
    "# `bezoar dvc` writes it.\n"
)


class Resolved:
    """All values of a run, and the file that they were read from.

    Attributes:
        content: The file's content when it was read.
    """

    def __init__(self, path: str, values: Any = None) -> None:
        """Take the values, by default those of the file.

        Raises:
            CacheError: The file isn't YAML in UTF-8.
        """
        data = Path(path).read_bytes() if Path(path).is_file() else b""
        self.path = path
        self.content = Content(hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data))
        self.values = (_read(path, data) or {}) if values is None else values

    @property
    def is_own(self) -> bool:
        """Whether the values are those of params.yaml, not of another file."""
        return self.path in (PARAMS, RESOLVED)

    @cached_property
    def text(self) -> str:
        """The content of params.resolved.yaml."""
        return HEAD + str(
            yaml.dump(self.values, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1 << 20, encoding=None)
        )

    def write(self) -> bool:
        """Write params.resolved.yaml if it differs and the values are those of params.yaml; returns whether it did."""
        file = Path(RESOLVED)
        if not self.is_own or (file.exists() and file.read_bytes() == self.text.encode()):
            return False
        with whole(file) as partial:
            partial.write_text(self.text, encoding="utf-8")
        return True

    def check_unedited(self) -> None:
        """Check that the file still has the content that was read.

        Raises:
            CacheError: It was edited since then.
        """
        if hashlib.md5(Path(self.path).read_bytes(), usedforsecurity=False).hexdigest() != self.content.md5:
            raise CacheError(
                problem(
                    f"{self.path} was edited while it was read",
                    found="another content than at the start",
                    expected="a file that stays as it is",
                    hint="start again",
                )
            )


def _read(path: str, data: bytes) -> Any:
    try:
        return yaml12.load(data.decode())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CacheError(problem(f"{path} can't be read", found=error, expected="YAML in UTF-8")) from error
