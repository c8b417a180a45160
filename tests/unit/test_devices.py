"""One job, several devices: the same rows a step, the same curve, and a run that goes on where it was stopped.

Each process of a training takes seconds to start, so most of them are in the long tier.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from bezoar import installed
from bezoar.cache import landlock
from bezoar.cache.action import typed_digest
from bezoar.cache.code import Closures
from bezoar.cache.hashing import Hasher
from bezoar.cache.job import Network, PlannedJob, Run, Step, Surroundings
from bezoar.errors import InputError
from bezoar.steps.data.rows import write_rows
from bezoar.steps.train import devices
from bezoar.steps.train.sft import Sft

ROOT = Path(__file__).parents[2]
ROWS = 16
STAGE = {
    "method": "sft", "init_from": "tiny", "mix": "counting", "compute_dtype": "float32", "merged_dtype": "float32",
    "lora": {"rank": 4, "alpha": 8, "dropout": 0.0}, "learning_rate": 1e-2, "lr_scheduler": "linear", "epochs": 2,
    "batch_size": 4, "gradient_accumulation_steps": 1, "max_length": 64, "save_steps": 2, "eval_steps": 2,
}  # fmt: skip


def stage(**changes):
    return Sft.model_validate(STAGE | changes)


@pytest.mark.parametrize(
    ("batch", "passes", "count", "expected"),
    [
        (8, 2, 1, (8, 2)),
        (8, 2, 2, (8, 1)),
        (8, 1, 2, (4, 1)),
        (4, 3, 2, (3, 2)),  # 6 rows on each device: 3 + 3
        (1, 16, 4, (1, 4)),
        (5, 3, 3, (5, 1)),
    ],
)
def test_devices_share_the_rows_of_a_step(batch, passes, count, expected):
    rows, accumulated = devices.split(stage(batch_size=batch, gradient_accumulation_steps=passes), count)
    assert (rows, accumulated) == expected
    assert rows <= batch
    assert rows * accumulated * count == batch * passes


def test_rows_that_cannot_be_shared_evenly_are_refused_with_a_number_that_fits():
    with pytest.raises(InputError, match="can't be split evenly among 4 devices") as refused:
        devices.split(stage(batch_size=3, gradient_accumulation_steps=2), 4)
    assert "batch_size 3 x gradient_accumulation_steps 2 = 6 rows" in str(refused.value)
    assert "gpus: 3 for this stage" in str(refused.value)


def test_a_job_sees_the_devices_that_it_was_given_and_two_jobs_never_the_same(monkeypatch):
    names = [f"test-{os.getpid()}-{number}" for number in range(4)]
    first, second, third = devices.Reserved(), devices.Reserved(), devices.Reserved()
    assert devices.chosen(names, 1, first) == names[:1]
    assert devices.chosen(names, 2, second) == names[1:3]
    waits = []

    def end_of_the_first(seconds):
        waits.append(seconds)
        first.held.pop().close()  # as when its process ends

    monkeypatch.setattr(devices.time, "sleep", end_of_the_first)
    assert devices.chosen(names, 2, third) == [names[0], names[3]]
    assert waits == [devices.PAUSE]


def test_a_job_takes_no_device_while_too_few_are_free():
    names = [f"few-{os.getpid()}-{number}" for number in range(2)]
    first, second = devices.Reserved(), devices.Reserved()
    assert first.take(names, 1) == names[:1]
    assert second.take(names, 2) == []
    assert devices.Reserved().take(names, 1) == names[1:]  # it wasn't kept


def test_devices_that_slurm_has_chosen_are_used_and_a_job_without_any_shares_one():
    names = [f"slurm-{os.getpid()}-{number}" for number in range(2)]
    held = devices.Reserved()
    assert held.take(names, 2) == names  # of another job, whose devices have the same names
    assert devices.chosen(names, 2, devices.Reserved(), scheduled=True) == names
    assert devices.chosen(names, 0, devices.Reserved()) == names[:1]
    with pytest.raises(InputError, match="1 visible"):
        devices.chosen(names[:1], 2, devices.Reserved())


# --- Two processes --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(random_llama, tmp_path_factory):
    """A folder with a base model, a mix, and what a train script reads."""
    root = tmp_path_factory.mktemp("devices")
    words = "one two three four five six seven eight".split()
    random_llama(root / "base", [" ".join(words)])
    rows = [
        {
            "id": str(number),
            "prompt": [{"role": "user", "content": " ".join(words[: 1 + number % 5])}],
            "completion": [{"role": "assistant", "content": " ".join(words[1 + number % 5 :])}],
        }
        for number in range(ROWS)
    ]
    for name in ("train", "eval"):
        write_rows(root / "mix" / f"{name}.jsonl", rows)
    return root


def command(project, gpus, **changes):
    """The command of rule train, and its output folder."""
    block = stage(**changes)
    name = f"{gpus}-" + "-".join(f"{key}_{value}" for key, value in changes.items() if key != "lora")
    params = project / f"{name}.yaml"
    params.write_text(yaml.safe_dump({"seed": 0, "stages": {"sft": block.model_dump(mode="json")}}))
    out = project / name / "adapters" / "sft"
    words = [sys.executable, str(ROOT / "scripts" / f"train/{block.method}.py"), "--params", "stages.sft", "seed"]
    words += ["--base", "base", "--mix", "mix", "--work", str(out.parents[1] / "work"), "--out", str(out)]
    words += ["--gpus", str(gpus), "--log", str(out.parents[1] / "log")]
    environment = {**os.environ, "BEZOAR_PARAMS": str(params), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return words, environment, out


def run(project, gpus, **changes):
    words, environment, out = command(project, gpus, **changes)
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    return out


def curve(out):
    return json.loads((out / "history.json").read_text())


def assert_same_curve(one, two):
    assert len(one) == len(two) > 3
    for line, other in zip(one, two, strict=True):
        for key in ("step", "epoch", "loss", "eval_loss", "learning_rate", "grad_norm"):
            assert (line[key] is None) == (other[key] is None), (line["step"], key)
            assert line[key] is None or line[key] == pytest.approx(other[key], rel=1e-4), (line["step"], key)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 4},
        pytest.param({"batch_size": 2, "gradient_accumulation_steps": 2}, marks=pytest.mark.long),
        pytest.param({"tuning": "full", "lora": {}}, marks=pytest.mark.long),
    ],
    ids=["batch", "accumulation", "full"],
)
def test_two_processes_have_the_curve_of_one(project, changes):
    one, two = run(project, 1, **changes), run(project, 2, **changes)
    assert "training in 2 processes" in (two.parents[1] / "log").read_text()
    assert_same_curve(curve(one), curve(two))
    assert json.loads((one / "rows.json").read_text()) == json.loads((two / "rows.json").read_text())
    name = "model.safetensors" if changes.get("tuning") else "adapter_model.safetensors"
    expected, found = load_file(one / name), load_file(two / name)
    assert expected.keys() == found.keys()
    assert max((expected[key] - found[key]).abs().max() for key in expected) < 1e-4


@pytest.mark.long
def test_two_processes_stop_at_one_step_and_go_on_from_it(project):
    changes = {"epochs": 10, "save_steps": 10}
    whole = run(project, 2, **changes)
    words, environment, out = command(project, 2, **changes)
    stopped = out.parents[1].with_name("stopped") / "adapters" / "sft"
    words = [word.replace(str(out.parents[1]), str(stopped.parents[1])) for word in words]
    log = stopped.parents[1] / "log"
    with subprocess.Popen(words, cwd=project, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not (stopped.parents[1] / "work" / "history.json").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM, said[-6000:]
    assert not stopped.exists()
    assert "ended by SIGTERM" in log.read_text()
    done = subprocess.run(words, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    assert "resume from" in log.read_text()
    for name in ("adapter_model.safetensors", "history.json"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.long
@pytest.mark.skipif(not landlock.limits_tcp(), reason="this kernel can't refuse connections")
def test_two_processes_train_in_a_closed_room(project, monkeypatch):
    monkeypatch.chdir(project)
    expected = run(project, 1, batch_size=4)
    out = "data/adapters/sft"
    script = installed.find("scripts/train/sft.py")
    words = f"python {script} --params stages.sft seed --base base --mix mix --work scratch/train/sft --out {out}"
    words = f"{words} --gpus 2 --log logs/train/sft.log".split()
    inputs = ("base", "mix/train.jsonl", "mix/eval.jsonl")
    step = Step("train", ("sft",), 1, inputs, "0" * 64, (out,), out, (out,), {}, typed_digest({}), {}, script)
    Path("params.yaml").write_text(yaml.safe_dump({"seed": 0, "stages": {"sft": stage().model_dump(mode="json")}}))
    closures = Closures(Hasher())
    files, prints = {script: closures.contents(script)}, {script: closures.print_of(script)}
    Run(os.path.abspath(".dvc/cache"), "params.yaml", False, files, prints, {}, "two").write()
    around = Surroundings((out,), ("logs/train/sft.log",), Network(local=True))
    PlannedJob(step, words, True, [], around).write()
    main = "from bezoar.cli import main; raise SystemExit(main())"
    done = subprocess.run(
        [sys.executable, "-c", main, "exec", out, "--", *words],
        env={**os.environ, "BEZOAR_ISOLATION": "enforce", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        | {"PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert_same_curve(curve(expected), curve(project / out))
    (proof,) = (json.loads(one.read_text()) for one in Path(".dvc/cache/proofs").rglob("*.json"))
    assert proof["made"]["isolation"] == "enforce"
