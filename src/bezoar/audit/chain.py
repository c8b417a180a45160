"""The steps that rows of a mix, a scheme or a source pass, and where each step's artifacts are."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bezoar.errors import InputError, problem
from bezoar.jsonl import read_json_lines
from bezoar.recipe.recipe import Recipe
from bezoar.steps.data.mix import part_of
from bezoar.steps.data.rows import DroppedRow, placed_rows

DATA = Path("data")
FOLDERS = {
    "source": "source",
    "generate": "generated",
    "filter": "filtered",
    "score": "scored",
    "pairs": "pairs",
    "select": "selected",
    "mix": "mixes",
    "certificate": "certified",
}
KEPT = (
    dict.fromkeys(("source", "generate", "score", "pairs", "select"), ("rows",))
    | {"filter": ("kept",)}
    | dict.fromkeys(("mix", "certificate"), ("train", "eval"))
)
KINDS = {
    "sources": "source",
    "schemes": "generate",
    "filters": "filter",
    "scores": "score",
    "pairs": "pairs",
    "selections": "select",
    "mixes": "mix",
}
SHARDED = ("generate", "filter", "score", "pairs")


@dataclass(frozen=True)
class Step:
    """One step of a chain; a step in shards has a folder for each.

    Attributes:
        kind: One of FOLDERS.
        name: Of the source, scheme, filter, scores, pairs, selection or mix.
        of: Kind and name of the step whose rows it reads, one by one: of a selection, of scores, and of some pairs.
    """

    kind: str
    name: str
    folders: tuple[Path, ...]
    of: tuple[str, str] | None = None

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
    """The section and name of a mix, a selection, pairs, scores, a filter, a scheme or a source, and its namesakes.

    Args:
        text: A name, of which the section that comes first in this order has it; or section and name, such as
            `schemes.evol`. A scheme with a filter is its filter.
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
        raise InputError(problem("no mix, selection, scheme or source of this name", found=text, expected=expected))
    return *known[found[0]], found[1:]


SECTIONS = ("mixes", "selections", "pairs", "scores", "filters", "schemes", "sources")


def chain(section: str, name: str, recipe: Recipe) -> list[Step]:
    """The steps of a mix or another block of rows, the first one first; a scheme is meant with its filter."""
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
    return Step(kind, name, tuple(folder / shard for shard in shards), _read_by(kind, name, recipe))


def _read_by(kind: str, name: str, recipe: Recipe) -> tuple[str, str] | None:
    """The step whose rows scores, pairs or a selection read one by one."""
    match kind:
        case "score":
            section, before = recipe.scores[name].starts_from()
        case "pairs" if recipe.pairs[name].by_row:
            section, before = recipe.pairs[name].starts_from()[0]
        case "select":
            section, before = part_of(recipe.selections[name].part)
        case _:
            return None
    if section == "schemes" and before in recipe.filters:
        section = "filters"
    return KINDS[section], before
