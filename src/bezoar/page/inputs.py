"""What the page reads: the files that its job declares, and nothing else."""

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from bezoar.errors import InputError, problem
from bezoar.page.block import Page
from bezoar.steps.results.any import read_report
from bezoar.steps.results.report import Report

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Artifact:
    """A file that numbers of the page are from.

    Attributes:
        path: In the project.
        md5: The digest of its content, which is its name in dvc.lock and the cache.
        size: Bytes.
    """

    path: str
    md5: str
    size: int

    @property
    def short(self) -> str:
        """The first digits of the digest."""
        return self.md5[:8]

    @property
    def anchor(self) -> str:
        """Its id on the page."""
        return f"file-{hashlib.md5(self.path.encode(), usedforsecurity=False).hexdigest()[:12]}"


@dataclass
class Inputs:
    """The recipe's blocks and their artifacts; it keeps which files the sections name.

    Attributes:
        page: The recipe's blocks.
        used: Artifacts that the page names so far, by path.
    """

    page: Page
    used: dict[str, Artifact] = field(default_factory=dict)

    def artifact(self, path: Path | str) -> Artifact:
        """A file with its digest; the page lists it."""
        path = Path(path)
        found = self.used.get(str(path))
        if found is None:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            found = self.used[str(path)] = Artifact(str(path), digest, path.stat().st_size)
        return found

    def json(self, path: Path | str) -> Any:
        """The content of a JSON file.

        Raises:
            InputError: It isn't JSON.
        """
        try:
            return json.loads(Path(path).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise InputError(problem(f"{path}: can't be read", found=error, expected="JSON")) from error

    def checked(self, path: Path | str, form: type[Kind]) -> Kind:
        """The content of a JSON file, as its form.

        Raises:
            InputError: It isn't JSON, or doesn't fit.
        """
        try:
            return TypeAdapter(form).validate_json(Path(path).read_bytes())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            expected = "what its step writes in this version of bezoar"
            message = problem(f"{path}: {place} doesn't fit", found=first["msg"], expected=expected)
            raise InputError(message) from error

    def report(self, evaluation: str) -> Report:
        """The report of an evaluation, checked against its form."""
        return _report(Path(f"results/{evaluation}.json").resolve())


@cache
def _report(path: Path) -> Report:
    return read_report(path)
