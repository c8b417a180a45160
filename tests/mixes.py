"""Rows and folders that mixes are made of."""

from bezoar.steps.data.pool import Folders
from bezoar.steps.data.rows import ChatRow, FilteredRow, PreferenceRow, dialogue, row_id, write_rows


def kept(name, family=None, system=None):
    columns = dict.fromkeys(("seed_id", "operation", "category")) | {"parent_ids": [], "topics": [], "round": 0}
    return FilteredRow(
        id=row_id(name),
        scheme="evol",
        root_id=row_id(family or name),
        system=system,
        instruction=f"Say {name}.",
        response=f"{name}!",
        teacher="parrot",
        prompt_hash="0",
        finish_reason="stop",
        status="accept",
        rating=9.0,
        reason="",
        judge="parrot",
        judge_prompt_hash="0",
        **columns,
    )


def preference(name, turns=None):
    said = dialogue(*(turns or [f"Say {name}."]))
    return PreferenceRow(id=row_id(name), messages=said, chosen=f"{name}!", rejected="no")


def chat(*turns, name="a", family="f", system=None):
    return ChatRow(id=name, family=family, messages=dialogue(*turns, system=system))


def folders(root, *, schemes=None, sources=None, shards=2):
    """Kept rows of schemes, dealt to shards in turn, and rows of sources."""
    for name, rows in (schemes or {}).items():
        for shard in range(shards):
            write_rows(root / "filtered" / name / f"{shard:04d}" / "kept.jsonl", rows[shard::shards])
    for name, rows in (sources or {}).items():
        write_rows(root / "source" / name / "rows.jsonl", rows)
        places = [{"id": row.id, "file": f"{name}.jsonl", "line": line} for line, row in enumerate(rows, start=1)]
        write_rows(root / "source" / name / "places.jsonl", places)
    return Folders(root / "filtered", root / "source", root / "selected", shards, root / "pairs")
