"""Checks of blocks that make rows of other blocks' rows: schemes, scores, pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bezoar.problems import Problem
from bezoar.steps.data.formats import FORMATS
from bezoar.steps.data.rows import PAIR_NUMBERS
from bezoar.steps.generate.revise import Revise
from bezoar.steps.generate.sample import Sample
from bezoar.steps.pairs.revision import Revision
from bezoar.steps.pairs.self_play import SelfPlay

if TYPE_CHECKING:
    from bezoar.recipe.recipe import Recipe


def circles(recipe: Recipe) -> list[Problem]:
    """Schemes whose seeds come from their own rows."""
    found = []
    for name in recipe.schemes:
        trail = [name]
        while (start := recipe.schemes[trail[-1]].starts_from())[0] == "schemes" and start[1] not in trail:
            trail.append(start[1])
        if start == ("schemes", name):
            circle, expected = " <- ".join([*trail, name]), "seeds that begin at a source"
            what = "a scheme starts from its own rows"
            found.append(Problem(("schemes", name, "seeds", "name"), what, circle, expected))
    return found


def problems(recipe: Recipe) -> Iterator[Problem]:
    """Seeds and pairs that can't give what is made of them; names are known to exist."""
    yield from _seeds(recipe)
    yield from _columns(recipe)
    for name, block in recipe.pairs.items():
        key = ("pairs", name)
        match block:
            case SelfPlay() if not isinstance(recipe.schemes[block.of], Sample):
                what, found = "the scheme's rows are no answers to its seeds", f"{block.of}, of method "
                found += recipe.schemes[block.of].method
                yield Problem((*key, "of"), what, found, "a scheme of method sample")
            case Revision():
                yield from _revision(recipe, block)
        for section, scores in block.starts_from():
            if section == "scores" and (most := recipe.answers_to_a_prompt(scores)) < block.answers():
                what = f"method {block.method} needs {block.answers()} answers to a prompt"
                found = f"{most} of scheme {recipe.scores[scores].of}"
                hint = f"schemes.{recipe.scores[scores].of}: method sample, n: {block.answers()} or more"
                yield Problem((*key, "of"), what, found, f"{block.answers()} or more", hint)


def _columns(recipe: Recipe) -> Iterator[Problem]:
    """Stages on pairs without the columns that they need."""
    for name, stage in recipe.stages.items():
        for part in recipe.mixes[stage.mix].parts:
            block = recipe.pairs[part.name] if part.kind == "pairs" else None
            if block and (lacking := [one for one in stage.needs() if one not in block.gives]):
                what, found = f"pairs `{part.name}` have no {' and no '.join(lacking)}", f"method {block.method}"
                able = "pairs by their scores" if set(stage.needs()) <= set(PAIR_NUMBERS) else "rows of a source"
                yield Problem(("stages", name, "mix"), what, found, able)


def _seeds(recipe: Recipe) -> Iterator[Problem]:
    """Sources of seeds whose rows aren't instructions or dialogues."""
    wanted = [one.name for one in FORMATS.values() if one.mixes]
    for name, scheme in recipe.schemes.items():
        section, seeds = scheme.starts_from()
        if isinstance(scheme, Sample | Revise) and section == "sources":
            found = recipe.sources[seeds].format
            if found not in (*wanted, None):
                what, expected = f"source `{seeds}` holds other rows", " or ".join(wanted)
                yield Problem(("schemes", name, "seeds", "name"), what, f"format {found}", expected)


def _revision(recipe: Recipe, block: Revision) -> Iterator[Problem]:
    """Scores of other rows than revised ones and their originals."""
    key = ("pairs", block.name)
    revised = recipe.scores[block.of].of
    scheme, original = recipe.schemes[revised], recipe.scores[block.original].of
    if not isinstance(scheme, Revise):
        yield Problem(
            (*key, "of"), "these scores are of no revisions", f"scheme {revised}", "a scheme of method revise"
        )
    elif scheme.starts_from() != ("schemes", original):
        what, found = "these scores aren't those of the revised answers", f"scores of scheme {original}"
        yield Problem((*key, "original"), what, found, f"scores of scheme {scheme.starts_from()[1]}")
