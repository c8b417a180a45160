"""The costs of artifacts, to decide what may be freed."""

from collections import Counter

from bezoar.cache.build import Build
from bezoar.cache.inventory import columns

COLUMNS = ("seconds", "cpu_seconds", "prompt_tokens", "completion_tokens", "dollars")


def costs(build: Build) -> dict[str, tuple[int, Counter[str], Counter[str]]]:
    """By stage: bytes, its own cost, and its cost including all its inputs.

    A cost is that of the build that made the artifact, here or elsewhere.
    """
    own: dict[str, Counter[str]] = {}
    sizes: dict[str, int] = {}
    before: dict[str, set[str]] = {}
    producers = {output: step.stage for step in build.steps for output in step.outputs}
    for step in build.steps:
        found = build.decision.proofs.get(step.name) or build.decision.recorded.get(step.name)
        own.setdefault(step.stage, Counter()).update(found.cost if found else {})
        sizes[step.stage] = sizes.get(step.stage, 0) + sum(
            one.size for one in (found.outputs if found else {}).values()
        )
        direct = {producers[path] for path in step.inputs if path in producers}
        inherited = (before[one] | {one} for one in direct)
        before.setdefault(step.stage, set()).update(*inherited)
    everything = {
        name: sum((own[one] for one in before[name]), Counter()) + own[name]  # count each ancestor once
        for name in own
    }
    return {name: (sizes[name], own[name], everything[name]) for name in own}


def table(build: Build) -> str:
    """The costs as text, the most expensive first."""
    rows = sorted(costs(build).items(), key=lambda item: -item[1][2]["seconds"])
    shown = [name for name in COLUMNS if any(own[name] for _, (_, own, _) in rows)]
    head = ["stage", "bytes", *shown, *(f"{name} with all before" for name in shown)]
    lines = [head]
    for name, (size, own, everything) in rows:
        lines.append([name, f"{size:,}", *(f"{one[key]:,.6g}" for one in (own, everything) for key in shown)])
    return columns(lines)
