"""`bezoar verify --trace`: what rules were seen to read beyond their declaration."""

from collections import Counter
from collections.abc import Iterable

from bezoar.cache.build import Build
from bezoar.cache.graph import loaded
from bezoar.cache.stages import PACKAGE, SCRIPTS
from bezoar.errors import problem

CODE = (f"{SCRIPTS}/", f"{PACKAGE.partition('/')[0]}/", "~")  # folders of code: a file beside a module is part of it


def beyond(targets: Iterable[str]) -> tuple[list[str], list[str]]:
    """Undeclared reads by rule, with the line to add; and remarks on how the proofs were made.

    Args:
        targets: Files or rules; all results by default.
    """
    with loaded(targets) as attached:
        return _beyond(attached.build)


def _beyond(build: Build) -> tuple[list[str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    kinds: Counter[str] = Counter()
    for step in build.steps:
        proof = build.decision.proofs.get(step.name)
        if proof is None or proof.trace is None:
            kinds["not built"] += 1
            continue
        kinds[proof.made.get("isolation", "unknown")] += 1
        for label in proof.trace.reads:
            if not label.startswith(CODE):
                found.setdefault((step.rule, label), []).append(step.name)
    lines = [
        problem(
            f"rule {rule} read {label} without declaring it",
            found=f"in {len(steps)} of its jobs, such as that of {steps[0]}",
            expected="each file that a job reads among its rule's inputs",
            hint=f'rule {rule}: input: extra="{label}"',
        )
        for (rule, label), steps in sorted(found.items())
    ]
    return lines, [f"isolation of the jobs: {', '.join(f'{name} {count:,}' for name, count in sorted(kinds.items()))}"]
