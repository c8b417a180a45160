"""The card of a mix, README.md: a YAML head that the hub reads, and what one has to know before training on it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from bezoar.steps.dataset.card import Card
from bezoar.steps.dataset.markdown import section, table
from bezoar.steps.dataset.waterfall import Fall

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
LARGER = "n>10M"
TRAINED = {"prompt_completion": "supervised fine-tuning", "preference": "preference training such as DPO"}


class File(NamedTuple):
    """A file of the folder."""

    name: str
    size: int
    sha256: str


class Found(NamedTuple):
    """What is known of a mix beside its card's values.

    Attributes:
        name: The mix.
        splits: By split, its statistics.
        sizes: By split, its bytes in memory.
        features: Columns, as the YAML head lists them.
        languages: Languages of its rows.
        falls: The steps on the way to it.
        certificate: Its contamination certificate, if there is one.
        files: Its files, without the card.
    """

    name: str
    splits: dict[str, dict[str, Any]]
    sizes: dict[str, int]
    features: list[dict[str, Any]]
    languages: list[str]
    falls: list[Fall]
    certificate: dict[str, Any] | None
    files: list[File]

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(one["rows"] for one in self.splits.values())


def readme(card: Card, found: Found) -> str:
    """The card's text."""
    counts = ", ".join(f"{one['rows']:,} in the split {name}" for name, one in found.splits.items())
    lines = [
        f"# {found.name}",
        "",
        f"Rows for {TRAINED[card.format]}, in TRL's conversational columns of the format {card.format}: {counts}.",
        f"The mix `{found.name}` of the recipe `{card.recipe}`, built by Bezoar.",
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        'rows = load_dataset("FOLDER or ORG/NAME")',
        "```",
        *section("Columns", _columns(card, found)),
        *section("Origin", _origin(card)),
        *section("Licences", _licences(card)),
        *section("What became of the rows", _falls(found.falls)),
        *section("Evaluation items in the rows", _certificate(found.certificate)),
        *section("Lengths", _lengths(found)),
        *section("Diversity", _diversity(found)),
        *section("Settings", ("```yaml", _yaml({found.name: card.settings, "seed": card.seed}), "```")),
        *section(
            "Files",
            table(("file", "bytes", "sha256"), [(one.name, f"{one.size:,}", one.sha256) for one in found.files]),
        ),
    ]
    return f"---\n{_yaml(head(card, found))}\n---\n\n" + "\n".join(lines) + "\n"


def _yaml(data: Any) -> str:
    return str(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)).rstrip()


def head(card: Card, found: Found) -> dict[str, Any]:
    """The metadata that the hub reads."""
    sizes = {name: found.sizes[name] for name in found.splits}
    splits = [
        {"name": name, "num_bytes": sizes[name], "num_examples": one["rows"]} for name, one in found.splits.items()
    ]
    data = {
        "pretty_name": found.name,
        **card.head,
        "language": found.languages,
        "size_categories": [next((text for most, text in SIZES.items() if found.rows < most), LARGER)],
        "task_categories": ["text-generation"],
        "tags": ["bezoar", "trl"],
        "source_datasets": sorted({one.hub for one in card.sources.values() if one.hub}),
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"{name}.parquet"} for name in found.splits],
            }
        ],
        "dataset_info": {
            "features": found.features,
            "splits": splits,
            "download_size": sum(one.size for one in found.files if one.name.endswith(".parquet")),
            "dataset_size": sum(sizes.values()),
        },
    }
    return {name: value for name, value in data.items() if value}


NUMBERS = {
    "score_": "an answer's score",
    "win_rate_": "how often an answer beats others to its prompt, from 0 to 1",
}


def _columns(card: Card, found: Found) -> Iterator[str]:
    names = [one["name"] for one in found.features]
    said = {
        "id": "the row's id in the mix",
        "family": "rows of one family stay in one split: rewrites of one seed, and dialogues that start alike",
        "prompt": "messages, each with `role` and `content`",
        **({"completion": "one message, which is trained"} if card.format == "prompt_completion" else {}),
        **({"chosen": "the better answer", "rejected": "the other one"} if card.format == "preference" else {}),
        **({"gold": "a third answer, the best one"} if "gold" in names else {}),
        **{", ".join(some): text for start, text in NUMBERS.items() if (some := _starting(names, start))},
        "part, kind, scheme": "the part of the mix that it is from, such as a source or a scheme",
        "file, line": "the line that it was taken from",
        "cluster": "near-duplicates share it; null for a row without any",
        "licence": "the licences of its source or seeds and the terms of its teacher",
    }
    yield from table(
        ("column", "holds"), [(f"`{name}`" if "," not in name else name, text) for name, text in said.items()]
    )


def _starting(names: list[str], start: str) -> list[str]:
    return [name for name in names if name.startswith(start)]


def _origin(card: Card) -> Iterator[str]:
    yield from table(
        ("source", "from", "licence"), [(f"`{n}`", one.place, one.licence) for n, one in card.sources.items()]
    )
    if card.schemes:
        made = [(f"`{n}`", s.method, f"`{s.seeds}`", s.teacher, s.terms, s.judge) for n, s in card.schemes.items()]
        yield from ("", "Rows that models wrote; the terms of these models apply to them:", "")
        yield from table(("scheme", "method", "from", "written by", "terms", "filtered by"), made)
    if card.selections:
        taken = [(f"`{n}`", one["method"], f"`{one['of']}`", one["rows"]) for n, one in card.selections.items()]
        yield from ("", "Selections of rows:", "")
        yield from table(("selection", "method", "from", "rows"), taken)


def _licences(card: Card) -> Iterator[str]:
    if card.licence:
        yield f"Published under {card.licence}. It is made of:"
    else:
        yield "No licence is stated for the whole; those of its rows apply. It is made of:"
    yield ""
    yield from table(("what", "licence or terms"), [(what, text) for what, text in card.inputs])
    for note in card.notes:
        yield from ("", note)


def _falls(falls: list[Fall]) -> Iterator[str]:
    rows = []
    for one in falls:
        reasons = ", ".join(f"{why}: {number:,}" for why, number in one.reasons.items())
        rows.append((one.step, f"{one.rows_in:,}", f"{one.rows_out:,}", reasons))
    yield from table(("step", "rows in", "rows out", "left out"), rows)


def _certificate(found: dict[str, Any] | None) -> Iterator[str]:
    if found is None or not found["evaluations"]:  # the recipe evaluates nothing
        yield "Not compared with any evaluation."
        return
    rows = []
    for name, tasks in found["evaluations"].items():
        for task, one in tasks.items():
            share = "" if one["share"] is None else f"{one['share']:.2%} ({one['low']:.2%} to {one['high']:.2%})"
            rows.append((name, task, f"{one['items']:,}", f"{one['matched']:,}", share))
    hits = sum(found["matching_rows"].values())
    became = "were left out" if found["policy"] == "drop" else "are still in it"
    yield f"{hits:,} of {sum(found['rows'].values()):,} rows of the mix repeat an evaluation item, and {became}."
    if not found["passes"]:
        yield from ("", f"The mix isn't fit to train on: {'; '.join(found['reasons'])}.")
    yield ""
    yield from table(("evaluation", "task", "items", "repeated", "share, with its 95 % interval"), rows)


def _lengths(found: Found) -> Iterator[str]:
    for name, one in found.splits.items():
        rows = [
            (text, unit, lengths["mean"], lengths["least"], lengths["most"], _bars(lengths["bins"]))
            for text, units in one["lengths"].items()
            for unit, lengths in units.items()
        ]
        if rows:
            yield from ("", f"Split {name}:", "")
            yield from table(("text", "unit", "mean", "least", "most", "rows by length"), rows)


def _bars(bins: dict[str, int]) -> str:
    return ", ".join(f"{lengths}: {rows:,}" for lengths, rows in bins.items() if rows)


def _diversity(found: Found) -> Iterator[str]:
    rows: list[tuple[Any, ...]] = []
    for name, one in found.splits.items():
        diversity, near = one["diversity"], one["near_duplicates"]
        bleu = diversity["self_bleu"]
        values = [diversity["distinct"][size] for size in ("1", "2", "3", "4")]
        clusters = f"{near['clusters']:,} with {near['rows']:,} rows" if near["clusters"] else "none"
        rows.append((name, diversity["rows"], *values, bleu["score"], bleu["rows"], clusters))
    columns = ("split", "rows measured", *(f"distinct-{n}" for n in (1, 2, 3, 4)), "self-BLEU", "rows compared")
    yield "Of responses. distinct-n: different n-grams as a share of all. self-BLEU: the mean BLEU-4 of a response"
    yield "against all others, from 0 to 100; lower is more diverse. Both depend on the number of rows measured."
    yield ""
    yield from table((*columns, "clusters of near-duplicates"), rows)
