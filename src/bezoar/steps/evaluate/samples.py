"""What the harness asked and got, document by document: scores as JSON lines, prompts and responses as Parquet.

Prompts repeat their solved examples, for each choice and in many documents. JSON lines of them would be hundreds of
megabytes for a few tasks with examples; in Parquet with zstd they are a small part of that, and any reader of tables
opens them.
"""

import json
import math
from collections.abc import Iterator
from numbers import Real
from pathlib import Path
from typing import Any

from bezoar.files import rounded

Samples = dict[str, list[dict[str, Any]]]
LEVEL = 9  # of zstd
ROWS = 1000  # in a group


def item_scores(samples: Samples) -> list[dict[str, Any]]:
    """The scores of each document: task, number, filter, and its metrics that are finite numbers."""
    return [
        {
            "task": task,
            "id": str(one["doc_id"]),
            "filter": one["filter"],
            "scores": {name: float(one[name]) for name in one["metrics"] if _is_finite(one[name])},
        }
        for task, one in _sorted(samples)
    ]


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def _sorted(samples: Samples) -> Iterator[tuple[str, dict[str, Any]]]:
    for task, documents in sorted(samples.items()):
        for one in sorted(documents, key=lambda one: (one["filter"], one["doc_id"])):
            yield task, one


def write_samples(samples: Samples, out: Path) -> None:
    """Write a row for each document and filter: all prompts and responses, and all metrics.

    Of prompts that are equal for all choices, only one is written. Numbers of responses, such as log-likelihoods, and
    metrics that aren't numbers are JSON.
    """
    import pyarrow
    import pyarrow.parquet

    rows = [_row(task, one) for task, one in _sorted(samples)]
    text, texts = pyarrow.string(), pyarrow.list_(pyarrow.string())
    kinds = {"task": text, "id": text, "filter": text, "document": text, "target": text}
    kinds |= {"prompts": texts, "continuations": texts, "settings": text, "responses": text, "filtered": text}
    schema = pyarrow.schema([*kinds.items(), ("metrics", text)])
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    options = {"compression": "zstd", "compression_level": LEVEL, "row_group_size": ROWS}
    pyarrow.parquet.write_table(table, out, use_dictionary=["task", "filter", "settings"], **options)


def _row(task: str, one: dict[str, Any]) -> dict[str, Any]:
    """A document's row; a request has a prompt, perhaps with a continuation to score, or settings to generate with."""
    asked = one["arguments"]
    prompts = [str(request[0]) for request in asked]
    rest = [request[1] for request in asked if len(request) > 1]
    return {
        "task": task,
        "id": str(one["doc_id"]),
        "filter": one["filter"],
        "document": _json(one["doc"]),
        "target": one["target"] if isinstance(one["target"], str) else _json(one["target"]),
        "prompts": prompts[:1] if len(set(prompts)) == 1 else prompts,
        "continuations": [text for text in rest if isinstance(text, str)],
        "settings": _json(next((given for given in rest if isinstance(given, dict)), None)),
        "responses": _json(one["resps"]),
        "filtered": _json(one["filtered_resps"]),
        "metrics": _json({name: one[name] for name in one["metrics"]}),
    }


def _json(value: Any) -> str:
    return json.dumps(rounded(json.loads(json.dumps(value, default=_plain))), ensure_ascii=False, sort_keys=True)


def _plain(value: Any) -> Any:
    """A number or an array of numpy as Python's; anything else by its text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
