"""The folder of a mix: Parquet, README.md, statistics.json, croissant.json and checksums."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from bezoar.files import artifact, sha256, write_json
from bezoar.logs import logger
from bezoar.steps.data.languages import UNSURE, language_of
from bezoar.steps.dataset.card import Card
from bezoar.steps.dataset.croissant import croissant
from bezoar.steps.dataset.readme import File, Found, readme
from bezoar.steps.dataset.statistics import Count, Statistics
from bezoar.steps.dataset.table import SPLITS, columns_of, features, joined, write_parquet
from bezoar.steps.dataset.waterfall import falls

CHECKED = 500  # rows whose language is looked at
SHARE = 0.05  # of these, from which on a language is named


@dataclass(frozen=True)
class Inputs:
    """What a folder is made from.

    Attributes:
        rows: Folder with train.jsonl and eval.jsonl.
        origins: Where each row is from.
        data: The folder of all artifacts, with the reports of all steps.
        certificate: The contamination certificate, if there is one.
    """

    rows: Path
    origins: Path
    data: Path
    certificate: Path | None


def write_dataset(card: Card, inputs: Inputs, tokens: Count | None, out_folder: Path) -> None:
    """Write the folder."""
    name = out_folder.name
    with artifact(out_folder) as out:
        counts = {split: Statistics(card.seed, tokens) for split in SPLITS}
        sizes, columns = {}, columns_of(inputs.rows, card.format)
        for split, statistics in counts.items():
            rows = joined(inputs.rows / f"{split}.jsonl", inputs.origins, card.parts)
            sizes[split] = write_parquet(out / f"{split}.parquet", statistics.through(rows), columns)
        splits = {split: one.report() for split, one in counts.items()}
        write_json(out / "statistics.json", splits)
        languages = card.languages or languages_of([text for *_, text in sorted(counts["train"].sample)[-CHECKED:]])
        published = sum(one["rows"] for one in splits.values())
        steps = falls(card, name, inputs.data, published)
        certificate = json.loads(inputs.certificate.read_text(encoding="utf-8")) if inputs.certificate else None
        files = files_of(out)
        found = Found(name, splits, sizes, features(columns), languages, steps, certificate, files)
        write_json(out / "croissant.json", croissant(card, found))
        (out / "README.md").write_text(readme(card, found._replace(files=files_of(out))), encoding="utf-8")
        sums = "".join(f"{one.sha256}  {one.name}\n" for one in files_of(out))
        (out / "SHA256SUMS").write_text(sums, encoding="utf-8")
    logger.info(f"dataset {name}: {published:,} rows; {', '.join(languages) or 'no language'}")


def files_of(folder: Path) -> list[File]:
    """The files of a folder so far."""
    return [File(path.name, path.stat().st_size, sha256(path)) for path in sorted(folder.iterdir())]


def languages_of(texts: list[str]) -> list[str]:
    """The languages of texts, the most frequent first."""
    found = Counter(map(language_of, texts))
    sure = found.total() - found.pop(UNSURE, 0)
    return [
        language for language, rows in sorted(found.items(), key=lambda one: (-one[1], one[0])) if rows >= SHARE * sure
    ]


def counter_of(model: Path) -> Count:
    """A function to the tokens of texts, by the tokenizer of a model directory."""
    from bezoar.steps.models import load_tokenizer  # slow to import

    tokenizer = load_tokenizer(model)
    return lambda texts: [len(one) for one in tokenizer(texts, add_special_tokens=False).input_ids]
