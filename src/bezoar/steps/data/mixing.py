"""Make a mix: fill it with the rows of its parts, draw, split, and write it with what became of each row."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bezoar.files import artifact, write_json
from bezoar.jsonl import read_json_lines
from bezoar.logs import logger
from bezoar.steps.data import accounting, rows
from bezoar.steps.data.accounting import Tally
from bezoar.steps.data.cleaning import Cleaner
from bezoar.steps.data.draw import Draw
from bezoar.steps.data.examples import Example, Window
from bezoar.steps.data.mix import Mix
from bezoar.steps.data.pool import Folders, placed_rows
from bezoar.steps.data.split import held_out


def write_mix(
    block: Mix,
    folders: Folders,
    window: Window | None,
    earlier: list[Path],
    system: str | None,
    seed: int,
    out_folder: Path,
) -> None:
    """Draw a mix, split it, and write both splits, where their rows are from, and the dropped rows.

    Args:
        block: The mix.
        folders: The folders with the rows of its parts.
        window: Cuts the rows, if given.
        earlier: train.jsonl of each mix that is trained on before.
        system: System text of a row without its own; None for none.
        seed: The recipe's seed.
        out_folder: The mix's folder; it has the mix's name.

    Raises:
        ValueError: See `mixed` and `check_split`.
    """
    name = out_folder.name
    with artifact(out_folder) as out:
        with rows.writer(out / "dropped.jsonl") as drop:
            draw = Draw(block, system, window, seed, drop)
            report = mixed(draw, block, folders, trained_rows(earlier), name)
        held = held_out(draw.keys(), block.eval_rows, seed, draw.earlier_keys(trained_rows(earlier)))
        check_split(name, block, len(draw), len(held))
        report |= {"train": len(draw) - len(held), "eval": len(held), "cut": dict(window.cuts) if window else {}}
        write_splits(draw, held, out)
        write_json(out / "report.json", report)
    for part in report["parts"]:
        left = accounting.text_of(part["dropped"] | {"not drawn": part["not_drawn"]})
        logger.info(f"mix {name}: {part['taken']:,} of {part['found']:,} rows of {part['name']}; {left}")
    logger.info(f"mix {name}: {report['train']:,} rows to train on, {len(held):,} to evaluate")


def trained_rows(paths: list[Path]) -> Iterator[Example]:
    """The train rows of earlier mixes."""
    return (row for path in paths for _, row in read_json_lines(path))


def mixed(draw: Draw, block: Mix, folders: Folders, earlier: Iterable[Example], name: str) -> dict[str, Any]:
    """Draw all parts; returns counts of their rows.

    This is the first step that sees all shards of a scheme: a scheme without any row left is an error here.

    Raises:
        ValueError: A part gives no row, too few rows or too few usable ones by the mix's bounds, or rows got lost.
    """
    cleaner = Cleaner(block.cleaning)
    for number, part in enumerate(block.parts):
        draw.fill(number, placed_rows(part, folders, preference=block.format == "preference"), cleaner)
    draw.compare(earlier)
    parts, dropped = [], Tally()
    for number, part in enumerate(block.parts):
        counts, before, faulty = draw.take(number)
        check_part(f"mix {name}: {part.kind} {part.name}", f"mixes.{name}", block, counts, before, faulty)
        parts.append(counts)
        dropped.reasons.update(counts["dropped"])
    draw.finish()
    return {"parts": parts, "dropped": dropped.sorted(), "cleaned": dict(sorted(cleaner.counts.items()))}


def write_splits(draw: Draw, held: list[int], out: Path) -> None:
    """Write both splits, and the origin of each row in their order."""
    splits: dict[str, Iterator[tuple[str, dict[str, Any]]]]
    splits = {"train": draw.trained(set(held)), "eval": draw.held(held)}
    with rows.writer(out / "origins.jsonl") as origin:
        for name, examples in splits.items():
            with (out / f"{name}.jsonl").open("w", encoding="utf-8") as file:
                for line, about in examples:
                    file.write(line)
                    origin(about)


def check_part(step: str, key: str, block: Mix, counts: dict[str, Any], before: Tally, faulty: Tally) -> None:
    """Check that a part gives enough rows; log a shortfall within the mix's bounds.

    Args:
        step: The mix and the part.
        key: The mix's key in params.yaml.
        block: The mix.
        counts: Counts of the part's rows.
        before: Rows of all that the part has that were dropped before any was drawn.
        faulty: Rows that were drawn and dropped.

    Raises:
        ValueError: It gives no row, or too few, or too many of its rows are dropped, or rows got lost.
    """
    taken, found = counts["taken"], counts["found"]
    drawn, dropped = taken + len(faulty), before + faulty
    hint = "is it the right part, with the right rows?"
    if counts["kind"] == "scheme":
        hint = "dropped.jsonl below data/generated, and rejected.jsonl below data/filtered, say what became of its rows"
    accounting.check_conserved(step, found, taken, counts["dropped"] | {"not drawn": counts["not_drawn"]})
    if block.max_missing_share < 1:
        accounting.check_some(step, taken, len(dropped) + taken, dropped, hint=hint)
    bound, missing = f"{key}.max_dropped_share", f"{key}.max_missing_share"
    accounting.check_dropped(step, found, before, block.max_dropped_share, key=bound, hint=hint)
    accounting.check_dropped(step, drawn, faulty, block.max_dropped_share, key=bound, hint=hint)
    accounting.check_enough(step, taken, counts["asked"] or 0, block.max_missing_share, key=missing, hint=hint)


def check_split(name: str, block: Mix, examples: int, held: int) -> None:
    """Check that enough rows are held out.

    Raises:
        ValueError: Too few are held out.
    """
    step, key = f"mix {name}: rows to evaluate", f"mixes.{name}.max_missing_share"
    hint = (
        "only families that no earlier stage trained on can be held out: hold out more there, take more rows, or ask "
        "for less"
    )
    accounting.check_some(step, held, 0, [], hint=hint)
    accounting.check_enough(step, held, block.eval_rows, block.max_missing_share, key=key, hint=hint)
