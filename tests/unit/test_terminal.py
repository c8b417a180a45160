"""What a terminal shows of plans and runs: at 80 and 160 columns, as a dumb one, with NO_COLOR, and in a pipe."""

import html
import io
import json
import logging
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import recording
import scored
from snakemake_interface_logger_plugins.common import LogEvent

from bezoar import terminal
from bezoar.cache import history, locks, progress, status
from bezoar.cache.decide import Reason
from bezoar.cache.pace import pace
from bezoar.cache.plan import JobToRun, Plan, PlannedStage, Restored
from bezoar.cache.plan_table import drawn
from bezoar.cache.progress import Planned, Progress, Waiting
from bezoar.cli import main, project
from bezoar.recipe.estimate import Expected
from bezoar.steps.results import headline
from snakemake_logger_plugin_bezoar import LogHandler

STYLE = re.compile(r"\x1b\[[\d;]*m")
COLOUR = re.compile(r"\x1b\[[\d;]*[34]\d[;m]")


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def screen(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Terminal:
    """A terminal of 80 columns with colours, in place of stdout and stderr."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", **variables}.items():
        monkeypatch.setenv(name, value)
    made = Terminal()
    monkeypatch.setattr(sys, "stdout", made)
    monkeypatch.setattr(sys, "stderr", made)
    return made


# --- bezoar plan ----------------------------------------------------------------------------------------------------


def stage(rule: str, block: str, jobs: int, seconds: float | None, *reasons: Reason, **more: Any) -> PlannedStage:
    """Jobs of a stage."""
    facts: dict[str, Any] = {"of": jobs, "certain": True, "new": False, "outputs": []}
    return PlannedStage(f"{rule}-{block}", rule, jobs, seconds=seconds, reasons=list(reasons), **{**facts, **more})


CODE = [Reason("code", f"bezoar/steps/data/{name}.py") for name in ("cleaning", "marks", "mixing", "rows")]
NEVER = Reason("unrecorded", "")
PLAN = Plan(
    stages=[
        stage("source", "world_dolly", 1, 1.25, *CODE),
        stage("source", "world_flan", 1, None, NEVER, new=True),
        stage("generate", "evol", 3, 245.0, Reason("code", "bezoar/requests/base.py")),
        stage("train", "dpo_hh", 1, 4000.0, Reason("param", "stages.dpo_hh.beta", 0.1, 0.2)),
        stage("merge", "dpo_hh", 1, 3.0, Reason("upstream", "data/adapters/dpo_hh"), certain=False),
        stage("report_mtbench", "mtbench", 1, None, NEVER, new=True),
    ],
    proven=1099,
    restored=[Restored("data/mixes/hh/train.jsonl", 1_234_567, "remote")],
    accepted={"bezoar/blocks.py": "a comment"},
    spending=[Expected("generate-evol", "gpt", 3, 300, 0, 90_000, 1_250_000, guessed=True)],
    summary="together at most $1.25, a run stops at $25.00 (budget.run)",
    notes=["memory of train-dpo_hh: at most about 0.16 GiB: weights 1.95 MiB, gradients 0.33 MiB, logits 0.01 GiB"],
    jobs=[
        JobToRun("data/source/world_dolly/rows.jsonl", "source-world_dolly", 1.25, CODE),
        JobToRun("results/mtbench.json", "report_mtbench-mtbench", None, [NEVER]),
    ],
)

AT_80 = """\
8 to run, 1,099 up to date
about 1 h 10 min of work, by the last build; time unknown for 2 of them

rule            jobs       time   cost  why
source             2   over 1 s         never built: 1; code changed:
                                        bezoar/steps/data/cleaning.py and 3 more
generate           3  4 min 5 s  $1.25  code changed: bezoar/requests/base.py
train              1  1 h 6 min         stages.dpo_hh.beta: 0.1 -> 0.2
merge              1        3 s         if changed: data/adapters/dpo_hh
report_mtbench     1          ?         never built

together at most $1.25, a run stops at $25.00 (budget.run)
memory of train-dpo_hh: at most about 0.16 GiB: weights 1.95 MiB, gradients 0.3…
restored from the remote: 1 artifact, 1.2 MB
accepted: a change of bezoar/blocks.py: a comment
--all shows every job with all its reasons"""

AT_160 = """\
8 to run, 1,099 up to date
about 1 h 10 min of work, by the last build; time unknown for 2 of them

rule            jobs       time   cost  why
source             2   over 1 s         never built: 1; code changed: bezoar/steps/data/cleaning.py \
and 3 more
generate           3  4 min 5 s  $1.25  code changed: bezoar/requests/base.py
train              1  1 h 6 min         stages.dpo_hh.beta: 0.1 -> 0.2
merge              1        3 s         if changed: data/adapters/dpo_hh
report_mtbench     1          ?         never built

together at most $1.25, a run stops at $25.00 (budget.run)
memory of train-dpo_hh: at most about 0.16 GiB: weights 1.95 MiB, gradients 0.33 MiB, logits 0.01 GiB
restored from the remote: 1 artifact, 1.2 MB
accepted: a change of bezoar/blocks.py: a comment
--all shows every job with all its reasons"""

EVERY = """\
job                                 time  why
data/source/world_dolly/rows.jsonl   1 s  code changed:
                                          bezoar/steps/data/cleaning.py; code
                                          changed: bezoar/steps/data/marks.py;
                                          code changed:
                                          bezoar/steps/data/mixing.py; code
                                          changed: bezoar/steps/data/rows.py
results/mtbench.json                   ?  never built
"""

IN_A_PIPE = """\
  source-world_dolly      code changed: bezoar/steps/data/cleaning.py; code changed: bezoar/steps/data/marks.py; \
code changed: bezoar/steps/data/mixing.py; code changed: bezoar/steps/data/rows.py
  source-world_flan       never built
  generate-evol           code changed: bezoar/requests/base.py (3 of 3 jobs)
"""


@pytest.mark.parametrize(("width", "expected"), [(80, AT_80), (160, AT_160)])
def test_a_plan_has_a_line_for_each_rule_and_fits_the_terminal(width, expected):
    assert terminal.plain(*drawn(PLAN), width=width) == expected
    assert max(map(len, expected.splitlines())) <= width


def test_a_plan_of_every_job_has_all_reasons_and_notes():
    shown = terminal.plain(*drawn(PLAN, every=True))
    assert EVERY in shown
    assert "generate-evol: at most 300 calls" in shown
    assert "gradients 0.33\nMiB, logits 0.01 GiB" in shown


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A project whose plan is this one."""
    monkeypatch.setattr(project, "enter", lambda args: None)
    monkeypatch.setattr("bezoar.cache.plan.plan", lambda targets, settings: PLAN)


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize(("variables", "colours"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_the_command_draws_on_a_terminal_and_colours_only_where_they_are_wanted(monkeypatch, variables, colours):
    made = screen(monkeypatch, **variables)
    assert main(["plan"]) == 0
    shown = made.getvalue()
    assert bool(COLOUR.search(shown)) == colours
    assert re.sub(" +$", "", STYLE.sub("", shown), flags=re.MULTILINE) == f"{AT_80}\n"
    if "TERM" in variables:
        assert "\x1b" not in shown


@pytest.mark.usefixtures("planned")
def test_a_pipe_gets_a_line_for_each_stage_and_programs_json(capsys):
    assert main(["plan"]) == 0
    piped = capsys.readouterr().out
    assert IN_A_PIPE in piped
    assert "\x1b" not in piped
    assert main(["plan", "--all"]) == 0
    assert "\n  results/mtbench.json  never built\n" in capsys.readouterr().out
    assert main(["plan", "--json"]) == 0
    read = json.loads(capsys.readouterr().out)
    assert [one["jobs"] for one in read["stages"]] == [1, 1, 3, 1, 1, 1]
    assert read["proven"] == 1099


def test_nothing_to_run_is_one_line():
    assert terminal.plain(*drawn(Plan([], 5, [], {}))) == "nothing to run"


def test_what_others_wrote_controls_no_terminal():
    hostile = Plan([stage("train", "x", 1, 1.0, Reason("param", "a\x1b[2J[red]", "\u202e", 1))], 0, [], {})
    shown = terminal.plain(*drawn(hostile))
    assert "\x1b" not in shown
    assert r"a\x1b[2J[red]: '\u202e' -> 1" in shown


# --- the end of a run -----------------------------------------------------------------------------------------------

SCORES_AT_80 = """\
average scores with 95 % intervals
checkpoint  checked             harness             judged
base        3.000 [2.80, 3.16]  0.300 [0.22, 0.40]  3.000 [2.80, 3.16]
sft         5.000 [4.80, 5.16]  0.500 [0.40, 0.60]  5.000 [4.80, 5.16]
dpo         7.000 [6.80, 7.16]  0.700 [0.60, 0.78]  7.000 [6.80, 7.16]

checkpoint  pairs               unread
base        0.500 [0.50, 0.50]  3.000 [2.80, 3.16]
sft         1.000 [0.85, 1.00]  -
dpo         1.000 [0.85, 1.00]  7.000 [6.80, 7.16]
unread: 1 score withheld: the judge gave no readable rating: 48 refused
see results/checked.json, results/harness.json, results/judged.json,
results/pairs.json, results/unread.json"""

SCORES_AT_160 = """\
average scores with 95 % intervals
checkpoint  checked             harness             judged              pairs               unread
base        3.000 [2.80, 3.16]  0.300 [0.22, 0.40]  3.000 [2.80, 3.16]  0.500 [0.50, 0.50]  3.000 [2.80, 3.16]
sft         5.000 [4.80, 5.16]  0.500 [0.40, 0.60]  5.000 [4.80, 5.16]  1.000 [0.85, 1.00]  -
dpo         7.000 [6.80, 7.16]  0.700 [0.60, 0.78]  7.000 [6.80, 7.16]  1.000 [0.85, 1.00]  7.000 [6.80, 7.16]
unread: 1 score withheld: the judge gave no readable rating: 48 refused
see results/checked.json, results/harness.json, results/judged.json, results/pairs.json, results/unread.json"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results of several methods."""
    root = tmp_path_factory.mktemp("scored")
    for write in (scored.write_mtbench, scored.write_harness, scored.write_checklist, scored.write_pairwise):
        write(root)
    scored.write_mtbench(
        root, "unread", rate=lambda name, *place: None if name == "sft" else scored.rating(name, *place)
    )
    return root


@pytest.mark.parametrize(("width", "expected"), [(80, SCORES_AT_80), (160, SCORES_AT_160)])
def test_a_run_ends_with_the_scores_of_all_evaluations(results, monkeypatch, width, expected):
    monkeypatch.chdir(results)
    made = ["data/mixes/hh/train.jsonl", *(f"results/{path.name}" for path in Path("results").glob("*.json"))]
    shown = terminal.plain(*headline.parts(made), width=width)
    assert shown == expected
    assert max(map(len, shown.splitlines())) <= width


def test_a_run_without_results_ends_without_scores(results, monkeypatch):
    monkeypatch.chdir(results)
    assert headline.parts(["data/mixes/hh/train.jsonl"]) == []
    Path("results/own.json").write_text("[1]")  # of a rule of the project's own
    assert headline.parts(["results/own.json"]) == []
    pages = terminal.plain(*headline.parts(["results/judged.json", "results/summary.csv", "results/report.html"]))
    assert pages.splitlines()[-1] == "see results/report.html"
    pages = terminal.plain(*headline.parts(["results/report.html", "results/run.html"]))
    assert pages.splitlines()[-1] == "see results/report.html, results/run.html"


# --- a run ----------------------------------------------------------------------------------------------------------

SAID = {"printshellcmds": False, "nocolor": False, "quiet": set(), "debug_dag": False, "show_failed_logs": True}


def log(made: Terminal, *records: tuple[int, str | None, dict[str, Any]], **settings: Any) -> str:
    """What Snakemake's log shows of some records, by our handler."""
    handler = LogHandler(
        SimpleNamespace(**{**SAID, "verbose": False, "stdout": False, "dryrun": False, **settings}), None
    )
    for level, text, facts in records:
        handler.handle(logging.makeLogRecord({"levelno": level, "msg": text, **facts}))
    return made.getvalue()


def job(number: int, rule: str, *wildcards: str) -> tuple[int, str | None, dict[str, Any]]:
    """A job starts."""
    facts = {"jobid": number, "rule_name": rule, "wildcards": dict(enumerate(wildcards)), "output": ["data/x"]}
    facts |= {"rule_msg": None, "local": True, "is_checkpoint": False, "input": ["data/w"], "log": [], "reason": "code"}
    facts |= {"benchmark": None, "priority": 0, "threads": 1, "resources": {}, "indent": False}
    return logging.INFO, f"Rule: {rule}", {"event": LogEvent.JOB_INFO, **facts}


RUN = (
    (logging.INFO, "Building DAG of jobs...", {}),
    (logging.INFO, "Provided cores: 2", {"event": LogEvent.RESOURCES_INFO}),
    (logging.INFO, "Job stats: ...", {"event": LogEvent.RUN_INFO, "stats": {"train": 2, "merge": 1, "all": 1}}),
    job(3, "train", "sft"),
    (logging.INFO, "Finished jobid: 3", {"event": LogEvent.JOB_FINISHED, "job_id": 3}),
    (logging.INFO, None, {"event": LogEvent.PROGRESS, "done": 1, "total": 4}),
    job(4, "train", "a\x1b[2J"),
    (logging.WARNING, "the cache lacked 2 outputs", {}),
    (
        logging.ERROR,
        "Error in rule train, jobid: 4",
        {
            "event": LogEvent.JOB_ERROR, "rule_name": "train", "rule_msg": "m", "jobid": 4, "input": ["data/w"],
            "output": ["data/x"], "log": [], "conda_env": None, "shellcmd": "bezoar exec x", "aux": {}, "indent": False,
        },
    ),
)  # fmt: skip


def test_a_run_says_a_line_for_each_start_and_end_and_errors_whole(monkeypatch):
    shown = log(screen(monkeypatch, NO_COLOR="1"), *RUN, nocolor=True)
    lines = STYLE.sub("", shown).splitlines()
    assert lines[:5] == [
        "run    3 jobs: 2 train, 1 merge",
        "start  train sft",
        "done   train sft, 1 of 3",
        r"start  train a\x1b[2J",
        "the cache lacked 2 outputs",
    ]
    assert "Error in rule train:" in lines
    assert "        bezoar exec x" in lines


def test_the_log_of_a_failed_job_is_shown_only_if_the_job_ran_elsewhere(monkeypatch, tmp_path):
    path = tmp_path / "sft.log"
    path.write_text("12:00:00 the learning rate is too high\n")
    level, text, facts = RUN[-1]
    for aux, times in (({}, 0), ({"external_jobid": "17"}, 1)):
        failed = (level, text, {**facts, "log": [str(path)], "aux": aux})
        shown = log(screen(monkeypatch, NO_COLOR="1"), failed, nocolor=True)
        assert shown.count("the learning rate is too high") == times
        assert f"log: {path}" in shown


def test_a_target_of_the_projects_own_counts_as_the_job_that_it_is_and_one_job_is_no_plural(monkeypatch):
    mine, everything = job(2, "mine"), job(0, "all")
    mine[2]["output"] = everything[2]["output"] = []
    done = {"event": LogEvent.PROGRESS, "done": 1, "total": 1}
    shown = log(
        screen(monkeypatch, TERM="dumb"),
        (logging.INFO, None, {"event": LogEvent.RUN_INFO, "stats": {"mine": 1, "all": 1, "total": 2}}),
        mine,
        (logging.INFO, None, {"event": LogEvent.JOB_FINISHED, "job_id": 2}),
        (logging.INFO, None, done),
        everything,
        (logging.INFO, None, {"event": LogEvent.JOB_FINISHED, "job_id": 0}),
        (logging.INFO, None, done),
    )
    assert shown.splitlines() == ["run    1 job: 1 mine", "start  mine", "done   mine, 1 of 1"]


def test_verbose_runs_and_dry_runs_show_jobs_as_snakemake_does(monkeypatch):
    verbose = log(screen(monkeypatch, TERM="dumb"), *RUN, verbose=True)
    assert "Building DAG of jobs..." in verbose
    assert "localrule train:" in verbose
    dry = log(screen(monkeypatch, TERM="dumb"), *RUN, dryrun=True, stdout=True)
    assert "Building DAG" not in dry
    assert "Job stats: ..." in dry
    assert "    reason: code" in dry


@pytest.mark.parametrize(("variables", "colours"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_run_has_colours_on_a_terminal_that_wants_them(monkeypatch, variables, colours):
    shown = log(screen(monkeypatch, **variables), *RUN[:6])
    assert bool(COLOUR.search(shown)) == colours


# --- bezoar status --------------------------------------------------------------------------------------------------


def waiting(name: str, seconds: float | None, *after: str, threads: int = 1, log: str = "") -> Waiting:
    """A planned job."""
    return Waiting(name, name, name.split()[0], seconds, threads, after, log)


JOBS = [
    waiting("generate evol 0", 60.0),
    waiting("generate evol 1", None),
    waiting("mix evol", 10.0, "generate evol 0", "generate evol 1"),
    waiting("train sft", 100.0, "mix evol", threads=2, log="train.log"),
    waiting("merge sft", 5.0, "train sft"),
]
TRAINING = """\
09:59:50 train sft: from step 0 to 148
23:59:58 train sft: step 30 of 148, loss 0.127 nats, 0.4 min left
00:00:08 train sft: step 100 of 148, loss 0.024 nats, 950 tokens/s, 0.1 min left
"""
STATUS_AT_80 = """\
3 of 5 jobs done in 3 min 20 s; 1 running, 1 waiting; about 1 min 5 s left; $1.25 so far

running     for   last time  progress
train sft  40 s  1 min 40 s  100 of 148 steps, 7 steps/s, 950 tokens/s

rule      up to date  done  running  waiting
source            12     -        -        -
generate           -     2        -        -
mix                -     1        -        -
train              -     -        1        -
merge              -     -        -        1"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Progress:
    """A run that trains."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(status, "spending", lambda: 1.25)
    Path("train.log").write_text(TRAINING)
    done: dict[str, float | None] = {"generate evol 0": 61.0, "generate evol 1": 50.0, "mix evol": None}
    return Progress(Planned(1000.0, 2, {"source": 12}, JOBS), True, done, {"train sft": 1160.0}, [])


@pytest.mark.parametrize("width", [80, 160])
def test_a_status_says_what_runs_how_fast_and_how_long_still(run, width):
    shown = terminal.plain(*status.of_run(run, 1200.0), width=width)
    expected = STATUS_AT_80 if width == 160 else STATUS_AT_80.replace("; $1.25 so far", ";\n$1.25 so far")
    assert shown == expected


LONG = "sft_on_instructions_of_all_sources_and_their_rewrites"
LONG_AT_80 = """\
running                         for   last time  progress
train                          40 s  1 min 40 s  100 of 148 steps, 7 steps/s,
sft_on_instructions_of_all_so                    950 tokens/s
urces_and_their_rewrites

rule                                          up to date  done  running  waiting
train_sft_on_instructions_of_all_sources_and          12     -        1        -
_their_rewrites"""


@pytest.fixture
def long(run: Progress) -> Progress:
    """A run whose names are too long for 80 columns."""
    job = Waiting("train sft", f"train {LONG}", f"train_{LONG}", 100.0, 2, (), "train.log")
    return Progress(Planned(1000.0, 2, {job.rule: 12}, [job]), True, {}, run.running, [])


def test_long_names_push_no_column_off_the_terminal(long):
    shown = terminal.plain(*status.of_run(long, 1200.0))
    assert shown.endswith(LONG_AT_80)


@pytest.mark.usefixtures("planned")
def test_a_pipe_gets_whole_lines_of_a_status(long, monkeypatch, capsys):
    monkeypatch.setattr(progress, "look", lambda: long)
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"train {LONG} +\S.* +1 min 40 s  100 of 148 steps, 7 steps/s, 950 tokens/s *", lines[3])
    assert re.fullmatch(rf"train_{LONG} +12 +- +1 +- *", lines[6])


def test_what_failed_is_named(run):
    failed = Progress(run.planned, True, run.done, {}, ["train sft"])
    shown = terminal.plain(*status.of_run(failed, 1200.0))
    assert "\nfailed: train sft\n" in shown
    assert re.search(r"^train +- +- +- +- +1$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("cores", "seconds"),
    [
        (2, 60 + 10 + 100 + 5),  # both at once, the second as long as the first
        (1, 60 + 60 + 10 + 100 + 5),  # a job that takes more cores than there are runs alone
        (None, 60 + 10 + 100 + 5),
    ],
)
def test_the_time_left_is_that_of_jobs_that_wait_for_inputs_and_cores(cores, seconds):
    assert Progress(Planned(0.0, cores, {}, JOBS), True, {}, {}, []).left(0.0) == (seconds, 0)


def test_jobs_of_a_rule_without_a_known_time_are_guesses():
    unknown = [waiting("a x", None), waiting("b x", None, "a x"), waiting("c x", None, "b x")]
    begun = Progress(Planned(0.0, 2, {}, unknown), True, {}, {"a x": 0.0}, [])
    assert begun.left(5.0) == (0, 2)
    assert status.left(begun, 5.0) == "time left unknown"
    found = Progress(Planned(0.0, 2, {}, unknown), True, {"a x": 8.0}, {"b x": 8.0}, [])
    assert found.left(10.0) == (6 + 8, 1)
    assert status.left(found, 10.0) == "about 14 s left, 1 job guessed"


def test_the_time_left_counts_what_a_running_job_has_done(run):
    assert run.left(1200.0) == (60 + 5, 0)
    assert run.left(9999.0) == (5, 0)  # longer than the last time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TRAINING, "100 of 148 steps, 7 steps/s, 950 tokens/s"),
        ("10:00:00 generate evol 0000: 1,034 of 5,340, 1.2 min left", "1,034 of 5,340"),
        ("10:00:00 a: 20 of 40, 1 min left\n10:00:10 a: 30 of 40, 1 min left", "30 of 40, 1/s"),
        ("10:00:00 a: 20 of 40, b\n10:00:10 a: 5 of 90, b", "5 of 90"),  # another piece of work
        ("10:00:00 generate evol: 271 rows of 534 candidates", ""),
        ("\x1b[2J", ""),
    ],
)
def test_a_log_says_how_fast_its_job_is(tmp_path, text, expected):
    (tmp_path / "log").write_text(text)
    assert pace(str(tmp_path / "log")) == expected
    assert pace(str(tmp_path / "none")) == ""


@pytest.mark.usefixtures("planned")
@pytest.mark.parametrize("is_terminal", [True, False])
def test_watching_ends_without_a_traceback_when_it_is_interrupted(run, monkeypatch, capsys, is_terminal):
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(progress, "look", lambda: run)
    monkeypatch.setattr(time, "sleep", interrupt)
    made = screen(monkeypatch) if is_terminal else None
    assert main(["status", "--watch"]) == 0
    assert "3 of 5 jobs done" in (made.getvalue() if made else capsys.readouterr().out)


def test_a_run_is_read_from_what_it_and_its_jobs_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert progress.look() is None
    Path(".snakemake/bezoar").mkdir(parents=True)
    alive = Planned(1000.0, None, {"source": 12}, JOBS).write()
    for name in ("generate evol 0", "generate evol 1", "mix evol"):
        history.note(name, history.STARTED)
    history.note("generate evol 0", history.RUN)
    history.note("generate evol 1", history.RESTORED)
    history.note("generate evol 1", history.STARTED)  # a second try
    locks.ALIVE.touch()
    locks.AT_WORK.mkdir()
    held = locks.hold("generate evol 1")
    found = progress.look()
    assert found
    assert found.is_going_on
    assert found.done.keys() == {"generate evol 0"}
    assert found.running.keys() == {"generate evol 1"}
    assert found.failed == ["mix evol"]
    assert [one.name for one in found.waiting] == ["train sft", "merge sft"]
    assert found.planned.jobs == JOBS
    assert history.outcomes() == {history.RUN: 1, history.RESTORED: 1}
    for file in (*held, alive):
        file.close()
    Path(progress.FILE).write_text('{"started": -1}')
    assert progress.look() is None


def test_a_run_that_has_ended_is_not_taken_for_one_because_of_a_query_or_the_start_of_another(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(".snakemake/bezoar").mkdir(parents=True)
    alive = Planned(1000.0, None, {}, JOBS).write()
    with locks.forget_killed_runs():  # what a query of the graph holds, and a run before it has planned
        assert (going := progress.look())
        assert going.is_going_on
        alive.close()
        assert (ended := progress.look())
        assert not ended.is_going_on
        with Planned(2000.0, None, {}, JOBS).write():
            assert (another := progress.look())
            assert another.is_going_on


# --- the recording in README -----------------------------------------------------------------------------------------


def test_the_recording_shows_what_commands_say_on_a_terminal(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")  # of who takes it
    code = "import os, sys; print('\\033[31mred\\033[0m', sys.stdout.isatty(), *os.get_terminal_size(), *os.environ)"
    command = shlex.join(["python", "-c", code])
    text = recording.said(command)
    assert text.startswith("\x1b[31mred\x1b[0m True 88 100 ")
    assert "NO_COLOR" not in text
    made = recording.drawn(["python -c 'print(6 * 7)'", "python -c 'print(\"<b>\")'"], "a title")
    ElementTree.fromstring(made)
    shown = html.unescape(re.sub(r"<[^>]+>", "", made.split("</style>")[1])).replace("\xa0", " ")
    said = ["a title", "$ python -c 'print(6 * 7)'", "42", "$ python -c 'print(\"<b>\")'", "<b>"]
    assert [line.strip() for line in shown.splitlines() if line.strip()] == said
    assert "http" not in made.replace("http://www.w3.org/2000/svg", "").replace("https://www.textualize.io", "")
    with pytest.raises(subprocess.CalledProcessError):
        recording.said("python -c 'raise SystemExit(3)'")
