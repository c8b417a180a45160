"""The page results/run.html: what it says of a run, and that it never breaks one."""

import os
import re
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pictures
import pytest
from test_cache_decide import CACHE, SCRIPT, TRACE, Chain, step

from bezoar.cache import git, history, job, records
from bezoar.cache import graph as cache_graph
from bezoar.cache.decide import Decision, Reason
from bezoar.cache.hashing import Hasher
from bezoar.cache.job import Run, Step
from bezoar.cache.proofs import Proof, Proofs
from bezoar.page.block import Page, PageEval, PageModel, PagePart, PageStage
from bezoar.page.html import DASH
from bezoar.page.run import facts as facts_
from bezoar.page.run import graph
from bezoar.page.run.facts import FAILED, RESTORED, RUN, TO_RUN, UP_TO_DATE, Facts, code_of
from bezoar.page.run.page import html, write, write_after

HARM = "<img src=x onerror=alert(1)>\u202e"
HOST = "the-name-of-a-machine"
PAGE = Page(
    recipe="made-up",
    shards=1,
    models={"base": PageModel(method="hub", sources=[])},
    schemes={},
    filters={},
    mixes={"all": [PagePart(kind="source", name="seeds")]},
    stages={"sft": PageStage(method="sft", init_from="base", mix="all")},
    evals={"mtbench": PageEval(method="mtbench", checkpoints=["sft"], models=[], answers="two", questions="seeds")},
)
BLOCKS = {
    "a": ("source", ("seeds",)),
    "b": ("mix", ("all",)),
    "c": ("train", ("sft",)),
    "d": ("answers", ("two", "sft")),
    "e": ("report_mtbench", ("mtbench",)),
}


def steps() -> list[Step]:
    """A chain of jobs of known rules."""
    names = [*BLOCKS]
    made = [step(name, (before,)) for name, before in zip(names, ["source", *names], strict=False)]
    return [replace(one, rule=BLOCKS[one.name][0], block=BLOCKS[one.name][1]) for one in made]


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run that ran c, restored b in a job, restored a before jobs, and failed at d; e waits for it."""
    monkeypatch.chdir(tmp_path)
    Path("source").write_text("source")
    Path("s.py").write_bytes(SCRIPT)
    chain = Chain(*steps())
    chain.prove_all()
    began = time.time() - 65
    Path(job.FOLDER).mkdir(parents=True)
    Run(CACHE, "params", False, {}, {}, {"commit": "1" * 40, "edited": "yes"}, "a-run").write()
    history.record(Counter(run=1, restored=2), run="a-run", by="snakemake", began=began)
    for name, outcome in (("b", history.STARTED), ("b", history.RESTORED), ("c", history.STARTED), ("c", history.RUN)):
        history.note(name, outcome)
    history.note("d", history.STARTED)
    old = {"time": "2020-01-01T10:00:00Z", "isolation": "enforce", "commit": "2" * 40, "python": HARM, "host": HOST}
    new = {**old, "time": history.in_utc(time.time()), "isolation": "observe", "commit": "1" * 40, "edited": "yes"}
    cost = {"seconds": 61.0, "prompt_tokens": 1234, "dollars": 1.5}
    proofs = {name: proof(chain, name, new if name == "c" else old, cost) for name in "abc"}
    reasons = {name: [Reason("param", f"stages.sft.{HARM}", 1, 2)] for name in "de"}
    return SimpleNamespace(
        steps=chain.steps,
        decision=Decision(proofs=proofs, reasons=reasons, untrusted={"a": HARM}),
        proofs=Proofs(CACHE),
        counts=Counter(run=1, restored=2),
        restored=["a"],
    )


def proof(chain: Chain, name: str, made: dict[str, str], cost: dict[str, float]) -> Proof:
    """A proof with facts about its job."""
    one = next(one for one in chain.steps if one.name == name)
    inputs = {path: Hasher(None).file(path).md5 for path in one.inputs}
    return Proof(one.action(inputs), {name: Hasher(None).file(name)}, TRACE, cost, made)


def words(text: str) -> str:
    """The text of a page, in one line."""
    return " ".join(re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", text, flags=re.DOTALL).split())


def test_each_job_has_what_the_run_did_with_it(build: Any) -> None:
    found = Facts(build)
    assert [one.state for one in found.jobs] == [RESTORED, RESTORED, RUN, FAILED, TO_RUN]
    assert found.seconds == pytest.approx(65, abs=2)
    assert found.cost(RUN)["seconds"] == 61
    assert found.cost()["seconds"] == 183


def test_states_of_an_earlier_run_dont_count(build: Any) -> None:
    history.record(Counter(up_to_date=3), run="later", by="snakemake", began=time.time() + 60)
    build.restored = []
    assert [one.state for one in Facts(build).jobs] == [UP_TO_DATE] * 3 + [TO_RUN] * 2


def test_jobs_of_dvc_repro_are_told_by_the_times_of_their_proofs(build: Any) -> None:
    os.unlink(history.OUTCOMES)  # a later stage has taken them away
    build.restored = []
    assert [one.state for one in Facts(build).jobs][:3] == [UP_TO_DATE, UP_TO_DATE, RUN]


def test_the_stages_of_a_dvc_repro_have_one_start(build: Any) -> None:
    history.record(Counter(run=1), run="b", by="dvc", began=100.0)
    history.record(Counter(run=1), run="b", by="dvc", began=200.0)
    assert history.last()[-1]["began"] == 100.0
    Path(history.RUNS).write_text(
        '{"time": "2026-01-01T00:00:10Z", "id": "a", "by": "dvc", "run": 1, "restored": 0, "up_to_date": 0}\n'
    )
    assert history.in_utc(history.last()[-1]["began"]) == "2026-01-01T00:00:10Z"  # of an earlier version


def test_blocks_have_the_states_of_their_jobs(build: Any) -> None:
    found = graph.states(PAGE, Facts(build).jobs)
    assert found == {
        ("source", "seeds"): {RESTORED: 1},
        ("mix", "all"): {RESTORED: 1},
        ("stage", "sft"): {RUN: 1},
        ("evaluation", "mtbench"): {FAILED: 1, TO_RUN: 1},
    }
    text = html(Facts(build), PAGE)
    assert 'aria-label="evaluation mtbench: 1 failed, 1 to run"' in text
    assert 'aria-label="base model base: no jobs"' in text


def test_the_page_says_what_belongs_to_the_run(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_, "spending", lambda: 0.25)
    text = words(html(Facts(build), PAGE))
    assert "1 failed, 1 run, 2 restored, 1 to run of 5 jobs in 1 min" in text
    assert "$0.25 for model requests" in text
    assert "this run 1 min 1 s 0 s 1,234 0 $0.25 all artifacts 3 min 3 s 0 s 3,702 0 $4.50" in text
    assert f"commit {'1' * 12} with edits started by snakemake" in text
    assert f"this run 1 observe {DASH} {'1' * 12} with edits" in text
    assert f"an earlier run with this cache 2 enforce {DASH} {'2' * 12}" in text
    assert "d : stages.sft." in text
    assert HOST not in text  # nor other names of machines and people: pages are passed on


def test_a_clone_says_that_proofs_are_from_dvc_lock(build: Any) -> None:
    build.proofs = Proofs("a/cache/without/proofs")
    origins = {origin.place: jobs for origin, jobs in Facts(build).origins()}
    assert origins == {"dvc.lock": 2, "this run": 1}


def test_texts_of_records_do_nothing_and_the_policy_lets_nothing_else_in(build: Any) -> None:
    text = html(Facts(build), PAGE)
    assert "<img" not in text
    assert "\u202e" not in text
    assert "default-src &#39;none&#39;" in text
    assert not re.search(r"<[^>]+\s(style|on\w+)=", text.split("</style>")[1])
    links = set(re.findall(r'href="#([^"]+)"', text))
    assert links <= set(re.findall(r' id="([^"]+)"', text))
    assert f'<a href="../c">c</a></th><td><code>{Hasher(None).file("c").md5}</code>' in text


def test_a_run_that_did_nothing_leaves_the_page_of_the_one_before(build: Any) -> None:
    assert write_after(build, PAGE) == ["results/run.html"]
    before = Path("results/run.html").stat().st_mtime_ns
    build.counts, build.decision.reasons = Counter(up_to_date=3), {}
    assert write_after(build, PAGE) == []
    assert Path("results/run.html").stat().st_mtime_ns == before
    build.counts = Counter(restored=1)
    assert write_after(build, PAGE) == ["results/run.html"]


@pytest.mark.long
def test_it_is_sound_in_a_browser(build: Any) -> None:
    pytest.importorskip("playwright.sync_api", reason="needs playwright: the extra `dev`")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    page = write(build, PAGE).resolve().as_uri()
    with pictures.chromium() as browser:
        if browser is None:
            pytest.skip(pictures.HINT)
        for width, theme in ((390, "dark"), (1200, "dark"), (1440, "light")):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
            shown, said = context.new_page(), []
            shown.on("console", lambda message, said=said: said.append(message.text))
            shown.on("pageerror", lambda error, said=said: said.append(str(error)))
            shown.goto(page)
            found = axe.run(shown).response["violations"]
            assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
            assert shown.evaluate("document.documentElement.scrollWidth") == width
            if width > 390:  # a narrower page scrolls its tables
                cut = "one => [...one.querySelectorAll('.scroll')].filter(x => x.scrollWidth > x.clientWidth).length"
                assert shown.locator("main").evaluate(cut) == 0
            failed = shown.locator("svg.states g.failed rect")
            assert failed.evaluate("(box) => getComputedStyle(box).strokeDasharray") != "none"
            assert said == []


def test_a_folder_without_a_run_has_a_page(build: Any) -> None:
    os.unlink(history.RUNS)
    build.restored = []
    write(build, PAGE)
    assert "No run is on record in this folder. Below is what the records say of its 5 jobs." in words(
        Path("results/run.html").read_text()
    )


def test_without_a_commit_the_page_says_why(build: Any) -> None:
    os.unlink(job.RUN_FILE)
    assert Facts(build).code == "none: not a git repository"
    subprocess.run(["git", "init", "--quiet"], check=True)
    assert Facts(build).code == "none yet: nothing is committed here"


def test_files_that_a_build_writes_are_no_edits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("params.yaml", *records.GENERATED)
    for name in names:
        Path(name).write_text("old")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "--quiet"), ("add", *names), (*who, "commit", "--quiet", "-m", "all")):
        subprocess.run(["git", *words], check=True)
    for name in records.GENERATED:
        Path(name).write_text("new")
    assert git.state(records.GENERATED)["edited"] == "no"
    assert git.state()["edited"] == "yes"
    Path("params.yaml").write_text("new")
    assert git.state(records.GENERATED)["edited"] == "yes"


def test_a_page_that_cant_be_written_is_a_warning(build: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("results").write_text("a file")
    said: list[str] = []
    monkeypatch.setattr(cache_graph, "logger", SimpleNamespace(warning=said.append))
    run: Any = SimpleNamespace(build=build, ended=lambda build: write_after(build, PAGE))
    assert cache_graph.Attached.describe(run) == []
    assert said[0].startswith("the page about this run can't be written: FileExistsError: ")
    monkeypatch.setenv("BEZOAR_STAGE", "mix-all")  # one stage of a `dvc repro`
    assert cache_graph.Attached.describe(run) == []
    assert len(said) == 1


def test_commits_are_short_and_marked() -> None:
    assert code_of({}) == "no commit"
    assert code_of({"commit": "1" * 40, "edited": "no"}) == "1" * 12
    assert code_of({"commit": f"{'1' * 40}, {'2' * 40}", "edited": "no, yes"}) == f"{'1' * 12}, {'2' * 12} with edits"
