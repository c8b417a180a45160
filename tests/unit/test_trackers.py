"""Curves for trackers: each figure once, also of a run that was resumed, and nothing of it in a job."""

import json
import os
from pathlib import Path

import pytest
import yaml

from bezoar.cli.track import alive
from bezoar.errors import InputError
from bezoar.recipe.recipe import Recipe
from bezoar.steps.train import trackers
from bezoar.steps.train.trackers import Follower, Trackers, check, follow

TINY = yaml.safe_load((Path(__file__).parents[2] / "recipes" / "tiny.yaml").read_text())


class Board:
    """A tool that keeps what it is given."""

    def __init__(self):
        self.seen, self.finished = [], False

    def log(self, figures, step):
        self.seen.append((step, figures))

    def finish(self):
        self.finished = True


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the curve of the stage sft in a project: its losses by step; None for an evaluation."""
    monkeypatch.chdir(tmp_path)

    def one(*steps, path="scratch/train/sft/history.json"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        lines = [{"step": step, "loss": 1.0 / (1 + step), "eval_loss": None} for step in steps]
        Path(path).write_text(json.dumps(lines))

    return one


def test_each_figure_is_passed_on_once_also_by_a_resumed_stage(write):
    boards = {}
    follower = Follower(lambda stage: [boards.setdefault(stage, Board())])
    for steps in ((0, 2), (0, 2, 4, 6), (0, 2, 4), (0, 2, 4, 6, 8)):  # the third is resumed from step 4
        write(*steps)
        follower.look()
    assert boards["sft"].seen == [(step, {"loss": 1.0 / (1 + step)}) for step in (0, 2, 4, 6, 8)]
    assert not boards["sft"].finished
    write(0, 2, 4, 6, 8, 10, path="data/adapters/sft/history.json")  # done: its work folder is removed
    Path("scratch/train/sft/history.json").unlink()
    follower.look()
    assert boards["sft"].seen[-1][0] == 10
    assert boards["sft"].finished


def test_a_curve_that_is_no_curve_is_passed_over(write):
    write(0)
    board = Board()
    follower = Follower(lambda stage: [board])
    for text in ("", "{", "{}", '["a", {"step": "1"}, {"step": 3, "loss": 0.5, "name": "x"}]'):
        Path("scratch/train/sft/history.json").write_text(text)
        follower.look()
    assert board.seen == [(3, {"loss": 0.5})]


def test_a_tool_that_is_missing_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "trackio" else name)
    check(Trackers(tools=["wandb"]))
    with pytest.raises(InputError, match="not installed") as refused:
        check(Trackers(tools=["wandb", "trackio"]))
    assert "pip install trackio" in str(refused.value)


def test_following_ends_with_the_build_after_a_last_look(write, monkeypatch):
    board = Board()
    monkeypatch.setattr(trackers, "opened", lambda tool, settings, stage: board)
    monkeypatch.setattr(trackers, "find_spec", lambda name: name)
    write(0)
    lives = iter([True, False])

    def build_lives():
        if not (found := next(lives)):
            write(0, 2)
        return found

    follow(Trackers(tools=["tensorboard"]), build_lives, seconds=0)
    assert [step for step, _ in board.seen] == [0, 2]


def test_a_process_that_has_ended_is_not_alive():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert not alive(child)
    assert alive(os.getpid())


def test_tensorboard_writes_events(write, tmp_path):
    pytest.importorskip("tensorboard")
    run = trackers.opened("tensorboard", Trackers(tools=["tensorboard"]), "sft")
    run.log({"loss": 0.5}, step=1)
    run.finish()
    assert list(Path("scratch/trackers/tensorboard/sft").glob("events*"))


def test_stages_know_nothing_of_trackers():
    with_tools = Recipe.model_validate(TINY | {"trackers": {"tools": ["tensorboard"]}})
    assert with_tools.trackers.tools == ["tensorboard"]
    assert with_tools.resolved()["stages"] == Recipe.model_validate(TINY).resolved()["stages"]
