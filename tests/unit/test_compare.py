"""`bezoar compare`: what the sides are, differences of the same items, and which are beyond chance."""

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml
from scored import CHECKPOINTS, WRITERS, rating, write_harness, write_likelihood, write_mtbench

from bezoar.cache import CacheError
from bezoar.cache.hashing import Hasher
from bezoar.cache.objects import Objects
from bezoar.cli import main
from bezoar.compare.differences import Comparison, Difference, compare_checkpoints, compare_sides
from bezoar.compare.sides import of_folder, of_workspace, side_of
from bezoar.compare.table import as_json, as_text
from bezoar.errors import InputError
from bezoar.steps.evaluate import comparisons
from bezoar.steps.evaluate.significance import holm

RECIPES = {"tiny": Path("recipes/tiny.yaml")}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with results of every method; no test changes it."""
    folder = tmp_path_factory.mktemp("made")
    for write_one in WRITERS.values():
        write_one(folder)
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in a git repository, as the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    (folder / "Snakefile").touch()
    (folder / ".gitignore").write_text("/data/\n/results/\n/.dvc/cache/\n/.dvc/tmp/\n")
    git("init", "--quiet")
    return folder


def git(*words: str) -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=e@e", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def compared(a: str, b: str, *evals: str, every: bool = False) -> Comparison:
    return compare_sides(side_of(a, RECIPES), side_of(b, RECIPES), evals, every=every, seed=0)


def by_name(made: Comparison) -> dict[tuple[str, str | None, str], Difference]:
    return {(one.evaluation, one.checkpoint, one.metric): one for one in made.differences}


def recorded() -> str:
    """Store data/ and results/ in the cache, commit a dvc.lock that names them, and remove them; the commit."""
    hasher = Hasher(None)
    objects = Objects(".dvc/cache", hasher)
    outs = [*map(str, Path("results").glob("*.json")), *map(str, Path("data").glob("*/*"))]
    entry = []
    for out in sorted(outs):
        content = hasher.content(out)
        objects.store(out, content)
        entry.append({"path": out, "hash": "md5", "md5": content.md5})
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"all": {"cmd": "x", "outs": entry}}}))
    git("add", ".")
    git("commit", "--quiet", "--allow-empty", "-m", "built")
    shutil.rmtree("results")
    shutil.rmtree("data")
    return git("rev-parse", "HEAD")


# --- Sides ----------------------------------------------------------------------------------------------------------


def test_two_revisions_are_compared_without_a_checkout(project):
    before = recorded()
    better = {"dpo": (0, 1, 2)}
    write_mtbench(project, rate=lambda model, n, turn: rating(model, n, turn) + better.get(model, (0, 0, 0))[n % 3])
    write_harness(project)
    recorded()
    status = git("status", "--porcelain", "--ignored")
    found = by_name(compared(before[:12], "HEAD"))
    assert not Path("results").exists()
    assert git("status", "--porcelain", "--ignored") == status
    raised, same = found["judged", "dpo", "average"], found["judged", "sft", "average"]
    assert (raised.difference, raised.n, raised.paired) == (1.0, 24, True)
    assert (same.difference, same.significant) == (0.0, False)
    assert raised.low > 0
    assert raised.significant
    assert [name for name, _, _ in found] == ["harness"] * 3 + ["judged"] * 3  # the second has no others


def test_a_revision_and_this_folder_where_nothing_is_on_disk(project):
    recorded()
    made = compared("HEAD", ".")
    assert {one.difference for one in made.differences} == {0.0}
    assert (made.a, made.b) == ("revision HEAD", "this folder")


def test_results_that_are_committed_themselves_are_read_from_git(project):
    git("add", "--force", "results/judged.json", "data/judgments", "data/source")
    git("commit", "--quiet", "-m", "results in git")
    shutil.rmtree("results")
    write_mtbench(project, rate=lambda model, number, turn: rating(model, number, turn) + (model == "dpo"))
    assert by_name(compared("HEAD", "."))["judged", "dpo", "average"].difference == 1.0


def test_what_the_cache_lacks_comes_from_the_remote(project, tmp_path):
    recorded()
    Path(".dvc/config").write_text(f"[core]\n    remote = r\n['remote \"r\"']\n    url = {tmp_path}/remote\n")
    shutil.move(".dvc/cache", tmp_path / "remote")
    assert compared("HEAD", ".", "held").differences[0].n == 10
    fetched = [path for path in Path(".dvc/cache").rglob("*") if path.is_file()]
    assert len(fetched) == 1 + 1 + 3  # the report, the list of the folder, and three files of scores


def test_what_is_nowhere_is_an_error_with_its_path(project):
    recorded()
    shutil.rmtree(".dvc/cache")
    with pytest.raises(CacheError, match=r"results/checked\.json is on record(.|\n)*no remote(.|\n)*hint: `dvc fetch`"):
        compared("HEAD", ".")


def test_lost_items_leave_an_unpaired_difference_that_says_so(project):
    recorded()
    lock = yaml.safe_load(Path("dvc.lock").read_text())["stages"]["all"]["outs"]
    listed = next(one["md5"] for one in lock if one["path"] == "data/judgments/judged")
    Path(".dvc/cache/files/md5", listed[:2], listed[2:]).unlink()
    made = compared("HEAD", ".", "judged")
    assert not any(one.paired for one in made.differences)
    assert any("data/judgments/judged is on record, but not here" in note for note in made.notes)


def test_folders_and_single_results_are_sides_too(project, tmp_path):
    (tmp_path / "other/results").mkdir(parents=True)
    shutil.copy("results/held.json", tmp_path / "other/results")
    for a, b in (
        (".", "../other"),
        ("results/held.json", "../other/results"),
        ("results", "../other/results/held.json"),
    ):
        made = compared(a, b)
        assert {one.evaluation for one in made.differences} == {"held"}, (a, b)
        assert not any(one.paired for one in made.differences)  # there are no items in the other folder
        assert {one.note for one in made.differences} == {"no scores of items in B"}


def test_two_checkpoints_of_one_evaluation(project):
    made = compare_checkpoints(of_workspace(), "sft", "dpo", [], every=False, seed=0)
    assert (made.a, made.b) == ("sft", "dpo")
    found = by_name(made)
    assert found["judged", None, "average"].difference == 2.0
    assert found["harness", None, "choices: acc"].difference == pytest.approx(0.2)
    gain = found["held", None, "sums: nats/token"]
    report = json.loads(Path("results/held.json").read_text())["checkpoints"]["dpo"]["sums"]["difference_to_previous"]
    assert gain.difference == pytest.approx(report["mean"], abs=1e-4)
    assert gain.n == 10  # families


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (
            "HEAD",
            "nowhere",
            r"nothing to compare by this name\n  found:    nowhere\n  expected: (.|\n)*hint: recipes: tiny",
        ),
        (
            "empty",
            ".",
            r"revision empty has no results\n  found:    no dvc.lock and no file in results/\n(.|\n)*hint: ",
        ),
        ("tiny", ".", r"tiny is two things\n  found:    recipe recipes/tiny.yaml, and commit "),
        (".", "../alone", r"nothing to compare\n  found:    this folder: .*judged.*; \.\./alone: no results\n"),
    ],
)
def test_a_side_that_is_missing_is_a_clear_error(a, b, message, project):
    git("commit", "--quiet", "--allow-empty", "-m", "nothing")
    git("tag", "empty")
    git("tag", "tiny")
    recorded()
    Path("../alone").mkdir()
    with pytest.raises(InputError, match=message):
        compared(a, b)


def test_an_evaluation_that_a_side_lacks_is_a_clear_error(project):
    with pytest.raises(
        InputError, match=r"this folder has no results of this evaluation\n  found:    no\n  expected: checked, "
    ):
        compared(".", ".", "no")


# --- Differences ----------------------------------------------------------------------------------------------------


def test_an_unpaired_difference_is_that_of_independent_scores(project, tmp_path):
    write_harness(tmp_path / "other", shift=1)
    shutil.rmtree(tmp_path / "other/data")
    one = by_name(compared(".", "../other"))["harness", "base", "choices: acc"]
    assert (one.a, one.b, one.n) == (0.3, 0.4, None)
    # Wilson's intervals of 30 and 40 right answers of 100; the difference's arms as Newcombe 1998, method 10
    (low, high), (its_low, its_high) = (0.21895, 0.39585), (0.30940, 0.49800)
    down, up = math.hypot(0.4 - its_low, high - 0.3), math.hypot(its_high - 0.4, 0.3 - low)
    assert (one.low, one.high) == pytest.approx((0.1 - down, 0.1 + up), abs=1e-5)
    assert one.p == pytest.approx(math.erfc(1.959964 * 0.1 / down / math.sqrt(2)), abs=1e-4)


def test_a_paired_difference_is_narrower_than_an_unpaired_one(project, tmp_path):
    write_harness(tmp_path / "other", shift=1)
    paired = by_name(compared(".", "../other"))["harness", "base", "choices: acc"]
    shutil.rmtree(tmp_path / "other/data")
    apart = by_name(compared(".", "../other"))["harness", "base", "choices: acc"]
    assert paired.difference == pytest.approx(apart.difference) == pytest.approx(0.1)
    assert paired.high - paired.low < apart.high - apart.low
    assert paired.n == 100


def test_other_tokens_are_not_paired(project, tmp_path):
    write_likelihood(tmp_path / "other", tokens=12)
    made = compared(".", "../other")
    assert {one.note for one in made.differences} == {"their tokens differ"}
    assert "note: unpaired: their tokens differ: held base sums: nats/token, " in as_text(made)


def test_items_of_one_side_only_are_left_out_and_counted(project, tmp_path):
    def some(model: str, number: int, turn: int) -> float | None:
        return None if model == "dpo" and number < 4 and turn == 2 else rating(model, number, turn)

    write_mtbench(tmp_path / "other", rate=some)
    one = by_name(compared(".", "../other"))["judged", "dpo", "average"]
    assert (one.difference, one.n, one.note) == (0.0, 24, "4 items of one side only are left out")
    turn = by_name(compared(".", "../other", every=True))["judged", "dpo", "turn 2"]
    assert turn.n == 20


@pytest.mark.parametrize(
    ("name", "place", "value", "said"),
    [
        (
            "judged",
            ("protocol",),
            "mtbench-single-v1-fenced",
            "protocol mtbench-single-v1 and mtbench-single-v1-fenced",
        ),
        ("judged", ("questions", "sha256"), "0" * 64, " and 000000000000"),
        ("graded", ("questions", "sha256"), "0" * 64, " and 000000000000"),
        ("checked", ("questions", "sha256"), "0" * 64, " and 000000000000"),
        ("pairs", ("baseline",), "sft", "baseline base and sft"),
        ("harness", ("tasks", "choices", "num_fewshot"), 25, "num_fewshot 0 and 25"),
        ("harness", ("tasks", "choices", "limit"), 10, "limit None and 10"),
        ("harness", ("checkpoints", "dpo", "choices", "version"), 9.0, " and 9.0"),
    ],
)
def test_scores_that_were_asked_in_another_way_are_not_paired_and_say_so(name, place, value, said, project, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(project, other)
    path = other / f"results/{name}.json"
    report = json.loads(path.read_text())
    part = report
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    path.write_text(json.dumps(report))
    apart = [one for one in compared(".", "../other").differences if "asked in another way" in one.note]
    assert {one.evaluation for one in apart} == {name}
    assert {one.metric.partition(": ")[0] for one in apart} <= {"average", "win rate", "choices"}
    assert all(said in one.note and not one.paired for one in apart)


def test_a_line_separator_within_a_text_ends_no_line(project):
    path = project / "data/source/asked/rows.jsonl"
    path.write_text(path.read_text().replace('"turns": ["', '"turns": ["\u2028\u2029\x85', 1), encoding="utf-8")
    made = compared(".", ".", "judged")
    assert (made.notes, {one.paired for one in made.differences}) == ([], {True})


def test_other_judges_and_withheld_scores_are_named(project, tmp_path):
    def silent(model: str, number: int, turn: int) -> float | None:
        return None if model == "sft" else rating(model, number, turn)

    write_mtbench(tmp_path / "other", rate=silent, judge="k")
    made = compared(".", "../other")
    assert [one.checkpoint for one in made.differences] == ["base", "dpo"]
    assert "judged: two judges, parrot (j) and parrot (k): they differ, too" in made.notes
    assert "judged of sft in ../other: no score, the judge gave no readable rating: 48 refused" in made.notes


def test_holm_counts_all_comparisons(project, tmp_path):
    write_harness(tmp_path / "other", shift=1)
    made = compared(".", "../other", every=True)
    assert [one.holm for one in made.differences] == holm([one.p for one in made.differences])
    few = compared(".", "../other")
    assert len(few.differences) == 3 < len(made.differences)
    assert f"{len(made.differences)} comparisons; " in as_text(made)
    data = json.loads(as_json(few))
    assert data["comparisons"] == len(data["differences"]) == 3
    assert {one["significant"] for one in data["differences"]} == {True}
    assert all(one["low"] < one["difference"] < one["high"] for one in data["differences"])


def test_a_result_of_another_version_is_named_and_the_others_are_compared(project):
    report = json.loads(Path("results/harness.json").read_text())
    Path("results/harness.json").write_text(json.dumps(report | {"later": 1}))
    made = compared(".", ".")
    assert {one.evaluation for one in made.differences} == {"judged", "checked", "graded", "pairs", "held"}
    assert any("harness.json: later doesn't fit the form of harness reports" in note for note in made.notes)
    with pytest.raises(
        InputError, match=r"this folder and this folder can't be compared\n  found: .*harness\.json: later"
    ):
        compared(".", ".", "harness")


@pytest.mark.parametrize(("name", "difference"), [("judged", 4.0), ("checked", 4.0), ("graded", 2.0)])
def test_every_judged_method_is_compared_answer_by_answer(project, name, difference):
    made = compare_checkpoints(of_workspace(), "base", "dpo", [name], every=False, seed=0)
    average = by_name(made)[name, None, "average"]
    assert average.paired
    assert average.difference == difference


def test_pairs_are_compared_game_by_game(project):
    made = compare_checkpoints(of_workspace(), "sft", "dpo", ["pairs"], every=True, seed=0)
    found, report = by_name(made), json.loads(Path("results/pairs.json").read_text())
    rates = [report["models"][name]["win_rate"]["mean"] for name in ("sft", "dpo")]
    gap = found["pairs", None, "win rate"]
    assert (gap.paired, gap.note) == (True, "")
    assert gap.difference == pytest.approx(rates[1] - rates[0], abs=1e-4)
    paired = {metric for (_, _, metric), one in found.items() if one.paired}
    assert paired == {"win rate", "turn 1", "math", "writing"}


def test_pairs_with_weights_are_compared_by_their_rates(project):
    report = json.loads(Path("results/pairs.json").read_text())
    report["judge"]["strong_weight"] = 3.0
    Path("results/pairs.json").write_text(json.dumps(report))
    made = compare_checkpoints(of_workspace(), "sft", "dpo", ["pairs"], every=False, seed=0)
    assert [(one.paired, one.note) for one in made.differences] == [(False, "no scores of items in A and B")]


def test_checkpoints_of_one_side_only_are_named(project, tmp_path, monkeypatch):
    monkeypatch.setattr("scored.CHECKPOINTS", ["base", "sft", "new"])
    write_harness(tmp_path / "other")
    made = compared(".", "../other")
    assert [one.checkpoint for one in made.differences] == ["base", "sft"]
    assert {"harness: dpo only in A", "harness: new only in B"} <= set(made.notes)


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_many_items_give_the_interval_that_resampling_gives(shift, monkeypatch):
    generator = np.random.default_rng(1)
    n = comparisons.MANY
    differences = (generator.random(n) < 0.8).astype(float) - (generator.random(n) < 0.8 - shift)
    arguments = (differences, np.ones(n), ["all"] * n, 0, (-1.0, 1.0))
    by_normal, p = comparisons.paired(*arguments)
    monkeypatch.setattr(comparisons, "MANY", n + 1)
    by_draws, other = comparisons.paired(*arguments)
    assert by_normal.mean == by_draws.mean
    assert by_normal.low == pytest.approx(by_draws.low, abs=0.003)
    assert by_normal.high == pytest.approx(by_draws.high, abs=0.003)
    assert p == pytest.approx(other, abs=0.02)


def test_the_same_sides_give_the_same_bytes(project, tmp_path):
    write_harness(tmp_path / "other", shift=1)
    assert as_json(compared(".", "../other")) == as_json(compared(".", "../other"))


# --- The command ----------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table_or_json(project, capsys):
    recorded()
    assert main(["compare", "HEAD", ".", "--eval", "held"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:2] == ["A: revision HEAD", "B: this folder"]
    assert shown[3].split()[:6] == ["evaluation", "checkpoint", "metric", "A", "B", "B"]
    assert len([line for line in shown if line.startswith("held ")]) == len(CHECKPOINTS)
    assert main(["compare", "HEAD", ".", "--eval", "held", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["comparisons"] == len(CHECKPOINTS)
    assert main(["compare", "HEAD", "nowhere"]) == 1
    assert "nothing to compare by this name" in capsys.readouterr().err


def test_paths_are_those_of_the_folder_where_the_command_is_given(project, capsys, monkeypatch):
    Path("deep").mkdir()
    monkeypatch.chdir("deep")
    assert main(["compare", "../results/held.json", ".", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["a"] == "results/held.json"


def test_a_side_of_a_folder_reads_nothing_outside_of_it(project, tmp_path):
    side = of_folder(Path("results/held.json"), "held")
    assert side.read("data/likelihood/held/base/scores.jsonl") is not None
    assert side.read("results/other.json") is None
