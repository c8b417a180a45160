"""The row waterfall: how many rows each step of a scheme and of a mix let through, and why it left out the others."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from markupsafe import Markup

from bezoar.page.files import sources
from bezoar.page.flows import Link, Node, drawing, steps
from bezoar.page.forms import Certificate, Mixed, Sizes
from bezoar.page.html import Section, counted, render
from bezoar.page.inputs import Artifact, Inputs
from bezoar.page.texts import reason_of
from bezoar.steps.data.accounting import Ledger

REPEATS = "evaluation item"
MOST = 6  # reasons of a step with a node of their own
LISTED = 40  # reasons of a step with a count of their own


class Line(NamedTuple):
    """A step: rows in, rows out, and the others by reason.

    Attributes:
        artifact: Where its counts are from; of several shards, the first one's.
    """

    step: str
    ledger: Ledger
    artifact: Artifact


class Fall(NamedTuple):
    """The waterfall of a scheme or a mix.

    Attributes:
        lines: The steps in words.
    """

    kind: str
    name: str
    about: str
    drawing: Markup
    lines: list[Line]
    artifacts: list[Artifact]


def section(inputs: Inputs) -> Section | None:
    """The waterfalls; None without a scheme, a selection or a mix."""
    page = inputs.page
    falls = [_scheme(inputs, name) for name in page.filters]
    falls += [_step(inputs, "generate", "generated", name, f"rows of {name}") for name in page.unfiltered]
    falls += [_step(inputs, "score", "scored", name, f"rows of {scheme}") for name, scheme in page.scores.items()]
    falls += [_step(inputs, "pairs", "pairs", name, "candidate pairs") for name in page.pairs]
    falls += [_selection(inputs, name) for name in page.selections]
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
    flows = [("generated", first.kept, few(first.reasons)), ("kept", second.kept, few(second.reasons))]
    picture = drawing(*steps(flows, "candidates"), f"Rows of {name}: candidates, generated rows, rows kept")
    about = f"{block.method} from {block.seeds}"
    lines = [*_begins(inputs, scheme, block.seeds)]
    artifacts = [*(one.artifact for one in lines), *(inputs.artifact(path) for path in (*made, *kept))]
    lines += [Line("generate", first, inputs.artifact(made[0])), Line("filter", second, inputs.artifact(kept[0]))]
    return Fall("scheme", name, about, picture, lines, artifacts)


def _source(inputs: Inputs, name: str) -> Line:
    """A source: rows that don't fit its format never become rows of the recipe, so it is a step like any other."""
    path = f"data/source/{name}/report.json"
    return Line(f"source {name}", ledger(inputs, "source", [path]), inputs.artifact(path))


def _begins(inputs: Inputs, scheme: str, seeds: str) -> Iterator[Line]:
    """What a scheme starts from, where that is a step."""
    if scheme in inputs.page.follows:
        yield _seeds(inputs, seeds)
    elif seeds in sources(inputs.page):
        yield _source(inputs, seeds)


def _seeds(inputs: Inputs, name: str) -> Line:
    """A scheme whose rows are the seeds of another one."""
    paths = [f"data/generated/{name}/{shard}/report.json" for shard in inputs.page.shard_names()]
    return Line(f"scheme {name}", ledger(inputs, "generate", paths), inputs.artifact(paths[0]))


def _step(inputs: Inputs, kind: str, folder: str, name: str, about: str) -> Fall:
    """A step by itself: rows of a scheme without a filter, scores, pairs."""
    paths = [f"data/{folder}/{name}/{shard}/report.json" for shard in inputs.page.shard_names()]
    found = ledger(inputs, kind, paths)
    picture = drawing(*steps([(kind, found.kept, few(found.reasons))], "rows"), f"{kind} {name}: rows in and out")
    artifacts = [inputs.artifact(path) for path in paths]
    return Fall(kind, name, about, picture, [Line(kind, found, artifacts[0])], artifacts)


def _selection(inputs: Inputs, name: str) -> Fall:
    path, part = f"data/selected/{name}/report.json", inputs.page.selections[name]
    found, artifact = ledger(inputs, "select", [path]), inputs.artifact(path)
    lines = [("selected", found.kept, few(found.reasons))]
    picture = drawing(*steps(lines, part.name), f"Rows of the selection {name}: those of {part.name}, those selected")
    line = Line("select", found, artifact)
    return Fall("selection", name, f"of {part.kind} {part.name}", picture, [line], [artifact])


def _mix(inputs: Inputs, name: str) -> Fall:
    paths = f"data/mixes/{name}/report.json", f"data/certificates/{name}.json"
    mixed, certificate = inputs.checked(paths[0], Mixed), inputs.checked(paths[1], Certificate)
    artifacts = [inputs.artifact(one) for one in paths]
    read = {part.name: _source(inputs, part.name) for part in inputs.page.mixes[name] if part.kind == "source"}
    drawn = [
        (part, Ledger.of_report("part", part.ledger(), f"{paths[0]}: part {number}"))
        for number, part in enumerate(mixed.parts, start=1)
    ]
    splits, gone = certificate.left(), certificate.dropped().total()
    flows = [
        (part.name, _through(read[part.name].ledger, one) if part.kind == "source" and part.name in read else one)
        for part, one in drawn
    ]
    picture = drawing(*_parts(flows, splits, gone), f"Rows of the mix {name}: its parts, and its splits")
    lines = [
        *read.values(),
        *(Line(f"drawn from {part.kind} {part.name}", one, artifacts[0]) for part, one in drawn),
    ]
    last = Ledger(read=certificate.rows.total(), kept=splits.total(), reasons={REPEATS: gone} if gone else {})
    lines.append(Line("certificate", last, artifacts[1]))
    files = [*(one.artifact for one in read.values()), *artifacts]
    return Fall("mix", name, counted(len(drawn), "part"), picture, lines, files)


def _through(first: Ledger, second: Ledger) -> Ledger:
    """Two steps in one, if the second one reads what came out of the first one."""
    if first.kept != second.read:
        return second
    reasons = Counter(first.reasons) + Counter(second.reasons)
    return Ledger(read=first.read, kept=second.kept, reasons=dict(reasons))


def _parts(parts: list[tuple[str, Ledger]], splits: Sizes, repeats: int) -> tuple[list[Node], list[Link]]:
    """Parts of a mix, what was taken of them, and the splits without rows that repeat evaluation items."""
    ledgers = [one for _, one in parts]
    lost = few(_sum(one.reasons for one in ledgers))
    nodes = [Node(name, 0, one.read) for name, one in parts]
    middle = len(nodes)
    nodes.append(Node("in the mix", 1, sum(one.kept for one in ledgers)))
    nodes += [Node(reason, 1, count, lost=True) for reason, count in lost.items()]
    ends = len(nodes)
    nodes += [Node("train", 2, splits.train), Node("eval", 2, splits.eval)]
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
