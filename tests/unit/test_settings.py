"""The table of environment variables, the code that reads them, and the page that is written from it."""

import re
from pathlib import Path

from bezoar import settings

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"BEZOAR_[A-Z_]*[A-Z]")
TABLE = ROOT / "src/bezoar/settings.py"
READERS = ("src/**/*.py", "scripts/**/*.py", "rules/*.smk", "Snakefile", "profiles/**/*.yaml", "Makefile")
WRITERS = ("docs/**/*.md", "*.md", "tests/**/*.py")


def named(*patterns):
    """The variables that files name."""
    paths = {path for pattern in patterns for path in ROOT.glob(pattern)} - {TABLE, ROOT / "docs/reference/settings.md"}
    return {name for path in paths for name in VARIABLE.findall(path.read_text(encoding="utf-8"))}


def test_every_variable_is_in_the_table_and_every_one_there_is_read():
    table = [one.name for one in (*settings.YOURS, *settings.INTERNAL)]
    assert len(table) == len(set(table))
    cure = "hint: bring src/bezoar/settings.py into step, then run `make format`"
    assert named(*READERS) == set(table), cure
    assert named(*WRITERS) <= set(table), cure


def test_the_page_is_what_the_table_says():
    page = ROOT / "docs/reference/settings.md"
    cure = f"{page} differs from src/bezoar/settings.py\nhint: run `make format` and commit the result"
    assert page.read_text(encoding="utf-8") == settings.page(), cure
