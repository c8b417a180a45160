"""Licences and terms of what mixes and checkpoints are made of: sources, teachers, judges, base models.

A mix has the licences of its sources, those of the seeds of its schemes, and the terms of the models that wrote or
judged its rows. A checkpoint has those of its base model and of all mixes that it was trained on.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from bezoar.blocks import Licence, Terms
from bezoar.problems import KeyPath, Problem
from bezoar.steps.backends.verifier import VerifierBackend
from bezoar.steps.data.mix import part_of
from bezoar.steps.data.sources import Builtin, Source
from bezoar.steps.score.block import ScoreBlock
from bezoar.steps.select.selection import SelectionBlock

if TYPE_CHECKING:
    from bezoar.recipe.recipe import Recipe
    from bezoar.steps.data.mix import Part

# By section, the key of a block's licence. Nothing depends on it but cards.
KEYS = {"sources": "licence", "backends": "terms", "models": "licence", "mixes": "licence", "stages": "licence"}
WRITERS = ("teacher",)  # keys of backends whose words are in rows; others judge or criticise
OWN = "Apache-2.0"  # of rows that Bezoar's embedded world makes
UNKNOWN = "not stated"
# By SPDX id, those that don't permit commercial use, and those that ask for the same licence for what is made of them.
NOT_COMMERCIAL = re.compile(
    r"CC-BY-NC-.*|Aladdin|BUSL-1\.1|NCGL-UK-2\.0|NPOSL-3\.0|PolyForm-(?:Noncommercial|Small-Business)-1\.0\.0", re.I
)
SHARE_ALIKE = re.compile(
    r"CC-BY(?:-NC)?-SA-.*|A?GPL-.*|LGPL-.*|GFDL-.*|ODbL-.*|CDLA-Sharing-.*|EUPL-.*|OSL-.*|MPL-.*", re.I
)
# The ids of the hub that SPDX has as well: https://huggingface.co/docs/hub/repositories-licenses
HUB = set(
    "apache-2.0 mit afl-3.0 artistic-2.0 bsl-1.0 bsd-2-clause bsd-3-clause bsd-3-clause-clear cc0-1.0 cc-by-2.0 "
    "cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 "
    "cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 "
    "cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 isc ms-pl "
    "mpl-2.0 osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib".split()
)


@dataclass(frozen=True)
class Input:
    """Something that a mix or a checkpoint is made of, with its licence.

    Attributes:
        key: The key of params.yaml with its licence.
        what: What it is.
        licence: The licence, or None.
        rows: The most rows of it in the mix that it is for, if known.
        judges: Whether it only judges rows, and none of its words is in them.
    """

    key: KeyPath
    what: str
    licence: Licence | None
    mix: str | None = None
    rows: int | None = None
    judges: bool = False

    @property
    def text(self) -> str:
        """The licence as cards write it."""
        return text_of(self.licence)

    @property
    def commercial(self) -> bool | None:
        """Whether it permits commercial use; None if unknown."""
        return permits(self.licence)


def text_of(licence: Licence | None) -> str:
    """A licence as cards write it: canonical SPDX, or its name with its link and note."""
    if licence is None:
        return UNKNOWN
    if isinstance(licence, str):
        return spdx(licence) or licence
    name = f"[{licence.name}]({licence.link})" if licence.link else licence.name
    return f"{name}: {licence.note}" if licence.note else name


def spdx(text: str) -> str | None:
    """The canonical form of an SPDX expression; None if it isn't one."""
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return None


def ids(licence: Licence | None) -> list[str]:
    """The SPDX ids that apply together."""
    text = spdx(licence) if isinstance(licence, str) else None
    return [one.strip("() ").partition(" WITH ")[0] for one in text.split(" AND ")] if text else []


def permits(licence: Licence | None) -> bool | None:
    """Whether a licence permits commercial use; None if that isn't known."""
    if isinstance(licence, Terms):
        return licence.commercial
    found = ids(licence)
    if not found or any(one.startswith("LicenseRef-") for one in found):
        return None
    return not any(NOT_COMMERCIAL.fullmatch(one) for one in found)


def shares_alike(licence: Licence | None) -> bool:
    """Whether what is made of it has to have the same licence."""
    if isinstance(licence, Terms):
        return licence.share_alike
    return any(SHARE_ALIKE.fullmatch(one) for one in ids(licence))


def on_hub(found: list[Licence | None]) -> dict[str, Any]:
    """The licence keys of a card's YAML head, as the hub knows them."""
    names = sorted({text.lower() for one in found for text in (ids(one) or [name_of(one)])})
    if not names or UNKNOWN in names:
        return {"license": "unknown"}
    if all(one in HUB for one in names):
        return {"license": names[0] if len(names) == 1 else names}
    links = [one.link for one in found if isinstance(one, Terms) and one.link]
    slug = re.sub(r"[^a-z0-9.]+", "-", "-and-".join(names)).strip("-")
    return {"license": "other", "license_name": slug, **({"license_link": links[0]} if links else {})}


def name_of(licence: Licence | None) -> str:
    """A licence's name alone."""
    return licence.name if isinstance(licence, Terms) else text_of(licence)


# ---- What mixes and checkpoints are made of ----


def of_mix(recipe: "Recipe", mix: str) -> list[Input]:
    """What a mix is made of; each once."""
    found = [one for part in recipe.mixes[mix].parts for one in of_part(recipe, mix, part)]
    writers = {one.key for one in found if not one.judges}  # a backend may judge one part and write another
    each = {one.key: replace(one, judges=one.key not in writers) for one in reversed(found)}
    return list(each.values())[::-1]


def of_part(recipe: "Recipe", mix: str, part: "Part") -> Iterator[Input]:
    """What the rows of a mix's part are made of."""
    told = {recipe.scheme_of(part.name): part.name} if part.kind == "scheme" else {}  # a baseline by its own name
    rows = part.rows or (recipe.selections[part.name].rows if part.kind == "selected" else None)
    for block in recipe.lineage(*part_of(part)):
        if isinstance(block, Source):
            yield of_source(recipe, block.name, mix, rows)
        for key, backend in (pair for rule in block.asks for pair in block.asked_by(rule).items()):
            found = of_backend(recipe, backend, f"{key} of {told.get(block.name, block.name)}", mix, part.rows)
            yield from (replace(one, judges=key not in WRITERS) for one in found)
        if isinstance(block, ScoreBlock | SelectionBlock):
            for checkpoint in block.checkpoints().values():
                yield from (replace(one, judges=True) for one in of_checkpoint(recipe, checkpoint))


def of_source(recipe: "Recipe", name: str, mix: str | None = None, rows: int | None = None) -> Input:
    """A source's licence; rows that Bezoar's world makes have its own."""
    source = recipe.sources[name]
    known = [one for one in (rows, source.known_rows) if one is not None]
    licence = source.licence or (OWN if isinstance(source.origin, Builtin) else None)
    return Input(("sources", name, "licence"), f"source {name}", licence, mix, min(known) if known else None)


def together(found: list[Input]) -> str:
    """All licences of inputs, as cards write them."""
    return ", ".join(dict.fromkeys(one.text for one in found))


def of_published(recipe: "Recipe", mix: str) -> dict[str, Any]:
    """The licence keys of a mix's card: its own, or those of its sources and teachers."""
    stated = recipe.mixes[mix].licence
    return on_hub([stated] if stated else [one.licence for one in of_mix(recipe, mix) if not one.judges])


def of_backend(
    recipe: "Recipe", name: str, role: str, mix: str | None = None, rows: int | None = None
) -> Iterator[Input]:
    """The terms of a backend: its own, or those of the checkpoint that it loads."""
    block = recipe.backends[name]
    if block.terms is None and block.weights:
        yield from of_checkpoint(recipe, block.weights)
    elif not isinstance(block, VerifierBackend) or block.terms:  # those are rules of Bezoar's own
        yield Input(("backends", name, "terms"), f"backend {name}, {role}", block.terms, mix, rows)


def of_checkpoint(recipe: "Recipe", name: str) -> list[Input]:
    """What a base model or a stage is made of; each once."""
    if name in recipe.models:
        model = recipe.models[name]
        sources = model.sources() if model.licence is None else []
        if sources:
            return [of_source(recipe, one) for one in sources]
        if model.licence is None and (members := recipe.members_of(name)):
            made_of = [one for member in members for one in of_checkpoint(recipe, member)]
            return list({one.key: one for one in reversed(made_of)}.values())[::-1]
        return [Input(("models", name, "licence"), f"model {name}", model.licence)]
    stage = recipe.stages[name]
    before = [one for other in stage.checkpoints().values() for one in of_checkpoint(recipe, other)]
    found = [*before, *of_mix(recipe, stage.mix)]
    return list({one.key: one for one in reversed(found)}.values())[::-1]


def notes(found: list[Input]) -> Iterator[str]:
    """What the licences ask of those who use or pass on what is made of these inputs."""
    for what, bad in (
        ("Not for commercial use", [one for one in found if one.commercial is False]),
        ("Share-alike: what is made of it has the same licence", [one for one in found if shares_alike(one.licence)]),
        ("Licence not stated", [one for one in found if one.licence is None]),
    ):
        if bad:
            named = (f"{one.what} ({name_of(one.licence)})" if one.licence else one.what for one in bad)
            yield f"{what}: {', '.join(named)}."


# ---- Problems ----


def problems(recipe: "Recipe", root: Path) -> list[Problem]:
    """Licences that aren't SPDX's, and with `commercial: true` those that don't permit commercial use."""
    return [*_unreadable(recipe), *(_refused(recipe, root) if recipe.commercial else [])]


def _unreadable(recipe: "Recipe") -> Iterator[Problem]:
    for section, key in KEYS.items():
        for name, block in getattr(recipe, section).items():
            licence = getattr(block, key)
            if not isinstance(licence, str):
                continue
            text = spdx(licence)
            if text is None or " OR " in text:
                what = "not an SPDX licence" if text is None else "more than one licence to choose from"
                expected = "an id such as CC-BY-4.0, or ids with AND" if text is None else "the one that you take"
                hint = "for any other: {name: NAME, link: https://..., commercial: true or false}"
                yield Problem((section, name, key), what, licence, expected, hint)


def _refused(recipe: "Recipe", root: Path) -> Iterator[Problem]:
    found = [one for mix in recipe.mixes for one in of_mix(recipe, mix)]
    found += [one for name in recipe.checkpoints() for one in of_checkpoint(recipe, name)]
    by_key: dict[KeyPath, list[Input]] = {}
    for one in found:
        by_key.setdefault(one.key, []).append(one)
    for key, inputs in by_key.items():
        first = inputs[0]
        if first.commercial:
            continue
        uses = dict.fromkeys(use for one in inputs if (use := _use(one, root)))
        what = (
            "commercial use isn't permitted" if first.commercial is False else "it isn't known to permit commercial use"
        )
        where = f", in {'; '.join(uses)}" if uses else ""
        expected = "licences that permit commercial use, since `commercial` is true"
        hint = "take it out of the mixes, or choose another"
        if first.commercial is None:
            hint = "an SPDX id; or {name: NAME, commercial: true}, if you have read that it permits this"
        yield Problem(key, f"{first.what}: {what}", f"{first.text}{where}", expected, hint)


def _use(one: Input, root: Path) -> str:
    """The rows of a mix that an input is in, as far as they are known."""
    if one.mix is None:
        return ""
    rows = one.rows
    if rows is None and one.key[0] == "sources":
        rows = _counted(root / f"data/source/{one.key[1]}/report.json")
    return f"mix {one.mix} ({'all of its' if rows is None else f'up to {rows:,}'} rows)"


def _counted(report: Path) -> int | None:
    """The rows of a source that was read before."""
    try:
        rows = json.loads(report.read_text(encoding="utf-8"))["rows"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return rows if isinstance(rows, int) and rows >= 0 else None
