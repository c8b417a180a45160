"""The whole recipe on real samples: their texts and prompts, a random model, and a teacher and judge made of rules."""

import hashlib
import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import NEEDED, Workspace

from bezoar.files import MARKER

pytestmark = pytest.mark.end_to_end
SHARDS = ("0000", "0001")
SCHEMES = ("lamini", "orca", "evol")
CHECKPOINTS = ("random_llama", "sft_evol", "dpo_hh")
CONTROLS = ("control_empty", "control_filler", "control_spoof", "control_shuffled")
FASTCHAT = {"question_id", "model", "judge", "user_prompt", "judgment", "score", "turn", "tstamp"}
ASKED = ("data/generated", "data/filtered", "data/judgments", "results/mtbench.json")  # made of models' answers
LONG_ENOUGH = 40  # characters of a FLAN target that nobody would write by chance


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def generated(root: Path, scheme: str) -> list[dict[str, Any]]:
    return [row for shard in SHARDS for row in rows_of(root / "data/generated" / scheme / shard / "rows.jsonl")]


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_recipe_builds_on_real_samples(real, server, workspace, random_llama):
    root = workspace.root
    shutil.copytree(real, root / "real")
    for name in ("params.yaml", "prices.yaml"):
        shutil.copyfile(Path(__file__).with_name(name), root / name)
    dolly = rows_of(root / "real" / "dolly_sample.jsonl")
    random_llama(root / "random_llama", [row["instruction"] + row["context"] + row["response"] for row in dolly])

    workspace.snakemake("results/mtbench.json")

    every_shard_accounts_for_its_rows(root)
    no_target_was_shown(root, server)
    preferences_drop_the_one_empty_response(root)
    mixes_hold_what_was_kept(root)
    checkpoints_open(root)
    for name in (*CHECKPOINTS, *CONTROLS):
        every_question_was_judged(root, name)
    the_report_is_about_these_files(root)
    every_artifact_is_there_and_none_is_half_made(root)
    no_key_was_written(root.parent, workspace.keys)
    every_answer_was_stored_and_priced(root, server)
    asked = server.hits
    assert "Nothing to be done" in workspace.snakemake("results/mtbench.json")
    assert server.hits == asked
    stored_answers_alone_make_the_same(workspace)
    assert server.hits == asked


def every_shard_accounts_for_its_rows(root: Path) -> None:
    for scheme in SCHEMES:
        reasons: Counter[str] = Counter()
        for shard in SHARDS:
            made, kept = root / "data/generated" / scheme / shard, root / "data/filtered" / scheme / shard
            report = json.loads((made / "report.json").read_text())
            rows, dropped = rows_of(made / "rows.jsonl"), rows_of(made / "dropped.jsonl")
            assert report["candidates"] == len(rows) + len(dropped)
            failed = Counter(row["reason"] for row in dropped if row["reason"].startswith("failed: "))
            assert report["failed"] == failed
            assert report["dropped"] == Counter(row["reason"] for row in dropped) - failed
            assert {row["finish_reason"] for row in rows} == {"stop"}
            passed, rejected = rows_of(kept / "kept.jsonl"), rows_of(kept / "rejected.jsonl")
            assert len(rows) == len(passed) + len(rejected)
            assert {row["id"] for row in rows} == {row["id"] for row in [*passed, *(one["row"] for one in rejected)]}
            report = json.loads((kept / "report.json").read_text())
            assert (report["rows"], report["kept"]) == (len(rows), len(passed))
            assert sum([*report["rejected"].values(), *report["failed"].values()]) == len(rejected)
            assert all(row["status"] == "accept" and row["judge"] == "test-filter" for row in passed)
            assert all(row["teacher"] == "test-teacher" for row in rows)
            reasons.update(row["reason"] for row in [*dropped, *rejected])
        assert any(reason.startswith("judge: ") for reason in reasons), f"{scheme}: the judge rejected nothing"
    trees = generated(root, "evol")
    seeds = {row["id"] for row in rows_of(root / "data/source/dolly/rows.jsonl")}
    assert {row["root_id"] for row in trees} <= seeds
    assert {row["round"] for row in trees} == {1, 2}


def no_target_was_shown(root: Path, server: Any) -> None:
    """The teacher explains FLAN's queries without seeing their targets."""
    sent = "\n".join(one["content"] for body in server.bodies for one in body["messages"])
    asked = [row["instruction"] for row in generated(root, "orca")]
    assert len(asked) > 20
    assert all(query in sent for query in asked)
    shown = {row["inputs"].strip(): row["targets"].strip() for row in rows_of(root / "real/flan_cot_sample.jsonl")}
    targets = [target for query, target in shown.items() if len(target) > LONG_ENOUGH and target not in query]
    assert len(targets) > 200
    assert not [target for target in targets if target in sent]


def preferences_drop_the_one_empty_response(root: Path) -> None:
    assert len(rows_of(root / "data/source/hh/rows.jsonl")) == 399
    assert [row["reason"] for row in rows_of(root / "data/source/hh/dropped.jsonl")] == ["empty response"]


def mixes_hold_what_was_kept(root: Path) -> None:
    for name in (*SCHEMES, "hh_chosen", "hh_pairs"):
        report = json.loads((root / "data/mixes" / name / "report.json").read_text())
        (part,) = report["parts"]
        assert report["train"] + report["eval"] == part["taken"] <= 12
        certified = root / "data/certified" / name
        certificate = json.loads((root / "data/certificates" / f"{name}.json").read_text())
        assert certificate["evaluations"]["mtbench"]["questions"]["items"] == 80
        assert len(rows_of(certified / "dropped.jsonl")) == sum(certificate["matching_rows"].values())
        assert sum(len(rows_of(certified / f"{one}.jsonl")) for one in ("train", "eval", "dropped")) == part["taken"]
        if name in SCHEMES:
            assert part["found"] == sum(
                len(rows_of(root / "data/filtered" / name / shard / "kept.jsonl")) for shard in SHARDS
            )
        else:
            assert part["found"] == 399


def checkpoints_open(root: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(root / "random_llama", local_files_only=True)
    for name in ("sft_evol", "sft_hh", "dpo_hh"):
        model = AutoModelForCausalLM.from_pretrained(root / "data/checkpoints" / name, local_files_only=True)
        assert model.num_parameters() == base.num_parameters()
        weights = base.state_dict()
        changed = [key for key, value in model.state_dict().items() if not value.equal(weights[key])]
        assert any("q_proj" in key for key in changed)


def every_question_was_judged(root: Path, name: str) -> None:
    """80 questions in two turns, 30 of them with a reference answer, in FastChat's layout."""
    rows = rows_of(root / "data/judgments/mtbench" / name / "judgments.jsonl")
    assert all(set(row) == FASTCHAT and row["model"] == name and row["judge"][0] == "test-judge" for row in rows)
    assert {(row["question_id"], row["turn"]) for row in rows} == {(q, turn) for q in range(81, 161) for turn in (1, 2)}
    assert len(rows) == 160
    assert Counter(row["judge"][1] for row in rows) == {
        "single-v1": 50,
        "single-math-v1": 30,
        "single-v1-multi-turn": 50,
        "single-math-v1-multi-turn": 30,
    }
    given = rows_of(root / "data/source/references/rows.jsonl")
    references = {row["question_id"]: row["choices"][0]["turns"] for row in given}
    for row in rows:
        assert ("math" in row["judge"][1]) == (row["question_id"] in references)
        if row["question_id"] in references:
            assert all(text in row["user_prompt"] for text in references[row["question_id"]][: row["turn"]])
        assert row["score"] in (-1, *range(1, 11))
    folder = "controls" if name.startswith("control_") else "answers"
    answers = rows_of(root / "data" / folder / "mtbench" / name / "answers.jsonl")
    assert [len(row["choices"][0]["turns"]) for row in answers] == [2] * 80


def the_report_is_about_these_files(root: Path) -> None:
    report = json.loads((root / "results/mtbench.json").read_text())
    source = root / "data/source"
    assert report["judge"]["prompts_sha256"] == sha256_of(source / "judge_prompts/rows.jsonl")
    assert report["judge"]["references_sha256"] == sha256_of(source / "references/rows.jsonl")
    assert report["questions"]["sha256"] == sha256_of(source / "questions/rows.jsonl")
    assert report["judge"]["models_returned"] == ["test-judge"]
    assert "not comparable" in report["note"]
    assert report["questions"]["count"] == 80
    assert tuple(report["models"]) == tuple(sorted(CHECKPOINTS))
    assert tuple(report["controls"]) == tuple(sorted(CONTROLS))
    for one in (report["models"] | report["controls"]).values():
        assert one["judgments"] == sum(one["status"].values()) == 160
        assert one["average"]["low"] <= one["average"]["mean"] <= one["average"]["high"]
        assert set(one["status"]) <= {"ok", "unparsed"}
    assert report["controls"]["control_empty"]["average"]["mean"] == 1.0
    assert report["controls"]["control_spoof"]["answers_with_delimiter_or_rating"] == 160
    # this judge sees spoofs, but not that an answer is another question's
    assert report["judge_compromised"]
    assert "control_shuffled" in report["controls_that_failed"]
    assert not {"control_empty", "control_spoof"} & set(report["controls_that_failed"])


def every_artifact_is_there_and_none_is_half_made(root: Path) -> None:
    artifacts = [
        folder for folder, _, files in os.walk(root / "data") if any(not name.startswith(".") for name in files)
    ]
    before = 7 + 3 + 6 + 6 + 5  # sources, seeds, generated and filtered shards, mixes; the model is read in place
    certified = 1 + 1 + 5 + 1  # targets, certificates, certified mixes, clearances
    assert len(artifacts) == before + certified + 5 + 3 + 7 + 7 + 1  # adapters to judgments, and their gate
    assert not list(root.rglob("*.partial"))


def no_key_was_written(folder: Path, keys: list[str]) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 200
    assert not [path for path in files if any(key.encode() in path.read_bytes() for key in keys)]


def every_answer_was_stored_and_priced(root: Path, server: Any) -> None:
    """Each request that the server saw has its line in the store and in a ledger, and what it cost."""
    stored = [row for path in root.glob("responses/*/*.answers.jsonl") for row in rows_of(path)]
    spent = [row for path in root.glob("responses/*/*.ledger.jsonl") for row in rows_of(path)]
    assert len(stored) == len(spent) == server.hits > 1000
    assert sorted(row["key"] for row in stored) == sorted(row["key"] for row in spent)
    made = {"generate": "test-teacher", "filter": "test-filter", "judgments": "test-judge"}
    asked = {
        (path.parent.name.partition("-")[0], row["model"])
        for path in root.glob("responses/*/*.ledger.jsonl")
        for row in rows_of(path)
    }
    assert asked == set(made.items())
    prices = {"test-teacher": (0, 0), "test-filter": (1, 4), "test-judge": (2, 10)}  # dollars for a million, in and out
    for row in spent:
        going_in, coming_out = prices[row["model"]]
        assert row["micro"] == going_in * row["prompt_tokens"] + coming_out * row["completion_tokens"]


def stored_answers_alone_make_the_same(workspace: Workspace) -> None:
    """Elsewhere, without keys, addresses or a request, all that models of others had a part in comes out the same.

    What they had no part in, training above all, comes from the cache: it holds for inputs of the same bytes only.
    """
    old, new = workspace.root, workspace.root.parent / "replay"
    for name in ("responses", "real", "random_llama", ".dvc", *NEEDED):
        if (old / name).is_dir():
            shutil.copytree(old / name, new / name)
    for name in ("Snakefile", "params.yaml", "prices.yaml"):
        shutil.copyfile(old / name, new / name)
    for proof in (new / ".dvc/cache/proofs").rglob("*.json"):
        if json.loads(proof.read_text())["key"]["outputs"][0].startswith(ASKED):
            proof.unlink()
    hidden = ("_API_KEY", "_BASE_URL")
    environment = {name: value for name, value in workspace.environment.items() if not name.endswith(hidden)}
    Workspace(new, environment | {"BEZOAR_REPLAY_ONLY": "1"}).snakemake("results/mtbench.json")
    logs = [path for path in new.glob("logs/**/*.log") if path.stat().st_size]  # a restored job has an empty one
    ran = Counter(path.relative_to(new / "logs").parts[0] for path in logs)
    assert ran == {"generate": 6, "filter": 6, "judgments": 7, "report": 1}
    for name in ASKED:
        assert contents(new, name) == contents(old, name) != {}
    assert contents(new, "responses") == contents(old, "responses")


def contents(root: Path, name: str) -> dict[str, bytes]:
    """The bytes of a file, or of all files in a folder."""
    files = [path for path in (root / name, *(root / name).rglob("*")) if path.is_file() and path.name != MARKER]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}
