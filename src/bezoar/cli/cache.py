"""`bezoar cache`: what the cache contains, and what the last runs took from it."""

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cache.inventory import Inventory
    from bezoar.cli import Commands

SHOWN = 10  # runs


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser("cache", help="the cache's size by kind and by stage, and what the last runs took")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--scrub",
        action="store_true",
        help="read every object again, and move damaged ones to the cache's folder `damaged`, so that they are "
        "restored from the remote or made again",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the sizes, or scrub; 1 if something is damaged or can't be read."""
    from bezoar.cache import committed, git
    from bezoar.cache.config import settings
    from bezoar.cache.inventory import Inventory

    folder, _ = settings()
    committed.check_own(git.tracked(), folder)
    inventory = Inventory(folder)
    if args.scrub:
        return scrub(inventory)
    found = facts(inventory)
    show(json.dumps(found, indent=1) if args.json else text(found))
    return 0


def scrub(inventory: "Inventory") -> int:
    """Move damaged objects away, and name them and the records that can't be read."""
    from bezoar.cache.inventory import DAMAGED, amount
    from bezoar.cache.scrub import move_away, unreadable, wrong
    from bezoar.logs import progress

    size, damaged = inventory.bytes_of(inventory.objects), 0
    for md5, why in progress(wrong(inventory), len(inventory.objects), "scrub"):
        if why:
            damaged += 1
            move_away(inventory, md5)
            show(f"object {md5}: {why}; moved to {inventory.cache}/{DAMAGED}", file=sys.stderr)
    records = unreadable(inventory)
    for path, why in records.items():
        show(f"{path}: {why}; it is ignored", file=sys.stderr)
    show(f"{len(inventory.objects):,} objects read, {amount(size)}: {damaged:,} damaged", end="")
    show(f"; {len(records):,} records can't be read" if records else "")
    if damaged:
        show("the next run restores what it needs from the remote, or makes it again; `bezoar gc` frees the rest")
    return 1 if damaged or records else 0


def facts(inventory: "Inventory") -> dict[str, Any]:
    """Everything that the command shows."""
    from bezoar.cache import history
    from bezoar.cache.inventory import size_below
    from bezoar.cache.needs import stages_of

    return {
        "folder": inventory.cache,
        "bytes": inventory.size,
        "kinds": {
            kind: {"files": len(entries), "bytes": sum(one.size for one in entries)}
            for kind, entries in inventory.kinds.items()
        },
        "beside": {name: size_below(name) for name in ("responses", ".dvc/tmp")},
        "stages": stages_of(inventory),
        "runs": history.last(),
        "unreadable": inventory.unreadable,
    }


def text(found: dict[str, Any]) -> str:
    """The facts for people."""
    from bezoar.cache.inventory import amount, columns

    kinds = [[name, f"{one['files']:,}", amount(one["bytes"])] for name, one in found["kinds"].items() if one["files"]]
    stages = [[name, "", amount(size)] for name, size in found["stages"].items()]
    beside = [[f"{name}/, beside it", "", amount(size)] for name, size in found["beside"].items() if size]
    parts = [
        f"{found['folder']}: {amount(found['bytes'])}",
        columns([["kind", "files", "size"], *kinds, *beside]),
        columns([["stage", "", "size"], *stages]) if stages else "",
        _runs(found["runs"][-SHOWN:]),
        "\n".join(f"{path}: {why}; it is ignored" for path, why in found["unreadable"].items()),
    ]
    return "\n\n".join(filter(None, parts))


def _runs(runs: list[dict[str, Any]]) -> str:
    """The last runs, with the share of jobs that didn't have to run."""
    from bezoar.cache.history import COUNTS
    from bezoar.cache.inventory import columns

    if not runs:
        return ""
    rows = []
    for one in runs:
        jobs = sum(one[name] for name in COUNTS)
        hits = f"{1 - one['run'] / jobs:.0%}" if jobs else "-"
        when = one["time"][:16].replace("T", " ")
        rows.append([f"{when}  {one['by']}", *(f"{one[name]:,}" for name in COUNTS), hits])
    return columns([["last runs (UTC)", "jobs run", "restored", "up to date", "hits"], *rows])
