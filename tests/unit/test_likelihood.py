"""Log-likelihood of held-out answers: the tokens of training, families as clusters, differences on equal answers."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mains import script

from bezoar.errors import InputError
from bezoar.jsonl import read_json_lines
from bezoar.steps.data.rows import row_id
from bezoar.steps.evaluate.likelihood import Likelihood, LikelihoodRow, Scored, held_out, scored
from bezoar.steps.evaluate.stats import weighted_mean
from bezoar.steps.report.likelihood import reported, write_report

TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m.role }}: {{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant: {% endif %}"
)
SCORED = Scored(batch_size=2, dtype="float32")


def example(number: int, answer: str, family: str = "") -> dict[str, object]:
    question = f"What is {number} and {number}?"
    return {
        "id": f"row {number} {answer}",
        "family": family or f"family {number}",
        "first_turn": f"turn {number}",
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
    }


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def model(tmp_path: Path, random_llama: Callable[..., Path]) -> Path:
    folder = random_llama(tmp_path / "model", ["What is 1 and 1? It is two, of course."])
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def test_only_the_answer_and_its_end_token_count(model, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = written(tmp_path / "mixes/sums/eval.jsonl", [example(1, "two"), example(2, "four, of course")])
    rows = scored(model, [path], [], SCORED)
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    for row, (number, answer) in zip(rows, [(1, "two"), (2, "four, of course")], strict=True):
        asked = f"<|start|>user: What is {number} and {number}?<|end|><|start|>assistant: "
        before = tokenizer(asked, add_special_tokens=False).input_ids
        after = tokenizer(f"{asked}{answer}<|end|>", add_special_tokens=False).input_ids
        start = next(place for place, pair in enumerate(zip([*before, -1], after, strict=False)) if pair[0] != pair[1])
        with torch.inference_mode():
            logs = network(torch.tensor([after])).logits[0].log_softmax(-1)
        expected = sum(float(logs[place - 1, after[place]]) for place in range(start, len(after)))
        assert (row.mix, row.tokens) == ("sums", len(after) - start)
        assert row.loglikelihood == pytest.approx(expected, rel=1e-5)


def test_the_score_of_a_row_does_not_depend_on_its_batch(model, tmp_path):
    path = written(tmp_path / "mixes/sums/eval.jsonl", [example(n, "so it is " * n) for n in range(1, 6)])
    alone = scored(model, [path], [], Scored(batch_size=1, dtype="float32"))
    together = scored(model, [path], [], Scored(batch_size=5, dtype="float32"))
    assert [row.id for row in alone] == [row.id for row in together]
    assert [row.loglikelihood for row in alone] == pytest.approx([row.loglikelihood for row in together], rel=1e-5)


def test_a_row_whose_relative_was_trained_on_is_refused(tmp_path):
    path = written(tmp_path / "mixes/sums/eval.jsonl", [example(1, "two"), example(2, "four")])
    names = [min(row_id(f"family {number}"), row_id(f"turn {number}")) for number in (1, 2)]  # the smallest key
    assert [family for _, family in held_out(path, [])] == names
    with pytest.raises(InputError, match="found:    2 rows, 1 of them related to rows that it was trained on"):
        held_out(path, [{"family": "another", "first_turn": "turn 2"}])
    with pytest.raises(InputError, match="found:    0 rows"):
        held_out(written(tmp_path / "mixes/none/eval.jsonl", []), [])


def test_a_row_beyond_the_models_context_is_refused(tmp_path, random_llama):
    folder = random_llama(tmp_path / "short", ["two"], positions=32)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    path = written(tmp_path / "mixes/sums/eval.jsonl", [example(1, "two " * 40)])
    with pytest.raises(InputError, match="a held-out row is too long"):
        scored(folder, [path], [], SCORED)


def row(family: str, tokens: int, loglikelihood: float, mix: str = "sums", name: str = "") -> LikelihoodRow:
    return LikelihoodRow(mix=mix, id=name or family, family=family, tokens=tokens, loglikelihood=loglikelihood)


def block(*checkpoints: str) -> Likelihood:
    return Likelihood(method="likelihood", checkpoints=list(checkpoints), mixes=["sums"], bootstrap_samples=1000)


def test_a_mean_is_over_tokens_and_a_difference_over_the_same_answers():
    base = [row(f"{n}", 10 * n, -20.0 * n) for n in range(1, 9)]  # 2 nats a token everywhere
    tuned = [row(f"{n}", 10 * n, -20.0 * n + 5 * n + n % 2) for n in range(1, 9)]
    report = reported({"base": {"sums": base}, "tuned": {"sums": tuned}}, block("base", "tuned"), seed=0)
    assert report["mixes"] == {"sums": {"answers": 8, "families": 8, "tokens": 360}}
    first, last = report["checkpoints"]["base"]["sums"], report["checkpoints"]["tuned"]["sums"]
    assert (first["mean"], first["difference_to_first"], first["difference_to_previous"]) == (-2.0, None, None)
    # 5 nats for 10 tokens, and one nat more in each of four answers: 0.5 + 4 / 360
    gain = last["difference_to_first"]
    assert (gain["to"], gain["mean"]) == ("base", round(0.5 + 4 / 360, 4))
    assert 0.5 <= gain["low"] < gain["mean"] < gain["high"] < 0.55
    assert last["difference_to_previous"] == gain


def test_answers_of_one_family_are_one_cluster():
    apart = [row(f"{n}", 10, -20.0 - n) for n in range(12)]
    pairs = [row(f"{n // 2}", 10, -20.0 - n // 2 * 2 - 0.5, name=f"{n}") for n in range(12)]
    wide, narrow = (
        reported({"base": {"sums": one}}, block("base"), 0)["checkpoints"]["base"]["sums"] for one in (pairs, apart)
    )
    assert wide["mean"] == narrow["mean"] == -2.55
    assert wide["high"] - wide["low"] > narrow["high"] - narrow["low"]


def test_checkpoints_with_other_tokens_have_no_difference():
    tables = {"base": {"sums": [row("1", 10, -20.0)]}, "other": {"sums": [row("1", 12, -20.0)]}}
    report = reported(tables, block("base", "other"), seed=0)
    assert report["checkpoints"]["other"]["sums"]["difference_to_first"] is None


def test_the_interval_contains_the_true_mean_in_some_95_of_100_cases():
    generator, inside = np.random.default_rng(3), 0
    for draw in range(400):
        tokens = generator.integers(5, 80, size=40).astype(float)
        sums = tokens * generator.normal(-2.0, 0.5, size=40) + generator.normal(0, 3, size=40)
        found = weighted_mean(sums, tokens, ["all"] * 40, 500, draw, (-math.inf, 0.0))
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= -2.0 <= found.high
    assert 0.92 <= inside / 400 <= 0.98


def test_the_scripts_score_and_report(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    evaluation = {"method": "likelihood", "checkpoints": ["model", "twin"], "mixes": ["sums"], "batch_size": 2}
    values = {"seed": 0, "evals": {"held": evaluation | {"dtype": "float32", "bootstrap_samples": 100}}}
    Path("params.yaml").write_text(json.dumps(values))
    rows = written(tmp_path / "mixes/sums/eval.jsonl", [example(n, f"{2 * n}") for n in range(8)])
    trained = written(tmp_path / "mixes/sums/train.jsonl", [example(99, "x")])
    for name in ("model", "twin"):
        names = ["evals.held.batch_size", "evals.held.dtype"]
        inputs = ["--checkpoint", str(model), "--rows", str(rows), "--trained", str(trained)]
        script("evaluate/likelihood").main(["--params", *names, *inputs, "--out", f"held/{name}"])
    paths = [f"held/{name}/scores.jsonl" for name in ("model", "twin")]
    assert [one["mix"] for _, one in read_json_lines(Path(paths[0]))] == ["sums"] * 8
    script("report/likelihood").main(
        ["--params", "evals.held", "seed", "--scores", *paths, "--out", "results/held.json"]
    )
    report = json.loads(Path("results/held.json").read_text())
    assert report["checkpoints"]["twin"]["sums"]["difference_to_first"]["mean"] == 0.0
    assert report["evaluation"] == "held"
    write_report([Path(one) for one in paths], block("model", "twin"), 0, tmp_path / "again.json")
