"""What people's labels say of a filter, and of each other."""

from collections.abc import Iterator, Sequence
from typing import Any

from bezoar.audit.agreement import Cells, Figure, figures
from bezoar.audit.chain import Step
from bezoar.audit.sample import KEPT, Labels, Sample, judged
from bezoar.errors import InputError, problem
from bezoar.terminal import cut
from bezoar.text import printable

NAMES = {
    "agreement": "raw agreement",
    "kappa": "Cohen's kappa",
    "ac1": "Gwet's AC1",
    "precision": "precision of the filter",
    "recall": "recall of the filter",
}
BETWEEN = ("agreement", "kappa", "ac1")  # of two people, none of whom is right by definition


def with_filter(labels: Labels, sample: Sample) -> dict[str, Any]:
    """A person's labels beside the filter's verdicts: the table, each stratum, and figures of all rows.

    Raises:
        InputError: No row that the filter kept is labelled, or none that it rejected.
    """
    strata = []
    for one in sample.strata:
        said = [labels.verdicts[name] for name in one.sampled if labels.verdicts.get(name) is not None]
        accepted, rejected = said.count(True), said.count(False)
        strata.append((one, accepted, rejected))
    cells = [
        Cells(one.rows, (yes, no, 0, 0), (0, 1)) if one.kept else Cells(one.rows, (0, 0, yes, no), (2, 3))
        for one, yes, no in strata
    ]
    sampled = sum(len(one.sampled) for one in sample.strata)
    return {
        "sheet": str(labels.path),
        "sampled": sampled,
        "unsure": sum(one is None for one in labels.verdicts.values()),
        "empty": sampled - len(labels.verdicts),
        "table": {
            verdict: {
                "rows": sum(one.rows for one, _, _ in strata if one.kept == (verdict == KEPT)),
                "accept": sum(yes for one, yes, _ in strata if one.kept == (verdict == KEPT)),
                "reject": sum(no for one, _, no in strata if one.kept == (verdict == KEPT)),
            }
            for verdict in (KEPT, "rejected")
        },
        "strata": [{"name": one.name, "rows": one.rows, "accept": yes, "reject": no} for one, yes, no in strata],
        "figures": _figures(cells, sample.seed, str(labels.path), list(NAMES)),
    }


def between(first: Labels, second: Labels, sample: Sample) -> dict[str, Any]:
    """Two people's labels of the same rows.

    Raises:
        InputError: No row is labelled by both.
    """
    cells, table = [], [0, 0, 0, 0]
    for one in sample.strata:
        counts = [0, 0, 0, 0]
        for name in one.sampled:
            pair = first.verdicts.get(name), second.verdicts.get(name)
            if None not in pair:
                counts[2 * (not pair[0]) + (not pair[1])] += 1
        cells.append(Cells(one.rows, (counts[0], counts[1], counts[2], counts[3])))
        table = [count + more for count, more in zip(table, counts, strict=True)]
    sheets = [str(first.path), str(second.path)]
    found = _figures(cells, sample.seed, " and ".join(sheets), BETWEEN)
    return {"sheets": sheets, "both": sum(table), "table": table, "figures": found}


def changed(step: Step, sample: Sample) -> int:
    """How many sampled rows the filter has judged otherwise since, or aren't here any more; 0 if it isn't here."""
    if len(step.missing) == len(step.folders):
        return 0
    strata = sample.stratum_of()
    now = {row["id"]: stratum == KEPT for stratum, row in judged(step) if row["id"] in strata}
    return sum(now.get(name) is not one.kept for name, one in strata.items())


def text_of(found: dict[str, Any], name: str) -> str:
    """A person's labels beside the filter's verdicts, as text."""
    counted = f"{found['sampled'] - found['unsure'] - found['empty']:,} of {found['sampled']:,} rows labelled"
    lines = [f"{found['sheet']}: {counted}, {found['unsure']:,} unsure, {found['empty']:,} empty", ""]
    lines.append(f"{'':<24}{'people accept':>15}{'people reject':>15}{'of all rows':>15}")
    for verdict, one in found["table"].items():
        label = f"{name} {verdict.replace(KEPT, 'keeps').replace('rejected', 'rejects')}"
        lines.append(f"{cut(label, 24):<24}{one['accept']:>15,}{one['reject']:>15,}{one['rows']:>15,}")
    lines += ["", *_figure_lines(found["figures"]), ""]
    lines.append(f"{'stratum':<45}{'rows':>10}{'labelled':>10}{'accepted':>10}")
    for one in found["strata"]:
        labelled = one["accept"] + one["reject"]
        lines.append(
            f"{cut(printable(one['name'], lines=False), 44):<45}{one['rows']:>10,}{labelled:>10,}{one['accept']:>10,}"
        )
    return "\n".join(lines)


def text_between(found: dict[str, Any]) -> str:
    """Two people's labels, as text."""
    accept, first, second, reject = found["table"]
    counts = f"{accept:,} accepted by both, {reject:,} by none, {first:,} by the first alone, {second:,} by the second"
    return "\n".join(
        [f"{' and '.join(found['sheets'])}: {found['both']:,} rows", counts, "", *_figure_lines(found["figures"])]
    )


def _figures(cells: Sequence[Cells], seed: int, sheet: str, names: Sequence[str]) -> dict[str, Any]:
    try:
        found = figures(cells, seed)
    except ValueError as error:
        expected = "labels of kept and of rejected rows"
        raise InputError(problem(f"{sheet}: too few labels", found=error, expected=expected)) from error
    return {name: vars(found[name]) for name in names}


def _figure_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"{'all rows, each stratum by its size':<45}{'':>10}{'95 % interval':>20}"
    for name, values in found.items():
        one = Figure(**values)
        if one.value is None or one.low is None or one.high is None:
            yield f"{NAMES[name]:<45}{'not defined':>20}"
        else:
            yield f"{NAMES[name]:<45}{one.value:>10.3f}{f'{one.low:.3f} to {one.high:.3f}':>20}"
