"""Pictures of the page in Chromium, for the README: `make pictures`, after a build. Tests start Chromium by it, too."""

import argparse
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

VIEWS = {  # by name, the width of the window, the section at its top, and the height of the picture
    "report": (1280, "headline", 1000),
    "report-rows": (1280, "waterfall", 900),
    "report-phone": (390, "scores", 844),
}
THEMES = ("light", "dark")
HINT = "needs Chromium: apt-get install chromium"


@contextmanager
def chromium() -> Iterator[Any]:
    """Chromium, as Debian or playwright brings it; None where there is none."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        own = driver.chromium.executable_path
        program = shutil.which("chromium") or shutil.which("google-chrome") or (own if os.path.exists(own) else None)
        started = driver.chromium.launch(executable_path=program, args=["--no-sandbox"]) if program else None
        yield started
        if started:
            started.close()


def take(page: Path, folder: Path) -> None:
    """Write a picture of each view in both themes."""
    folder.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        if browser is None:
            raise SystemExit(HINT)
        for name, (width, section, height) in VIEWS.items():
            for theme in THEMES:
                size = {"width": width, "height": height}
                context = browser.new_context(viewport=size, color_scheme=theme, reduced_motion="reduce")
                shown = context.new_page()
                shown.goto(f"{page.resolve().as_uri()}#{section}")
                shown.screenshot(path=folder / f"{name}-{theme}.png")
                context.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="results/report.html")
    parser.add_argument("folder", type=Path, help="folder to write the pictures to")
    given = parser.parse_args()
    take(given.page, given.folder)
