"""The subcommands of `bezoar` that read or write the graph and its proofs."""

import argparse
import os
import sys
from pathlib import Path

from bezoar.cache import dvc, stages
from bezoar.cache.accept import accept
from bezoar.cache.build import STAGE
from bezoar.cache.code import ACCEPTED
from bezoar.cache.costs import table
from bezoar.cache.graph import loaded
from bezoar.cache.plan import plan, told
from bezoar.cache.resolve import resolve
from bezoar.cache.runs import RUN, of_dvc
from bezoar.cache.verify import rerun, verify
from bezoar.files import whole
from bezoar.text import show


def _build(args: argparse.Namespace) -> int:
    """Make one stage through Snakemake; its profile says where and on how many cores."""
    os.environ[STAGE] = f"{'-'.join((args.rule, *args.block))} {args.roles}".strip()
    if run := of_dvc():
        os.environ.setdefault(RUN, run)
    snakemake = Path(sys.executable).with_name("snakemake")
    os.execv(snakemake, [str(snakemake)])


def _dvc(args: argparse.Namespace) -> int:
    """Write dvc.yaml; or, after a merge with conflicts, all that is generated."""
    if args.resolve:
        show("\n".join(resolve()))
    else:
        _write_pipeline()
    return 0


def _write_pipeline() -> None:
    with loaded() as attached:
        text = stages.pipeline(attached.build.stages, attached.plots)
    if not Path(dvc.PIPELINE).exists() or Path(dvc.PIPELINE).read_text(encoding="utf-8") != text:
        with whole(dvc.PIPELINE) as partial:
            partial.write_text(text, encoding="utf-8")
        show(f"wrote {dvc.PIPELINE}: {len(attached.build.stages) + 1} stages")
    else:
        show(f"{dvc.PIPELINE} is as the rules say")


def _fingerprint(args: argparse.Namespace) -> int:
    """Write code.lock."""
    with loaded(graph=False) as attached:
        attached.build.code.write(attached.build.cache)
        attached.build.hasher.save()
    return 0


def _plan(args: argparse.Namespace) -> int:
    """Print what would run."""
    found = plan(args.targets, args.settings)
    show(found.json() if args.json else found.text())
    return 0


def _accept(args: argparse.Namespace) -> int:
    """Record an acceptance, and write code.lock by it."""
    with loaded() as attached:
        changed = accept(attached.build, args.stage, args.reason)
    _fingerprint(args)
    _write_pipeline()  # its stage `code` takes that file
    for name, parts in changed.items():
        show(f"accepted {name}; changed: {told(parts)}")
    show(f"commit {ACCEPTED}, code.lock and dvc.yaml, so that others can review it")
    return 0


def _verify(args: argparse.Namespace) -> int:
    """Print broken links; 1 if there are any, or if a rerun came out different."""
    if args.rerun:
        return 0 if rerun(args.rerun, show) else 1
    broken, remarks = verify(args.targets)
    show("\n".join(remarks), end="\n" if remarks else "")
    if broken:
        show(f"first broken link: {broken[0]}", file=sys.stderr)
        show("".join(f"  also: {line}\n" for line in broken[1:]), end="", file=sys.stderr)
        return 1
    show("every artifact found here is consistent with its record, from the sources on")
    show("Only `bezoar verify --rerun STAGE` shows that a record is true.")
    return 0


def _costs(args: argparse.Namespace) -> int:
    """Print what artifacts cost."""
    with loaded(args.targets) as attached:
        show(table(attached.build))
    return 0


COMMANDS = {
    "accept": _accept,
    "build": _build,
    "costs": _costs,
    "dvc": _dvc,
    "fingerprint": _fingerprint,
    "plan": _plan,
    "verify": _verify,
}
