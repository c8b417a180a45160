"""The page in Chromium: every figure is drawn in both themes and on a phone, and texts of models do nothing."""

import struct
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import hostile
import paged
import pictures
import pytest

from bezoar.page.html import Section
from bezoar.page.inputs import Inputs
from bezoar.page.page import html_of, write_page
from bezoar.page.sections import answers, rows

pytestmark = pytest.mark.long
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: the extra `dev`")
LOOKS = [(width, theme) for width in (390, 1440) for theme in ("light", "dark")]
TITLE = "made-up: report"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with pictures.chromium() as started:
        if started is None:
            pytest.skip(pictures.HINT)
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a project with every section."""
    root = tmp_path_factory.mktemp("paged")
    paged.write_project(root)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(root)
        write_page(paged.page(), Path("results/report.html"))
    return root / "results/report.html"


@pytest.fixture(scope="module")
def harmful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with rows, answers and judgments that are hostile texts."""
    root = tmp_path_factory.mktemp("harmful")
    hostile.write_answers(root)
    hostile.write_steps(root)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(root)
        inputs = Inputs(hostile.page())
        found: list[Section] = [one for make in (rows.section, answers.section) if (one := make(inputs))]
        (root / "report.html").write_text(html_of(inputs.page, found, inputs), encoding="utf-8")
    return root / "report.html"


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens a page; the test fails if the page says an error, asks a network or opens a dialog."""
    said: list[str] = []
    contexts = []

    def open_page(path: Path, width: int = 1440, theme: str = "light", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, **options)
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: said.append(f"console: {message.text}"))
        shown.on("pageerror", lambda error: said.append(f"error: {error}"))
        shown.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        shown.on("request", lambda one: None if one.url.startswith("file:") else said.append(f"request: {one.url}"))
        shown.goto(path.as_uri())
        return shown

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_every_figure_is_drawn(report, opened, width, theme):
    shown = opened(report, width, theme)
    charts = shown.evaluate(
        """() => [...document.querySelectorAll("svg.chart")].map((chart) => {
          const { width, height } = chart.getBoundingClientRect();
          const marks = [...chart.querySelectorAll(".role-mark :is(path, line, text)")];
          const paints = marks.map((mark) => getComputedStyle(mark)).flatMap((one) => [one.fill, one.stroke]);
          return { label: chart.getAttribute("aria-label"), width, height, marks: marks.length,
                   paints: new Set(paints.filter((paint) => paint.startsWith("rgb"))).size };
        })"""
    )
    # 2 curves, a scheme and a mix, 5 evaluations with a main score, 2 tasks (one without a share), tokens, the graph
    assert len(charts) == 2 + 2 + 5 + 1 + 1 + 1, [one["label"] for one in charts]
    for one in charts:
        assert one["width"] > 150, one
        assert one["height"] > 60, one
        assert one["marks"] > 2, one
        assert one["paints"] >= 1, one
    assert shown.evaluate("document.documentElement.scrollWidth") == width  # nothing but tables and figures scrolls


@pytest.mark.parametrize(("width", "theme"), LOOKS)
def test_axe_finds_nothing_serious(report, harmful, opened, width, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    for path in (report, harmful):
        found = axe.run(opened(path, width, theme)).response["violations"]
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious] == []


def test_the_theme_is_the_systems_or_the_readers_choice(report, opened):
    colours = (
        "() => [document.body, document.querySelector('.chart .role-mark path')].map((one) => getComputedStyle(one))"
    )
    colours += ".map((one) => [one.backgroundColor, one.fill].join(' '))"
    light, dark = opened(report, theme="light"), opened(report, theme="dark")
    as_light, as_dark = light.evaluate(colours), dark.evaluate(colours)
    assert [one == other for one, other in zip(as_light, as_dark, strict=True)] == [False, False]
    button = light.get_by_role("button", name="Theme: automatic")
    button.click()
    assert light.get_by_role("button", name="Theme: light").is_visible()
    light.get_by_role("button", name="Theme: light").click()
    assert light.evaluate(colours) == as_dark
    light.reload()  # which keeps the choice
    assert light.evaluate(colours) == as_dark
    light.get_by_role("button", name="Theme: dark").click()
    assert light.evaluate(colours) == as_light


def test_the_keyboard_reaches_everything(report, opened):
    shown = opened(report, 390)
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.textContent") == "Skip to the report"
    shown.keyboard.press("Enter")
    assert shown.url.endswith("#main")
    summary = shown.locator("#scores summary", has_text="judged: turns")
    summary.focus()
    shown.keyboard.press("Enter")
    assert shown.locator("#scores details[open]").count() == 1
    wide = shown.locator("#graph .scroll")
    wide.focus()
    shown.keyboard.press("ArrowRight")
    shown.wait_for_timeout(500)  # it scrolls smoothly
    assert wide.evaluate("(box) => box.scrollLeft") > 0
    shown.locator("#scores .sources a, #scores .sources summary").first.focus()  # to the artifacts
    stops = shown.evaluate("document.querySelectorAll('a.from:not([tabindex=\"-1\"])').length")
    assert stops == 0  # numbers lead to artifacts by a click; hundreds of stops would be in the keyboard's way


def test_a_number_leads_to_its_artifact(report, opened):
    shown = opened(report)
    shown.locator("#scores td .from").first.click()
    row = shown.locator("tr:target")
    assert "results/judged.json" in row.inner_text()
    link = row.locator("a")
    assert (report.parent / link.get_attribute("href")).exists()


def test_a_mark_says_its_value_beside_the_pointer(report, opened):
    shown = opened(report)
    mark = shown.locator('#curves .chart [aria-label="step 0, held-out rows: 1"]')
    mark.scroll_into_view_if_needed()
    mark.hover()
    assert shown.locator("#tip").inner_text() == "step 0, held-out rows: 1"
    shown.mouse.move(1, 1)
    assert shown.locator("#tip").is_hidden()


def test_rows_are_filtered_and_browsed(report, opened):
    shown = opened(report)
    browser = shown.locator("#rows-browser")
    names = browser.locator("select[name=step] option").all_inner_texts()
    chosen = next(name for name in names if "filter" in name)
    browser.locator("select[name=step]").select_option(label=chosen)
    every = browser.locator("ol > li").count()
    assert every == 10
    browser.locator("button[name=after]").click()
    assert "11 to" in browser.inner_text()
    browser.locator("select[name=outcome]").select_option(value="!kept")
    assert set(browser.locator("ol .badge").all_inner_texts()) == {"judge: wrong"}
    browser.locator("input[name=text]").fill("nothing has this text")
    playwright.expect(browser.locator("ol > li")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_hostile_texts_do_nothing(harmful, opened, theme):
    shown = opened(harmful, theme=theme)
    before = shown.evaluate("document.scripts.length")
    for box in ("#rows-browser", "#answers-browser"):
        later = shown.locator(f"{box} button[name=after]")
        for _ in range(30):
            shown.evaluate(
                "(box) => document.querySelectorAll(`${box} details`).forEach((one) => { one.open = true; })", box
            )
            seen = shown.locator(box).inner_text()
            assert not {"\x1b", "\u202e", "\u2066", "\u2028"} & set(seen)
            if later.is_disabled():
                break
            later.click()
        assert shown.locator(f"{box} :is(img, svg, script, iframe, a[href^=javascript], a[href^=http])").count() == 0
    assert shown.title() == "hostile: report"
    assert shown.evaluate("document.scripts.length") == before
    shown.locator("#answers-browser input[name=text]").fill("alert(1)")
    assert "<svg onload=alert(1)>" in shown.locator("#answers-browser").inner_text()


def test_the_page_is_whole_on_paper(report, opened, tmp_path):
    shown = opened(report, 760, "dark")  # a sheet of A4 without its margins
    pages = shown.pdf(path=tmp_path / "report.pdf", format="A4")
    assert pages.startswith(b"%PDF")
    shown.emulate_media(media="print", color_scheme="dark")
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.locator("nav").is_hidden()
    wide = shown.evaluate(
        "() => [...document.querySelectorAll('svg.chart')].map((one) => one.getBoundingClientRect().right)"
        ".filter((right) => right > innerWidth)"
    )
    assert wide == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= 760


def test_without_scripts_and_motion_it_is_all_there(report, opened):
    shown = opened(report, java_script_enabled=False, reduced_motion="reduce")
    assert shown.locator("main > section").count() > 8
    assert shown.locator("#scores svg.chart").first.is_visible()
    assert shown.locator("#theme").is_hidden()
    assert (
        opened(report, reduced_motion="reduce").evaluate("getComputedStyle(document.documentElement).scrollBehavior")
        == "auto"
    )


def test_pictures_are_taken_in_both_themes(report, browser, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "chromium", lambda: nullcontext(browser))
    pictures.take(report, tmp_path / "images")
    made = {path.name: path.read_bytes() for path in (tmp_path / "images").iterdir()}
    assert made.keys() == {f"{name}-{theme}.png" for name in pictures.VIEWS for theme in pictures.THEMES}
    for name, (width, _, height) in pictures.VIEWS.items():
        light, dark = made[f"{name}-light.png"], made[f"{name}-dark.png"]
        assert light != dark
        assert struct.unpack(">II", light[16:24]) == (width, height)  # of a PNG's header
