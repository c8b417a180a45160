"""The files that the page is made from, by the names of the recipe's blocks."""

from collections.abc import Iterator
from pathlib import Path

from bezoar.page.block import Page, PageEval, PagePart

# By method, where the judgments of a model's answers are, and the files with the judge's words.
JUDGED = {
    "mtbench": ("data/judgments/{}/{}", ("verdicts", "judgments")),
    "pairwise": ("data/comparisons/{}/{}", ("verdicts", "judgments")),
    "checklist": ("data/checks/{}/{}", ("checks",)),
    "rubric": ("data/gradings/{}/{}", ("gradings", "feedback")),
}


def files(page: Page) -> list[str]:
    """The artifacts that the page is made from: files, and folders of adapters."""
    return list(
        dict.fromkeys([*_rows(page), *(f"data/adapters/{name}" for name in page.stages), *_scores(page)]),
    )


def _rows(page: Page) -> Iterator[str]:
    for name in sources(page):
        yield from (f"data/source/{name}/{file}" for file in ("report.json", "dropped.jsonl"))
    for part in (part for parts in [*page.mixes.values(), [*page.selections.values()]] for part in parts):
        yield from rows_of_part(page, part)
    for shard in page.shard_names():
        folders = [f"data/generated/{name}" for name in page.made()]
        for folder in (*folders, *(f"data/scored/{name}" for name in page.scores)):
            yield from (f"{folder}/{shard}/{file}" for file in ("report.json", "dropped.jsonl"))
        for name in page.pairs:
            yield from (f"data/pairs/{name}/{shard}/{file}" for file in ("report.json", "rows.jsonl", "dropped.jsonl"))
        for name in page.filters:
            folder = f"data/filtered/{name}/{shard}"
            yield from (f"{folder}/{file}" for file in ("report.json", "kept.jsonl", "rejected.jsonl"))
    for name in page.selections:
        yield from (f"data/selected/{name}/{file}" for file in ("report.json", "rows.jsonl", "dropped.jsonl"))
    for name in page.mixes:
        files = ("report.json", "dropped.jsonl", "train.jsonl", "eval.jsonl")
        yield from (f"data/mixes/{name}/{file}" for file in files)
        yield f"data/certificates/{name}.json"
        yield from (f"data/certified/{name}/{file}.jsonl" for file in ("train", "eval", "dropped"))


def _scores(page: Page) -> Iterator[str]:
    for name, block in page.evals.items():
        yield f"results/{name}.json"
        if block.questions:
            yield f"data/source/{block.questions}/rows.jsonl"
        if block.answers:
            for one in block.checkpoints:
                yield from (f"data/answers/{block.answers}/{one}/{file}.jsonl" for file in ("answers", "turns"))
        yield from (str(path) for paths in judged(name, block).values() for path in paths)
        if block.method == "checklist":
            yield f"data/checklists/{name}/items.jsonl"
    yield from (f"results/{name}.json" for name in page.matrices)


def judged(name: str, block: PageEval) -> dict[str, list[Path]]:
    """By model, the files with the judgments of its answers; none without a judge."""
    if block.method not in JUDGED:
        return {}
    folder, names = JUDGED[block.method]
    return {one: [Path(folder.format(name, one), f"{file}.jsonl") for file in names] for one in block.models}


def sources(page: Page) -> list[str]:
    """The sources of rows that are trained on, those that schemes start from included; each once."""
    seeds = [page.schemes[scheme].seeds for scheme in page.made() if scheme not in page.follows]
    parts = [part for mix in [*page.mixes.values(), [*page.selections.values()]] for part in mix]
    return list(dict.fromkeys([*seeds, *(part.name for part in parts if part.kind == "source")]))


def rows_of_part(page: Page, part: PagePart) -> list[str]:
    """The files with the rows that a mix reads of a part."""
    if part.kind == "scheme":
        return [f"data/filtered/{part.name}/{shard}/kept.jsonl" for shard in page.shard_names()]
    if part.kind == "pairs":
        return [f"data/pairs/{part.name}/{shard}/rows.jsonl" for shard in page.shard_names()]
    return [f"data/{part.kind}/{part.name}/rows.jsonl"]
