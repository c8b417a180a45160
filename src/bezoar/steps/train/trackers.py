"""Curves of running stages for TensorBoard, trackio or W&B.

A tracker runs beside the build, outside of its jobs: it reads the curves that they write. So jobs need no network, no
key and no package of it, and no result depends on it.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from bezoar.blocks import Block
from bezoar.errors import InputError, problem

Tool = Literal["tensorboard", "trackio", "wandb"]
CURVES = "scratch/train/*/history.json"  # of running stages
DONE = "data/adapters/{stage}/history.json"
SECONDS = 5.0  # between looks


class Trackers(Block):
    """Where curves of training are shown; no result depends on it."""

    tools: list[Tool] = Field([], description="Installed by you: `pip install tensorboard` and so on.")
    project: str = Field("bezoar", min_length=1, description="Name of the project in trackio and W&B.")
    folder: str = Field("scratch/trackers", min_length=1, description="Where TensorBoard and W&B write.")


class Run(Protocol):
    """A stage's curve in a tool."""

    def log(self, figures: dict[str, float], step: int) -> None:
        """Add the figures of a step."""
        ...

    def finish(self) -> None:
        """The stage is done."""
        ...


class TensorBoard:
    """A stage's curve as a folder of TensorBoard's events."""

    def __init__(self, folder: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(folder)

    def log(self, figures: dict[str, float], step: int) -> None:
        """Add the figures of a step."""
        for name, figure in figures.items():
            self.writer.add_scalar(name, figure, step)
        self.writer.flush()

    def finish(self) -> None:
        """Close the file."""
        self.writer.close()


def opened(tool: Tool, settings: Trackers, stage: str) -> Run:
    """A stage's run in a tool; keys and addresses are the tool's own, from your environment."""
    if tool == "tensorboard":
        return TensorBoard(f"{settings.folder}/tensorboard/{stage}")
    if tool == "trackio":
        import trackio

        run: Run = trackio.init(project=settings.project, name=stage)
        return run
    import wandb

    Path(settings.folder).mkdir(parents=True, exist_ok=True)
    return wandb.init(project=settings.project, name=stage, dir=settings.folder, reinit="create_new")


def check(settings: Trackers) -> None:
    """Refuse tools that aren't installed.

    Raises:
        InputError: One isn't.
    """
    if missing := [tool for tool in settings.tools if find_spec(tool) is None]:
        what, found = "trackers.tools: not installed", ", ".join(missing)
        raise InputError(problem(what, found=found, expected="packages of your .venv", hint=f"pip install {found}"))


class Follower:
    """Passes new lines of curves on.

    Args:
        open_run: Opens a stage's runs.
    """

    def __init__(self, open_run: Callable[[str], list[Run]]) -> None:
        self.open_run, self.runs, self.last = open_run, dict[str, list[Run]](), dict[str, tuple[int, int]]()

    def look(self) -> None:
        """Pass on what is new, also the end of stages that are done."""
        running = {path.parent.name: path for path in sorted(Path().glob(CURVES))}
        for stage, path in running.items():
            self._pass_on(stage, path)
        for stage in [name for name in self.runs if name not in running]:
            self._pass_on(stage, Path(DONE.format(stage=stage)))
            for run in self.runs.pop(stage):
                run.finish()
            del self.last[stage]

    def _pass_on(self, stage: str, path: Path) -> None:
        for place, (step, figures) in enumerate(_lines(path)):
            if (step, place) <= self.last.get(stage, (-1, -1)):
                continue  # a resumed run repeats the steps after its saved state
            if stage not in self.runs:
                self.runs[stage] = self.open_run(stage)
            for run in self.runs[stage]:
                run.log(figures, step=step)
            self.last[stage] = (step, place)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Steps and figures of a curve; nothing if it isn't there."""
    found: Any = []
    with suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
    for line in found if isinstance(found, list) else []:
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            yield line["step"], {n: float(v) for n, v in line.items() if isinstance(v, int | float) and n != "step"}


def follow(settings: Trackers, alive: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Pass curves on for as long as a build lives, and then their ends."""
    check(settings)
    follower = Follower(lambda stage: [opened(tool, settings, stage) for tool in settings.tools])
    while alive():
        follower.look()
        time.sleep(seconds)
    follower.look()
