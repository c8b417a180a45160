"""`bezoar gc`: make the cache smaller."""

import argparse
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cache.gc import Choice, Limit
    from bezoar.cache.inventory import Inventory
    from bezoar.cache.needs import Needs
    from bezoar.cli import Commands


def add(commands: "Commands") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "gc",
        help="drop from the cache what is cheapest to make again, or long unused",
        description="Drop artifacts from the cache, the cheapest to make again first, or those not used for a time. "
        "What dvc.lock and .dvc files of this folder need stays, and what those of the named commits need.",
    )
    parser.add_argument(
        "--keep", required=True, metavar="SIZE|TIME", help="keep at most so much (50GB), or what was used since (30d)"
    )
    parser.add_argument("--branch", action="append", default=[], metavar="NAME", help="keep what this branch needs")
    parser.add_argument("--tag", action="append", default=[], metavar="NAME", help="keep what this tag needs")
    parser.add_argument("--rev", action="append", default=[], metavar="REV", help="keep what this commit needs")
    parser.add_argument("--all-branches", action="store_true", help="the same for all, those of git remotes too")
    parser.add_argument("--all-tags", action="store_true", help="the same for all tags")
    parser.add_argument("--dry-run", "-n", action="store_true", help="only say what would be dropped")
    parser.add_argument("--force", "--yes", "-f", action="store_true", help="don't ask")
    parser.add_argument(
        "--shared", action="store_true", help="allow it in a cache that others use, whose dvc.lock isn't known here"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Choose, say what, ask and drop; 1 if the answer is no."""
    from bezoar.cache import committed, gc, git, locks
    from bezoar.cache.config import settings
    from bezoar.cache.hashing import Hasher
    from bezoar.cache.inventory import Inventory
    from bezoar.cache.needs import Needs, Refs
    from bezoar.logs import progress

    keep = gc.limit(args.keep)
    folder, _ = settings()
    committed.check_own(git.tracked(), folder)
    shared = gc.is_shared(folder)
    with ExitStack() as held:
        if not args.dry_run:
            gc.check_allowed(folder, shared=shared, allowed=args.shared)
            held.enter_context(locks.no_run())
        inventory, hasher = Inventory(folder), Hasher()
        needs = Needs(inventory, Refs(args.branch, args.tag, args.rev, args.all_branches, args.all_tags))
        choice = gc.Chooser(inventory, needs, hasher, shared=shared, now=time.time()).choose(keep)
        hasher.save()
        show(summary(inventory, needs, choice, keep, shared=shared))
        if args.dry_run or not gc.steps_of(choice):
            return 0
        if not (args.force or _agreed()):
            return 1
        for _ in progress(gc.drop(choice, inventory, shared=shared), gc.steps_of(choice), "gc"):
            pass
    show("done")
    return 0


def summary(inventory: "Inventory", needs: "Needs", choice: "Choice", keep: "Limit", *, shared: bool) -> str:
    """What is dropped, what it costs to make again, and what stays."""
    from bezoar.cache.inventory import amount, columns, duration

    forgotten = choice.forgotten
    sizes = {
        "outputs of jobs": (len(choice.jobs), inventory.bytes_of(md5 for _, objects in choice.jobs for md5 in objects)),
        "of unknown origin": (len(choice.loose), inventory.bytes_of(choice.loose)),
        "damaged and unfinished": (len(choice.useless), sum(one.size for one in choice.useless)),
        "records": (
            len(forgotten) + len(choice.records),
            sum(one.entry.size for one in forgotten) + sum(one.size for one in choice.records),
        ),
    }
    dropped = sum(size for _, size in sizes.values())
    needed, left = inventory.bytes_of(needs.contents), inventory.size - dropped
    lines = [f"{inventory.cache}: {amount(inventory.size)}, {amount(needed)} needed by {', '.join(needs.sources)}"]
    if needs.lists:
        lines.append(
            f"{len(needs.lists):,} lists of directories that these need aren't here, so their files are unknown"
        )
    rows = [[f"  {name}", f"{count:,}", amount(size)] for name, (count, size) in sizes.items() if count]
    lines += ["drops:", columns(rows)] if rows else ["drops nothing"]
    known = {one.action: one.cost for one in forgotten if one.cost is not None}
    unknown = len({one.action for one in forgotten} - known.keys())
    if forgotten:
        also = f", and {unknown:,} jobs of unknown cost" if unknown else ""
        lines.append(f"to make it again: about {duration(sum(known.values()))}{also}")
    lines.append(f"leaves {amount(left)}")
    if keep.size is not None and left > keep.size:
        lines[-1] += f", more than {amount(keep.size)}: the rest is needed{', or others may use it' if shared else ''}"
    return "\n".join(lines)


def _agreed() -> bool:
    """Ask at the terminal.

    Raises:
        CacheError: There is none.
    """
    from bezoar.cache import CacheError
    from bezoar.errors import problem

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CacheError(
            problem("nothing was dropped", found="no terminal to ask at", expected="an answer", hint="add --force")
        )
    show("Drop it? [y/N] ", end="", file=sys.stderr)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
