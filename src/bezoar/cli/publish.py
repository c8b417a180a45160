"""`bezoar publish` and `bezoar card`: a checkpoint or a mix for others."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from bezoar.text import show

if TYPE_CHECKING:
    from bezoar.cli import Commands
    from bezoar.publish.records import Published

REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def add(commands: "Commands") -> None:
    """Add the commands."""
    parser = commands.add_parser("publish", help="upload a checkpoint or a mix with its card to the Hugging Face hub")
    parser.add_argument("artifact", metavar="CHECKPOINT|MIX", help="a stage or a mix, by its name or its folder")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--dry-run", action="store_true", help="print what would be uploaded, and the card; send nothing")
    way.add_argument("--to", type=_repository, metavar="ORG/NAME", help="the repository; it is made if there is none")
    parser.add_argument("--public", action="store_true", help="let everyone see it; by default it is private")
    parser.set_defaults(run=run)
    parser = commands.add_parser("card", help="the model card or data card of a checkpoint or mix, from the records")
    parser.add_argument("artifact", metavar="CHECKPOINT|MIX", help="a stage or a mix, by its name or its folder")
    parser.add_argument("--out", type=lambda path: Path(path).absolute(), metavar="FILE", help="write it there")
    parser.set_defaults(run=run_card)


def _repository(text: str) -> str:
    if not REPOSITORY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form ORG/NAME")
    return text


def run(args: argparse.Namespace) -> int:
    """Print what would be uploaded, or upload it."""
    from bezoar.publish.hub import upload

    target, text = _made(args.artifact)
    for one in target.files:
        show(f"{one.size:>15,}  sha256 {one.sha256}  {one.name}")
    total, also = sum(one.size for one in target.files), ", and the card README.md" if target.kind == "model" else ""
    show(f"{total:>15,}  bytes of {len(target.files)} files of {target.folder}{also}")
    if args.dry_run:
        show(f"\n{text}", end="")
        return 0
    show(f"published: {upload(target, text, args.to, public=args.public)}")
    return 0


def run_card(args: argparse.Namespace) -> int:
    """Print the card, or write it."""
    from bezoar.files import whole

    _, text = _made(args.artifact, whole=False)
    if args.out:
        with whole(args.out) as partial:
            partial.write_text(text, encoding="utf-8")
    else:
        show(text, end="")
    return 0


def _made(artifact: str, *, whole: bool = True) -> "tuple[Published, str]":
    """The artifact, its files compared with their record, and its card; `whole=False` compares those of a mix only."""
    from bezoar.cache.graph import loaded  # slow to import: it brings Snakemake
    from bezoar.publish.card import card
    from bezoar.publish.records import CARD, Records, target_of
    from bezoar.recipe.load import load

    recipe = load()
    target = target_of(artifact, recipe)
    with loaded([target.goal] if target.kind == "dataset" else []) as attached:
        records = Records(attached.build)
        if target.kind == "dataset" or whole:
            target = records.checked(target)
        if target.kind == "dataset":
            return target, (target.folder / CARD).read_text(encoding="utf-8")
        return target, card(target.name, recipe, records)
