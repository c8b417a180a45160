"""What a terminal shows: snapshots at 80 and 160 columns, of a dumb terminal, with NO_COLOR, and in a pipe."""

import io
import json
import re
import sys
from typing import Any

import pytest

from bezoar import terminal
from bezoar.cache.decide import Reason
from bezoar.cache.plan import JobToRun, Plan, PlannedStage, Restored
from bezoar.cache.plan_table import drawn
from bezoar.cli import main, project
from bezoar.recipe.estimate import Expected

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
