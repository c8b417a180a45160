"""Training: what the loss is on, where DPO starts, what a killed run resumes from, and equal bytes for equal runs."""

import json
import math
import os
import shutil
import signal
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from safetensors.torch import save_file
from templates import Words, answered, said, student_prompt
from transformers import TrainerCallback, TrainerState
from trl import DPOConfig, SFTConfig

from bezoar.files import digest, rounded
from bezoar.steps import models
from bezoar.steps.data.rows import write_rows
from bezoar.steps.train import conversations, curves, dpo, sft, training, tuning
from bezoar.steps.train.dpo import Dpo
from bezoar.steps.train.sft import Sft
from bezoar.steps.train.stage import Paths

TINY = yaml.safe_load((Path(__file__).parents[2] / "recipes" / "tiny.yaml").read_text())["stages"]
SYSTEM = "Be kind."
RESPONSES = ["An apple.", "A rather longer answer\n\nabout two apples", "Pears.", "Plums and figs."]
END = 2  # the end token of the random model


@pytest.fixture(scope="module")
def folder(random_llama, tmp_path_factory):
    """A two-layer model with random weights."""
    return random_llama(tmp_path_factory.mktemp("training") / "base", [student_prompt("Name a fruit.", SYSTEM)])


@pytest.fixture(scope="module")
def mixes(tmp_path_factory):
    """Folders of a mix for SFT and of one for DPO."""
    root = tmp_path_factory.mktemp("mixes")
    prompts = [said(f"Name fruit {number}.", system=SYSTEM) for number in range(4)]
    answers = [[{"role": "assistant", "content": text}] for text in RESPONSES]
    chats = [{"id": "a", "prompt": one, "completion": text} for one, text in zip(prompts, answers, strict=True)]
    rejected = [{"role": "assistant", "content": "No."}]
    pairs = [
        {"id": "a", "prompt": one, "chosen": text, "rejected": rejected}
        for one, text in zip(prompts, answers, strict=True)
    ]
    for name, rows in (("sft", chats), ("dpo", pairs)):
        write_rows(root / name / "train.jsonl", rows)
        write_rows(root / name / "eval.jsonl", rows[:2])
    return root


def sft_stage(**changes):
    small = {"batch_size": 2, "epochs": 3, "quantization": "none", "save_steps": 2, "lora": LORA}
    return Sft.model_validate(TINY["sft_lamini"] | small | changes)


def dpo_stage(**changes):
    return Dpo.model_validate(TINY["dpo_hh"] | {"batch_size": 2, "lora": LORA} | changes)


LORA = {"rank": 4, "alpha": 8, "dropout": 0.1, "target_modules": "all-linear"}


def paths_of(folder, mix, root):
    """Where a run's inputs and outputs are."""
    return Paths(base=folder, adapter=None, mix=mix, work=root / "work", out=root / "adapter")


def sft_trainer(folder, mixes, root, stage):
    """The trainer of scripts/train/sft.py."""
    return sft.trainer_of(paths_of(folder, mixes / "sft", root), stage, 0)


def dpo_trainer(folder, mixes, root, stage):
    """The trainer of scripts/train/dpo.py."""
    return dpo.trainer_of(paths_of(folder, mixes / "dpo", root), stage, 0)


# --- Data and loss --------------------------------------------------------------------------------------------------


def test_the_loss_is_on_the_response_and_one_end_token(folder, mixes, tmp_path):
    trainer = sft_trainer(folder, mixes, tmp_path, sft_stage())
    tokenizer = models.load_tokenizer(folder)
    (batch,) = trainer.get_eval_dataloader()
    assert len(batch["labels"]) == 2
    for labels, ids, response in zip(batch["labels"], batch["input_ids"], RESPONSES[:2], strict=True):
        learned = labels[labels != -100].tolist()
        assert learned == [*tokenizer(response, add_special_tokens=False).input_ids, END]
        assert ids.tolist().count(END) == 1
        assert torch.equal(ids[labels != -100], labels[labels != -100])
    # the shorter row is filled up, and what fills it is neither seen nor learned
    assert (batch["attention_mask"] == 0).any()
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()


def test_the_model_sees_the_prompts_bytes(folder, mixes, tmp_path):
    trainer = sft_trainer(folder, mixes, tmp_path, sft_stage())
    (batch,) = trainer.get_eval_dataloader()
    tokenizer = models.load_tokenizer(folder)
    for number in range(2):
        seen = batch["input_ids"][number][batch["attention_mask"][number] == 1]
        expected = student_prompt(f"Name fruit {number}.", SYSTEM) + RESPONSES[number]
        assert tokenizer.decode(seen, skip_special_tokens=True) == expected


def test_dpo_starts_at_log_2(folder, mixes, tmp_path):
    # a fresh adapter adds nothing, so policy and reference agree: -log(sigmoid(beta * 0)) = log 2
    trainer = dpo_trainer(folder, mixes, tmp_path, dpo_stage(sft_weight=0.0))
    scores = trainer.evaluate()
    assert scores["eval_loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert scores["eval_rewards/margins"] == pytest.approx(0, abs=1e-6)


class Toy:
    """A policy that gives a chosen answer of 5 tokens -10 nats and a rejected one of 8 tokens -12, evenly."""

    def __call__(self, **_):
        log_probs = torch.tensor([[-2.0] * 5 + [0.0] * 3, [-1.5] * 8])
        return SimpleNamespace(log_probs=log_probs, entropy=log_probs, mean_logits=log_probs, is_top1=log_probs > 0)


@pytest.mark.parametrize(
    ("loss", "label_smoothing", "expected"),
    [
        ("sigmoid", 0.0, 0.620957),
        ("robust", 0.0, 0.620957),
        ("robust", 0.1, 0.602207),
    ],
)
def test_label_smoothing_is_the_robust_losses(folder, mixes, tmp_path, loss, label_smoothing, expected):
    # The reference gives -11 and -11.5, so policy and reference differ by 0.1 * ((-10 + 11) - (-12 + 11.5)) = 0.15.
    right, flipped = math.log(1 + math.exp(-0.15)), math.log(1 + math.exp(0.15))
    share = label_smoothing
    assert ((1 - share) * right - share * flipped) / (1 - 2 * share) == pytest.approx(expected, abs=1e-6)
    stage = dpo_stage(sft_weight=0.0, beta=0.1, loss=loss, label_smoothing=label_smoothing)
    trainer = dpo_trainer(folder, mixes, tmp_path, stage)
    trainer.precompute_ref_logps = True
    inputs = {
        "input_ids": torch.ones(2, 9, dtype=torch.long),
        "completion_mask": torch.tensor([[0] + [1] * 5 + [0] * 3, [0] + [1] * 8]),
        "ref_chosen_logps": torch.tensor([-11.0]),
        "ref_rejected_logps": torch.tensor([-11.5]),
    }
    trainer.model.eval()
    assert trainer._compute_loss(Toy(), inputs, False).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kept", [True, False])
def test_trl_takes_the_settings_without_a_word_of_deprecation(tmp_path, kept):
    for kind, stage in ((SFTConfig, sft_stage), (DPOConfig, dpo_stage)):
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            config = kind(**training.settings(stage(gradient_checkpointing=kept), 0, tmp_path))
        assert config.gradient_checkpointing is kept  # as TRL reads it


def test_the_plain_loss_is_added_by_its_weight():
    assert dpo.losses(dpo_stage(sft_weight=0.0)) == {"loss_type": ["sigmoid"]}
    assert dpo.losses(dpo_stage(sft_weight=0.0, loss="robust")) == {"loss_type": ["robust"]}
    assert dpo.losses(dpo_stage(sft_weight=0.25)) == {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.25]}


def test_an_adapter_that_is_carried_on_gets_no_fresh_one():
    assert tuning.lora(sft_stage(continue_adapter=True)) is None
    fresh = tuning.lora(sft_stage())
    assert (fresh.r, fresh.lora_alpha, fresh.lora_dropout, fresh.bias) == (4, 8, 0.1, "none")


def test_only_columns_of_messages_reach_the_trainer(mixes):
    columns = ("prompt", "chosen", "rejected")
    assert training.examples(mixes / "dpo" / "train.jsonl", columns).column_names == list(columns)


# --- Whole runs -----------------------------------------------------------------------------------------------------


class Stop(TrainerCallback):
    """Ends a run at a step as a killed process does: nothing is tidied up. Or asks it to end, by a signal."""

    def __init__(self, step, signal_number=None):
        self.step, self.signal_number = step, signal_number

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step and self.signal_number:
            os.kill(os.getpid(), self.signal_number)
        elif state.global_step == self.step:
            raise InterruptedError("killed")


@pytest.fixture
def signals():
    """What SIGTERM does to the tests' own process is as before afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def trained(folder, mixes, root, stage, stop=None):
    """Run scripts/train/sft.py's trainer to its end, or until a callback ends it; the adapter's folder."""
    paths = paths_of(folder, mixes / "sft", root)
    trainer = sft.trainer_of(paths, stage, 0)
    if stop:
        trainer.add_callback(stop)
    training.run(trainer, paths, stage, 0)
    return paths.out


@pytest.mark.parametrize("changes", [{}, {"quantization": "nf4"}, {"packing": True, "max_length": 48}])
def test_resumed_equals_uninterrupted_and_equal_runs_have_equal_bytes(folder, mixes, tmp_path, signals, changes):
    # 4 rows in batches of 2 are 2 steps an epoch, 6 in all; states are saved after steps 2, 4 and 6
    stage = sft_stage(**changes)
    whole = trained(folder, mixes, tmp_path / "whole", stage)
    with pytest.raises(InterruptedError, match="killed"):
        trained(folder, mixes, tmp_path / "resumed", stage, Stop(5))
    assert not (tmp_path / "resumed" / "adapter").exists()
    resumed = trained(folder, mixes, tmp_path / "resumed", stage)
    weights = "adapter_model.safetensors"
    assert (resumed / weights).read_bytes() == (whole / weights).read_bytes()
    again = trained(folder, mixes, tmp_path / "again", stage)
    assert digest(again) == digest(whole)
    assert not (tmp_path / "resumed" / "work").exists()


def test_sigterm_saves_the_state_and_the_next_run_goes_on_from_it(folder, mixes, tmp_path, signals):
    stage = sft_stage(save_steps=10, epochs=10)  # 20 steps, of which every tenth is logged
    whole = trained(folder, mixes, tmp_path / "whole", stage)
    with pytest.raises(SystemExit) as ended:
        trained(folder, mixes, tmp_path / "asked", stage, Stop(3, signal.SIGTERM))
    assert ended.value.code == 128 + signal.SIGTERM
    assert [path.name for path in (tmp_path / "asked" / "work").glob("checkpoint-*")] == ["checkpoint-10"]
    assert not (tmp_path / "asked" / "adapter").exists()
    assert digest(trained(folder, mixes, tmp_path / "asked", stage)) == digest(whole)


def test_sigterm_before_the_last_step_does_not_end_a_run_that_is_done(folder, mixes, tmp_path, signals):
    stage = sft_stage(save_steps=10)  # 6 steps
    assert trained(folder, mixes, tmp_path, stage, Stop(5, signal.SIGTERM)).is_dir()


def test_an_adapter_holds_its_weights_and_a_history_without_times(folder, mixes, tmp_path):
    from dvc.render.converter.vega import _is_datapoints  # slow to import

    out = trained(folder, mixes, tmp_path, sft_stage(epochs=1))
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "history.json",
        "rows.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert (out / "chat_template.jinja").read_bytes() == (folder / "chat_template.jinja").read_bytes()
    history = json.loads((out / "history.json").read_text())
    assert [line["step"] for line in history] == [0, 2, 2]  # before training, the last step, and what it led to
    assert [line["loss"] is None for line in history] == [True, False, True]
    assert [line["eval_loss"] is None for line in history] == [False, True, False]
    assert _is_datapoints(history)  # else `dvc plots show` draws nothing
    assert not [name for line in history for name in line if "runtime" in name or "second" in name]
    assert history == rounded(history)
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}


# --- Saved states ---------------------------------------------------------------------------------------------------

STAGE = sft_stage()
IDENTITY = {"stage": {"beta": 0.1}, "seed": 0}


def state(work, step):
    """A whole saved state."""
    folder = work / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    for name in training.state_files(sft_stage()):
        (folder / name).write_text("{}")
    save_file({"weight": torch.zeros(1)}, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture
def work(tmp_path):
    """A work folder of the run IDENTITY, with states of steps 9 and 10."""
    folder = tmp_path / "work"
    assert training.saved_state(folder, IDENTITY, STAGE) is None
    state(folder, 9)
    state(folder, 10)
    return folder


def test_the_newest_state_is_taken(work):
    assert training.saved_state(work, IDENTITY, STAGE) == work / "checkpoint-10"


@pytest.mark.parametrize("name", [*training.state_files(sft_stage()), "adapter_model.safetensors"])
def test_a_state_that_lacks_a_file_is_passed_over(work, name):
    (work / "checkpoint-10" / name).unlink()
    assert training.saved_state(work, IDENTITY, STAGE) == work / "checkpoint-9"


@pytest.mark.parametrize("content", [b"", b"half a file"])
def test_a_state_whose_adapter_does_not_open_is_passed_over(work, content):
    (work / "checkpoint-10" / "adapter_model.safetensors").write_bytes(content)
    assert training.saved_state(work, IDENTITY, STAGE) == work / "checkpoint-9"


def test_without_a_whole_state_a_run_starts_from_the_beginning(work):
    for number in (9, 10):
        (work / f"checkpoint-{number}" / "optimizer.pt").unlink()
    assert training.saved_state(work, IDENTITY, STAGE) is None


def test_states_of_another_run_are_thrown_away(work):
    assert training.saved_state(work, IDENTITY | {"seed": 1}, STAGE) is None
    assert [path.name for path in work.iterdir()] == ["identity.json"]


def test_states_of_an_unknown_run_are_thrown_away(work):
    (work / "identity.json").unlink()
    assert training.saved_state(work, IDENTITY, STAGE) is None
    assert not list(work.glob("checkpoint-*"))
    shutil.rmtree(work)
    assert training.saved_state(work, IDENTITY, STAGE) is None


def test_rows_that_do_not_fit_are_counted(tmp_path):
    path = tmp_path / "train.jsonl"
    rows = [
        answered("a b", "c"),  # 6 + 2 + 1 words and the end: fits
        answered("a b", "c d"),  # one too many: cut
        answered("a b c d", "e"),  # the prompt alone fills 10: dropped
    ]
    write_rows(path, rows)
    tokenizer = Words()
    ends = tokenizer("<end>", add_special_tokens=False).input_ids
    found = conversations.count(path, tokenizer, ends, 10, every_turn=True)
    # 10 tokens of each of the first two rows, the last 2 of them of the answer
    assert found == {"rows": 3, "cut": 1, "dropped": 1, "tokens": 20, "trained_tokens": 4}


def test_figures_that_are_not_finite_can_still_be_written():
    figures = {"loss": 0.5, "grad_norm": math.inf, "epoch": 1, "train_runtime": 3.0}
    assert curves.repeatable(figures) == {"loss": 0.5, "grad_norm": None, "epoch": 1}


def test_the_log_of_a_training_says_tokens_per_second(monkeypatch, caplog):
    clock = iter([0.0, 2.0, 12.0, 18.0])  # at the start, and at each logged step
    monkeypatch.setattr(training.time, "monotonic", lambda: next(clock))
    log, state = training.LogCallback("sft"), TrainerState(max_steps=100)
    with caplog.at_level("INFO", logger="bezoar"):
        log.on_train_begin(None, state, None)
        for step, tokens in ((10, 500), (20, 3500), (30, 3500)):
            state.global_step = step
            log.on_log(None, state, None, {"loss": 0.5, "num_tokens": tokens})
    assert caplog.messages == [
        "train sft: from step 0 to 100",
        "train sft: step 20 of 100, loss 0.500 nats, 300 tokens/s, 0.8 min left",
        "train sft: step 30 of 100, loss 0.500 nats, 0.7 min left",
    ]
