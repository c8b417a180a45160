"""What rows repeat: items of evaluations, which a certificate names, and each other."""

from typing import NamedTuple

from bezoar.page.forms import Bounded, Certificate, Mixed
from bezoar.page.html import Section, render
from bezoar.page.inputs import Artifact, Inputs
from bezoar.page.sections.waterfall import ledger
from bezoar.steps.data.accounting import Ledger


class Mix(NamedTuple):
    """The certificate of a mix."""

    name: str
    certificate: Certificate
    artifact: Artifact

    def cell(self, evaluation: str, task: str) -> Bounded | None:
        """How many items of a task its rows repeat."""
        return self.certificate.evaluations.get(evaluation, {}).get(task)


class Duplicates(NamedTuple):
    """The duplicates among the rows that a step reads."""

    step: str
    name: str
    read: int
    duplicates: int
    near: int
    artifacts: list[Artifact]


def section(inputs: Inputs) -> Section | None:
    """Certificates and duplicates; None without a mix."""
    page = inputs.page
    if not page.mixes:
        return None
    paths = {name: f"data/certificates/{name}.json" for name in page.mixes}
    mixes = [Mix(name, inputs.checked(path, Certificate), inputs.artifact(path)) for name, path in paths.items()]
    tasks = dict.fromkeys(
        (name, task) for mix in mixes for name, found in mix.certificate.evaluations.items() for task in found
    )
    steps = [*_steps(inputs), *(one for name in page.mixes for one in _of_mix(inputs, name))]
    body = render("certificates.html.j2", mixes=mixes, tasks=list(tasks), steps=steps)
    return Section("certificates", "What rows repeat", body)


def _steps(inputs: Inputs) -> list[Duplicates]:
    """Those that sources, schemes and filters found."""
    from bezoar.page.files import sources

    page = inputs.page
    found = [_counted(inputs, "source", name, [f"data/source/{name}/report.json"]) for name in sources(page)]
    for kind, folder, names in (
        ("generate", "generated", page.made()),
        ("filter", "filtered", page.filters),
        ("pairs", "pairs", page.pairs),
    ):
        for name in names:
            paths = [f"data/{folder}/{name}/{shard}/report.json" for shard in page.shard_names()]
            found.append(_counted(inputs, kind, name, paths))
    found += [_counted(inputs, "select", name, [f"data/selected/{name}/report.json"]) for name in page.selections]
    return found


def _of_mix(inputs: Inputs, name: str) -> list[Duplicates]:
    path = f"data/mixes/{name}/report.json"
    artifact = inputs.artifact(path)
    return [
        _line(f"mix {name}", f"{part.kind} {part.name}", Ledger.of_report("part", part.ledger(), path), [artifact])
        for part in inputs.checked(path, Mixed).parts
    ]


def _counted(inputs: Inputs, kind: str, name: str, paths: list[str]) -> Duplicates:
    return _line(kind, name, ledger(inputs, kind, paths), [inputs.artifact(path) for path in paths])


def _line(step: str, name: str, counts: Ledger, artifacts: list[Artifact]) -> Duplicates:
    near = sum(count for reason, count in counts.reasons.items() if reason.startswith("near-duplicate"))
    same = sum(count for reason, count in counts.reasons.items() if reason.startswith("duplicate"))
    return Duplicates(step, name, counts.read, same, near, artifacts)
