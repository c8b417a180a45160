"""Preference methods: their losses on a toy, against TRL's where both are the same, their data, and whole runs."""

# ruff: noqa: F401, F811  (fixtures of another file)

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from pydantic import ValidationError
from test_training import LORA, SYSTEM, TINY, Stop, Toy, dpo_stage, folder, mixes, paths_of, signals
from torch.nn.functional import logsigmoid
from trl.experimental.orpo import ORPOTrainer
from trl.experimental.tpo import TPOConfig, TPOTrainer

from bezoar.errors import InputError
from bezoar.files import digest
from bezoar.jsonl import read_json_lines
from bezoar.steps import models
from bezoar.steps.data.rows import write_rows
from bezoar.steps.train import asft, dpo, kto, memory, orpo, pairs, preference, simpo, sppo, tgdpo, tpo, training
from bezoar.steps.train.preference import Answers

METHODS = {
    "simpo": simpo,
    "asft": asft,
    "orpo": orpo,
    "sppo": sppo,
    "tgdpo": tgdpo,
    "tpo": tpo,
    "kto": kto,
}
SHARED = ("init_from", "mix", "compute_dtype", "merged_dtype", "max_length", "epochs", "save_steps")


def stage_of(method, **changes):
    """A stage of a method on the embedded recipe's pairs."""
    small = {name: TINY["dpo_hh"][name] for name in SHARED if name in TINY["dpo_hh"]}
    guide = {"guide": "dpo_hh"} if method == "tgdpo" else {}
    block = getattr(METHODS[method], method.capitalize())
    values = small | {"method": method, "batch_size": 2, "lora": LORA, "learning_rate": 1e-3} | guide | changes
    return block.model_validate(values)


@pytest.fixture(scope="module")
def scored(mixes):
    """Folder of a mix whose rows have scores, win rates and a gold answer."""
    numbers = ((9.0, 4.0, 0.8, 0.3), (7.5, 7.5, 0.5, 0.5), (3.0, 6.0, 0.9, 0.2), (2.0, 1.0, 0.7, 0.1))
    names = ("score_chosen", "score_rejected", "win_rate_chosen", "win_rate_rejected")
    gold = [{"role": "assistant", "content": "Figs, since they are in season and sweet."}]
    rows = [row for _, row in read_json_lines(mixes / "dpo" / "train.jsonl")]
    rows = [row | {"gold": gold} | dict(zip(names, some, strict=True)) for row, some in zip(rows, numbers, strict=True)]
    write_rows(mixes / "scored" / "train.jsonl", rows)
    write_rows(mixes / "scored" / "eval.jsonl", rows[:2])
    return mixes / "scored"


# --- Values on the toy: a chosen answer of 5 tokens with -10 nats, the reference's -11; a rejected one of 8: -12, -11.5


def toy(total, reference, tokens, guide, win_rate):
    """An answer whose nats are spread evenly over its tokens."""
    filler = [0.0] * (8 - tokens)
    return Answers(
        policy=torch.tensor([[total / tokens] * tokens + filler]),
        mask=torch.tensor([[1] * tokens + [0] * (8 - tokens)]),
        reference=torch.tensor([[reference / tokens] * tokens + filler]),
        guide=torch.tensor([[reference / tokens + one for one in guide] + filler]),
        win_rate=torch.tensor([win_rate]),
    )


CHOSEN = toy(-10.0, -11.0, 5, [0.4, 0.4, 0.0, 0.0, -0.2], 1.0)
REJECTED = toy(-12.0, -11.5, 8, [-0.1] * 8, 0.0)
SOFT = (replace(CHOSEN, win_rate=torch.tensor([0.8])), replace(REJECTED, win_rate=torch.tensor([0.3])))


def log1p_exp(value):
    return math.log(1 + math.exp(value))


def odds(mean):
    return math.log(math.exp(mean) / (1 - math.exp(mean)))


@pytest.mark.parametrize(
    ("loss", "expected", "by_hand"),
    [
        (partial(preference.simpo, beta=2.0, gamma_ratio=0.8), 2.671645, log1p_exp(-2 * (-2 + 1.5 - 0.8))),
        (partial(preference.simpo, beta=2.0, gamma_ratio=0.5), 2.126928, log1p_exp(-2 * (-2 + 1.5 - 0.5))),
        (partial(preference.orpo, weight=1.0), 3.042058, 2 + log1p_exp(odds(-1.5) - odds(-2))),
        (partial(preference.orpo, weight=0.1), 2.104206, 2 + 0.1 * log1p_exp(odds(-1.5) - odds(-2))),
        (partial(preference.asft, weight=1.0), 4.252482, 2 + log1p_exp(-odds(-2)) + log1p_exp(odds(-1.5))),
        (partial(preference.sppo, beta=0.1), 18.125, ((1 - 5) ** 2 + (-0.5 + 5) ** 2) / 2),
        (partial(preference.tgdpo, beta=0.1, alpha=0.5), 0.620564, log1p_exp(-0.15085)),
        (partial(preference.tgdpo, beta=0.1, alpha=1e-9), 0.620957, log1p_exp(-0.15)),  # DPO
    ],
)
def test_losses_have_the_values_of_their_equations(loss, expected, by_hand):
    assert by_hand == pytest.approx(expected, abs=1e-6)
    assert loss(CHOSEN, REJECTED).tolist() == pytest.approx([expected], abs=2e-6)


def test_sppo_is_pulled_to_soft_win_rates():
    # (1 - 0.3 / 0.1)^2 and (-0.5 + 0.2 / 0.1)^2, halved
    assert preference.sppo(*SOFT, beta=0.1).tolist() == pytest.approx([(4 + 2.25) / 2], abs=1e-5)


@pytest.mark.parametrize("weight", [1.0, 0.5])
def test_tpo_adds_the_plain_loss_of_the_gold_answer(weight):
    gold = toy(-6.0, -6.0, 4, [0.0] * 4, 1.0)  # 1.5 nats a token
    found = preference.tpo(CHOSEN, REJECTED, gold, beta=0.01, gold_weight=weight)
    assert found.tolist() == pytest.approx([log1p_exp(-0.01 * 2) + weight * 1.5], abs=1e-6)
    found = preference.tpo_l(CHOSEN, REJECTED, gold, beta=2.0, gamma=1.0, gold_weight=weight)
    assert found.tolist() == pytest.approx([2.126928 + weight * 1.5], abs=2e-6)


@pytest.mark.parametrize("loss", [preference.orpo, preference.asft])
def test_odds_of_answers_that_are_certain_are_finite(loss):
    sure = Answers(policy=torch.zeros(1, 3, requires_grad=True), mask=torch.ones(1, 3))
    found = loss(sure, sure, weight=1.0)
    found.backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(sure.policy.grad).all()


# --- The same by TRL


class Even(Toy):
    """The toy's policy, whose distributions have a sum of squares of 1 at each token, for WPO."""

    def __call__(self, **_):
        found = super().__call__()
        found.log_sum_sq_probs = torch.zeros(2, 8)
        return found


@pytest.fixture(scope="module")
def plain(folder, mixes, tmp_path_factory):
    """A trainer of DPO."""
    return dpo.trainer_of(paths_of(folder, mixes / "dpo", tmp_path_factory.mktemp("dpo")), dpo_stage(), 0)


def of_trl(trainer, ld_alpha=None, **changes):
    """The toy's loss by TRL, with a stage's settings of the loss."""
    stage = dpo.Dpo.model_validate(TINY["dpo_hh"] | {"sft_weight": 0.0, "beta": 0.1, "ld_alpha": ld_alpha} | changes)
    options = dpo.options(stage)
    trainer.loss_types = options.pop("loss_type")
    trainer.loss_weights = options.pop("loss_weights", [1.0])
    for name, value in options.items():
        setattr(trainer, name, value)
    trainer.precompute_ref_logps = True
    # of the rejected answer, the 3 tokens beyond the chosen one's 5 count less
    rejected = -11.5 if ld_alpha is None else -11.5 / 8 * (5 + 3 * ld_alpha)
    inputs = {
        "input_ids": torch.ones(2, 9, dtype=torch.long),
        "completion_mask": torch.tensor([[0] + [1] * 5 + [0] * 3, [0] + [1] * 8]),
        "attention_mask": torch.ones(2, 9, dtype=torch.long),
        "ref_chosen_logps": torch.tensor([-11.0]),
        "ref_rejected_logps": torch.tensor([rejected]),
    }
    trainer.model.eval()
    return trainer._compute_loss(Even(), inputs, False).item()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.620957),
        ({"loss": "robust", "label_smoothing": 0.1}, 0.602207),
        ({"loss": "hinge"}, 0.85),
        ({"loss": "ipo"}, 22.443909),  # by the token: (1 / 5 + 0.5 / 8 - 5)^2
        ({"loss": "exo_pair", "label_smoothing": 1e-3}, 2.505517),
        ({"loss": "nca_pair"}, 1.350825),
        ({"loss": "bco_pair"}, 1.312856),
        ({"loss": "sppo_hard"}, 36.25),  # twice SPPO's with win rates 1 and 0
        ({"loss": "aot"}, 0.620957),  # of one pair, whose order is its own
        ({"loss": "aot_unpaired"}, 0.620957),
        ({"loss": "aot", "label_smoothing": 0.1}, 0.9 * 0.620957 + 0.1 * 0.770957),
        ({"loss": "apo_zero"}, 0.962523),
        ({"loss": "apo_down"}, 0.987549),
        ({"loss": "discopop"}, 0.849338),
        ({"loss": "sigmoid_norm", "beta": 2.0}, 0.464712),
        ({"sft_weight": 0.25}, 1.120957),
        ({"ld_alpha": 0.5}, 0.625305),
        ({"ld_alpha": 0.0}, 0.629674),
        ({"ld_alpha": 1.0}, 0.620957),
        ({"weighting": True}, 0.620957 * math.exp(-2) * math.exp(-1.5)),
    ],
)
def test_losses_of_trl_have_the_values_of_their_equations(plain, changes, expected):
    assert of_trl(plain, **changes) == pytest.approx(expected, abs=1e-6)


def test_every_loss_of_trl_is_a_value_of_dpo():
    from typing import get_args

    from trl import DPOConfig

    text = DPOConfig.__doc__.partition("loss_type (")[2].partition("loss_weights (")[0]
    known = {word.strip("`',. ") for word in text.replace("`'", "\n`'").split() if word.startswith("`'")}
    assert known - {"sft"} == set(get_args(dpo.Dpo.model_fields["loss"].annotation))


def test_hard_sppo_is_half_of_trls(plain):
    found = preference.sppo(CHOSEN, REJECTED, beta=0.001).item()
    assert found == pytest.approx(of_trl(plain, loss="sppo_hard", beta=0.001) / 2, rel=1e-6)


def test_the_odds_ratio_is_trls():
    class Settings:
        beta = 0.1

        class accelerator:
            device = "cpu"

    found = ORPOTrainer.odds_ratio_loss(Settings, CHOSEN.mean, REJECTED.mean)[0]
    assert (preference.orpo(CHOSEN, REJECTED, weight=0.1) + CHOSEN.mean).item() == pytest.approx(
        -found.item(), abs=1e-7
    )


def shifted(trainer):
    """A trainer whose adapter is off the reference."""
    torch.manual_seed(1)
    for name, one in trainer.model.named_parameters():
        if "lora_B" in name and ".default." in name:
            one.data = torch.randn_like(one) * 0.05
    return trainer


def test_the_trainer_computes_dpo_as_trl_does(folder, mixes, tmp_path):
    paths = paths_of(folder, mixes / "dpo", tmp_path)
    theirs = shifted(dpo.trainer_of(paths, dpo_stage(sft_weight=0.0, beta=0.3), 0)).evaluate()

    def loss(chosen, rejected):
        return preference.sigmoid(0.3 * (chosen.ratio - rejected.ratio))

    ours = shifted(pairs.trainer(paths, stage_of("sppo", win_rates="hard"), 0, loss)).evaluate()
    assert ours["eval_loss"] != pytest.approx(math.log(2), abs=1e-3)
    for name in ("eval_loss", "eval_logps/chosen", "eval_logps/rejected"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-6), name


@pytest.mark.parametrize("changes", [{}, {"loss": "tpo-l", "beta": 2.0, "gamma": 1.0}])
def test_the_trainer_computes_tpo_as_trl_does(folder, scored, tmp_path, changes):
    # with one pair in a batch, the gold answer's mean is the one over all tokens
    stage = stage_of("tpo", batch_size=1, gold_weight=0.5, **changes)
    trainer = shifted(tpo.trainer_of(paths_of(folder, scored, tmp_path), stage, 0))
    rows = training.pairs(scored / "train.jsonl", stage).rename_column("gold", "reference")
    theirs = TPOTrainer(
        model=trainer.model,
        args=TPOConfig(
            **training.settings(stage, 0, tmp_path / "trl"),
            loss_type=stage.loss,
            beta=stage.beta,
            tpo_alpha=0.5,
            tpo_l_gamma=stage.gamma,
        ),
        train_dataset=rows,
        eval_dataset=rows.select(range(2)),
        processing_class=models.load_tokenizer(folder),
    )
    assert trainer.evaluate()["eval_loss"] == pytest.approx(theirs.evaluate()["eval_loss"], abs=1e-6)


# --- What is computed, and from which columns


def forwards(trainer):
    """Numbers of forward passes in an evaluation of one batch: of the trained model, and of others."""
    counts = {}
    inner = trainer.model.get_base_model() if hasattr(trainer.model, "get_base_model") else trainer.model
    for name, model in (("own", inner), ("other", trainer.ref_model), ("guide", getattr(trainer, "guide", None))):
        if model is not None:
            model.model.register_forward_hook(lambda *_, name=name: counts.__setitem__(name, counts.get(name, 0) + 1))
    trainer.evaluate()
    return counts


@pytest.mark.parametrize(
    ("method", "changes", "expected"),
    [
        ("simpo", {}, {"own": 1}),
        ("simpo", {"tuning": "full", "lora": {}}, {"own": 1}),
        ("sppo", {}, {"own": 2}),
        ("sppo", {"tuning": "full", "lora": {}}, {"own": 1, "other": 1}),
        ("tgdpo", {}, {"own": 2, "guide": 1}),
        ("tpo", {}, {"own": 1}),
    ],
)
def test_a_method_runs_no_forward_pass_that_its_loss_does_not_need(folder, scored, tmp_path, method, changes, expected):
    paths = replace(paths_of(folder, scored, tmp_path), guide=folder if method == "tgdpo" else None)
    assert forwards(METHODS[method].trainer_of(paths, stage_of(method, **changes), 0)) == expected


def test_a_batch_has_three_answers_and_win_rates(folder, scored, tmp_path):
    trainer = tpo.trainer_of(paths_of(folder, scored, tmp_path), stage_of("tpo"), 0)
    (batch,) = trainer.get_eval_dataloader()
    tokenizer = models.load_tokenizer(folder)
    answers = [
        tokenizer.decode(ids[mask == 1]) for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)
    ]
    rows = [row for _, row in read_json_lines(scored / "eval.jsonl")]
    assert answers == [row[name][0]["content"] + "<|end|>" for name in pairs.ANSWERS for row in rows]
    trainer = sppo.trainer_of(paths_of(folder, scored, tmp_path), stage_of("sppo"), 0)
    (batch,) = trainer.get_eval_dataloader()
    assert batch["win_rate_chosen"].tolist() == pytest.approx([0.8, 0.5])
    assert batch["win_rate_rejected"].tolist() == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize(("method", "column"), [("sppo", "win_rate_chosen"), ("tpo", "gold")])
def test_a_row_without_a_column_of_the_method_is_an_error(folder, mixes, tmp_path, method, column):
    with pytest.raises(InputError) as caught:
        METHODS[method].trainer_of(paths_of(folder, mixes / "dpo", tmp_path), stage_of(method), 0)
    said = str(caught.value)
    assert f"train.jsonl:1: stages. needs {column}" in said
    assert said.endswith(f"hint: {stage_of(method).hint}")


def test_win_rates_are_hard_only_where_a_recipe_says_so(folder, mixes, tmp_path):
    trainer = sppo.trainer_of(
        paths_of(folder, mixes / "dpo", tmp_path), stage_of("sppo", win_rates="hard", beta=0.1), 0
    )
    # a fresh adapter has log ratios of 0, so both distances are 0.5 / 0.1
    assert trainer.evaluate()["eval_loss"] == pytest.approx(25.0, abs=1e-4)


def test_augmented_pairs_are_trained_under_both_scores(scored):
    stage = dpo_stage(reward_system="Aim for {score} of 10.")
    found = [row for _, row in stage.rows(scored / "train.jsonl")]
    first, second = [row for _, row in read_json_lines(scored / "train.jsonl")][:2]
    assert [row["prompt"][0]["content"] for row in found] == [
        f"{SYSTEM}\n\nAim for {score} of 10." for score in ("9", "4", "3", "6", "2", "1")
    ]
    assert all(row["prompt"][1:] == first["prompt"][1:] for row in found[:2])
    assert [(row["chosen"], row["rejected"]) for row in found[:2]] == [
        (first["chosen"], first["rejected"]),
        (first["rejected"], first["chosen"]),
    ]
    assert second["score_chosen"] == second["score_rejected"]  # no order, so it isn't trained, and counted
    assert stage.left_out(scored / "train.jsonl") == {"equal_scores": 1}
    assert dpo_stage().left_out(scored / "train.jsonl") == {}


def test_a_third_answer_is_read_only_where_it_is_trained(scored):
    path = scored / "train.jsonl"
    assert [["gold" in row for _, row in stage.rows(path)] for stage in (stage_of("tpo"), dpo_stage())] == [
        [True] * 4,
        [False] * 4,
    ]


def test_augmented_pairs_need_scores(mixes):
    stage = stage_of("simpo", reward_system="{score}")
    with pytest.raises(InputError, match=r"train\.jsonl:1: reward_system needs the scores of both answers"):
        list(stage.rows(mixes / "dpo" / "train.jsonl"))


def test_kto_gets_each_answer_once_in_an_order_of_the_seed(mixes):
    path = mixes / "dpo" / "train.jsonl"
    found = kto.examples(path, 0)
    rows = [row for _, row in read_json_lines(path)]
    expected = [(row["prompt"], row[name], name == "chosen") for row in rows for name in ("chosen", "rejected")]
    shown = [(row["prompt"], row["completion"], row["label"]) for row in found]
    assert sorted(map(json.dumps, shown)) == sorted(map(json.dumps, expected))
    assert shown != expected
    assert kto.examples(path, 0) == found
    assert kto.examples(path, 1) != found


def test_memory_counts_references_guides_and_third_answers(folder):
    shape = memory.shape_of(folder)

    def needed(method, **changes):
        return memory.estimate(shape, stage_of(method, **changes), rows=2, length=16)

    weights = 4 * shape.weights
    full = {"tuning": "full", "lora": {}}
    assert needed("sppo", **full).weights - needed("simpo", **full).weights == weights
    assert needed("tgdpo").weights - needed("simpo").weights == weights
    assert needed("tpo").activations == pytest.approx(1.5 * needed("simpo").activations)
    assert needed("kto").activations == pytest.approx(0.5 * needed("simpo").activations)


# --- Whole runs


def trained(method, folder, mix, root, stop=None, **changes):
    """A stage run to its end, or until a callback ends it; the adapter's folder."""
    paths = replace(paths_of(folder, mix, root), guide=folder if method == "tgdpo" else None)
    stage = stage_of(method, epochs=2.0, save_steps=2, **changes)
    trainer = METHODS[method].trainer_of(paths, stage, 0)
    if stop:
        trainer.add_callback(stop)
    training.run(trainer, paths, stage, 0)
    return paths.out


LONG = pytest.mark.long


@pytest.mark.parametrize("method", ["tpo", "kto", *(pytest.param(one, marks=LONG) for one in ("asft", "orpo", "sppo"))])
def test_a_method_lowers_its_loss(folder, scored, tmp_path, signals, method):
    out = trained(method, folder, scored, tmp_path, **({"beta": 0.1} if method in ("sppo", "tpo") else {}))
    history = json.loads((out / "history.json").read_text())
    before, after = (one["eval_loss"] for one in (history[0], history[-1]))
    assert after < before
    assert json.loads((out / "rows.json").read_text())["train"]["rows"] == 4


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("tgdpo", {"reward_system": "{score}"}),
        pytest.param("simpo", {"tuning": "full", "lora": {}}, marks=LONG),
    ],
)
def test_resumed_equals_uninterrupted_with_equal_bytes(folder, scored, tmp_path, signals, method, changes):
    # 6 augmented rows, or 4 plain ones, in batches of 2
    whole = trained(method, folder, scored, tmp_path / "whole", **changes)
    with pytest.raises(InterruptedError, match="killed"):
        trained(method, folder, scored, tmp_path / "resumed", Stop(3), **changes)
    assert digest(trained(method, folder, scored, tmp_path / "resumed", **changes)) == digest(whole)
    if method == "tgdpo":
        rows = json.loads((whole / "rows.json").read_text())["train"]
        assert (rows["rows"], rows["equal_scores"]) == (6, 1)


# --- What a loss can't take


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss": "exo_pair"}, "more than 0 with loss exo_pair"),
        ({"loss": "hinge", "label_smoothing": 0.1}, "0.0 with loss hinge, which ignores it"),
        ({"loss": "aot", "weighting": True}, "weighting: false with loss aot"),
        ({"loss": "aot_unpaired", "batch_size": 1}, "a batch_size of 2 or more with loss aot_unpaired"),
        ({"sft_weight": 0.5, "weighting": True}, "sft_weight: 0.0 with weighting: true"),
        ({"reward_system": "be good"}, "a text with {score}"),
        ({"ld_alpha": 1.5}, "less than or equal to 1"),
    ],
)
def test_dpo_refuses_what_a_loss_cannot_take(changes, said):
    with pytest.raises(ValidationError, match=said):
        dpo_stage(**{"sft_weight": 0.0} | changes)


@pytest.mark.parametrize(
    ("method", "changes", "said"),
    [
        ("kto", {"batch_size": 1}, "a batch_size of 2 or more"),
        ("kto", {"group_by_length": True}, "group_by_length: false"),
        ("kto", {"reward_system": "{score}"}, "Extra inputs are not permitted"),
        ("tpo", {"gamma": 0.5}, "gamma: 0.0 with loss sigmoid"),
        ("tgdpo", {"guide": TINY["dpo_hh"]["init_from"]}, "a guide other than init_from"),
        ("tgdpo", {"distributed": "fsdp2"}, "distributed: ddp with method tgdpo"),
        ("sppo", {"win_rates": "guess"}, "'rows' or 'hard'"),
    ],
)
def test_other_methods_refuse_what_they_cannot_take(method, changes, said):
    with pytest.raises(ValidationError, match=said):
        stage_of(method, **changes)
