"""The card of a checkpoint, README.md, from the recipe and its records.

It holds scores, so it isn't part of the artifact that is scored. It is generated on request. The card of a mix is part
of its folder (bezoar.steps.dataset).
"""

from collections.abc import Iterator
from textwrap import indent
from typing import Any

import yaml

from bezoar import __version__
from bezoar.blocks import Licence
from bezoar.publish.records import Records
from bezoar.recipe import licences
from bezoar.recipe.cards import place_of, scheme_of, sources_of, written
from bezoar.recipe.recipe import Recipe
from bezoar.steps.base.hub import HubModel
from bezoar.steps.base.local import LocalModel
from bezoar.steps.base.package import PackagedModel
from bezoar.steps.base.soup import Soup
from bezoar.steps.data.contamination.certificate import line_of
from bezoar.steps.data.sources import Hub
from bezoar.steps.dataset.markdown import section, table

NOT_KEYS = {"method", "init_from", "mix", "continue_adapter", "licence"}  # of a stage: shown elsewhere


def card(name: str, recipe: Recipe, records: Records) -> str:
    """The text of the card of a stage's checkpoint."""
    return "\n".join([*_head(name, recipe), f"# {name}", "", *_model(name, recipe, records)]).rstrip() + "\n"


def _head(name: str, recipe: Recipe) -> Iterator[str]:
    """The metadata that the hub reads."""
    mixes = [recipe.stages[one].mix for one in recipe.ancestors(name)]
    origins = [recipe.sources[one].origin for one in sources_of(recipe, mixes)]
    base, stated = recipe.models[_base(name, recipe)], recipe.stages[name].licence
    data = {
        "tags": ["bezoar"],
        "datasets": sorted({one.repository for one in origins if isinstance(one, Hub)}),
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": base.repository if isinstance(base, HubModel) else None,
        **(licences.on_hub([stated]) if stated else {}),
    }
    text = yaml.safe_dump({key: value for key, value in data.items() if value}, sort_keys=True)
    return iter(["---", text.rstrip(), "---", ""])


def _model(name: str, recipe: Recipe, records: Records) -> Iterator[str]:
    stages = recipe.ancestors(name)[::-1]
    yield f"Stage `{name}` of the recipe `{recipe.recipe}`, built by Bezoar {__version__}. This card is made from the"
    yield "records of that build: each number is of artifacts that are up to date."
    yield from section("Lineage", _lineage(stages, recipe, records))
    yield from section("Data", _data([recipe.stages[one].mix for one in stages], recipe))
    yield from section("Evaluation items in the rows", _repeats(recipe.trained_on(name), records))
    yield from section("Licences", _licences(recipe.stages[name].licence, licences.of_checkpoint(recipe, name)))
    yield from section("Prompt", _prompt(recipe))
    yield from section("Settings", _settings(stages, recipe))
    yield from section("Scores", _scores(name, recipe, records))
    yield from section("Not run", _not_run(name, recipe, records))


def _base(stage: str, recipe: Recipe) -> str:
    return recipe.stages[recipe.ancestors(stage)[-1]].init_from


def _lineage(stages: list[str], recipe: Recipe, records: Records) -> Iterator[str]:
    base = recipe.stages[stages[0]].init_from
    licence = licences.together(licences.of_checkpoint(recipe, base))
    yield f"Base model `{base}`: {_origin(recipe.models[base])}; licence: {licence}."
    yield ""
    rows = []
    for name in stages:
        stage = recipe.stages[name]
        counts = records.read(f"data/adapters/{name}/rows.json") or {}
        history, key = records.read(f"data/adapters/{name}/history.json") or [], f"eval_{stage.figure}"
        found = [f"{one[key]:.3f}" for one in history if one.get(key) is not None]
        loss = " → ".join([*found[:1], *found[1:][-1:]]) or None
        loss = f"reward {loss}" if loss and stage.figure == "reward" else loss
        trained = counts.get("train", {}).get("rows")
        start = recipe.models.get(stage.init_from)
        start_text = f"`{stage.init_from}`" + (f": {start}" if isinstance(start, Soup) else "")
        rows.append((f"`{name}`", start_text, stage.method, f"`{stage.mix}`", trained, loss))
    yield from table(("stage", "starts from", "method", "mix", "rows", "loss on held-out rows, nats per token"), rows)


def _origin(model: Any) -> str:
    match model:
        case HubModel():
            return f"{model.repository} at {model.revision}"
        case PackagedModel():
            return f"{model.file} of the Python package {model.distribution} {model.version} (sha256 {model.sha256})"
        case LocalModel():
            return "a model of the recipe's author"
        case Soup():
            return f"the mean of checkpoints: {model}"
    return f"made by method {model.method}"


def _data(mixes: list[str], recipe: Recipe) -> Iterator[str]:
    rows = []
    for name in sources_of(recipe, mixes):
        source = recipe.sources[name]
        rows.append((f"`{name}`", place_of(source), licences.of_source(recipe, name).text))
    yield from table(("source", "from", "licence"), rows)
    schemes = list(dict.fromkeys(one for mix in mixes for one in written(recipe, recipe.lineage("mixes", mix))))
    made = []
    for name in schemes:
        one = scheme_of(recipe, name)
        made.append((f"`{name}`", one.method, f"`{one.seeds}`", one.teacher, one.terms, one.judge))
    if made:
        yield from ("", "Rows that models wrote; the terms of these models apply to them:", "")
        yield from table(("scheme", "method", "from", "written by", "terms", "filtered by"), made)


def _repeats(mixes: list[str], records: Records) -> Iterator[str]:
    """What the certificates say of the mixes that are built."""
    for name in mixes:
        if (said := records.read(f"data/certificates/{name}.json")) is not None:
            yield f"- `{name}`: {line_of(said)}."


def _licences(stated: Licence | None, found: list[licences.Input]) -> Iterator[str]:
    if stated:
        yield f"Published under {licences.text_of(stated)}. It is made of:"
    else:
        yield "No licence is stated for the whole. It is made of:"
    yield ""
    yield from table(("what", "licence or terms"), [(one.what, one.text) for one in found])
    for note in licences.notes(found):
        yield from ("", note)


def _prompt(recipe: Recipe) -> Iterator[str]:
    yield "The tokenizer's chat template is the layout of training; use `apply_chat_template`."
    if recipe.prompt.system:
        yield from (
            "",
            "Rows without a system text were trained under this one:",
            "",
            indent(recipe.prompt.system, "    "),
        )


def _settings(stages: list[str], recipe: Recipe) -> Iterator[str]:
    blocks = {name: recipe.stages[name].model_dump(mode="json", exclude=NOT_KEYS) for name in stages}
    yield from _yaml({"seed": recipe.seed, **blocks})


def _yaml(data: dict[str, Any]) -> Iterator[str]:
    yield from ("```yaml", yaml.safe_dump(data, sort_keys=False, width=100).rstrip(), "```")


def _scores(name: str, recipe: Recipe, records: Records) -> Iterator[str]:
    for label, block in recipe.evals.items():
        report = records.read(f"results/{label}.json") if name in block.checkpoints else None
        if report is not None:
            found = block.scores_of(name, report)
            yield from (f"`{label}`: {found.text}", "")
            yield from table(found.head, list(found.rows))
            yield ""


def _not_run(name: str, recipe: Recipe, records: Records) -> Iterator[str]:
    for label, block in recipe.evals.items():
        if name not in block.checkpoints:
            yield f"- `{label}` ({block.method}) doesn't score this checkpoint."
        elif records.read(f"results/{label}.json") is None:
            yield f"- `{label}` ({block.method}) has no result that is up to date."
    if not recipe.evals:
        yield "- The recipe has no evaluation, so nothing is known about this model's quality."
    scored = any(records.read(f"results/{label}.json") is not None for label in _of(name, recipe))
    beyond = ", beyond the scores above" if scored else ""
    yield f"- Bias, safety and memorised text were not measured{beyond}."


def _of(name: str, recipe: Recipe) -> list[str]:
    """The evaluations that score a checkpoint."""
    return [label for label, block in recipe.evals.items() if name in block.checkpoints]
