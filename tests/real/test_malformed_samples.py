"""The real samples with malformed lines in them, through every step to the certificates: no row is lost."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from tree import FAULTS, ROOT, build, models

from bezoar.audit.chain import FOLDERS, all_steps, left_out
from bezoar.audit.trace import trace
from bezoar.audit.waterfall import gaps, waterfall
from bezoar.cli import main
from bezoar.recipe.load import load
from bezoar.recipe.recipe import Recipe
from bezoar.steps.data.source import FURTHER

pytestmark = pytest.mark.end_to_end
GENERIC = ("bad JSON", "no JSON", "NUL", "invalid UTF-8", "nested too deeply", "no row", "number")  # of any format
LONG = "so much text " * 800_000  # 10 MB
TEXTS = {"dolly": "instruction", "flan": "inputs", "hh": "chosen", "tasks": "instruction"}  # a column of each sample
FILES = {
    "dolly": "dolly_sample.jsonl",
    "flan": "flan_cot_sample.jsonl",
    "hh": "hh_rlhf_harmless_sample.jsonl",
    "tasks": "seed_tasks.jsonl",
}
RECIPE = """
recipe: malformed
shards: 2
budget: {prices: prices.yaml, run: {dollars: 50.0, tokens: null}, approve_above: null}
sources:
  dolly: {path: dolly.jsonl, format: dolly, sample: 40}
  flan: {path: flan.jsonl, format: flan}
  hh: {path: hh.jsonl, format: hh_rlhf}
  tasks: {path: tasks.jsonl, format: seed_tasks}
  questions: {path: questions.jsonl, format: questions}
backends:
  teacher: &api
    kind: openai
    model: test-teacher
    token_limit_field: max_tokens
    connection: {base_url_env: MODELS_URL, api_key_env: MODELS_API_KEY, concurrency: 8}
  judge: {<<: *api, model: test-filter, json_schema: true}
schemes:
  lamini: &scheme
    method: lamini
    seeds: tasks
    teacher: teacher
    prompts: prompts/lamini.yaml
    sampling: {temperature: 1.0, max_new_tokens: 200}
    max_failed_share: 0.5
    calls: 12
    instructions_per_call: 4
    max_words: 60
  orca:
    method: orca
    seeds: flan
    teacher: teacher
    prompts: prompts/orca.yaml
    max_failed_share: 0.5
    templates: [zs_opt, zs_noopt]
    shares: {CoT: 1.0}
    candidates: 40
    max_characters: 1000
  evol:
    method: evol
    seeds: dolly
    teacher: teacher
    prompts: prompts/evol.yaml
    sampling: {temperature: 1.0, max_new_tokens: 200}
    max_failed_share: 0.5
    rounds: 2
    max_characters: 1000
filters:
  lamini: &filter
    judge: judge
    prompts: prompts/filter.yaml
    sampling: {max_new_tokens: 200}
    max_failed_share: 0.5
  orca: *filter
  evol: *filter
  evol_all: {method: accept_all, like: evol}
  evol_random: {method: random, like: evol}
mixes:
  made: {parts: [lamini, orca, {name: evol, rows: 12}, {name: dolly, rows: 20}], eval_rows: 4}
  all: {parts: [evol_all], eval_rows: 4}
  random: {parts: [evol_random], eval_rows: 4}
  pairs: {format: preference, parts: [{name: hh, rows: 60}], eval_rows: 4}
  chats: {parts: [hh, dolly], eval_rows: 4}
"""


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line]


def malformed(name: str, lines: list[bytes]) -> list[bytes]:
    """Lines that a sample of a format might have, made of its own rows."""
    column, row = TEXTS[name], json.loads(lines[0])
    opening = "\n\nHuman: " if name == "hh" else ""
    changed = {
        "missing": {key: value for key, value in row.items() if key != column},
        "type": row | {column: 7},
        "type of all": {key: [None] for key in row},
        "empty": dict.fromkeys(row, ""),
        "blank": row | {column: " \n\t "},
        "long": row | {key: f"{opening}{LONG} {row[key]}" for key in (column, *(["rejected"] if name == "hh" else []))},
        "NUL": row | {column: f"{row[column]} \x00"},
        "separators": row | {column: f"{row[column]} \u2028 \x85 \x0c"},
        "half a pair": row | {column: f"{row[column]} \ud83d"},
        "more": row | {"another column": {"nested": [1, None, True]}},
    }
    return [
        *(FAULTS[fault][0] for fault in GENERIC),
        *(json.dumps(one).encode() for one in changed.values()),
        lines[1],  # a duplicate
        lines[2] + b"\r",
        b"  \t" + lines[3] + b" ",
        b"\xef\xbb\xbf" + lines[4],  # a byte order mark inside of the file
        b"\r",
        b"",
    ]


def test_every_row_of_malformed_samples_is_accounted_for_at_every_step(real, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes/prompts/openbezoar-3b", "prompts")
    shutil.copyfile(ROOT / "tests/real/prices.yaml", "prices.yaml")
    Path("questions.jsonl").write_bytes((real / "mt_bench/question.jsonl").read_bytes())
    Path("params.yaml").write_text(RECIPE)
    for name, file in FILES.items():
        lines = (real / file).read_bytes().splitlines()
        Path(f"{name}.jsonl").write_bytes(b"\n".join([*lines[:5], *malformed(name, lines), *lines[5:]]) + b"\n")
    with models(tmp_path):
        build("questions")

    for name in FILES:
        every_line_of_a_source_is_kept_or_dropped_once(name)
    recipe = load()
    for scheme in recipe.schemes:
        every_candidate_is_judged_once(scheme, recipe.shard_names())
    for mix in recipe.mixes:
        every_row_of_a_mix_has_an_origin_and_stays_or_goes(mix)
    steps = all_steps(recipe)
    lines = waterfall(steps)
    assert gaps(lines) == []
    assert {line.kind for line in lines} >= FOLDERS.keys()
    assert not [line for line in lines if line.ledger is None]
    for name in (*recipe.sources, *recipe.filters, *recipe.mixes):
        assert main(["rows", name]) == 0
    shown = capsys.readouterr().out
    assert "\x00" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    every_row_left_out_leads_to_its_reason(recipe)


def every_line_of_a_source_is_kept_or_dropped_once(name: str) -> None:
    folder = Path("data/source", name)
    report = json.loads((folder / "report.json").read_text())
    lines = [number for number, line in enumerate(Path(f"{name}.jsonl").read_bytes().split(b"\n"), 1) if line.strip()]
    kept = [row["line"] for row in rows_of(folder / "places.jsonl")]
    dropped = rows_of(folder / "dropped.jsonl")
    faulty = [int(row["detail"].rpartition(":")[2]) for row in dropped if row["reason"] != FURTHER]
    assert len({*kept, *faulty}) == len(kept) + len(faulty)
    if not report["not_taken"].get("not sampled"):
        assert {*kept, *faulty} == {*lines}
    assert len(kept) + len(faulty) + report["not_taken"].get("not sampled", 0) == len(lines)
    reasons = Counter(row["reason"] for row in dropped)
    assert reasons == report["dropped"]
    expected = Counter(FAULTS[fault][1] for fault in GENERIC) + Counter({"not JSON": 1})  # a mark inside of the file
    assert not {reason: count for reason, count in expected.items() if reasons[reason] < count}
    assert reasons["duplicate"] >= 1


def every_candidate_is_judged_once(scheme: str, shards: list[str]) -> None:
    for shard in shards:
        made, kept = Path("data/generated", scheme, shard), Path("data/filtered", scheme, shard)
        report = json.loads((made / "report.json").read_text())
        rows = [row["id"] for row in rows_of(made / "rows.jsonl")]
        assert report["candidates"] == len(rows) + len(rows_of(made / "dropped.jsonl"))
        passed = [row["id"] for row in rows_of(kept / "kept.jsonl")]
        rejected = [row["row"]["id"] for row in rows_of(kept / "rejected.jsonl")]
        assert sorted([*passed, *rejected]) == sorted(rows)
        assert len({*rows}) == len(rows)


def every_row_of_a_mix_has_an_origin_and_stays_or_goes(mix: str) -> None:
    folder, certified = Path("data/mixes", mix), Path("data/certified", mix)
    for split in ("train", "eval"):
        rows = [row["id"] for row in rows_of(folder / f"{split}.jsonl")]
        origins = [row for row in rows_of(folder / "origins.jsonl") if row["split"] == split]
        assert [row["id"] for row in origins] == rows
        stay = [row["id"] for row in rows_of(certified / f"{split}.jsonl")]
        go = [row["row"]["id"] for row in rows_of(certified / "dropped.jsonl") if row["row"]["split"] == split]
        assert sorted([*stay, *go]) == sorted(rows)
    files: dict[str, list[bytes]] = {}
    for origin in rows_of(folder / "origins.jsonl"):
        name = origin["file"]
        lines = files.get(name) or files.setdefault(name, Path(name).read_bytes().split(b"\n"))
        if origin["kind"] == "scheme":
            assert json.loads(lines[origin["line"] - 1])["id"] == origin["id"]
        else:
            assert lines[origin["line"] - 1].strip()


def every_row_left_out_leads_to_its_reason(recipe: Recipe) -> None:
    one_of_each = {(one.step.kind, one.dropped.reason): one for one in left_out(all_steps(recipe))}
    assert len(one_of_each) > 20
    for one in one_of_each.values():
        found = trace(one.place, recipe)
        assert one.dropped.reason in [step.reason for step in found.steps]
