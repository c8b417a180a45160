"""The values of the page results/report.html: its job reads them from params.resolved.yaml."""

from typing import TYPE_CHECKING

from bezoar.page.block import Page, PageEval, PageModel, PagePart, PageScheme, PageStage
from bezoar.steps.evaluate.evaluation import AnsweredEval

if TYPE_CHECKING:
    from bezoar.recipe.recipe import Recipe


def page_of(recipe: "Recipe") -> Page:
    """The values of a recipe's page."""
    return Page(
        recipe=recipe.recipe,
        shards=recipe.shards,
        models={
            name: PageModel(method=block.method, sources=list(block.sources())) for name, block in recipe.models.items()
        },
        schemes={
            name: PageScheme(
                method=block.method,
                seeds=block.starts_from()[1],
                weights=recipe.backends[block.teacher].weights,
            )
            for name, block in recipe.schemes.items()
        },
        unfiltered=[name for name in recipe.schemes if name not in recipe.filters],
        follows=[name for name, block in recipe.schemes.items() if block.starts_from()[0] == "schemes"],
        scores={name: block.of for name, block in recipe.scores.items()},
        pairs={name: [list(one) for one in block.starts_from()] for name, block in recipe.pairs.items()},
        filters={name: recipe.scheme_of(name) for name in recipe.filters},
        selections={name: PagePart(kind=one.kind or "source", name=one.of) for name, one in recipe.selections.items()},
        mixes={
            name: [PagePart(kind=part.kind or "source", name=part.name) for part in mix.parts]
            for name, mix in recipe.mixes.items()
        },
        stages={
            name: PageStage(method=block.method, init_from=block.init_from, mix=block.mix)
            for name, block in recipe.stages.items()
        },
        evals={name: _evaluation(recipe, name) for name in recipe.evals},
        matrices=list(recipe.matrix),
    )


def _evaluation(recipe: "Recipe", name: str) -> PageEval:
    block = recipe.evals[name]
    judged = getattr(block, "judged", None)
    answered = block if isinstance(block, AnsweredEval) else None
    return PageEval(
        method=block.method,
        checkpoints=block.checkpoints,
        models=judged() if judged else [],
        answers=answered.answers if answered else None,
        questions=recipe.questions_of(name) if answered else None,
    )
