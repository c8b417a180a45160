"""Rows of a mix without those that share 12 words in a row with an item, by datatrove; see README.md here.

$ scratch/peers/datatrove/bin/python benchmarks/peers/datatrove_rows.py FOLDER

FOLDER has train.jsonl and items.jsonl, as benchmarks/contamination.py writes them. datatrove's own n-gram filter reads
an index that its indexer would write; that one needs lighteval's tasks. Prints the peak of memory in MB, and the
planted and the other rows that went.
"""

import json
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.decont import NGramsDecontFilter
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.text import ngrams, simplify_text


def document(_: Any, row: dict[str, Any], path: str, place: int) -> dict[str, Any]:
    """All messages of a row as one text."""
    messages = [one["content"] for name in ("prompt", "completion") for one in row[name]]
    return {"text": "\n".join(messages), "id": row["id"], "metadata": {"row": row}}


def write_index(items: Path, folder: Path) -> NGramsDecontConfig:
    """Write the hashes of all runs of 12 words in items."""
    config = NGramsDecontConfig()
    filter_ = NGramsDecontFilter(str(folder), config)
    hashes: set[int] = set()
    for line in items.read_text(encoding="utf-8").splitlines():
        for text in json.loads(line)["texts"]["text"]:
            words = filter_.tokenizer.word_tokenize(simplify_text(text, config.norm_config))
            hashes.update(filter_.hash_func(" ".join(one)) for one in ngrams(words, config.n_grams))
    np.array(sorted(hashes), dtype=config.hash_config.np_descr).tofile(folder / "bench.index.hashes")
    return config


def main() -> None:
    folder = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "index").mkdir()
        config = write_index(folder / "items.jsonl", scratch / "index")
        excluded = JsonlWriter(str(scratch / "gone"), compression=None)
        steps = [
            JsonlReader(str(folder), glob_pattern="train.jsonl", adapter=document, text_key="prompt"),
            NGramsDecontFilter(str(scratch / "index"), config, exclusion_writer=excluded),
            JsonlWriter(str(scratch / "kept"), compression=None),
        ]
        LocalPipelineExecutor(steps, tasks=1, workers=1, logging_dir=str(scratch / "logs")).run()
        gone = [line for path in (scratch / "gone").rglob("*.jsonl") for line in path.read_text().splitlines()]
    planted = sum(json.loads(line)["id"].startswith("framed") for line in gone)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(peak // 1024, planted, len(gone) - planted)


if __name__ == "__main__":
    main()
