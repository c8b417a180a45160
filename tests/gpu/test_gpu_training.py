"""Training on a GPU: steps of a 3B-shaped random Llama, their speed and memory, half precision, and two devices.

Each test of a size prints tokens a second, the share of the GPU's peak (MFU), and the estimate beside measured memory.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from bezoar.steps import models
from bezoar.steps.data.rows import write_rows
from bezoar.steps.train import memory, sft, training
from bezoar.steps.train.sft import Sft
from bezoar.steps.train.stage import Paths

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")]
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40": 181e12, "4090": 165e12}  # bfloat16, dense, FLOP a second
LENGTH, ROWS, STEPS, WARM = 512, 4, 12, 4
COMMON = {
    "method": "sft", "init_from": "base", "mix": "words", "batch_size": ROWS, "max_length": LENGTH, "epochs": 1.0,
    "gradient_checkpointing": True, "save_steps": 1000, "learning_rate": 1e-4,
}  # fmt: skip
STAGES = {
    "qlora": {"quantization": "nf4", "optimizer": "paged_adamw_32bit"},
    "lora": {},
    "full": {"tuning": "full", "lora": {}, "learning_rate": 1e-5},
}


@pytest.fixture(scope="module")
def base(random_llama: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of OpenLLaMA 3B's shape; its tokenizer knows a few words."""
    root = tmp_path_factory.mktemp("gpu")
    small = random_llama(root / "small", ["one two three four five six"])
    config = LlamaConfig(
        vocab_size=32_000, hidden_size=3_200, num_hidden_layers=26, num_attention_heads=32, intermediate_size=8_640,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with torch.device("cuda"):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(root / "base")
    models.load_tokenizer(small).save_pretrained(root / "base")
    return root / "base"


@pytest.fixture(scope="module")
def mix(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that are all longer than max_length, so that each step has as many tokens."""
    folder = tmp_path_factory.mktemp("gpu_mix") / "words"
    rows = [
        {
            "id": str(number),
            "prompt": [{"role": "user", "content": f"one two {number}"}],
            "completion": [{"role": "assistant", "content": "four five six " * LENGTH}],
        }
        for number in range(ROWS * STEPS)
    ]
    write_rows(folder / "train.jsonl", rows)
    write_rows(folder / "eval.jsonl", rows[:ROWS])
    return folder


class Clock(TrainerCallback):
    """The time of the steps after the first few, and the loss of each."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        torch.cuda.synchronize()
        if state.global_step == WARM:
            self.start = time.perf_counter()
        self.seconds = time.perf_counter() - getattr(self, "start", 0.0)


@pytest.mark.parametrize("kind", STAGES)
def test_steps_of_a_3b_model(base: Path, mix: Path, tmp_path: Path, kind: str) -> None:
    stage = Sft.model_validate(COMMON | STAGES[kind])
    shape = memory.shape_of(base)
    assert shape
    expected = memory.estimate(shape, stage, rows=ROWS, length=LENGTH, autocast=True)
    available = torch.cuda.get_device_properties(0).total_memory
    if expected.total > 0.95 * available:
        pytest.skip(f"about {expected}, and this GPU has {available / memory.GIB:.0f} GiB")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    paths = Paths(base, None, mix, tmp_path / "work", tmp_path / "adapter")
    trainer, clock = sft.trainer_of(paths, stage, 0), Clock()
    trainer.add_callback(clock)
    training.run(trainer, paths, stage, 0)
    peak = torch.cuda.max_memory_allocated() - before
    speed = (STEPS - WARM) * ROWS * LENGTH / clock.seconds
    flops = speed * shape.weights * (6 if kind == "full" else 4)  # frozen weights have no gradients of their own
    most = next((one for name, one in PEAK.items() if name in torch.cuda.get_device_name()), None)
    share = f"MFU {flops / most:.1%}" if most else "MFU unknown for this GPU"
    print(
        f"{kind} on {torch.cuda.get_device_name()}: {speed:,.0f} tokens/s, {share}, peak {peak / memory.GIB:.2f} GiB, "
        f"estimate {expected}"
    )
    losses = [line["loss"] for line in json.loads((paths.out / "history.json").read_text()) if line["loss"] is not None]
    assert losses[-1] < 11  # log(32,000) is 10.4: it runs, and doesn't diverge
    assert memory.SURE < peak / expected.total < 1 / memory.SURE


def test_float16_is_trained_with_loss_scaling(random_llama: Callable[..., Path], mix: Path, tmp_path: Path) -> None:
    folder = random_llama(tmp_path / "base", ["one two three four five six"])
    stage = Sft.model_validate(COMMON | {"compute_dtype": "float16", "save_steps": 4})
    paths = Paths(folder, None, mix, tmp_path / "work", tmp_path / "adapter")
    trainer = sft.trainer_of(paths, stage, 0)
    assert trainer.accelerator.scaler is not None
    training.run(trainer, paths, stage, 0)
    history = json.loads((paths.out / "history.json").read_text())
    assert history[-1]["eval_loss"] < history[0]["eval_loss"]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU on this machine")
@pytest.mark.parametrize("distributed", ["ddp", "fsdp2"])
@pytest.mark.parametrize("tuning", [{}, {"tuning": "full", "lora": {}}], ids=["lora", "full"])
def test_two_gpus_have_the_curve_of_one(
    random_llama: Callable[..., Path], mix: Path, tmp_path: Path, distributed: str, tuning: dict[str, Any]
) -> None:
    import os
    import subprocess
    import sys

    import yaml

    random_llama(tmp_path / "base", ["one two three four five six"])
    stage = COMMON | {"compute_dtype": "float32", "distributed": distributed, "gradient_checkpointing": False} | tuning
    stage |= {"lora": {"rank": 4, "dropout": 0.0}} if not tuning else {}
    block = Sft.model_validate(stage).model_dump(mode="json")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"seed": 0, "stages": {"sft": block}}))
    script = Path(__file__).parents[2] / "scripts/train/sft.py"
    curves = {}
    for gpus in (1, 2):
        out = tmp_path / str(gpus) / "sft"
        words = [sys.executable, str(script), "--params", "stages.sft", "seed", "--base", "base", "--mix", str(mix)]
        words += ["--work", f"work{gpus}", "--out", str(out), "--gpus", str(gpus)]
        done = subprocess.run(words, cwd=tmp_path, env={**os.environ}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        curves[gpus] = json.loads((out / "history.json").read_text())
    for one, two in zip(curves[1], curves[2], strict=True):
        for key in ("loss", "eval_loss"):
            assert (one[key] is None) == (two[key] is None)
            assert one[key] is None or one[key] == pytest.approx(two[key], rel=1e-3)
