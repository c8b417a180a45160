"""The page results/report.html: what its sections say of artifacts, and that it is safe and repeatable."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import ROOT
from hostile import LONG, REASONS
from paged import certificate, page, put, write_project, write_reports, write_stage
from scored import NAMES

from bezoar.errors import InputError
from bezoar.page import charts, gaps, intervals
from bezoar.page.block import Page, PagePart, PageStage
from bezoar.page.cleaned import Clean, cleaned
from bezoar.page.files import files
from bezoar.page.flows import layout, steps
from bezoar.page.html import DASH, Section, json_data, number, render, signed
from bezoar.page.inputs import Inputs
from bezoar.page.page import SECTIONS, html_of, write_page
from bezoar.page.sections import certificates, curves, graph, harness, headline, scores, tokens, waterfall
from bezoar.page.texts import reason_of
from bezoar.recipe.load import load
from bezoar.steps.results.any import read_report
from bezoar.text import CONTROLS, printable

EMPTY = Page(recipe="empty", shards=1, models={}, schemes={}, filters={}, mixes={}, stages={}, evals={})


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project; tests don't change it."""
    root = tmp_path_factory.mktemp("paged")
    write_project(root)
    return root


@pytest.fixture
def inputs(built: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """Its artifacts, in the current folder."""
    monkeypatch.chdir(built)
    return Inputs(page())


class Elements(HTMLParser):
    """Tags with their attributes, and the text of style sheets and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.found[-1] if self.found else ("", {})
        if tag in ("style", "script") and "type" not in attributes:
            self.texts.setdefault(tag, data)


def words(section: object) -> str:
    """The text of a section, in one line."""
    plain = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", str(section.body), flags=re.DOTALL)
    return re.sub(r" ([,;:])", r"\1", " ".join(plain.split()))


def test_the_page_has_all_sections_and_names_their_artifacts(inputs):
    found = [section(inputs) for section in SECTIONS]
    assert [one.id for one in found if one][:4] == ["headline", "scores", "curves", "waterfall"]
    text = html_of(inputs.page, [one for one in found if one], inputs)
    declared = files(inputs.page)
    for path, one in inputs.used.items():
        assert path in declared or any(path.startswith(f"{name}/") for name in declared), "the job can't open it"
        assert one.md5 == hashlib.md5(Path(path).read_bytes()).hexdigest()
        assert f'<tr id="{one.anchor}"><th scope="row"><a href="../{path}">' in text
    links = set(re.findall(r'href="#([^"]+)"', text))
    assert links <= set(re.findall(r' id="([^"]+)"', text))


def test_a_recipe_without_anything_has_a_headline_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = [one.id for section in SECTIONS if (one := section(Inputs(EMPTY)))]
    assert found == ["headline"]
    assert files(EMPTY) == []


def test_equal_artifacts_make_equal_bytes(built, monkeypatch):
    monkeypatch.chdir(built)
    write_page(page(), Path("results/report.html"))
    code = "from pathlib import Path; from paged import page; from bezoar.page.page import write_page; "
    code += "write_page(page(), Path('results/again.html'))"
    seeds = {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT / "tests")}
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | seeds, capture_output=True)
    once, again = Path("results/report.html").read_bytes(), Path("results/again.html").read_bytes()
    assert once == again
    assert len(once) < 5_000_000


def test_the_policy_lets_one_style_sheet_and_one_script_in(inputs):
    text = html_of(inputs.page, [one for section in SECTIONS if (one := section(inputs))], inputs)
    elements = Elements(text)
    policy = next(one["content"] for tag, one in elements.found if one.get("http-equiv") == "Content-Security-Policy")
    hashes = {
        f"'sha256-{base64.b64encode(hashlib.sha256(elements.texts[tag].encode()).digest()).decode()}'"
        for tag in ("style", "script")
    }
    assert set(re.findall(r"'sha256-[^']+'", policy)) == hashes
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag, attributes in elements.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"], (tag, attributes)
        for name in ("src", "href", "xlink:href", "action"):
            assert re.match(r"#|\.\./|$", attributes.get(name) or ""), (tag, attributes)


def test_data_can_not_end_its_element():
    made = str(json_data("rows", {"text": "</script><script>alert(1)</script>&"}))
    assert made.count("<") == 2
    assert "&" not in made


def test_every_main_score_is_shown_with_its_interval_and_its_difference(inputs):
    text = words(scores.section(inputs))
    for method, name in NAMES.items():
        report = read_report(Path(f"results/{name}.json"))
        main = [one for one in report.scores(name) if one.main and report.scored]
        for one in main:
            digits = 3 if all(abs(other.score) <= 1 for other in main if other.metric == one.metric) else 2
            shown = f"{number(one.score, digits)} {number(one.low, digits)} to {number(one.high, digits)}"
            gap = gaps.before(report, one)
            if gap:
                shown += f" {signed(gap.mean, digits)}" + (" *" if getattr(gap, "significant", False) else "")
            if one.low is not None:
                assert shown in text, (method, one)
        # harness and pairwise compare as well: each checkpoint but the first has a checkpoint before it
        before = {one.checkpoint for one in main if gaps.before(report, one)}
        assert before == ({"sft", "dpo"} if report.scored else set()), method
    assert "judges: judges side by side" in text
    assert "judged and other 144" in text  # 24 questions, 2 turns, 3 checkpoints


def test_tasks_without_a_share_have_no_line_among_the_scores(tmp_path, monkeypatch):
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    path = Path("results/harness.json")
    report = json.loads(path.read_text())
    for one in report["checkpoints"].values():
        del one["choices"]
        one["words too"] = one["words"]
    path.write_text(json.dumps(report | {"tasks": {}}))
    made = Inputs(page())
    assert "harness" not in words(scores.section(made))
    assert "bleu" in words(harness.section(made))
    write_page(page(), tmp_path / "report.html")


def test_scores_without_repeated_questions_are_beside_the_others(inputs):
    report = read_report(Path("results/judged.json"))
    assert cleaned(report) == {}  # no row repeats a question of this project
    clean = report.models["sft"].clean.model_copy(update={"left_out": [1, 2]})
    report.models["sft"] = report.models["sft"].model_copy(update={"clean": clean})
    assert cleaned(report)["sft"] == Clean(clean.average, 2)
    made = render("scores.html.j2", evaluations=[scores._scored(inputs, "judged", report)], columns=[], judges={})
    mean = clean.average
    shown = f"{number(mean.mean)} {number(mean.low)} to {number(mean.high)} 2 left out"
    assert shown in words(Section("scores", "Scores", made))


def test_a_withheld_score_says_why(inputs, monkeypatch):
    report = read_report(Path("results/judged.json"))
    withheld = report.model_copy(update={"no_score": "the judge <b>rates</b> nothing"})
    monkeypatch.setattr(Inputs, "report", lambda self, name: withheld)
    alone = Inputs(inputs.page.model_copy(update={"evals": {"judged": inputs.page.evals["judged"]}}))
    body = str(scores.section(alone).body)
    assert "withheld: the judge &lt;b&gt;rates&lt;/b&gt; nothing" in body
    assert "<svg" not in body


def test_a_drawing_does_not_depend_on_the_machines_fonts(inputs, monkeypatch):
    def drawn(font):
        monkeypatch.setattr(charts, "_config", lambda margins: original(margins) | {"font": font})
        found = "".join(str(one.section(inputs).body) for one in (curves, graph, harness, scores, tokens, waterfall))
        assert f'font-family="{font}"' in found
        return found.replace(f'font-family="{font}"', "")

    original = charts._config
    assert drawn("monospace") == drawn("serif")


def test_a_learning_curve_begins_before_training(inputs):
    text = words(curves.section(inputs))
    # sft starts from 1: half of it at step 30, which is the lowest, and 1 / 1.9 at the end
    assert "sft sft on all, 40 steps; held-out loss 1.000 → 0.526, lowest at step 30" in text
    drawn = str(curves.section(inputs).body)
    assert 'aria-label="step 0, held-out rows: 1"' in drawn
    assert 'aria-label="step 10, training rows: 0.5"' in drawn


def test_a_stage_with_rewards_shows_them_and_the_highest_is_the_best(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rewards = {0: 0.25, 10: 0.75, 20: 0.5}
    held = [{"step": step, "eval_loss": 0.0, "eval_reward": reward} for step, reward in rewards.items()]
    put(tmp_path, "data/adapters/sft/history.json", [*held, {"step": 10, "loss": 0.0, "reward": 0.4}])
    found = curves._curve(Inputs(page()), "sft")
    assert (found.figure, found.before, found.after, found.best) == ("reward", 0.25, 0.5, 10)
    assert 'aria-label="step 10, held-out rows: 0.75"' in str(found.drawing)
    assert 'aria-label="step 10, training rows: 0.4"' in str(found.drawing)


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    points = [(step, 1 / (1 + step)) for step in range(100_000)]
    thin = curves._thinned(points)
    assert len(thin) == curves.MOST
    assert (thin[0], thin[-1]) == (points[0], points[-1])


def test_what_is_no_history_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "data/adapters/sft/history.json", [{"step": 1, "loss": "low"}])
    with pytest.raises(InputError, match=r"history.json: 0.loss.* doesn't fit") as error:
        curves.history(Inputs(page()), "sft")
    assert "expected: what its step writes" in str(error.value)


def test_all_rows_of_a_scheme_are_in_its_waterfall(inputs):
    text, drawn = words(waterfall.section(inputs)), str(waterfall.section(inputs).body)
    # two shards of 10 candidates: 9 are generated, 7 are kept
    assert "generate 20 18 2 equals its parent" in text
    assert "filter 18 14 2 duplicate; 2 judge: wrong" in text
    for label in ("20 rows: candidates", "18 rows: candidates to generated", "2 rows: generated to duplicate"):
        assert (
            f'aria-label="{label}"' in drawn
            or f'aria-label="{label.split(": ")[1]}: {label.split(" ")[0]} rows"' in drawn
        )
    # the seeds: 29 of 30 rows fit, in the scheme's table and in the mix's
    assert text.count("source seeds 30 29 1 not JSON") == 2
    assert "drawn from source seeds 29 8 20 not drawn; 1 near-duplicate" in text
    assert 'aria-label="1 row: seeds to not JSON"' in drawn
    # the mix: 17 + 3 rows, of which 2 repeat an item
    assert "certificate 20 18 2 evaluation item" in text
    assert 'aria-label="15 rows: in the mix to train"' in drawn


def test_a_chart_shows_any_reason_of_a_judge(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(waterfall, "MOST", len(REASONS) + 1)
    write_reports(tmp_path)
    judged = {"rows": 7 + len(REASONS), "kept": 7, "rejected": dict.fromkeys(REASONS.values(), 1), "failed": {}}
    put(tmp_path, "data/filtered/evol/0000/report.json", judged)
    body = str(waterfall.section(Inputs(page())).body)
    assert not CONTROLS.search(body)
    drawn = ElementTree.fromstring(re.search(r"<svg.*?</svg>", body, re.DOTALL)[0])
    labels = {" ".join(one.get("aria-label", "").split()) for one in drawn.iter()}
    assert {" ".join(f"{reason_of(one)}: 1 row".split()) for one in REASONS.values()} <= labels


@pytest.mark.parametrize("name", REASONS)
def test_a_chart_shows_any_name(name):
    drawn = str(intervals.drawing([intervals.Bar(REASONS[name], 0.5, None, None)], REASONS[name]))
    assert not CONTROLS.search(drawn)
    assert ElementTree.fromstring(drawn).get("aria-label").split() == printable(REASONS[name]).split()


def test_with_policy_block_no_row_is_left_out(inputs, monkeypatch):
    original = Inputs.checked
    changed = certificates.Certificate.model_validate(certificate(policy="block", passes=False))
    monkeypatch.setattr(
        Inputs,
        "checked",
        lambda self, path, form: changed if "certificates" in str(path) else original(self, path, form),
    )
    assert f"certificate 20 20 {DASH}" in words(waterfall.section(inputs))
    assert "2 blocked" in words(certificates.section(inputs))
    assert "refused" in words(certificates.section(inputs))
    assert "rows to train on mix all 17" in words(headline.section(inputs))


def test_a_certificate_that_compared_nothing_says_so(inputs, monkeypatch):
    original = Inputs.checked
    changed = certificates.Certificate.model_validate(
        certificate(matching_rows={"train": 0, "eval": 0}, evaluations={})
    )
    monkeypatch.setattr(
        Inputs,
        "checked",
        lambda self, path, form: changed if "certificates" in str(path) else original(self, path, form),
    )
    text = words(certificates.section(inputs))
    assert "all 20 0 nothing to compare" in text
    assert "passes" not in text
    assert "nothing is known of what they repeat" in text


def test_links_carry_all_rows_of_their_nodes():
    lines = [("generated", 60, {"a": 30, "b": 10}), ("kept", 55, {"c": 5})]
    nodes, links = steps(lines, "candidates")
    assert [(node.name, node.column, node.rows) for node in nodes if not node.lost] == [
        ("candidates", 0, 100),
        ("generated", 1, 60),
        ("kept", 2, 55),
    ]
    for place, node in enumerate(nodes):
        came = sum(link.rows for link in links if link.target == place)
        went = sum(link.rows for link in links if link.source == place)
        assert node.column == 0 or came == node.rows
        assert went in (0, node.rows)
    boxes = layout(nodes)
    assert boxes[1].height == pytest.approx(0.6 * boxes[0].height)
    for one, other in pairwise(boxes[1:4]):
        assert other.top >= one.top + one.height  # nothing is drawn over another


def test_many_reasons_are_added_up():
    many = {f"reason {place}": 100 - place for place in range(20)}
    short = waterfall.few(many)
    assert len(short) == waterfall.MOST + 1
    assert sum(short.values()) == sum(many.values())
    assert short["14 other reasons"] == sum(range(81, 95))
    assert waterfall.few({"a": 1, "b": 2}) == {"b": 2, "a": 1}


def test_a_waterfall_has_a_bound_however_many_and_long_the_reasons_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_reports(tmp_path)
    reasons = {f"judge: {number} {LONG}": 1 for number in range(500)}
    put(
        tmp_path,
        "data/filtered/evol/0000/report.json",
        {"rows": 507, "kept": 7, "rejected": reasons, "failed": {}},
    )
    made = waterfall.section(Inputs(page()))
    assert len(made.body) < 100_000
    # the other shard has two reasons more
    assert f"{502 - waterfall.LISTED} other reasons" in words(made)
    assert f"{502 - waterfall.MOST} other reasons" in str(made.body)


def test_a_stage_sees_the_tokens_of_all_its_passes(inputs):
    # 300 tokens a pass, 100 of them with loss, 40 steps of 20 a pass
    assert "sft all 15 1 0 300 100 2.00 600" in words(tokens.section(inputs))
    assert 'aria-label="sft: 200 tokens with loss"' in str(tokens.section(inputs).body)


def test_tokens_of_an_older_stage_are_not_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_stage(tmp_path, "sft", 1.0)
    counts = {"rows": 15, "cut": 1, "dropped": 0}
    put(tmp_path, "data/adapters/sft/rows.json", {"train": counts, "eval": counts})
    alone = page().model_copy(update={"stages": {"sft": page().stages["sft"]}})
    made = tokens.section(Inputs(alone))
    assert f"sft all 15 1 0 {DASH} {DASH} 2.00 {DASH}" in words(made)
    assert "<svg" not in made.body


def test_what_rows_repeat_is_counted_by_task_and_by_step(inputs):
    text = words(certificates.section(inputs))
    assert "all 20 2 dropped 1 of 24 0.7 to 20.2 % passes" in text
    assert "filter evol 18 2 0 11.1%" in text
    assert "mix all source seeds 29 0 1 3.4%" in text


def test_the_harness_shows_each_task(inputs):
    text = words(harness.section(inputs))
    assert "choices 100 items" in text
    # 30, 50 and 70 of 100 right
    assert "base 0.300" in text
    assert "sft 0.500" in text
    assert "+0.200" in text
    assert "bleu" in text


def test_the_graph_goes_from_sources_to_evaluations():
    arrows = list(graph.edges(page()))
    assert (("source", "seeds"), ("scheme", "evol")) in arrows
    assert (("scheme", "evol"), ("mix", "all")) in arrows
    assert (("stage", "sft"), ("stage", "dpo")) in arrows
    assert (("base model", "base"), ("evaluation", "judged")) in arrows
    places, ways = graph.layout(arrows)
    assert all(places[source].y < places[target].y for source, target in arrows)
    assert [(way[0], way[-1]) for way in ways] == [(places[source], places[target]) for source, target in arrows]
    rows: dict[float, list[float]] = {}
    for one in places.values():
        rows.setdefault(one.y, []).append(one.x)
    assert (
        min(right - left for row in rows.values() for left, right in pairwise(sorted(row))) >= graph.WIDE
    )  # no box over another


def test_a_source_of_a_mix_may_have_the_name_of_a_scheme():
    parts = [PagePart(kind="source", name="evol"), PagePart(kind="scheme", name="evol")]
    arrows = list(graph.edges(page().model_copy(update={"mixes": {"all": parts}})))
    assert [source for source, target in arrows if target == ("mix", "all")] == [("source", "evol"), ("scheme", "evol")]


def test_parts_of_a_graph_stand_side_by_side():
    arrows = [((kind, f"a{n}"), ("mix", f"b{n}")) for n in range(3) for kind in ("source", "scheme")]
    places, _ = graph.layout(arrows)
    spans = [[place.x for name, place in places.items() if name[1].endswith(str(n))] for n in range(3)]
    assert all(max(one) + graph.WIDE <= min(other) for one, other in pairwise(spans))


def test_the_headline_says_what_came_of_what(inputs):
    text = words(headline.section(inputs))
    assert "1 source, 1 scheme, 1 mix, 2 training stages, 8 evaluations." in text
    assert "base base model: hub sft sft on all dpo dpo on all" in text
    assert "rows generated scheme evol 18" in text
    # 17 rows to train on, of which the certificate takes 2
    assert "rows to train on mix all 15" in text
    assert "judged, average dpo; base: 3.00 7.00" in text


def test_each_way_to_a_last_stage_is_a_chain():
    stages = {
        name: PageStage(method="sft", init_from=start, mix="m")
        for name, start in {"a": "base", "b": "a", "c": "a"}.items()
    }
    assert headline.chains(EMPTY.model_copy(update={"stages": stages})) == [["base", "a", "b"], ["base", "a", "c"]]


RECIPES = sorted(
    str(path.relative_to(ROOT)) for where in ("*.yaml", "gallery/*.yaml") for path in (ROOT / "recipes").glob(where)
)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_a_page(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe = load(name, contents=False)
    made = recipe.page()
    assert made == Page.model_validate(made.model_dump(mode="json"))
    named = {word for path in files(made) for word in path.split("/")}
    assert {*recipe.stages, *recipe.mixes} <= named
    assert {f"{one}.json" for one in recipe.evals} <= named
    assert len(files(made)) == len(set(files(made)))
