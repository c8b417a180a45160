"""Overview: the recipe in one picture of words, and its size."""

from typing import NamedTuple

from bezoar.page.block import Page
from bezoar.page.files import sources
from bezoar.page.forms import Certificate
from bezoar.page.html import Section, count, counted, decimals, number, render
from bezoar.page.inputs import Artifact, Inputs
from bezoar.steps.data.accounting import Ledger
from bezoar.steps.results.report import Score

MOST = 6  # scores
BLOCKS = ("source", "scheme", "mix", "training stage", "evaluation")


class Tile(NamedTuple):
    """A number of the headline, and the artifacts that it is the sum of.

    Attributes:
        more: What it is the sum of, or compared with; empty if there is nothing to say.
    """

    label: str
    value: str
    artifacts: list[Artifact]
    more: str = ""


def section(inputs: Inputs) -> Section | None:
    """The headline."""
    page = inputs.page
    tiles = [tile for tile in (_generated(inputs), _kept(inputs), _paired(inputs), _mixed(inputs)) if tile.artifacts]
    tiles += [tile for name in page.evals for tile in _scores(inputs, name)][:MOST]
    found = (len(sources(page)), len(page.schemes), len(page.mixes), len(page.stages), len(page.evals))
    counts = [counted(*one) for one in zip(found, BLOCKS, strict=True) if one[0]]
    body = render("headline.html.j2", chains=chains(page), tiles=tiles, counts=counts, page=page)
    return Section("headline", "Overview", body)


def chains(page: Page) -> list[list[str]]:
    """Each way from a base model to a stage that no other stage starts from."""
    starts = {stage.init_from for stage in page.stages.values()}
    return [_chain(page, name) for name in page.stages if name not in starts]


def _chain(page: Page, name: str) -> list[str]:
    found = [name]
    while found[0] in page.stages and (before := page.stages[found[0]].init_from) not in found:
        found.insert(0, before)
    return found


def _ledgers(inputs: Inputs, kind: str, paths: list[str], label: str, more: str) -> Tile:
    """The rows that came out of a step, all blocks and shards together."""
    ledgers = [Ledger.of_report(kind, inputs.json(path), path) for path in paths]
    return Tile(label, count(sum(one.kept for one in ledgers)), [inputs.artifact(path) for path in paths], more)


def _generated(inputs: Inputs) -> Tile:
    page = inputs.page
    names = page.made()
    paths = [f"data/generated/{name}/{shard}/report.json" for name in names for shard in page.shard_names()]
    return _ledgers(inputs, "generate", paths, "rows generated", _sum_of(names, "scheme"))


def _kept(inputs: Inputs) -> Tile:
    page = inputs.page
    paths = [f"data/filtered/{name}/{shard}/report.json" for name in page.filters for shard in page.shard_names()]
    return _ledgers(inputs, "filter", paths, "rows kept by filters", _sum_of(list(page.filters), "filter"))


def _paired(inputs: Inputs) -> Tile:
    page = inputs.page
    paths = [f"data/pairs/{name}/{shard}/report.json" for name in page.pairs for shard in page.shard_names()]
    return _ledgers(inputs, "pairs", paths, "pairs of answers", _sum_of(list(page.pairs), "block"))


def _mixed(inputs: Inputs) -> Tile:
    """The train rows that certificates leave: stages read no others."""
    names = list(inputs.page.mixes)
    paths = [f"data/certificates/{name}.json" for name in names]
    total = sum(inputs.checked(path, Certificate).left().train for path in paths)
    artifacts = [inputs.artifact(path) for path in paths]
    return Tile("rows to train on", count(total), artifacts, _sum_of(names, "mix"))


def _sum_of(names: list[str], what: str) -> str:
    """Which blocks a number adds up; a row that two of them have counts twice."""
    return f"{what} {names[0]}" if len(names) == 1 else f"the sum of {counted(len(names), what)}"


def _scores(inputs: Inputs, evaluation: str) -> list[Tile]:
    """The main scores of the last checkpoint of an evaluation, and of the first one."""
    report, order = inputs.report(evaluation), inputs.page.checkpoints()
    main = [one for one in report.scores(evaluation) if one.main and one.score is not None] if report.scored else []
    found: dict[str, list[Score]] = {}
    for one in sorted(main, key=lambda one: order.index(one.checkpoint)):
        found.setdefault(one.metric, []).append(one)
    source = [inputs.artifact(f"results/{evaluation}.json")]
    return [_tile(f"{evaluation}, {metric}", scores, source) for metric, scores in found.items()]


def _tile(label: str, scores: list[Score], source: list[Artifact]) -> Tile:
    """The last one of some scores, compared with the first one."""
    first, last = scores[0], scores[-1]
    digits = decimals(one.score for one in scores)
    before = f"; {first.checkpoint}: {number(first.score, digits)}" if first is not last else ""
    return Tile(label, number(last.score, digits), source, f"{last.checkpoint}{before}")
