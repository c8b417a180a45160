"""A job that trains on a GPU in a closed room: what it needs is open, it is traced, and its proof names the device."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from templates import answered

from bezoar import installed
from bezoar.cache import landlock
from bezoar.cache.action import typed_digest
from bezoar.cache.code import Closures
from bezoar.cache.hashing import Hasher
from bezoar.cache.job import PlannedJob, Run, Step, Surroundings
from bezoar.steps.data.rows import write_rows
from bezoar.steps.train.sft import Sft

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")]
OUT = "data/adapters/sft"
COMMAND = (
    "python {script} --params stages.sft seed --base data/base/tiny --adapter --mix data/mixes/counting "
    f"--work scratch/train/sft --out {OUT} --log logs/train/sft.log"
)
MODES = [
    pytest.param(
        "enforce", marks=pytest.mark.skipif(not landlock.abi(), reason="this machine's kernel has no Landlock")
    ),
    "observe",
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, random_llama: Callable[..., Path]) -> list[str]:
    """A folder with a planned job that trains on four-bit weights in two workers; its command."""
    monkeypatch.chdir(tmp_path)
    random_llama(Path("data/base/tiny"), ["one two three four five six"])
    rows = [answered(f"one two {word}", "four five six") for word in ("three", "six", "one", "two")]
    for name in ("train", "eval"):
        write_rows(Path(f"data/mixes/counting/{name}.jsonl"), rows)
    stage = Sft(method="sft", init_from="tiny", mix="counting", quantization="nf4", epochs=4, batch_size=4)
    values = {"seed": 0, "stages": {"sft": stage.model_dump(mode="json")}}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    script = installed.find("scripts/train/sft.py")
    command = COMMAND.format(script=script).split()
    inputs = ("data/base/tiny", "data/mixes/counting/train.jsonl", "data/mixes/counting/eval.jsonl")
    step = Step(
        "train", ("sft",), 1, inputs, "0" * 64, (OUT,), OUT, (OUT,), {}, typed_digest({}), {}, script
    )  # fmt: skip
    closures = Closures(Hasher())
    files = {script: closures.contents(script)}
    prints = {script: closures.print_of(script)}
    Run(os.path.abspath(".dvc/cache"), "params.yaml", False, files, prints, {}, "gpu").write()
    PlannedJob(step, command, True, [], Surroundings((OUT,), ("logs/train/sft.log",))).write()
    return command


@pytest.mark.parametrize("isolation", MODES)
def test_a_training_on_the_gpu_is_proven_in_a_closed_room(project: list[str], isolation: str) -> None:
    words = [sys.executable, "-c", "from bezoar.cli import main; raise SystemExit(main())", "exec", OUT, "--", *project]
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        words,
        env={**os.environ, "BEZOAR_ISOLATION": isolation, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "doesn't declare" not in done.stdout
    (proof,) = (json.loads(one.read_text()) for one in Path(".dvc/cache/proofs").rglob("*.json"))
    assert proof["made"]["isolation"] == isolation
    assert "NVIDIA" in proof["made"]["gpus"]
    (trace,) = (json.loads(one.read_text()) for one in Path(".dvc/cache/traces").rglob("*.json"))
    assert {"torch", "bitsandbytes", "peft", "trl"} <= trace["distributions"].keys()
    assert not any(name.startswith(("nvidia-", "triton")) for name in trace["distributions"])
