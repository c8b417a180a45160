"""What a certificate allows: the mix without rows that repeat evaluation items, and the gate before training."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bezoar.errors import BezoarError, problem
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.steps.data.contamination.certificate import SPLITS, lines_of
from bezoar.steps.data.rows import DroppedRow, write_rows

REASON = "evaluation item"

Place = tuple[str, int]  # split, and line in its file


def read(certificate: Path) -> Any:
    """A certificate."""
    return json.loads(certificate.read_text(encoding="utf-8"))


def dropped_rows(said: Any) -> dict[Place, DroppedRow]:
    """By place, the rows that go, each with the item that it repeats most of."""
    best: dict[Place, tuple[float, DroppedRow]] = {}
    for item in said["items"] if said["policy"] == "drop" else []:
        for one in item["rows"]:
            place = (one["split"], one["line"])
            named = f"{item['eval']} {item['task']} {item['id']}, {one['field']}: {one['rule']}, {one['share']:.0%}"
            row = DroppedRow(reason=REASON, detail=named, row={"split": one["split"], "id": one["id"]})
            if place not in best or one["share"] > best[place][0]:
                best[place] = (one["share"], row)
    return {place: best[place][1] for place in sorted(best, key=lambda one: (SPLITS.index(one[0]), one[1]))}


def write_certified(mix: Path, certificate: Path, out_folder: Path) -> None:
    """Write the rows of a mix that stay, as they are, and those that go."""
    gone, counts = dropped_rows(read(certificate)), dict.fromkeys(SPLITS, 0)
    with artifact(out_folder) as folder, ExitStack() as stack:
        write_rows(folder / "dropped.jsonl", gone.values())
        files = {split: stack.enter_context((folder / f"{split}.jsonl").open("wb")) for split in SPLITS}
        lines = dict.fromkeys(SPLITS, 0)
        for _, split, line in lines_of(mix):
            lines[split] += 1
            if (split, lines[split]) not in gone:
                files[split].write(line)
                counts[split] += 1
    kept = f"{counts['train']:,} rows to train on, {counts['eval']:,} to evaluate"
    logger.info(f"certified {mix.name}: {kept}; {len(gone):,} dropped")


def write_clearance(certificate: Path, out: Path) -> None:
    """Write a file of constant content if a mix passes.

    Raises:
        BezoarError: It doesn't.
    """
    said = read(certificate)
    if not said["passes"]:
        shown = [f"{one['eval']} {one['task']} {one['id']} in {len(one['rows'])} rows" for one in said["items"][:3]]
        raise BezoarError(
            problem(
                f"mix {said['mix']} is not fit to train on",
                found="; ".join([*said["reasons"], *shown]),
                expected="no row that repeats an evaluation item, or few rows to drop",
                hint=f"{certificate} names each item with its rows; contamination.policy: drop trains without them",
            )
        )
    write_json(out, {"mix": said["mix"], "passes": True})
