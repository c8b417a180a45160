"""The steps that rows of a mix, a scheme or a source pass, and where each step's artifacts are."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bezoar.errors import InputError, problem
from bezoar.jsonl import read_json_lines
from bezoar.recipe.recipe import Recipe
from bezoar.steps.data.rows import DroppedRow, placed_rows

DATA = Path("data")
FOLDERS = {
    "source": "source",
    "generate": "generated",
    "filter": "filtered",
    "score": "scored",
    "pairs": "pairs",
    "mix": "mixes",
    "certificate": "certified",
}
KEPT = (
    dict.fromkeys(("source", "generate", "score", "pairs"), ("rows",))
    | {"filter": ("kept",)}
    | dict.fromkeys(("mix", "certificate"), ("train", "eval"))
)
KINDS = {
    "sources": "source",
    "schemes": "generate",
    "filters": "filter",
    "scores": "score",
    "pairs": "pairs",
    "mixes": "mix",
}
SHARDED = ("generate", "filter", "score", "pairs")


@dataclass(frozen=True)
class Step:
    """One step of a chain; a step in shards has a folder for each.

    Attributes:
        kind: One of FOLDERS.
        name: Of the source, scheme, filter, scores, pairs or mix.
        reads: Kind and name of the steps whose rows it reads all of, one by one; those of other kinds know theirs.
    """

    kind: str
    name: str
    folders: tuple[Path, ...]
    reads: tuple[tuple[str, str], ...] = ()

    @property
    def missing(self) -> list[Path]:
        """Its folders that aren't here."""
        return [folder for folder in self.folders if not folder.is_dir()]

    @property
    def left_out(self) -> list[Path]:
        """The files with rows that it left out, in the folders that are here."""
        name = "rejected" if self.kind == "filter" else "dropped"
        return [folder / f"{name}.jsonl" for folder in self.folders if folder.is_dir()]

    @property
    def kept(self) -> list[Path]:
        """The files with rows that came out, in the folders that are here."""
        return [folder / f"{name}.jsonl" for folder in self.folders if folder.is_dir() for name in KEPT[self.kind]]


@dataclass(frozen=True)
class LeftOut:
    """A row that a step left out, and where that is written."""

    step: Step
    place: str
    dropped: DroppedRow


def target_of(text: str, recipe: Recipe) -> tuple[str, str, list[str]]:
    """The section and name of a mix, pairs, scores, a filter (its scheme's name), a scheme or a source, and others.

    Args:
        text: A name, of which the mix comes before the others in this order; or section and name, such as
            `schemes.evol`. A scheme with a filter is that filter.
        recipe: The recipe.

    Raises:
        InputError: There is no such block.
    """
    known = {f"{section}.{name}": (section, name) for section in SECTIONS for name in getattr(recipe, section)}
    known |= {f"schemes.{name}": ("filters", name) for name in recipe.schemes if name in recipe.filters}
    sections = [one for one in SECTIONS if one != "schemes" or text not in recipe.filters]
    found = [text] if text in known else [f"{section}.{text}" for section in sections if f"{section}.{text}" in known]
    if not found:
        names = [name for section in SECTIONS for name in getattr(recipe, section)]
        expected = ", ".join(dict.fromkeys(names)) or "a recipe with sources"
        raise InputError(problem("no mix, scheme or source of this name", found=text, expected=expected))
    return *known[found[0]], found[1:]


SECTIONS = ("mixes", "pairs", "scores", "filters", "schemes", "sources")


def chain(section: str, name: str, recipe: Recipe) -> list[Step]:
    """The steps of a mix, pairs, scores, a filter, a scheme (with its filter) or a source, the first one first."""
    steps = [_step(KINDS[block.section], block.name, recipe) for block in recipe.lineage(section, name)]
    return [*steps, _step("certificate", name, recipe)] if section == "mixes" else steps


def all_steps(recipe: Recipe) -> list[Step]:
    """Every step of a recipe, each once."""
    blocks = [(section, name) for section in reversed(SECTIONS) for name in getattr(recipe, section)]
    return list(dict.fromkeys(step for section, name in blocks for step in chain(section, name, recipe)))


def left_out(steps: list[Step], reason: str | None = None) -> Iterator[LeftOut]:
    """The rows that steps left out, as far as they are here.

    Args:
        steps: The steps.
        reason: A reason, or its part before the colon; None takes all.
    """
    for step in steps:
        for path in step.left_out:
            for place, row in placed_rows(path, DroppedRow):
                if reason is None or reason in (row.reason, row.reason.partition(":")[0]):
                    yield LeftOut(step, place, row)


def kept(step: Step) -> Iterator[LeftOut]:
    """The rows that came out of a step, as far as they are here, in the form of those that it left out."""
    for path in step.kept:
        for number, row in read_json_lines(path):
            if not isinstance(row, dict):
                raise InputError(problem(f"{path}:{number}: not a row", found=type(row).__name__, expected="columns"))
            yield LeftOut(step, f"{path}:{number}", DroppedRow(reason="kept", detail="", row=row))


def _step(kind: str, name: str, recipe: Recipe) -> Step:
    folder = DATA / FOLDERS[kind] / name
    shards = recipe.shard_names() if kind in SHARDED else [""]
    return Step(kind, name, tuple(folder / shard for shard in shards), tuple(_read(kind, name, recipe)))


def _read(kind: str, name: str, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The steps whose rows scores or pairs read one by one."""
    if kind == "score":
        scheme = recipe.scores[name].of
        yield ("filter" if scheme in recipe.filters else "generate"), scheme
    elif kind == "pairs" and recipe.pairs[name].by_row:
        section, before = recipe.pairs[name].starts_from()[0]
        filtered = section == "schemes" and before in recipe.filters
        yield ("filter" if filtered else KINDS[section]), before
