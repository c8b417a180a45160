"""Origins of rows: the embedded world, a file, a URL or the hub; contents are checked before they are read."""

import glob
import heapq
import json
import os
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from bezoar import files, world
from bezoar.blocks import Block, Commit, FolderPath, Licence, Name, NamedBlock, RowsPath, Sha256, Share
from bezoar.blocks import Path as PathText
from bezoar.errors import InputError, problem
from bezoar.problems import Problem, unknown
from bezoar.steps.data.balanced import some_of
from bezoar.steps.data.formats import RowFormat
from bezoar.steps.data.json_rows import Placed
from bezoar.steps.data.readers import files_at, read_table
from bezoar.steps.data.rows import QuestionRow, Row, rank


class Builtin(Block):
    """Rows that the embedded world makes (bezoar.world)."""

    kind: Literal["builtin"]
    set: Name
    rows: int = Field(ge=1, description="Rows to make.")
    prompts: FolderPath | None = Field(None, description="Folder of prompt files for the set `teacher`; else null.")

    def problems(self) -> Iterator[Problem]:
        """Problems that its types don't show."""
        if self.set not in world.SETS:
            yield unknown(("set",), "the embedded world has no such set", self.set, world.SETS)
        if self.set == "teacher" and self.prompts is None:
            yield Problem(("prompts",), "the set `teacher` needs prompts", "null", "a folder of prompt files")


class File(Block):
    """Files of this machine, in the project or outside of it, that are read in place: JSON, CSV, TSV or Parquet."""

    kind: Literal["file"]
    path: RowsPath = Field(description="A file, a folder, or a pattern such as rows/*.jsonl; also outside the project.")
    sha256: Sha256 | None = Field(None, description="Required hash of a single file; null takes any content.")

    @property
    def inputs(self) -> list[str]:
        """The paths that its rows depend on: a folder is one."""
        return files_at(self.path) if self._is_pattern() else [self.path]

    def _is_pattern(self) -> bool:
        return glob.has_magic(self.path) and not os.path.exists(self.path)

    def problems(self) -> Iterator[Problem]:
        """Problems that its types don't show."""
        if self.sha256 and (os.path.isdir(self.path) or self._is_pattern()):
            yield Problem(("sha256",), "only a single file has a sha256", self.path, "null, or the path of a file")


class Url(Block):
    """A file of the same kinds at an http(s) URL."""

    kind: Literal["url"]
    url: str = Field(pattern=r"^https?://", description="Without a name or password, which cards would show.")
    sha256: Sha256

    @field_validator("url")
    @classmethod
    def _open(cls, url: str) -> str:
        if "@" in urllib.parse.urlsplit(url).netloc:
            raise ValueError("an address with a name or password: a source has to be readable without")
        return url


class Hub(Block):
    """A data set of the Hugging Face hub at one revision."""

    kind: Literal["hub"]
    repository: str
    revision: Commit
    config: str | None = Field(None, description="Name of a configuration (subset); null takes the hub's default.")
    files: list[PathText] | None = Field(
        None, description="Files or patterns in reading order; null takes the hub's own order."
    )
    split: str = "train"


class Source(NamedBlock):
    """A set of rows from outside, normalised to our own row type; `path: FILE` means an origin of kind `file`."""

    section: ClassVar[str] = "sources"
    rules: ClassVar[tuple[str, ...]] = ("source",)

    origin: Annotated[Builtin | File | Url | Hub, Field(discriminator="kind")]
    format: RowFormat | None = Field(None, description="Format of its rows; null finds it by columns and values.")
    columns: dict[str, str] = Field(
        {}, description="Columns of the format, each with its name in these rows, such as prompt: question."
    )
    limit: int | None = Field(None, ge=1, description="Number of rows to take from the start; null takes all.")
    sample: int | None = Field(None, ge=1, description="Number of these to draw without replacement; null keeps all.")
    max_dropped_share: Share = Field(
        0.5,
        description="Share of rows that may be duplicates or not fit; no row at all is always an error.",
    )

    licence: Licence | None = Field(
        None,
        description="Licence of its rows: an SPDX id, or a name with what it permits; null if it isn't known."
        " Cards state it, and no result depends on it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_path(cls, data: Any) -> Any:
        """Complete the short form of a source with a path."""
        if not isinstance(data, dict) or "path" not in data or "origin" in data:
            return data
        file = {name: data[name] for name in ("path", "sha256") if name in data}
        return {"origin": {"kind": "file", **file}, **{k: v for k, v in data.items() if k not in file}}

    @property
    def known_rows(self) -> int | None:
        """Rows that it has, if the recipe says so."""
        made = self.origin.rows if isinstance(self.origin, Builtin) else None
        return self.sample or self.limit or made

    def downloads(self) -> bool:
        """Whether its rows come over a network."""
        return isinstance(self.origin, Url | Hub)

    def files(self) -> list[str]:
        """The local files that its rows depend on."""
        if isinstance(self.origin, File):
            return self.origin.inputs
        folder = self.origin.prompts if isinstance(self.origin, Builtin) else None
        return sorted(map(str, Path(folder).glob("*.yaml"))) if folder else []


def rows_of(origin: Builtin | File | Url | Hub, seed: int, scratch: Path) -> Placed:
    """The place of each row, and the row, in the origin's order.

    Args:
        origin: The origin block of a source.
        seed: Seed of generated rows.
        scratch: Folder for downloads.

    Raises:
        ValueError: The content doesn't have the pinned sha256, or is of an unknown kind.
        OSError: The file or address can't be read.
    """
    match origin:
        case Builtin():
            prompts = Path(origin.prompts) if origin.prompts else None
            for number, row in enumerate(world.build(origin.set, origin.rows, seed, prompts), start=1):
                yield f"world {origin.set}:{number}", row
        case File():
            _checked(Path(origin.path), origin.sha256, origin.path)
            for path in files_at(origin.path):
                yield from read_table(Path(path), path)
        case Url():
            yield from read_table(_checked(_fetched(origin.url, scratch), origin.sha256, origin.url), origin.url)
        case Hub():
            yield from _hub_rows(origin)


def told(file: str, origin: Builtin | File | Url | Hub) -> str:
    """A file as artifacts name it: by its path in the project; outside of it, only by its name in the origin's folder.

    The path of a folder outside of the project is this machine's own, and another machine's artifact has to be equal.
    """
    if not isinstance(origin, File):
        return file
    path = os.path.relpath(file)
    if not path.startswith(os.pardir + os.sep):
        return path
    fixed = origin.path
    while glob.has_magic(fixed) and not os.path.exists(fixed):
        fixed = os.path.dirname(fixed)
    return os.path.relpath(file, fixed) if os.path.isdir(fixed) else os.path.basename(file)


class Sample:
    """The rows that a source's `sample` draws: the first ones in the order of a hash of seed and row.

    A larger sample contains a smaller one. Of questions, it has some of each category, for a pilot.

    Attributes:
        rows: Rows so far.
    """

    def __init__(self, size: int | None, seed: int) -> None:
        self.size, self.seed, self.rows = size, seed, 0
        self._first: list[tuple[int, int]] = []  # a heap with the last one on top: negative rank and number
        self._questions: list[tuple[int, QuestionRow]] = []  # a benchmark's, which are few

    def add(self, row: Any) -> None:
        """Add the next row."""
        if isinstance(row, QuestionRow):
            self._questions.append((self.rows, row))
        elif self.size is not None:
            one = (-int(rank(self.seed, _content(row)), 16), -self.rows)
            (heapq.heappush if len(self._first) < self.size else heapq.heappushpop)(self._first, one)
        self.rows += 1

    def chosen(self, name: str) -> set[int] | None:
        """The numbers of the rows that are drawn, from 0; None without a sample.

        Raises:
            ValueError: There are fewer rows than `sample` draws.
        """
        if self.size is None:
            return None
        if self.size > self.rows:
            expected = f"at most {self.rows:,} rows"
            raise InputError(problem(f"sources.{name}.sample", found=f"{self.size:,}", expected=expected))
        if self._questions:
            some = {one.question_id for one in some_of([row for _, row in self._questions], self.size, self.seed)}
            return {number for number, row in self._questions if row.question_id in some}
        return {-number for _, number in self._first}


def _content(row: Any) -> str:
    """A row's identity: its id, or all of it."""
    if isinstance(row, Row):
        row = getattr(row, "id", None) or row.model_dump()
    return row if isinstance(row, str) else json.dumps(row, sort_keys=True)


def _checked(path: Path, sha256: str | None, origin: str) -> Path:
    if sha256 is not None and (found := files.sha256(path)) != sha256:
        raise InputError(
            problem(
                f"{origin}: the content doesn't have the pinned sha256",
                found=f"sha256 {found}",
                expected=f"sha256 {sha256}",
                hint="if you want the new content, write its sha256 into params.yaml",
            )
        )
    return path


def _fetched(url: str, scratch: Path) -> Path:
    suffixes = Path(urllib.parse.urlsplit(url).path).suffixes[-2:]  # the kind of file; nothing else of the name is used
    path = scratch / f"rows{''.join(suffixes)}"
    with urllib.request.urlopen(url, timeout=60) as answer, path.open("wb") as file:  # which schemes: see Url
        shutil.copyfileobj(answer, file)
    return path


def _hub_rows(origin: Hub) -> Placed:
    """Rows of the hub, one by one: no whole copy is made."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets  # slow to import; only sources of the hub need it

    datasets.disable_progress_bars()
    table = datasets.load_dataset(
        origin.repository,
        origin.config,
        data_files={origin.split: origin.files} if origin.files else None,
        revision=origin.revision,
        split=origin.split,
        streaming=True,
    )
    for number, row in enumerate(table, start=1):
        yield f"{origin.repository}@{origin.revision}:{origin.split}:{number}", row
