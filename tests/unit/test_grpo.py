"""Group relative policy optimisation: advantages, rewards, what a killed run resumes from, and what is refused."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import ValidationError
from templates import said, student_prompt
from test_training import LORA, Stop, paths_of
from test_training import signals as signals  # a fixture
from test_tuning import history_of

from bezoar import world
from bezoar.errors import InputError
from bezoar.files import digest
from bezoar.recipe.load import load
from bezoar.steps import chat, models
from bezoar.steps.data.rows import write_rows
from bezoar.steps.train import groups, grpo, memory, training
from bezoar.steps.train.grpo import Grpo
from bezoar.steps.train.rewards.exact_match import ExactMatch
from bezoar.steps.train.rewards.format import Format
from bezoar.steps.train.rewards.verifier import Verifier

ROOT = Path(__file__).parents[2]
SYSTEM = "Be kind."
LETTER = {"kind": "format", "pattern": "(?s).*e.*"}  # about a third of a random model's answers have an `e`
FULL = {"tuning": "full", "lora": {}}
TWICE = {"num_iterations": 2, "gradient_accumulation_steps": 2, "epochs": 4}  # two steps on the same answers
COMMON = {
    "method": "grpo", "init_from": "base", "mix": "fruit", "compute_dtype": "float32", "merged_dtype": "float32",
    "lora": LORA, "learning_rate": 1e-2, "batch_size": 4, "group_size": 4, "max_new_tokens": 6, "max_length": 64,
    "rewards": [LETTER], "save_steps": 2, "epochs": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(random_llama, tmp_path_factory):
    """A two-layer model with random weights."""
    return random_llama(tmp_path_factory.mktemp("grpo") / "base", [student_prompt("Name a fruit.", SYSTEM)])


@pytest.fixture(scope="module")
def mix(tmp_path_factory):
    """A mix of five prompts to train on and three that are held out."""
    root = tmp_path_factory.mktemp("fruit")
    prompts = [said(f"Name fruit {number}.", system=SYSTEM) for number in range(8)]
    rows = [{"id": str(n), "prompt": one, "completion": said("", "Plum")[1:]} for n, one in enumerate(prompts)]
    write_rows(root / "train.jsonl", rows[:5])
    write_rows(root / "eval.jsonl", rows[5:])
    return root


def stage_of(**changes):
    return Grpo.model_validate(COMMON | changes)


def trained(folder, mix, root, stage, stop=None):
    """Run scripts/train/grpo.py's trainer to its end, or until a callback ends it; the adapter's folder."""
    paths = paths_of(folder, mix, root)
    trainer = grpo.trainer_of(paths, stage, 0)
    if stop:
        trainer.add_callback(stop)
    training.run(trainer, paths, stage, 0)
    return paths.out


def figures(out, name):
    """The values of a figure in a history, by step."""
    return {line["step"]: line[name] for line in history_of(out) if line.get(name) is not None}


# --- Advantages -----------------------------------------------------------------------------------------------------


def test_advantages_are_by_the_deviation_of_a_sample_plus_a_ten_thousandth(folder, mix, tmp_path):
    trainer = grpo.trainer_of(paths_of(folder, mix, tmp_path), stage_of(), 0)
    row = trainer.train_dataset[0]
    right, wrong = 1 - 0.5, 0 - 0.5  # rewards 1, 0, 0, 1 have the mean 1/2
    population, sample = math.sqrt(4 * 0.25 / 4), math.sqrt(4 * 0.25 / 3)
    assert (right / population, right / sample) == pytest.approx((1, 0.866025), abs=1e-6)
    assert right / (sample + 1e-4) == pytest.approx(0.865875, abs=1e-6)
    for rewards, expected in (([1, 0, 0, 1], [right, wrong, wrong, right]), ([1, 1, 1, 1], [0] * 4)):
        trainer.reward_funcs = [lambda rewards=rewards, **_: rewards]
        found = trainer._generate_and_score_completions([row] * 4)["advantages"].tolist()
        assert found == pytest.approx([one / (sample + 1e-4) for one in expected], abs=1e-6)
    trainer.scale_rewards = "none"
    trainer.reward_funcs = [lambda **_: [1, 0, 0, 1]]
    assert trainer._generate_and_score_completions([row] * 4)["advantages"].tolist() == [right, wrong, wrong, right]


def test_prompts_are_the_templates_bytes_and_answers_are_drawn_without_dropout(folder, mix, tmp_path):
    stage = stage_of(lora={"rank": 4, "dropout": 0.5})
    trainer = grpo.trainer_of(paths_of(folder, mix, tmp_path), stage, 0)
    tokenizer = models.load_tokenizer(folder)
    prompts = trainer.train_dataset["prompt"][:2]
    found, *_ = trainer._tokenize_prompts(list(prompts))
    assert found == [chat.ids(tokenizer, one, prompt=True) for one in prompts]
    assert tokenizer.decode(found[0], skip_special_tokens=True) == student_prompt("Name fruit 0.", SYSTEM)
    assert {one.p for one in trainer.model.modules() if isinstance(one, torch.nn.Dropout)} <= {0}


@pytest.mark.long
@pytest.mark.parametrize("changes", [{}, {**FULL, "learning_rate": 1e-3}])
def test_the_reference_is_the_model_at_the_start(folder, mix, tmp_path, signals, changes):
    out = trained(folder, mix, tmp_path, stage_of(beta=0.1, **changes))
    kl = figures(out, "eval_kl")
    assert kl[0] == pytest.approx(0, abs=1e-9)
    assert kl[10] > 1e-6


# --- Whole runs -----------------------------------------------------------------------------------------------------


def test_each_epoch_has_an_order_of_its_own_that_only_its_number_decides():
    order = groups.Order(range(5), 2, 2, 1, seed=0)
    epochs = []
    for epoch in (0, 1, 2, 1):
        order.set_epoch(epoch)
        epochs.append(list(order))
    assert epochs[1] == epochs[3]
    assert epochs[0] != epochs[1] != epochs[2]
    assert all(len(one) == 8 and one[::2] == one[1::2] for one in epochs)  # 2 steps of 2 prompts, each twice; 1 left


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"batch_size": 8, "save_steps": 1, "max_new_tokens": 3}, 4),  # two steps an epoch, of two prompts each
        pytest.param({}, 7, marks=pytest.mark.long),  # five steps an epoch
        pytest.param({**TWICE, "beta": 0.1}, 7, marks=pytest.mark.long),
    ],
)
def test_a_run_that_is_killed_in_its_second_epoch_ends_with_the_same_bytes(
    folder,
    mix,
    tmp_path,
    signals,
    changes,
    step,
):
    stage = stage_of(**changes)
    whole = trained(folder, mix, tmp_path / "whole", stage)
    with pytest.raises(InterruptedError, match="killed"):
        trained(folder, mix, tmp_path / "resumed", stage, Stop(step))
    assert not (tmp_path / "resumed" / "adapter").exists()
    assert digest(trained(folder, mix, tmp_path / "resumed", stage)) == digest(whole)
    assert len(set(figures(whole, "reward").values())) > 1


@pytest.mark.long
def test_sigterm_saves_a_state_only_when_no_answers_are_left(folder, mix, tmp_path, signals):
    stage = stage_of(num_iterations=3, save_steps=6, epochs=2)
    assert stage.logging_steps() == 6
    whole = trained(folder, mix, tmp_path / "whole", stage)
    with pytest.raises(SystemExit):
        trained(folder, mix, tmp_path / "asked", stage, Stop(7, signal.SIGTERM))
    assert {one.name for one in (tmp_path / "asked/work").glob("checkpoint-*")} == {"checkpoint-6", "checkpoint-12"}
    assert digest(trained(folder, mix, tmp_path / "asked", stage)) == digest(whole)


@pytest.mark.long
def test_evaluations_draw_the_same_numbers_and_change_nothing_that_is_trained(folder, mix, tmp_path, signals):
    still = trained(folder, mix, tmp_path / "still", stage_of(learning_rate=1e-30, eval_steps=1, epochs=1))
    assert len(set(figures(still, "eval_reward").values())) == 1
    without = trained(folder, mix, tmp_path / "without", stage_of())
    often = trained(folder, mix, tmp_path / "often", stage_of(eval_steps=1))
    name = "adapter_model.safetensors"
    assert (often / name).read_bytes() == (without / name).read_bytes()
    assert list(figures(without, "eval_reward")) == [0, 10]
    assert figures(without, "tokens")[10] == 10 * 4 * (24 + 6)  # steps, answers, and tokens of a prompt and its answer


def test_an_evaluation_weighs_each_row_alike(folder, mix, tmp_path):
    trainer = grpo.trainer_of(paths_of(folder, mix, tmp_path), stage_of(batch_size=2, group_size=2), 0)
    given = iter([[1, 0], [1]])  # three rows in batches of two: a mean of batches would be 0.75
    trainer.reward_funcs = [lambda **_: next(given)]
    found = trainer.evaluate()
    assert found["eval_reward"] == pytest.approx(2 / 3)
    assert found["eval_reward_std"] == pytest.approx(math.sqrt(2) / 3)


@pytest.mark.long
def test_the_best_reward_is_kept_and_patience_counts_it(folder, mix, tmp_path, signals):
    stage = stage_of(keep="best", eval_steps=1, patience=3, learning_rate=0.05)
    out = trained(folder, mix, tmp_path, stage)
    rewards = figures(out, "eval_reward")
    del rewards[0]
    best = max(rewards, key=rewards.get)
    assert len(rewards) == min(10, best + 3)
    assert max(rewards.values()) > min(rewards.values())


@pytest.mark.long
def test_rewards_rise_also_on_held_out_prompts(folder, mix, tmp_path, signals):
    out = trained(folder, mix, tmp_path, stage_of(batch_size=16, epochs=40))
    before, after = figures(out, "eval_reward")[0], max(figures(out, "eval_reward").items())[1]
    rewards = list(figures(out, "reward").values())
    print(f"held-out reward {before:.3f} -> {after:.3f}; of training rows {rewards[0]:.3f} -> {rewards[-1]:.3f}")
    assert sum(rewards[:5]) / 5 < 0.5  # of a random model
    assert sum(rewards[-5:]) / 5 > 0.7
    assert after > before


def test_prompts_that_leave_no_room_are_left_out_and_counted(folder, mix, tmp_path):
    tokenizer, length = models.load_tokenizer(folder), 24
    stage = stage_of(max_length=length + 6)
    assert len(grpo.examples(mix / "train.jsonl", tokenizer, stage, 1)) == 5
    assert stage.count(mix / "train.jsonl", tokenizer, []) == {"rows": 5, "cut": 0, "dropped": 0}
    short = stage_of(max_length=length + 5)
    assert short.count(mix / "train.jsonl", tokenizer, [])["dropped"] == 5
    with pytest.raises(InputError, match=r"too few prompts that leave room(.|\n)*0 of at most 23 tokens"):
        grpo.trainer_of(paths_of(folder, mix, tmp_path), short, 0)


def test_a_step_has_no_more_prompts_than_the_mix(folder, mix, tmp_path):
    with pytest.raises(InputError, match=r"too few prompts(.|\n)*found: +5(.|\n)*expected: 6 or more"):
        grpo.trainer_of(paths_of(folder, mix, tmp_path), stage_of(batch_size=24), 0)


def test_answers_end_before_the_models_last_position(folder, mix, tmp_path):
    with pytest.raises(InputError, match=r"longer than the model's context(.|\n)*at most 2,048 tokens"):
        grpo.trainer_of(paths_of(folder, mix, tmp_path), stage_of(max_length=2049), 0)


def test_the_memory_of_answers_and_of_a_reference_is_counted(folder):
    shape = memory.shape_of(folder)
    few = memory.estimate(shape, stage_of(), rows=4, length=64)
    many = memory.estimate(shape, stage_of(gradient_accumulation_steps=1000), rows=4, length=64)
    assert many.activations == 4000 * 64 * 2 * 2 * 64 * 4 > few.activations  # answers, tokens, layers, K and V, width
    full = stage_of(tuning="full", lora={}, beta=0.1)
    one, two = (memory.estimate(shape, block, rows=4, length=64).weights for block in (stage_of(**FULL), full))
    assert two == 2 * one


@pytest.mark.long
def test_a_run_that_is_really_killed_ends_with_the_same_bytes(folder, mix, tmp_path):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"seed": 0, "stages": {"fruit": COMMON | {"epochs": 8}}}))

    def start(name):
        root = tmp_path / name
        flags = {"base": folder, "mix": mix, "work": root / "work", "out": root / "fruit", "log": root / "log"}
        words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
        command = [sys.executable, str(ROOT / "scripts/train/grpo.py"), "--params", "stages.fruit", "seed", *words]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}  # as a job has it
        return root, subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)

    whole, process = start("whole")
    assert process.wait() == 0
    killed, process = start("killed")
    while not (killed / "work/checkpoint-12/trainer_state.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "fruit").exists()
    _, process = start("killed")
    assert process.wait() == 0
    assert "resume from" in (killed / "log").read_text()
    assert digest(killed / "fruit") == digest(whole / "fruit")


# --- Rewards --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "answer", "reference", "expected"),
    [
        ({}, " An  apple\n", "an apple", 1),
        ({}, "an apple.", "an apple", 0),
        ({"ignore_punctuation": True}, "an apple.", "An: apple!", 1),
        ({"ignore_case": False}, "An apple", "an apple", 0),
        ({}, "ﬁve", "FIVE", 1),  # a ligature
        ({}, "", "an apple", 0),
    ],
)
def test_an_exact_match_is_up_to_white_space_and_what_is_ignored(changes, answer, reference, expected):
    reward = ExactMatch(kind="exact_match", **changes)
    assert reward.score(["Name a fruit."], answer, reference) == expected


def test_a_format_matches_the_whole_answer():
    reward = Format(kind="format", pattern="a+|b")
    assert [reward.score([], text, "") for text in ("aaa", " b\n", "ab", "cb", "")] == [1, 1, 0, 0, 0]
    lines = Format(kind="format", pattern=r"(?s)<think>.*</think>\s*\d+")
    assert lines.score([], "<think>one\ntwo</think>\n42", "") == 1


def test_no_answer_holds_a_format_up():
    reward = Format(kind="format", pattern="(a+)+(a|aa)+$")  # Python's `re` needs more than a lifetime for it
    started = time.process_time()
    assert reward.score([], "a" * 20_000 + "b", "") == 0
    assert time.process_time() - started < 1


def test_the_verifier_rewards_by_its_ratings():
    (row,) = world.build("dolly", 1, 0)
    turns, right = [row["instruction"]], row["response"]
    reward = Verifier(kind="verifier")
    assert world.grade(turns, right).rating == 10
    assert [reward.score(turns, text, "") for text in (right, "")] == [1, 0]


def test_rewards_see_the_dialogue_without_its_system_text_and_two_of_a_kind_have_names(folder, mix, tmp_path):
    rewards = [LETTER, {"kind": "exact_match", "weight": 2.0}, LETTER]
    stage = stage_of(rewards=rewards)
    functions = grpo.functions(stage.rewards)
    assert [one.__name__ for one in functions] == ["format_1", "exact_match", "format_2"]
    seen = []

    class Noted(ExactMatch):
        def score(self, turns, answer, reference):
            seen.append((turns, answer, reference))
            return 1.0

    (noted,) = grpo.functions([Noted(kind="exact_match")])
    answers = [said("", "Plum")[1:]]
    assert noted(prompts=[said("a", "b", "c", system="s")], completions=answers, reference=["Plum"], more=1) == [1.0]
    assert seen == [(["a", "b", "c"], "Plum", "Plum")]
    trainer = grpo.trainer_of(paths_of(folder, mix, tmp_path), stage, 0)
    assert trainer.reward_weights.tolist() == [1.0, 2.0, 1.0]


# --- Refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"group_size": 1}, "greater than or equal to 2"),
        ({"group_size": 3}, "a divisor of batch_size x gradient_accumulation_steps, 4"),
        ({"batch_size": 6}, "a divisor of batch_size x gradient_accumulation_steps, 6"),
        ({"max_new_tokens": 64}, "less than max_length, 64"),
        ({"num_iterations": 4}, "a divisor of save_steps, 2"),
        ({"num_iterations": 2, "keep": "best", "eval_steps": 3}, "a divisor of eval_steps, 3"),
        ({"epsilon": 0.1}, "its default with num_iterations: 1"),
        ({"group_by_length": True}, "false with method grpo"),
        ({"distributed": "fsdp2"}, "ddp with method grpo"),
        ({"rewards": []}, "at least 1 item"),
        ({"rewards": [{"kind": "exact"}]}, "'exact_match', 'format', 'verifier'"),
        ({"rewards": [{"kind": "exact_match", "version": 2}]}, "Input should be 1"),
        ({"rewards": [{"kind": "format", "pattern": "a)(b"}]}, "a regular expression of RE2: unexpected"),
        ({"rewards": [{"kind": "format", "pattern": r"(a)\1{2}"}]}, "a regular expression of RE2: invalid escape"),
    ],
)
def test_a_block_that_cannot_be_trained_is_refused(changes, expected):
    with pytest.raises(ValidationError, match=expected.replace("(", r"\(")):
        stage_of(**changes)


def test_defaults_are_checked_too():
    values = {key: COMMON[key] for key in ("method", "init_from", "mix", "rewards")}
    assert Grpo.model_validate(values).group_size == 8
    with pytest.raises(ValidationError, match="a divisor of batch_size"):
        Grpo.model_validate(values | {"batch_size": 4})
    with pytest.raises(ValidationError, match="less than max_length"):
        Grpo.model_validate(values | {"max_length": 512})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"max_length": 513}, "stages.grpo.max_length: prompts with their answers may be longer than the model's"),
        ({"group_size": 5}, "stages.grpo.group_size: the value does not fit"),
        ({"rewards": [{"kind": "verifyer"}]}, "stages.grpo.rewards.0.kind: unknown kind"),
        ({"rewards": [{"kind": "format", "pattern": "["}]}, "stages.grpo.rewards.0.pattern: the value does not fit"),
        ({"mix": "hh_pairs"}, "stages.grpo.mix: method grpo takes another mix"),
    ],
)
def test_a_recipe_is_checked_before_anything_runs(tmp_path, monkeypatch, changes, expected):
    monkeypatch.chdir(ROOT)
    values = yaml.safe_load((ROOT / "recipes/tiny.yaml").read_text())
    values["stages"]["grpo"] = COMMON | {"init_from": "sft_lamini", "mix": "evol", "max_length": 512} | changes
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values))
    if expected is None:
        assert load(path).stages["grpo"].rewards[0].weight == 1.0
        return
    with pytest.raises(InputError) as refused:
        load(path)
    assert expected in str(refused.value)
    assert json.dumps(str(path))[1:-1] in str(refused.value)
