"""The row waterfall: how many rows each step of a scheme and of a mix let through, and why it left out the others."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from markupsafe import Markup

from bezoar.page.flows import Link, Node, drawing, steps
from bezoar.page.forms import Certificate, Mixed
from bezoar.page.html import Section, render
from bezoar.page.inputs import Artifact, Inputs
from bezoar.page.texts import reason_of
from bezoar.steps.data.accounting import Ledger

REPEATS = "evaluation item"
MOST = 6  # reasons of a step with a node of their own
LISTED = 40  # reasons of a step with a count of their own


class Fall(NamedTuple):
    """The waterfall of a scheme or a mix.

    Attributes:
        lines: The steps in words: rows in, rows out, and the others by reason.
    """

    kind: str
    name: str
    about: str
    drawing: Markup
    lines: list[tuple[str, Ledger]]
    artifacts: list[Artifact]


def section(inputs: Inputs) -> Section | None:
    """The waterfalls; None without a scheme or a mix."""
    page = inputs.page
    falls = [_scheme(inputs, name) for name in page.filters]
    falls += [_step(inputs, "generate", "generated", name, f"rows of {name}") for name in page.unfiltered]
    falls += [_step(inputs, "score", "scored", name, f"rows of {scheme}") for name, scheme in page.scores.items()]
    falls += [_step(inputs, "pairs", "pairs", name, "candidate pairs") for name in page.pairs]
    falls += [_mix(inputs, name) for name in page.mixes]
    if not falls:
        return None
    return Section("waterfall", "Rows, step by step", render("waterfall.html.j2", falls=falls, listed=listed))


def ledger(inputs: Inputs, kind: str, paths: list[str]) -> Ledger:
    """What became of the rows of a step, all of its shards together."""
    first, *others = (Ledger.of_report(kind, inputs.json(path), path) for path in paths)
    total = sum(others, start=first)
    reasons: Counter[str] = Counter()
    for reason, count in total.reasons.items():
        reasons[reason_of(reason)] += count
    return total.model_copy(update={"reasons": dict(reasons)})


def ordered(reasons: dict[str, int]) -> list[tuple[str, int]]:
    """The most frequent reasons first."""
    return sorted(reasons.items(), key=lambda one: (-one[1], one[0]))


def listed(reasons: dict[str, int]) -> dict[str, int]:
    """Reasons as tables and the browser of rows have them: their number has a bound."""
    return few(reasons, LISTED)


def few(reasons: dict[str, int], most: int | None = None) -> dict[str, int]:
    """The most frequent reasons, the others together."""
    every, most = ordered(reasons), MOST if most is None else most
    named, rest = (every, []) if len(every) <= most + 1 else (every[:most], every[most:])
    return dict(named) | ({f"{len(rest)} other reasons": sum(count for _, count in rest)} if rest else {})


def _scheme(inputs: Inputs, name: str) -> Fall:
    page = inputs.page
    scheme = page.filters[name]
    block = page.schemes[scheme]
    made = [f"data/generated/{scheme}/{shard}/report.json" for shard in page.shard_names()]
    kept = [f"data/filtered/{name}/{shard}/report.json" for shard in page.shard_names()]
    first, second = ledger(inputs, "generate", made), ledger(inputs, "filter", kept)
    lines = [("generated", first.kept, few(first.reasons)), ("kept", second.kept, few(second.reasons))]
    picture = drawing(*steps(lines, "candidates"), f"Rows of {name}: candidates, generated rows, rows kept")
    about = f"{block.method} from {block.seeds}"
    artifacts = [inputs.artifact(path) for path in (*made, *kept)]
    return Fall("scheme", name, about, picture, [("generate", first), ("filter", second)], artifacts)


def _step(inputs: Inputs, kind: str, folder: str, name: str, about: str) -> Fall:
    """A step by itself: rows of a scheme without a filter, scores, pairs."""
    paths = [f"data/{folder}/{name}/{shard}/report.json" for shard in inputs.page.shard_names()]
    found = ledger(inputs, kind, paths)
    picture = drawing(*steps([(kind, found.kept, few(found.reasons))], "rows"), f"{kind} {name}: rows in and out")
    return Fall(kind, name, about, picture, [(kind, found)], [inputs.artifact(path) for path in paths])


def _mix(inputs: Inputs, name: str) -> Fall:
    paths = f"data/mixes/{name}/report.json", f"data/certificates/{name}.json"
    mixed, certificate = inputs.checked(paths[0], Mixed), inputs.checked(paths[1], Certificate)
    parts = [
        (f"{part.kind} {part.name}", Ledger.of_report("part", part.ledger(), f"{paths[0]}: part {number}"))
        for number, part in enumerate(mixed.parts, start=1)
    ]
    gone = certificate.dropped()
    passed = {"train": mixed.train - gone.train, "eval": mixed.eval - gone.eval}
    picture = drawing(*_parts(parts, passed, gone.total()), f"Rows of the mix {name}: its parts, and its splits")
    reasons = {REPEATS: gone.total()} if gone.total() else {}
    last = Ledger(read=mixed.train + mixed.eval, kept=sum(passed.values()), reasons=reasons)
    about = f"{len(parts)} part{'s' * (len(parts) > 1)}"
    return Fall("mix", name, about, picture, [*parts, ("certificate", last)], [inputs.artifact(one) for one in paths])


def _parts(parts: list[tuple[str, Ledger]], splits: dict[str, int], repeats: int) -> tuple[list[Node], list[Link]]:
    """Parts of a mix, what was taken of them, and the splits without rows that repeat evaluation items."""
    ledgers = [one for _, one in parts]
    lost = few(_sum(one.reasons for one in ledgers))
    nodes = [Node(name.partition(" ")[2], 0, one.read) for name, one in parts]
    middle = len(nodes)
    nodes.append(Node("in the mix", 1, sum(one.kept for one in ledgers)))
    nodes += [Node(reason, 1, count, lost=True) for reason, count in lost.items()]
    ends = len(nodes)
    nodes += [Node(split, 2, rows) for split, rows in splits.items()]
    nodes += [Node(REPEATS, 2, repeats, lost=True)] if repeats else []
    links = [link for place, one in enumerate(ledgers) for link in _of_part(place, middle, one, list(lost))]
    return nodes, links + [Link(middle, place, nodes[place].rows) for place in range(ends, len(nodes))]


def _of_part(place: int, middle: int, part: Ledger, named: list[str]) -> list[Link]:
    """Links from a part to the mix and to the reasons; one without a node of its own goes to the last node."""
    found = {middle: part.kept}
    for reason, count in part.reasons.items():
        target = middle + 1 + (named.index(reason) if reason in named else len(named) - 1)
        found[target] = found.get(target, 0) + count
    return [Link(place, target, count) for target, count in sorted(found.items()) if count]


def _sum(several: Iterable[dict[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in several:
        for reason, count in one.items():
            found[reason] = found.get(reason, 0) + count
    return found
