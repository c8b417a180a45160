"""The memory estimate of a stage: against what torch allocates and autograd keeps, and what is refused."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import yaml
from peft import get_peft_model
from test_training import dpo_stage, sft_stage
from transformers import LlamaConfig, LlamaForCausalLM
from trl.trainer.utils import add_fused_lm_head

from bezoar.errors import InputError
from bezoar.recipe.memory import of_stage
from bezoar.recipe.recipe import Recipe
from bezoar.steps import models
from bezoar.steps.train import memory, preflight, tuning
from bezoar.steps.train.stage import Paths

HIDDEN, INNER, LAYERS, WORDS = 256, 688, 4, 1024
LINEAR = LAYERS * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER)
OTHER = 2 * WORDS * HIDDEN + (2 * LAYERS + 1) * HIDDEN  # embeddings, output layer, norms
ROWS, LENGTH = 4, 64


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A Llama of four layers in two files."""
    folder = tmp_path_factory.mktemp("memory") / "base"
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=8, intermediate_size=INNER
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="8MB")
    return folder


def of(base, stage, **more):
    return memory.estimate(memory.shape_of(base), stage, rows=ROWS, length=LENGTH, **more)


def test_shapes_come_from_the_files_headers(base):
    assert len(list(base.glob("*.safetensors"))) > 1
    found = memory.shape_of(base)
    assert (found.hidden, found.layers, found.vocabulary) == (HIDDEN, LAYERS, WORDS)
    assert (found.weights, found.other) == (LINEAR + OTHER, OTHER)


def test_weights_gradients_and_optimizer_are_counted():
    shape = memory.Shape(8, 1, 16, {"model.layers.0.mlp.up_proj.weight": (32, 8)}, 100)
    lora = {"rank": 4, "alpha": 8, "dropout": 0.0}
    trained = 4 * (32 + 8)
    none = memory.estimate(shape, sft_stage(lora=lora, compute_dtype="bfloat16"), rows=1, length=8)
    assert none.weights == 2 * (32 * 8 + 100) + 4 * trained
    assert (none.gradients, none.optimizer) == (4 * trained, 8 * trained)
    nf4 = memory.estimate(shape, sft_stage(lora=lora, compute_dtype="bfloat16", quantization="nf4"), rows=1, length=8)
    assert nf4.weights == pytest.approx(0.5159 * 32 * 8 + 2 * 100 + 4 * trained, rel=1e-3)
    full = memory.estimate(shape, sft_stage(tuning="full", lora={}, optimizer="rmsprop"), rows=1, length=8)
    assert (full.weights, full.gradients, full.optimizer) == (4 * 356, 4 * 356, 4 * 356)
    pairs = memory.estimate(shape, dpo_stage(tuning="full", lora={}), rows=1, length=8)
    assert (pairs.weights, pairs.activations) == (2 * 4 * 356, 2 * full.activations)  # a reference; two rows a pair
    shared = memory.estimate(shape, sft_stage(tuning="full", lora={}, distributed="fsdp2"), rows=1, length=8, devices=4)
    assert (shared.weights, shared.optimizer) == (356, 2 * 356)


CASES = {
    "lora, float32": {},
    "lora, float32, dropout": {"lora": {"rank": 4, "dropout": 0.1}},
    "lora, bfloat16": {"compute_dtype": "bfloat16"},
    "qlora": {"compute_dtype": "bfloat16", "quantization": "nf4"},
    "lora of attention": {"lora": {"rank": 4, "dropout": 0.0, "target_modules": ["q_proj", "v_proj"]}},
    "full, float32": {"tuning": "full", "lora": {}},
    "full, bfloat16": {"tuning": "full", "lora": {}, "compute_dtype": "bfloat16"},
}


@pytest.mark.parametrize("case", CASES)
def test_the_estimate_of_activations_is_what_autograd_keeps(base, case):
    stage = sft_stage(**{"lora": {"rank": 4, "dropout": 0.0}} | CASES[case])
    model = tuning.starting_model(base, None, stage)
    add_fused_lm_head(model)
    if stage.tuning == "lora":
        model = get_peft_model(model, tuning.lora(stage))
    own = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.arange(ROWS * LENGTH).reshape(ROWS, LENGTH) % WORDS
    half = stage.tuning == "full" and stage.compute_dtype == "bfloat16"
    autocast = torch.autocast("cpu", torch.bfloat16) if half else nullcontext()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor), autocast:
        model.train()(input_ids=ids, labels=ids, fused_lm_head=True)
    weights_in_half = 2 * (LINEAR + OTHER) if half else 0
    expected = of(base, stage).activations
    measured = sum(kept.values()) - weights_in_half
    print(f"{case}: estimate {expected / 1e6:.1f} MB, kept {measured / 1e6:.1f} MB, {expected / measured:.2f}")
    assert memory.SURE < measured / expected < 1 / memory.SURE


def test_checkpointing_keeps_one_layer_and_the_inputs_of_all(base):
    whole, inputs = of(base, sft_stage()), of(base, sft_stage(gradient_checkpointing=True))
    assert inputs.activations < whole.activations / 2


def test_less_than_a_hundredth_of_a_gib_is_said_in_mib():
    found = memory.Memory(weights=3 << 20, gradients=1 << 19, optimizer=0, activations=1 << 30, logits=0.01 * (1 << 30))
    assert str(found) == (
        "1.01 GiB: weights 3.00 MiB, gradients 0.50 MiB, optimizer 0.00 MiB, activations 1.00 GiB, logits 0.01 GiB"
    )


def test_what_cannot_fit_is_refused_with_its_parts(base):
    found = of(base, sft_stage())
    memory.check("sft_lamini", found, int(found.total), "the GPU")
    with pytest.raises(InputError, match="sft_lamini doesn't fit into the memory of the GPU") as refused:
        memory.check("sft_lamini", found, int(found.least) - 1, "the GPU")
    assert "weights 0.0" in str(refused.value)
    assert "gradient_checkpointing: true" in str(refused.value)


def test_a_folder_without_a_known_shape_has_no_estimate(tmp_path, base):
    assert memory.shape_of(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "other"}))
    (tmp_path / "model.safetensors").write_bytes((next(base.glob("*.safetensors"))).read_bytes())
    assert memory.shape_of(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps(json.loads((base / "config.json").read_text())))
    nested = b"[" * 200_000
    for wrong in (b"\xff" * 20, len(nested).to_bytes(8, "little") + nested):
        (tmp_path / "model.safetensors").write_bytes(wrong)
        with pytest.raises(InputError, match="not a model directory"):
            memory.shape_of(tmp_path)


def test_main_memory_is_that_of_the_control_group(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemFree: 5 kB\nMemTotal:   2000 kB\n")
    assert memory.main_memory(tmp_path) == 2_048_000
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    for text, expected in (("max\n", 2_048_000), ("1000000\n", 1_000_000), ("9000000\n", 2_048_000)):
        (tmp_path / "sys/fs/cgroup/memory.max").write_text(text)
        assert memory.main_memory(tmp_path) == expected


def test_the_device_of_a_model_here_is_known():
    assert memory.main_memory() > memory.GIB
    assert models.device().type in ("cpu", "cuda")


@pytest.mark.parametrize(
    ("changes", "on_gpu", "bfloat16", "expected"),
    [
        ({"compute_dtype": "bfloat16"}, True, True, None),
        ({"compute_dtype": "bfloat16"}, True, False, "compute_dtype: float16"),
        ({"compute_dtype": "bfloat16"}, False, False, None),
        ({"compute_dtype": "float16"}, True, False, None),
        ({"compute_dtype": "float16"}, False, False, "compute_dtype: float32 or bfloat16"),
        ({"attention": "flash_attention_2"}, False, False, "attention: sdpa"),
        ({"attention": "eager"}, False, False, None),
    ],
)
def test_a_number_format_or_attention_that_the_device_lacks_is_refused(changes, on_gpu, bfloat16, expected):
    found = preflight.unfit(sft_stage(**changes), on_gpu=on_gpu, bfloat16=bfloat16)
    assert (found is None) if expected is None else (expected in found[2])


def test_a_stage_that_cannot_fit_is_refused_before_anything_is_loaded(base, tmp_path, monkeypatch):
    paths = Paths(base, None, tmp_path / "mix", tmp_path / "work", tmp_path / "sft")
    preflight.check(paths, sft_stage())
    monkeypatch.setattr(memory, "main_memory", lambda: 1 << 20)
    with pytest.raises(InputError, match="doesn't fit into the memory of this machine"):
        preflight.check(paths, sft_stage())
    assert not paths.mix.exists()


def test_a_plan_shows_the_memory_of_each_stage_by_its_base_model(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = yaml.safe_load((Path(__file__).parents[2] / "recipes" / "tiny.yaml").read_text())
    recipe = Recipe.model_validate(values | {"resources": {"train-sft_orca": {"gpus": 2}}})
    assert of_stage(recipe, "sft_orca", 0) == "known when data/base/tiny_llama is there"
    (tmp_path / "data/base").mkdir(parents=True)
    (tmp_path / "data/base/tiny_llama").symlink_to(base)
    said = of_stage(recipe, "sft_orca", 0)  # it continues sft_lamini, which starts from tiny_llama
    assert said.startswith("at most about 0.")
    assert "logits" in said
    assert of_stage(recipe, "sft_orca", 2).endswith(", on each of 2 devices")
