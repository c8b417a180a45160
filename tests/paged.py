"""A built project with every section of the page: rows that may do harm, two stages, scores of all methods."""

import json
from pathlib import Path
from typing import Any

from hostile import page as hostile_page
from hostile import write_steps
from scored import CHECKPOINTS, NAMES, WRITERS

from bezoar.page.block import Page, PageEval, PageModel, PageStage
from bezoar.steps.evaluate.mtbench import CONTROL

STAGES = {"sft": "base", "dpo": "sft"}
CONTROLLED = ("mtbench", "checklist", "rubric", "pairwise")


def page() -> Page:
    """The recipe of the project."""
    evals = {name: _eval(method) for method, name in NAMES.items()}
    stages = {
        name: PageStage(method="dpo" if name == "dpo" else "sft", init_from=start, mix="all")
        for name, start in STAGES.items()
    }
    models = {"base": PageModel(method="hub", sources=[])}
    return hostile_page().model_copy(update={"recipe": "made-up", "models": models, "stages": stages, "evals": evals})


def _eval(method: str) -> PageEval:
    controls = [f"{CONTROL}empty"] if method in CONTROLLED else []
    return PageEval(
        method=method, checkpoints=CHECKPOINTS, models=[*CHECKPOINTS, *controls], answers=None, questions=None
    )


def write_project(root: Path) -> None:
    """Write all artifacts of the project."""
    for write in WRITERS.values():
        write(root)
    write_steps(root)
    write_reports(root)
    for place, name in enumerate(STAGES):
        write_stage(root, name, 1.0 + place)


def write_reports(root: Path) -> None:
    """The reports of the steps on rows; of both shards of the scheme, 10 candidates give 9 rows, and 7 are kept."""
    put(root, "data/source/seeds/report.json", {"read": 30, "rows": 29, "dropped": {"not JSON": 1}, "not_taken": {}})
    for shard in ("0000", "0001"):
        made = {"candidates": 10, "rows": 9, "dropped": {"equals its parent": 1}, "failed": {}}
        put(root, f"data/generated/evol/{shard}/report.json", made)
        judged = {"rows": 9, "kept": 7, "rejected": {"judge: wrong": 1, "duplicate": 1}, "failed": {}}
        put(root, f"data/filtered/evol/{shard}/report.json", judged)
    parts = [
        {"kind": "scheme", "name": "evol", "found": 14, "taken": 12, "dropped": {"duplicate": 2}, "not_drawn": 0},
        {"kind": "source", "name": "seeds", "found": 29, "taken": 8, "dropped": {"near-duplicate": 1}, "not_drawn": 20},
    ]
    put(root, "data/mixes/all/report.json", {"train": 17, "eval": 3, "parts": parts})
    put(root, "data/certificates/all.json", certificate())


def certificate(**changes: Any) -> dict[str, Any]:
    """The certificate of a mix of 20 rows, of which 2 repeat an item of MT-Bench's 24."""
    found = {"items": 24, "matched": 1, "low": 0.0074, "high": 0.2024}
    said = {
        "policy": "drop",
        "passes": True,
        "rows": {"train": 17, "eval": 3},
        "matching_rows": {"train": 2, "eval": 0},
        "evaluations": {"judged": {"questions": found}},
    }
    return said | changes


def write_stage(root: Path, name: str, start: float) -> None:
    """A stage of 40 steps and 2 passes over 15 rows of 20 tokens; the lowest loss on held-out rows is at step 30."""
    held = {0: start, 30: start / 2, 40: start / 1.9}
    history = [{"step": step, "loss": None, "eval_loss": loss, "epoch": step / 20} for step, loss in held.items()]
    history += [{"step": step, "loss": start / (1 + step / 10), "eval_loss": None} for step in range(10, 41, 10)]
    put(root, f"data/adapters/{name}/history.json", sorted(history, key=lambda one: one["step"]))
    counts = {"rows": 15, "cut": 1, "dropped": 0, "tokens": 300, "trained_tokens": 100}
    put(root, f"data/adapters/{name}/rows.json", {"train": counts, "eval": counts | {"rows": 3}})


def put(root: Path, name: str, data: Any) -> None:
    """Write JSON."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
