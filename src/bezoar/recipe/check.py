"""Checks across blocks: every name refers to something, every file exists, no stage waits for itself.

Marks on the types of values say which block a name refers to, and which paths have to exist (bezoar.blocks). Checks of
one method are in its block class.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.blocks import Existing, Reference
from bezoar.cache import absent
from bezoar.errors import InputError
from bezoar.files import remembered_sha256
from bezoar.problems import KeyPath, Problem, unknown
from bezoar.recipe import context, licences, local_rows, rows
from bezoar.recipe.marks import marked
from bezoar.requests.api import ApiBackend
from bezoar.steps.data.formats import FORMATS
from bezoar.steps.data.readers import files_at
from bezoar.steps.data.sources import Builtin, File
from bezoar.steps.evaluate.mtbench import CONTROL
from bezoar.steps.score.block import ScoreBlock
from bezoar.steps.select.selection import SelectionBlock

if TYPE_CHECKING:
    from bezoar.recipe.recipe import Recipe
    from bezoar.steps.data.mix import Part


def problems_of(recipe: Recipe, root: Path) -> list[Problem]:
    """All problems that need the whole recipe; paths are relative to `root`."""
    problems = [*_references(recipe), *_own_names(recipe), *_budget_and_resources(recipe)]
    problems += [] if problems else rows.circles(recipe)
    if not problems:  # these checks look up names, which have to exist
        circles = [*_cycles(recipe)] or [*_mix_circles(recipe)]
        problems = [*circles, *_adapters(recipe), *_formats(recipe), *rows.problems(recipe)]
        problems += [*_servers(recipe), *context.problems(recipe)]
        problems += [] if circles else _strangers(recipe)
        problems += [] if circles else licences.problems(recipe, root)
    return [*problems, *_of_blocks(recipe), *_files(recipe, root)]


def _references(recipe: Recipe) -> Iterator[Problem]:
    """Names that refer to no block, or to a block of another kind."""
    for key, mark, name in marked(recipe, Reference):
        known = {one: block for section in mark.sections for one, block in getattr(recipe, section).items()}
        fitting = [one for one, block in known.items() if not mark.trait or getattr(block, mark.trait)]
        if name not in fitting:
            own = key[1] if key[0] in mark.sections else None  # a block can't refer to itself
            problem = unknown(key, mark.what, name, [one for one in fitting if one != own])
            yield replace(problem, hint=mark.hint) if mark.hint and name in known else problem
        elif mark.formats and known[name].format not in (*mark.formats, None):
            what, found = f"source `{name}` holds other rows", f"format {known[name].format}"
            yield Problem(key, what, found, " or ".join(mark.formats))


def _own_names(recipe: Recipe) -> Iterator[Problem]:
    """Names that blocks must not have, and names that two blocks must share."""
    for section in ("models", "stages"):
        for name in getattr(recipe, section):
            if name.startswith(CONTROL):
                what, expected = "the name is reserved for controls", f"no name that starts with {CONTROL}"
                yield Problem((section, name), what, name, expected)
    for clash in sorted(set(recipe.models) & set(recipe.stages)):
        yield Problem(("stages", clash), "a stage and a model share a name", clash, "one name for one checkpoint")
    for name, scheme in recipe.schemes.items():
        if scheme.judged and not (name in recipe.filters and recipe.filters[name].decides):
            yield Problem(("filters",), "a scheme has no filter", f"none for {name}", f"a block filters.{name}")
    for name, block in recipe.filters.items():
        if block.decides and name not in recipe.schemes:
            yield unknown(("filters", name), "a filter has its scheme's name", name, recipe.schemes)
    kinds = _rows_by_kind(recipe)
    for key, part in _parts(recipe):
        if part.kind == "scheme" and part.name in recipe.schemes and part.name not in recipe.filters:
            what, expected = "only rows that a filter keeps are taken", f"a block filters.{part.name}"
            hint = f"filters: {{{part.name}: {{judge: null}}}} keeps what passes its rules"
            hint += f"; or did you mean {{kind: pairs, name: {part.name}}}?" if part.name in recipe.pairs else ""
            yield Problem(key, what, f"scheme {part.name} without a filter", expected, hint)
        elif part.name not in kinds[part.kind]:
            every = [one for known in kinds.values() for one in known]
            names = every if part.kind == "source" else kinds[part.kind]
            what = "no such selection" if part.kind == "selected" else f"no such {part.kind}"
            yield unknown(key, what, part.name, names)


def _rows_by_kind(recipe: Recipe) -> dict[str | None, list[str]]:
    """By kind, the names that a part of a mix may have."""
    return {
        "source": [*recipe.sources],
        "scheme": [*recipe.filters],
        "selected": [*recipe.selections],
        "pairs": [*recipe.pairs],
    }


def _parts(recipe: Recipe) -> Iterator[tuple[KeyPath, Part]]:
    """The rows that mixes and selections are made from, each with its key."""
    for name, mix in recipe.mixes.items():
        yield from ((("mixes", name, "parts", place, "name"), part) for place, part in enumerate(mix.parts))
    for name, selection in recipe.selections.items():
        yield ("selections", name, "of"), selection.part


def _budget_and_resources(recipe: Recipe) -> Iterator[Problem]:
    stages = recipe.stage_names()
    asking = [
        name for block in recipe.blocks() for name in block.stage_names() if block.asked_by(name.partition("-")[0])
    ]
    asking += [f"{block.served_rule}-{block.name}-{checkpoint}" for block, checkpoint, _ in recipe.served()]
    for stage in recipe.budget.stages:
        if stage not in asking:
            yield unknown(("budget", "stages", stage), "no stage of this name sends model requests", stage, asking)
    known = ["default", *dict.fromkeys(name.partition("-")[0] for name in stages), *stages]
    for name in recipe.resources:
        if name not in known:
            yield unknown(("resources", name), "no rule or stage of this name", name, known)


def _servers(recipe: Recipe) -> Iterator[Problem]:
    """Servers that don't load the checkpoint that their backend names, or load one that it doesn't name.

    A job waits for one server only.
    """
    for block, backends in recipe.asking.values():
        served = {
            one.name: key for key, one in backends.items() if isinstance(one, ApiBackend) and one.connection.server
        }
        if len(served) > 1:
            *_, last = served.items()
            what, found = "a job would need two self-hosted servers", ", ".join(served)
            yield Problem((block.section, block.name, last[1]), what, found, "at most one backend with a `server`")
    for name, block in recipe.backends.items():
        if not isinstance(block, ApiBackend):
            continue
        key, server = ("backends", name), block.connection.server
        if block.checkpoint and not server and not block.connection.base_url_env:
            what, found = "the provider's own server loads no checkpoint of this recipe", block.checkpoint
            yield Problem((*key, "checkpoint"), what, found, "`server` or `base_url_env` in its connection, or null")
        elif server and server.loads_checkpoint != bool(block.checkpoint):
            command = (*key, "connection", "server", "command")
            if block.checkpoint:
                what, found = f"the command doesn't load `{block.checkpoint}`", " ".join(server.command)
                yield Problem(command, what, found, "{checkpoint} in place of the weights")
            else:
                what, hint = (
                    "the command loads a checkpoint, and the backend names none",
                    "checkpoint: <model or stage>",
                )
                yield Problem(command, what, "{checkpoint}", f"a key `checkpoint` in backends.{name}", hint)


def _needs(recipe: Recipe, checkpoint: str) -> Iterator[tuple[KeyPath, str]]:
    """The checkpoints that a checkpoint is built from, each with the key that names it."""
    for place, member in enumerate(recipe.members_of(checkpoint)):
        yield ("models", checkpoint, "of", place), member
    stage = recipe.stages.get(checkpoint)
    if stage is None:
        return
    for key, name in stage.checkpoints().items():
        yield ("stages", checkpoint, key), name
    mixes = [stage.mix, *recipe.earlier_mixes(stage.mix)]  # a mix depends on the train rows of earlier mixes
    for mix in mixes:
        if limit := recipe.mixes[mix].limit:
            yield ("mixes", mix, "limit", "tokenizer"), limit.tokenizer
    for block in (block for mix in mixes for block in recipe.lineage("mixes", mix)):
        for key, name in [pair for rule in block.asks for pair in block.asked_by(rule).items()]:
            if weights := recipe.backends[name].weights:
                yield (block.section, block.name, key), weights
        if isinstance(block, ScoreBlock | SelectionBlock):
            yield from (((block.section, block.name, key), name) for key, name in block.checkpoints().items())


def _cycles(recipe: Recipe) -> Iterator[Problem]:
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> Iterator[Problem]:
        for key, needed in _needs(recipe, name):
            if needed in (*trail, name):
                circle = " <- ".join((*trail, name, needed))
                yield Problem(key, "a checkpoint is built from itself", circle, "a chain that starts at a base model")
            elif needed not in done:
                yield from visit(needed, (*trail, name))
        done.add(name)

    for name in (*recipe.stages, *recipe.models):
        if name not in done:
            yield from visit(name, ())


def _mix_circles(recipe: Recipe) -> Iterator[Problem]:
    """Mixes that are each trained on before the other, so that neither can hold out rows that the other trains on."""
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> Iterator[Problem]:
        for earlier in recipe.earlier_mixes(name):
            if earlier in (*trail, name):
                circle = " <- ".join((*trail, name, earlier))
                hint = f"give the later stage a copy of mixes.{earlier} under another name; it draws the same rows"
                what = "a mix is trained on before and after another"
                yield Problem(("mixes", earlier), what, circle, "mixes in an order", hint)
            elif earlier not in done:
                yield from visit(earlier, (*trail, name))
        done.add(name)

    for mix in recipe.mixes:
        if mix not in done:
            yield from visit(mix, ())


def _adapters(recipe: Recipe) -> Iterator[Problem]:
    for name, stage in recipe.stages.items():
        if not stage.continue_adapter:
            continue
        key: KeyPath = ("stages", name)
        before = recipe.stages.get(stage.init_from)
        if before is None:
            yield Problem(
                (*key, "continue_adapter"),
                "there is no adapter to continue",
                f"`{stage.init_from}`, a base model",
                "a stage in `init_from`, or continue_adapter: false",
            )
            continue
        for field in ("tuning", "lora", "quantization", "compute_dtype"):
            if getattr(stage, field) != getattr(before, field):
                yield Problem(
                    (*key, field),
                    f"an adapter that is continued keeps its {field}",
                    str(getattr(stage, field)),
                    f"{getattr(before, field)}, as in stages.{stage.init_from}",
                )


def _strangers(recipe: Recipe) -> Iterator[Problem]:
    """Checkpoints that a stage is trained from, of another base model: their tokens may be others."""
    for name, stage in recipe.stages.items():
        for key, other in stage.checkpoints().items():
            if (base := recipe.base_model(other)) != (own := recipe.base_model(name)):
                what, expected = f"`{other}` has another base model than this stage", f"a checkpoint of {own}"
                yield Problem(("stages", name, key), what, base, expected)


def _formats(recipe: Recipe) -> Iterator[Problem]:
    """Mixes and selections of another format, and mixes that a stage can't train on."""
    trainable = [one.name for one in FORMATS.values() if one.mixes]
    for name, block in recipe.selections.items():
        found = recipe.sources[block.of].format if block.kind == "source" else None
        if found not in (*trainable, None):
            what = f"source `{block.of}` has no rows to train on"
            yield Problem(("selections", name, "of"), what, f"format {found}", " or ".join(trainable))
    for name, mix in recipe.mixes.items():
        wanted = [one.name for one in FORMATS.values() if mix.format in one.mixes]
        for position, part in enumerate(mix.parts):
            key: KeyPath = ("mixes", name, "parts", position)
            origin = recipe.origin_of(part)
            if origin.kind == "source":
                found = recipe.sources[origin.name].format
                if found not in (*wanted, None):
                    what = f"source `{origin.name}` holds other rows"
                    yield Problem((*key, "name"), what, f"format {found}", " or ".join(wanted))
            elif origin.kind == "scheme" and mix.format == "preference":
                expected = f"pairs, or a source of format {' or '.join(wanted)}"
                yield Problem(key, "a scheme has no preferences", part.name, expected)
    for name, stage in recipe.stages.items():
        found = recipe.mixes[stage.mix].format
        if found != stage.mix_format:
            what, shown = f"method {stage.method} takes another mix", f"{stage.mix}, of format {found}"
            yield Problem(("stages", name, "mix"), what, shown, stage.mix_format)
            continue
        for part in recipe.mixes[stage.mix].parts:
            form = recipe.sources[part.name].format if part.kind == "source" else None
            if form and (lacking := [one for one in stage.needs() if one not in FORMATS[form].optional]):
                what, shown = f"rows of `{part.name}` have no {' and no '.join(lacking)}", f"format {form}"
                able = [one.name for one in FORMATS.values() if set(stage.needs()) <= set(one.optional)]
                yield Problem(("stages", name, "mix"), what, shown, f"format {' or '.join(able)}", stage.hint)


def _of_blocks(recipe: Recipe) -> Iterator[Problem]:
    """Problems from the checks of single blocks."""
    for name, source in recipe.sources.items():
        if isinstance(source.origin, Builtin | File):
            yield from (one.below("sources", name, "origin") for one in source.origin.problems())
    for name, model in recipe.models.items():
        if model.lacks_weights():
            what, expected = "not a model directory", "config.json, *.safetensors and a tokenizer, or the GGUF `file`"
            yield Problem(("models", name, "path"), what, "no weights", expected)
        if model.chat_template == "tokenizer" and model.lacks_template():
            what, hint = "the model's tokenizer has no chat template", "recipes/templates/openbezoar.jinja is one"
            yield Problem(("models", name, "chat_template"), what, "tokenizer", "a file PATH.jinja", hint)
    for section in ("selections", "answers", "evals"):
        for name, block in getattr(recipe, section).items():
            yield from (one.below(section, name) for one in block.problems(recipe))


def _files(recipe: Recipe, root: Path) -> Iterator[Problem]:
    for key, mark, text in marked(recipe, Existing):
        path, where = root / text, "" if mark.outside else " in the repository"
        if mark.outside and absent.is_absent(text) and text in absent.recorded():
            continue  # what was built of it is proven
        if not mark.outside and not path.resolve().is_relative_to(root.resolve()):
            yield Problem(key, "the path leads out of the repository", text, "a path below the repository's root")
        elif mark.kind == "rows" and not files_at(str(path)):
            expected = "a file, a folder with files of rows, or a pattern such as rows/*.jsonl"
            yield Problem(key, "no such file", text, expected)
        elif (mark.kind == "file" and not os.path.isfile(path)) or (mark.kind == "folder" and not os.path.isdir(path)):
            yield Problem(key, f"no such {mark.kind}", text, f"a {mark.kind}{where}")


def contents_of(recipe: Recipe, root: Path) -> list[Problem]:
    """Local files whose content differs from the pinned sha256; a run checks them before its first job."""
    problems = []
    for name, source in recipe.sources.items():
        if isinstance(source.origin, File) and source.origin.sha256:
            if absent.is_absent(source.origin.path):
                continue
            found = remembered_sha256(root / source.origin.path)
            if found != source.origin.sha256:
                what = f"{source.origin.path} is not the pinned file"
                hint = f"if you want the new content, write sha256: {found}"
                key = ("sources", name, "origin", "sha256")
                problems.append(Problem(key, what, f"sha256 {found}", f"sha256 {source.origin.sha256}", hint))
    return problems


def of_rows(recipe: Recipe) -> tuple[dict[KeyPath, InputError], list[str]]:
    """Errors of jobs that would read local rows, by key, and notes about rows that they would leave out."""
    found = dict(local_rows.look_at(recipe))
    looked = {name: one for name, one in found.items() if isinstance(one, local_rows.Looked)}
    errors: dict[KeyPath, InputError | None] = {
        ("sources", name): one for name, one in found.items() if isinstance(one, InputError)
    }
    notes = [note for one in looked.values() for note in one.notes()]
    for name, mix in recipe.mixes.items():
        if not recipe.earlier_mixes(name):  # rows that an earlier stage trained on aren't held out, so some are left
            errors["mixes", name, "eval_rows"] = local_rows.too_few(name, mix, looked)
            notes += local_rows.few(name, mix, looked)
    for name in recipe.stages:
        errors |= {("sources", one): error for one, error in local_rows.lacking(name, recipe, looked).items()}
        errors["stages", name] = local_rows.unfit_template(name, recipe, looked)
    return {key: error for key, error in errors.items() if error}, notes
