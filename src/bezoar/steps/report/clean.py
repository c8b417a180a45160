"""The items of an evaluation that no row of a checkpoint's mixes repeats: scores on them stand beside the full ones.

Rows that repeat an item are dropped before training. Others that are near it may be left, so its score is set apart.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from bezoar.script import Flags

LeftOut = dict[str, set[tuple[str, str]]]  # by checkpoint: task and id of items


def add_flag(flags: Flags) -> None:
    """The flag with the certificates of each checkpoint's mixes."""
    text = "CHECKPOINT=FILE for each certificate of a mix that a checkpoint was trained on, also by earlier stages"
    flags.add_argument("--certificates", nargs="*", default=[], metavar="CHECKPOINT=FILE", help=text)


def left_out(certificates: Iterable[str], evaluation: str) -> LeftOut:
    """The items of an evaluation that rows of a checkpoint's mixes repeat.

    Args:
        certificates: CHECKPOINT=FILE for each certificate.
        evaluation: Its name.
    """
    found: LeftOut = defaultdict(set)
    for one in certificates:
        checkpoint, _, path = one.partition("=")
        items = json.loads(Path(path).read_text(encoding="utf-8"))["items"]
        found[checkpoint] |= {(item["task"], item["id"]) for item in items if item["eval"] == evaluation}
    return found
