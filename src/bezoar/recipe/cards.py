"""The values of the cards of mixes: their jobs read them from params.resolved.yaml, like those of all others."""

from typing import TYPE_CHECKING, Any

from bezoar.recipe import licences
from bezoar.steps.data.sources import Builtin, File, Hub, Source, Url
from bezoar.steps.dataset.card import Card, CardScheme, CardSource

if TYPE_CHECKING:
    from bezoar.blocks import NamedBlock
    from bezoar.recipe.recipe import Recipe

PAIRED = {"scores": "score", "pairs": "pairs"}  # by section, the step


def card_of(recipe: "Recipe", name: str) -> Card:
    """The values of a mix's card."""
    mix, found = recipe.mixes[name], licences.of_mix(recipe, name)
    lineage = recipe.lineage("mixes", name)
    schemes = written(recipe, lineage)
    return Card(
        recipe=recipe.recipe,
        seed=mix.own_seed(recipe.seed),
        shards=recipe.shards,
        format=mix.format,
        parts={f"{part.kind} {part.name}": part_licence(recipe, name, part) for part in mix.parts},
        sources={one: _source(recipe, one) for one in sources_of(recipe, [name])},
        schemes={one: scheme_of(recipe, one) for one in schemes},
        unfiltered=[one for one in schemes if one not in recipe.filters],
        paired=[[PAIRED[one.section], one.name] for one in lineage if one.section in PAIRED],
        selections={one.name: one.model_dump(mode="json") for one in lineage if one.section == "selections"},
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
    found = [block.name for mix in mixes for block in recipe.lineage("mixes", mix) if isinstance(block, Source)]
    return list(dict.fromkeys(found))


def tokenizer_of(recipe: "Recipe", mix: str) -> str | None:
    """The base model whose tokenizer counts a mix's tokens: that of its limit, or of the first stage on it."""
    block = recipe.mixes[mix]
    if block.limit:
        return block.limit.tokenizer
    trained = [recipe.stages[recipe.chain(name)[-1]].init_from for name, one in recipe.stages.items() if one.mix == mix]
    return next((one for one in trained if one in recipe.models), None)


def written(recipe: "Recipe", lineage: "list[NamedBlock]") -> list[str]:
    """The filters of rows that models wrote, and the schemes without one."""
    return [
        block.name
        for block in lineage
        if block.section == "filters" or (block.section == "schemes" and block.name not in recipe.filters)
    ]


def _source(recipe: "Recipe", name: str) -> CardSource:
    source = recipe.sources[name]
    hub = source.origin.repository if isinstance(source.origin, Hub) else None
    return CardSource(place=place_of(source), licence=licences.of_source(recipe, name).text, hub=hub)


def scheme_of(recipe: "Recipe", name: str) -> CardScheme:
    """What the card says of the rows that a filter keeps, or of a scheme without one."""
    scheme_name = recipe.scheme_of(name) if name in recipe.filters else name
    scheme = recipe.schemes[scheme_name]
    terms = licences.together(list(licences.of_backend(recipe, scheme.teacher, "teacher")))
    judge = writer_of(recipe, getattr(recipe.filters[name], "judge", None)) if name in recipe.filters else "none"
    teacher, (_, seeds) = writer_of(recipe, scheme.teacher), scheme.starts_from()
    return CardScheme(scheme=scheme_name, method=scheme.method, seeds=seeds, teacher=teacher, terms=terms, judge=judge)


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
