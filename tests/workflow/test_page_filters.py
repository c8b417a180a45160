"""Rows and answers in a real browser: filters work, also by keyboard, and hostile texts stay texts."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hostile import QUESTIONS, TEXTS, page, write_answers, write_steps

from bezoar.page.inputs import Inputs
from bezoar.page.page import html_of
from bezoar.page.sections import answers, rows

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt install chromium"),
]
TITLE = "hostile: report"


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with the two browsers over hostile texts."""
    root = tmp_path_factory.mktemp("hostile")
    write_answers(root)
    write_steps(root, repeat=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        inputs = Inputs(page())
        found = [one for section in (rows.section, answers.section) if (one := section(inputs))]
        (root / "report.html").write_text(html_of(page(), found, inputs))
    return root / "report.html"


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def shown(chromium: "Browser", html: Path) -> "Iterator[Page]":
    """The page; at the end nothing was logged, asked, opened or loaded."""
    seen = chromium.new_page(viewport={"width": 1440, "height": 900})
    events: list[Any] = []
    seen.on("console", lambda message: events.append(message.text))
    seen.on("pageerror", lambda error: events.append(str(error)))
    seen.on("dialog", lambda dialog: (events.append(dialog.message), dialog.dismiss()))
    seen.on("popup", lambda popup: events.append(popup.url))
    seen.on("request", lambda request: events.append(request.url))
    seen.goto(html.as_uri())
    yield seen
    assert events == [html.as_uri()]
    assert seen.title() == TITLE
    seen.close()


def elements(shown: "Page") -> int:
    """Elements that only a text could have made."""
    return shown.locator("main :is(img, svg, iframe, object, script:not([type='application/json']))").count() + (
        shown.locator("main a:not([href^='#']):not([href^='../'])").count()
    )


def test_every_hostile_row_is_shown_as_text(shown: "Page") -> None:
    box = shown.locator("#rows-browser")
    box.get_by_label("Step").select_option("filter evol")
    seen, later = "", box.get_by_role("button", name="Later rows")
    while True:
        for summary in box.locator(".rest summary").all():
            summary.click()
        seen += box.locator("ol").inner_text()
        assert elements(shown) == 0
        if later.is_disabled():
            break
        later.click()
    for text in (TEXTS["script"], TEXTS["handler"], TEXTS["link"], TEXTS["template"]):
        assert f"Answer to {text}" in seen
    for escaped in (
        "pay \\u202e99 \\u2066left",
        "\\x1b[31mred\\x1b[0m",
        "one\\u2028two\\u2029three\\x854".removesuffix("4"),
    ):
        assert escaped in seen
    assert "more characters, which this page doesn't have" in seen


def test_every_hostile_answer_is_shown_as_text(shown: "Page") -> None:
    box = shown.locator("#answers-browser")
    seen, after = "", box.get_by_role("button", name="Next question")
    for number in range(1, len(QUESTIONS) + 1):
        assert box.get_by_role("status").inner_text() == f"Question {number} of {len(QUESTIONS)}"
        for summary in box.locator("summary").all():
            summary.click()
        seen += box.inner_text()
        assert elements(shown) == 0
        if number < len(QUESTIONS):
            after.click()
    assert after.is_disabled()
    assert all(f"judge: {TEXTS[name]}" in seen for name in ("script", "handler", "link", "template"))
    assert "cut by the token limit" in seen
    assert "empty answer" in seen


def test_rows_are_filtered_by_step_outcome_and_text(shown: "Page") -> None:
    box = shown.locator("#rows-browser")
    status, items = box.get_by_role("status"), box.locator("ol > li")
    box.get_by_label("Step").select_option("filter evol")
    # both shards hold each text three times, kept and rejected; the page has 40 of 48 of each outcome
    assert status.inner_text() == "1 to 10 of 80 rows; this page has 80 of 96 rows of this kind"
    box.get_by_label("Outcome").select_option("judge: wrong")
    assert status.inner_text() == "1 to 10 of 40 rows; this page has 40 of 48 rows of this kind"
    assert {one.strip() for one in box.locator(".badge").all_inner_texts()} == {"judge: wrong"}
    box.get_by_label("Text").fill('ONERROR="DOCUMENT')
    assert 1 <= items.count() <= 6
    assert all("onerror" in one for one in items.all_inner_texts())
    box.get_by_label("Text").fill("no row says this")
    assert status.inner_text().startswith("No row with this text")
    box.get_by_label("Text").fill("")
    box.get_by_label("Step").select_option("mix all")
    assert box.get_by_label("Outcome").input_value() == ""  # the mix has no such outcome
    assert [one.split() for one in items.locator(".text").all_inner_texts()] == [["Seed?"], ["Seed."]]


def test_answers_are_filtered_by_category_text_and_checkpoint(shown: "Page") -> None:
    box = shown.locator("#answers-browser")
    box.get_by_label("Category").select_option("math")
    assert box.get_by_role("status").inner_text() == f"Question 1 of {len(QUESTIONS) // 2}"
    assert box.get_by_role("heading", level=3).inner_text() == "Question 2, math"
    assert box.locator(".card").count() == 4  # two checkpoints, two turns
    box.get_by_label("base", exact=True).uncheck()
    assert box.locator(".card .head").all_inner_texts() == ["sft", "sft"]
    box.get_by_label("Category").select_option("")
    box.get_by_label("Text").fill("xyz nowhere")
    assert box.get_by_role("status").inner_text() == "No question fits"
    box.get_by_label("Text").fill("{{ 7 * 7 }}")
    assert box.get_by_role("heading", level=3).inner_text() == "Question 4, math"


def test_the_keyboard_is_enough(shown: "Page") -> None:
    box = shown.locator("#rows-browser")
    box.get_by_label("Step").focus()
    visited = []
    for _ in range(60):
        shown.keyboard.press("Tab")
        visited.append(shown.evaluate("document.activeElement.name || document.activeElement.tagName"))
        if visited[-1] == "after":
            break
    assert visited[:2] == ["outcome", "text"]
    assert {"A", "after"} <= set(visited)
    before = box.get_by_role("status").inner_text()
    shown.keyboard.press("Enter")
    assert box.get_by_role("status").inner_text() != before
    box.get_by_label("Text").fill("long long")
    box.locator(".rest summary").first.focus()
    shown.keyboard.press("Enter")
    assert box.locator(".rest").first.get_attribute("open") is not None


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(shown: "Page", width: int, scheme: Any) -> None:
    shown.emulate_media(color_scheme=scheme)
    shown.set_viewport_size({"width": width, "height": 844})
    shown.locator("#rows-browser").get_by_label("Text").fill("long long")
    for summary in shown.locator("#rows-browser .rest summary").all():
        summary.click()
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate("[...document.querySelectorAll('.text')].every(one => one.scrollWidth <= one.clientWidth)")


def test_without_javascript_the_counts_are_there(chromium: "Browser", html: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    seen = context.new_page()
    seen.goto(html.as_uri())
    assert not seen.locator("#rows-browser").is_visible()
    assert seen.get_by_text("this page needs JavaScript").locator("visible=true").count() == 2
    seen.get_by_text("Rows by step and outcome").first.click()
    assert "judge: wrong" in seen.locator("#rows table").inner_text()
    context.close()
