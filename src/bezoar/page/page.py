"""The page: its sections in their order, one style sheet and one script, and a policy that allows no others."""

import base64
import hashlib
from collections.abc import Callable, Iterable
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from bezoar.files import whole
from bezoar.logs import logger
from bezoar.page.block import Page
from bezoar.page.html import Section, render
from bezoar.page.inputs import Artifact, Inputs
from bezoar.page.sections import (
    ablation,
    answers,
    certificates,
    curves,
    graph,
    harness,
    headline,
    integrity,
    rows,
    scores,
    tokens,
    waterfall,
)

# In the order of the page. A new section is added here. No other list exists.
SECTIONS: tuple[Callable[[Inputs], Section | None], ...] = (
    headline.section,
    scores.section,
    ablation.section,
    curves.section,
    waterfall.section,
    rows.section,
    answers.section,
    integrity.section,
    harness.section,
    certificates.section,
    tokens.section,
    graph.section,
)


def write_page(page: Page, out: Path) -> None:
    """Write the page of a recipe's artifacts."""
    inputs = Inputs(page)
    found = [one for section in SECTIONS if (one := section(inputs))]
    text = html_of(page, found, inputs)
    with whole(out) as partial:
        partial.write_text(text, encoding="utf-8")
    logger.info(f"{out}: {len(found)} sections of {len(inputs.used)} artifacts, {len(text.encode()) / 1e6:.2f} MB")


class Kind(NamedTuple):
    """A kind of page.

    Attributes:
        name: What it is, in a word.
        about: What it is about.
        artifacts: What the files in its list are.
        other: File name and name of another page beside it, if there is one.
    """

    name: str
    about: str
    artifacts: str
    other: tuple[str, str] | None = None


REPORT = Kind("report", "report of a recipe", "The files that the numbers of this page are from.")


def html_of(page: Page, sections: list[Section], inputs: Inputs) -> str:
    """The whole report."""
    return document(page.recipe, REPORT, sections, inputs.used.values())


def document(recipe: str, kind: Kind, sections: list[Section], artifacts: Iterable[Artifact]) -> str:
    """A whole page of a kind."""
    style, script = static(".css"), static(".js")
    return render(
        "page.html.j2",
        recipe=recipe,
        kind=kind,
        sections=sections,
        artifacts=sorted(artifacts, key=lambda one: one.path),
        style=Markup(style),  # of this package
        script=Markup(script),
        policy=policy(style, script),
    )


def static(suffix: str) -> str:
    """The files of the package's folder `static` with a suffix, in the order of their names."""
    folder = resources.files("bezoar.page") / "static"
    found = sorted((one for one in folder.iterdir() if one.name.endswith(suffix)), key=lambda one: one.name)
    return "\n".join(one.read_text(encoding="utf-8") for one in found)


def policy(style: str, script: str) -> str:
    """The Content-Security-Policy: this style sheet, this script, and nothing from anywhere else."""
    return "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
