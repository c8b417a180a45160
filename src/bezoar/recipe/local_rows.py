"""What `bezoar recipe check` finds out about rows on this machine, before a job reads or trains on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from bezoar.cache import absent
from bezoar.errors import InputError, problem
from bezoar.steps.base.local import LocalModel
from bezoar.steps.base.model import ModelBlock
from bezoar.steps.base.template import FILE
from bezoar.steps.chat import RESPONSES
from bezoar.steps.data.accounting import Tally
from bezoar.steps.data.detect import columns_of, mapped
from bezoar.steps.data.examples import example_of
from bezoar.steps.data.normalise import FURTHER, normalised
from bezoar.steps.data.readers import files_at, read_table
from bezoar.steps.data.rows import DroppedRow, Row, Unusable
from bezoar.steps.data.source import CountedRows, DroppedRows, check_dropped, format_of
from bezoar.steps.data.sources import File, Source
from bezoar.steps.train.conversations import tokens_of

if TYPE_CHECKING:
    from bezoar.recipe.recipe import Recipe
    from bezoar.steps.data.mix import Mix

MOST = 20_000  # rows of a source that are read
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}  # where none are known


@dataclass
class Looked:
    """The rows of a source, as its job would read them.

    Attributes:
        name: Of the source.
        read: Rows that were read.
        whole: Whether these are all.
        fit: Rows that fit.
        unfit: The others, by reason, with the first places of each.
        dialogue: The first row with several answers, and its place.
        head: The first rows, with their columns mapped.
    """

    name: str
    read: int = 0
    whole: bool = True
    fit: int = 0
    unfit: Tally = field(default_factory=Tally)
    dialogue: tuple[str, Row] | None = None
    head: list[Any] = field(default_factory=list)

    def notes(self) -> list[str]:
        """The rows that don't fit, in lines."""
        if not self.unfit:
            return []
        read = f"{self.read:,} rows" if self.whole else f"the first {self.read:,} rows"
        lines = [f"note: sources.{self.name}: {len(self.unfit):,} of {read} don't fit, and are left out"]
        places = self.unfit.first_places()
        return [*lines, *(f"  {self.unfit.reasons[reason]:,} {reason}: {place}" for reason, place in places.items())]


def look(name: str, source: Source, most: int = MOST) -> Looked:
    """Read a source's first rows.

    Raises:
        InputError: They have no format or lack a mapped column, or more don't fit than the source's bound allows.
    """
    assert isinstance(source.origin, File)
    placed = (row for path in files_at(source.origin.path) for row in read_table(Path(path), path))
    lines, found, dropped = CountedRows(placed, source.columns), Looked(name), DroppedRows()
    form = format_of(lines, source, name)
    found.head = [mapped(row, source.columns) for row in lines.head]
    for place, row in normalised(lines, form, Tally(), source.limit):
        if found.read == most:
            found.whole = False
            break
        if isinstance(row, DroppedRow):
            dropped.add(row)
            found.read += row.reason != FURTHER
            continue
        found.read += 1
        found.fit += 1
        if found.dialogue is None and isinstance(row, Row) and _answers(row) > 1:
            found.dialogue = place, row
    found.unfit = dropped.faulty
    if found.whole:
        check_dropped(lines, dropped, source, form, name, found.fit)
    return found


def _answers(row: Any) -> int:
    """The assistant's turns in a row of messages."""
    return sum(one.role == "assistant" for one in getattr(row, "messages", ()))


def look_at(recipe: Recipe) -> Iterator[tuple[str, Looked | InputError]]:
    """The local sources that are here, each with what its rows are like, or its error."""
    for name, source in recipe.sources.items():
        if isinstance(source.origin, File) and not absent.is_absent(source.origin.path):
            try:
                yield name, look(name, source)
            except InputError as error:
                yield name, error


def lacking(stage: str, recipe: Recipe, looked: dict[str, Looked]) -> dict[str, InputError]:
    """Errors about sources of a stage's rows, by their names, of which no first row has a column that it needs."""
    block, found = recipe.stages[stage], {}
    sources = [part.name for part in recipe.mixes[block.mix].parts if part.kind == "source" and part.name in looked]
    for name in sources:
        head = looked[name].head
        rows = [row for row in head if isinstance(row, dict)]
        if missing := [one for one in block.needs() if all(row.get(one) is None for row in rows)]:
            what = f"sources.{name}: stages.{stage} needs {' and '.join(missing)} of each row"
            first, expected = f"first rows with {columns_of(head)}", ", ".join(block.needs())
            found[name] = InputError(problem(what, found=first, expected=expected, hint=block.hint))
    return found


def too_few(name: str, mix: Mix, looked: dict[str, Looked]) -> InputError | None:
    """The error about a mix that holds out all of its rows; None if some are left, or their number isn't known."""
    rows = _most(mix, looked)
    if rows is None or mix.eval_rows < rows:
        return None
    return InputError(
        problem(
            f"mixes.{name}.eval_rows: nothing is left to train on",
            found=f"{mix.eval_rows:,} rows to hold out, of {rows:,} in {', '.join(one.name for one in mix.parts)}",
            expected="rows for training: fewer rows to hold out, or more rows",
            hint=f"a tenth of them: eval_rows: {max(1, rows // 10)}" if rows > 1 else "",
        )
    )


def few(name: str, mix: Mix, looked: dict[str, Looked]) -> list[str]:
    """A note about a mix that holds out more rows than it trains on."""
    rows = _most(mix, looked)
    if rows is None or 2 * mix.eval_rows <= rows:
        return []
    held = f"{mix.eval_rows:,} of its {rows:,} rows are held out (eval_rows), and {rows - mix.eval_rows:,} trained on"
    return [f"note: mixes.{name}: {held}"]


def _most(mix: Mix, looked: dict[str, Looked]) -> int | None:
    """The most rows that a mix can have; None if that isn't known. Repeated rows go later."""
    rows = 0
    for part in mix.parts:
        found = looked.get(part.name) if part.kind == "source" else None
        if found is None or not found.whole:
            return None
        rows += min(found.fit, part.rows or found.fit)
    return rows


def unfit_template(stage: str, recipe: Recipe, looked: dict[str, Looked]) -> InputError | None:
    """The error about a chat template that can't render a dialogue of a stage's mix as its training needs it.

    Templates of models that aren't here are checked by the jobs that read them.
    """
    block = recipe.stages[stage]
    mix = recipe.mixes[block.mix]
    dialogues = [found.dialogue for part in mix.parts if (found := looked.get(part.name)) and found.dialogue]
    model = recipe.models[recipe.stages[recipe.chain(stage)[-1]].init_from]
    template = template_of(model) if dialogues else None
    if template is None:
        return None
    for place, row in dialogues:
        with suppress(Unusable):  # which a mix leaves out
            example = example_of(row, mix.format == "preference", recipe.prompt.system, None)
            for answer in (example[name] for name in RESPONSES if name in example):
                try:
                    tokens_of(template, example["prompt"], answer, every_turn=block.trains_every_turn())
                except InputError as error:
                    return InputError(f"stages.{stage}: {place}: {error}")
    return None


def template_of(model: ModelBlock) -> Template | None:
    """The chat template of a base model; None if it isn't here, or isn't a single one."""
    folder = Path(model.path) if isinstance(model, LocalModel) and not model.file else None
    own = _config(folder / "tokenizer_config.json") if folder else {}
    special = {name: _token(own[name]) for name in SPECIAL if own.get(name)}
    files = [*map(Path, model.templates()), *([folder / FILE] if folder else [])]
    path = next((one for one in files if one.is_file()), None)
    text = path.read_text(encoding="utf-8") if path else own.get("chat_template")
    return Template(str(path or folder), text, SPECIAL | special) if isinstance(text, str) else None


def _config(path: Path) -> dict[str, Any]:
    """The settings of a tokenizer; none if they can't be read, as its loading will say."""
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _token(value: Any) -> str:
    return str(value.get("content", "")) if isinstance(value, dict) else str(value)


class Template:
    """A chat template in the place of a tokenizer that has it: a letter is a token.

    Args:
        name: Of its file, for messages.
        text: The template.
        special: Texts of special tokens by name.
    """

    def __init__(self, name: str, text: str, special: dict[str, str]) -> None:
        self.name_or_path, self.chat_template = name, text
        self._special = special

    def apply_chat_template(self, messages: list[Any], *, tokenize: bool, add_generation_prompt: bool) -> str:
        """The text of a dialogue."""
        from transformers.utils.chat_template_utils import render_jinja_template  # slow to import

        texts, _ = render_jinja_template(
            [messages], chat_template=self.chat_template, add_generation_prompt=add_generation_prompt, **self._special
        )
        return str(texts[0])

    def __call__(self, text: str, **_: Any) -> Any:
        """Its tokens."""
        return SimpleNamespace(input_ids=[*map(ord, text)])
