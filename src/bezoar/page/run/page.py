"""The page about the last run: its sections, and when it is written."""

from pathlib import Path

from markupsafe import Markup

from bezoar import __version__
from bezoar.cache.build import Build
from bezoar.cache.history import RESTORED, RUN
from bezoar.cache.inventory import duration
from bezoar.cache.job import Step
from bezoar.cache.records import PRIVATE
from bezoar.cache.trace import provenance
from bezoar.files import whole
from bezoar.page.block import Page
from bezoar.page.html import Section, render
from bezoar.page.page import Kind, document
from bezoar.page.run import graph
from bezoar.page.run.facts import STATES, Facts, Stage
from bezoar.steps.results.headline import PAGE
from bezoar.steps.results.headline import RUN as OUT

COLUMNS = ("cpu_seconds", "dollars", "prompt_tokens", "completion_tokens")
SHOWN, REASONS = 50, 3
ARTIFACTS = "The first file of each stage."


def write_after(build: Build, page: Page) -> list[str]:
    """Write the page at the end of a run; one that did nothing leaves the page of the run before it."""
    if not (build.counts[RUN] or build.counts[RESTORED] or build.decision.reasons):
        return []
    return [str(write(build, page))]


def write(build: Build, page: Page) -> Path:
    """Write the page of the last run."""
    out = Path(OUT)
    with whole(out) as partial:
        partial.write_text(html(Facts(build), page), encoding="utf-8")
    return out


def html(facts: Facts, page: Page) -> str:
    """The page."""
    stages = facts.stages()
    sections = [
        Section("run", "The run", _run(facts)),
        graph.section(page, facts.jobs),
        Section("stages", "Seconds, tokens and money by stage", _stages(facts, stages)),
        Section("proofs", "Origins and isolation of proofs", _proofs(facts)),
        Section("environment", "Environment", _environment(facts)),
    ]
    other = (Path(PAGE).name, "Report of the recipe") if Path(PAGE).exists() else None
    kind = Kind("run", "page of a run", ARTIFACTS, other)
    artifacts = [one.artifact for one in stages if one.artifact]
    return document(page.recipe, kind, [one for one in sections if one], artifacts)


def _run(facts: Facts) -> Markup:
    made, every = facts.cost(RUN), facts.cost()
    return render(
        "run.html.j2",
        facts=facts,
        code=facts.code,
        counts=facts.counts(),
        states=STATES,
        sums={"this run": (made, facts.dollars), "all artifacts": (every, every["dollars"])},
        duration=duration,
        money=_money,
    )


def _stages(facts: Facts, stages: list[Stage]) -> Markup:
    every = facts.cost()
    longest = max((one.cost["seconds"] for one in stages), default=0.0)
    return render(
        "run_stages.html.j2",
        stages=stages,
        every=every,
        shown=[name for name in COLUMNS if every[name]],
        longest=longest or 1.0,
        words=graph.words,
        duration=duration,
        money=_money,
    )


def _proofs(facts: Facts) -> Markup:
    decision = facts.build.decision
    return render(
        "run_proofs.html.j2",
        origins=facts.origins(),
        untrusted=decision.untrusted,
        contradictions=[str(one) for one in decision.contradictions],
        to_run={job.step.name: _why(facts.build, job.step) for job in facts.jobs if job.proof is None},
        most=SHOWN,
    )


def _why(build: Build, step: Step) -> str:
    return "; ".join(str(one) for one in build.decision.reasons.get(step.name, [])[:REASONS])


def _environment(facts: Facts) -> Markup:
    here = {name: value for name, value in provenance().items() if name not in PRIVATE}
    return render("run_environment.html.j2", here={"bezoar": __version__, **here}, machines=facts.machines())


def _money(dollars: float) -> str:
    return f"${dollars:,.2f}"
