"""The values of the cards of mixes: their jobs read them from params.resolved.yaml, like those of all others."""

from typing import TYPE_CHECKING, Any

from bezoar.recipe import licences
from bezoar.steps.data.sources import Builtin, File, Hub, Source, Url
from bezoar.steps.dataset.card import Card, CardScheme, CardSource

if TYPE_CHECKING:
    from bezoar.recipe.recipe import Recipe
    from bezoar.steps.data.mix import Part


def card_of(recipe: "Recipe", name: str) -> Card:
    """The values of a mix's card."""
    mix, found = recipe.mixes[name], licences.of_mix(recipe, name)
    schemes = schemes_of(recipe, [name])
    return Card(
        recipe=recipe.recipe,
        seed=mix.own_seed(recipe.seed),
        shards=recipe.shards,
        format=mix.format,
        parts={f"{part.kind} {part.name}": part_licence(recipe, name, part) for part in mix.parts},
        sources={one: _source(recipe, one) for one in sources_of(recipe, [name])},
        schemes={one: _scheme(recipe, one) for one in schemes},
        selections={
            part.name: recipe.selections[part.name].model_dump(mode="json")
            for part in mix.parts
            if part.kind == "selected"
        },
        licence=licences.text_of(mix.licence) if mix.licence else None,
        head=licences.of_published(recipe, name),
        inputs=[[one.what, one.text] for one in found],
        notes=list(licences.notes(found)),
        languages=mix.cleaning.languages,
        tokenizer=tokenizer_of(recipe, name),
        settings=mix.model_dump(mode="json", exclude={"licence"}),
    )


def part_licence(recipe: "Recipe", mix: str, part: Any) -> str:
    """The licences of a part's rows, without those of judges."""
    found = (licences.name_of(one.licence) for one in licences.of_part(recipe, mix, part) if not one.judges)
    return " AND ".join(dict.fromkeys(found))


def sources_of(recipe: "Recipe", mixes: list[str]) -> list[str]:
    """The sources of mixes, those that schemes start from included; each once."""
    names = [
        recipe.schemes[recipe.scheme_of(part.name)].seeds if part.kind == "scheme" else part.name
        for part in _origins(recipe, mixes)
    ]
    return list(dict.fromkeys(names))


def schemes_of(recipe: "Recipe", mixes: list[str]) -> list[str]:
    """The schemes of mixes, as filters or baselines keep their rows; each once."""
    return list(dict.fromkeys(part.name for part in _origins(recipe, mixes) if part.kind == "scheme"))


def _origins(recipe: "Recipe", mixes: list[str]) -> list["Part"]:
    return [recipe.origin_of(part) for mix in mixes for part in recipe.mixes[mix].parts]


def tokenizer_of(recipe: "Recipe", mix: str) -> str | None:
    """The base model whose tokenizer counts a mix's tokens: that of its limit, or of the first stage on it."""
    block = recipe.mixes[mix]
    if block.limit:
        return block.limit.tokenizer
    trained = [recipe.stages[recipe.chain(name)[-1]].init_from for name, one in recipe.stages.items() if one.mix == mix]
    return next((one for one in trained if one in recipe.models), None)


def _source(recipe: "Recipe", name: str) -> CardSource:
    source = recipe.sources[name]
    hub = source.origin.repository if isinstance(source.origin, Hub) else None
    return CardSource(place=place_of(source), licence=licences.of_source(recipe, name).text, hub=hub)


def _scheme(recipe: "Recipe", name: str) -> CardScheme:
    scheme_name = recipe.scheme_of(name)
    scheme = recipe.schemes[scheme_name]
    terms = licences.together(list(licences.of_backend(recipe, scheme.teacher, "teacher")))
    judge = writer_of(recipe, getattr(recipe.filters[name], "judge", None))
    teacher = writer_of(recipe, scheme.teacher)
    return CardScheme(
        scheme=scheme_name, method=scheme.method, seeds=scheme.seeds, teacher=teacher, terms=terms, judge=judge
    )


def place_of(source: Source) -> str:
    """Where a source is from."""
    match source.origin:
        case Hub():
            return f"{source.origin.repository} at {source.origin.revision}"
        case Url():
            address = source.origin.url.partition("?")[0]  # what follows may be a signature that gives access
            return f"{address} (sha256 {source.origin.sha256})"
        case Builtin():
            return f"Bezoar's embedded world, set {source.origin.set}"
        case File():
            return f"a file of the recipe's author (sha256 {source.origin.sha256 or 'not pinned'})"
    return source.origin.kind


def writer_of(recipe: "Recipe", backend: str | None) -> str:
    """The name of a backend's model; `rules` for none."""
    if backend is None:
        return "rules"
    block = recipe.backends[backend]
    return str(getattr(block, "model", None) or getattr(block, "checkpoint", None) or block.kind)
