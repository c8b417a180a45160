"""A built project, small, with paid calls: a source with malformed rows, a scheme, its filter, baselines and mixes.

The scripts run in this process, one job after the other, against the model server.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from mains import script
from server import Server

from bezoar.recipe.load import load
from bezoar.recipe.recipe import Recipe

ROOT = Path(__file__).parents[1]
SHARDS = ("0000", "0001")
SEEDS = 60  # rows of the source that fit
WORDS = (
    "river stone lamp garden paper cloud winter copper music bridge forest silver market harbour candle letter".split()
)


def seed_rows(count: int, word: str) -> list[bytes]:
    """Lines of rows that fit, of which none is nearly another."""
    named = [[WORDS[(number * step + step) % len(WORDS)] for step in (1, 3, 5, 9)] for number in range(count)]
    return [
        json.dumps(
            {
                "instruction": f"Tell me of {word} {number} with {', '.join(names[:3])} and {names[3]}.",
                "context": "",
                "response": f"{' '.join(reversed(names))} are words of {word} {number}.",
                "category": names[0],
            }
        ).encode()
        for number, names in enumerate(named)
    ]


FAULTS: dict[
    str, tuple[bytes, str | None]
] = {  # lines that somebody's file may have, and why each is dropped, if it is
    "bad JSON": (b'{"instruction": "a", "context": ', "not JSON"),
    "no JSON": (b"instruction, context, response", "not JSON"),
    "NUL": (b'{"instruction": "Name \x00 it.", "context": "", "response": "It."}', "not JSON"),
    "invalid UTF-8": (b'{"instruction": "Name \xff\xfe it.", "context": "", "response": "It."}', "not UTF-8"),
    "nested too deeply": (b"[" * 100_000, "not JSON"),
    "missing field": (b'{"context": "", "response": "No instruction."}', "no instruction"),
    "another type": (b'{"instruction": 7, "context": "", "response": "Seven."}', "instruction is not text"),
    "no row": (b'["a", "list"]', "not a row of columns"),
    "number": (b"12", "not a row of columns"),
    "empty turn": (b'{"instruction": "", "context": "", "response": "Nothing was asked."}', "empty"),
    "duplicate": (seed_rows(1, "river")[0], "duplicate"),
    "10 MB": (json.dumps({"instruction": "Read.", "context": "x " * 5_000_000, "response": "y"}).encode(), None),
    "escaped NUL": (b'{"instruction": "Name \\u0000 it.", "context": "", "response": "It."}', None),
    "Windows end": (b'{"instruction": "End in CRLF.", "context": "", "response": "It does."}\r', None),
    "line separators": ('{"instruction": "One\u2028two\x85three.", "context": "", "response": "It."}'.encode(), None),
    "half a pair": (b'{"instruction": "A \\ud83d half.", "context": "", "response": "It."}', None),
}
RECIPE = f"""
recipe: small
shards: {len(SHARDS)}
budget: {{prices: prices.yaml, run: {{dollars: 20.0, tokens: null}}, approve_above: null}}
sources:
  mine: {{path: mine.jsonl, format: dolly, max_dropped_share: 0.6}}
  more: {{path: more.jsonl, format: dolly, sample: 10}}
backends:
  teacher: &api
    kind: openai
    model: test-teacher
    token_limit_field: max_tokens
    connection: {{base_url_env: MODELS_URL, api_key_env: MODELS_API_KEY, concurrency: 4}}
  judge: {{<<: *api, model: test-filter, json_schema: true}}
schemes:
  evol:
    method: evol
    seeds: mine
    teacher: teacher
    prompts: prompts/evol.yaml
    sampling: {{temperature: 1.0, max_new_tokens: 200}}
    max_failed_share: 0.5
    rounds: 2
filters:
  evol:
    judge: judge
    prompts: prompts/filter.yaml
    sampling: {{max_new_tokens: 200}}
    leaked_markers: [Name 3 reasons, Name 5 reasons, Name 7 reasons]
    max_failed_share: 0.5
  evol_all: {{method: accept_all, like: evol}}
  evol_random: {{method: random, like: evol}}
mixes:
  all: {{parts: [evol, {{name: more, rows: 6}}], eval_rows: 4}}
  random: {{parts: [evol_random], eval_rows: 4}}
"""


def with_faults(lines: list[bytes], faults: dict[str, tuple[bytes, str | None]]) -> bytes:
    """The content of a file in which a malformed line follows each of the first lines."""
    added = [line for line, _ in faults.values()]
    mixed = [one for pair in zip(lines, added, strict=False) for one in pair]
    return b"".join(line + b"\n" for line in [*mixed, *lines[len(added) :], *added[len(lines) :]])


def job(name: str, *words: str, stage: str = "") -> None:
    """Run a script as its rule does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEZOAR_JOB", stage)
        script(name).main([*words, "--log", f"logs/{name}.log"])


def build(questions: str | None = None) -> None:
    """All steps of the recipe in the current folder, as its rules run them; with certificates against a source."""
    recipe = load()
    Path("params.resolved.yaml").write_text(yaml.safe_dump(recipe.resolved()))
    for source in recipe.sources:
        job("data/source", "--params", f"sources.{source}", "seed", "--out", f"data/source/{source}")
    for scheme, block in recipe.schemes.items():
        takes = [
            "--params",
            *([*(f"schemes.{scheme}.{key}" for key in block.deals), "seed"] if block.deals else []),
            "shards",
        ]
        files = [
            "--rows",
            f"data/source/{block.seeds}/rows.jsonl",
            *(["--topics", *block.files()] if block.files() else []),
        ]
        job(f"shard/{block.method}", *takes, *files, "--out", f"data/seed/{scheme}")
        for shard in recipe.shard_names():
            _generate(recipe, scheme, shard)
            _filter(recipe, scheme, shard)
    for mix in recipe.mixes:
        kinds = ("filtered", "source", "selected", "pairs")
        folders = [word for kind in kinds for word in (f"--{kind}", f"data/{kind}")]
        takes = ["--params", f"mixes.{mix}", "prompt", "seed", "shards"]
        job("data/mix", *takes, *folders, "--out", f"data/mixes/{mix}")
        if questions:
            targets = "data/targets/quiz/questions.jsonl"
            if not Path(targets).exists():
                job("evaluate/question_targets", "--questions", f"data/source/{questions}/rows.jsonl", "--out", targets)
            certify(mix, targets)


def certify(mix: str, targets: str) -> None:
    """A mix's certificate, and its rows that stay."""
    said = f"data/certificates/{mix}.json"
    files = ["--mix", f"data/mixes/{mix}", "--targets", targets]
    job("data/certificate", "--params", "contamination", *files, "--out", said)
    job("data/certified", "--mix", f"data/mixes/{mix}", "--certificate", said, "--out", f"data/certified/{mix}")


def _generate(recipe: Recipe, scheme: str, shard: str) -> None:
    block = recipe.schemes[scheme]
    backends = [f"backends.{name}" for name in block.asked_by("generate").values()]
    takes = ["--params", f"schemes.{scheme}", *backends, "prompt", "seed", "budget"]
    files = ["--seeds", f"data/seed/{scheme}/{shard}.jsonl", "--prompts", block.prompts]
    out = f"data/generated/{scheme}/{shard}"
    job(f"generate/{block.method}", *takes, *files, "--out", out, stage=f"generate-{scheme}/{shard}")


def _filter(recipe: Recipe, scheme: str, shard: str) -> None:
    """The filter of a scheme, and its baselines."""
    block = recipe.filters[scheme]
    takes = ["--params", f"filters.{scheme}", f"backends.{block.judge}", "prompt", "seed", "budget"]
    files = ["--rows", f"data/generated/{scheme}/{shard}/rows.jsonl", "--prompts", block.prompts]
    out = Path("data/filtered", scheme, shard)
    job("filter/filter", *takes, *files, "--out", str(out), stage=f"filter-{scheme}/{shard}")
    for name, other in recipe.filters.items():
        if not other.decides and recipe.scheme_of(name) == scheme:
            files = ["--kept", str(out / "kept.jsonl"), "--rejected", str(out / "rejected.jsonl")]
            takes = ["--params", f"filters.{name}", "seed"]
            job("filter/baseline", *takes, *files, "--out", f"data/filtered/{name}/{shard}")


@contextmanager
def models(folder: Path) -> Iterator[None]:
    """The model server for scripts that run in a folder."""
    with pytest.MonkeyPatch.context() as patch, Server() as server:
        patch.chdir(folder)
        patch.setenv("MODELS_URL", f"{server.address}/v1")
        patch.setenv("MODELS_API_KEY", "sk-test")
        yield


@pytest.fixture(scope="session")
def built_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That project, built once."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "recipes/prompts/openbezoar-3b", folder / "prompts")
    shutil.copyfile(ROOT / "tests/real/prices.yaml", folder / "prices.yaml")
    (folder / "params.yaml").write_text(RECIPE)
    (folder / "mine.jsonl").write_bytes(with_faults(seed_rows(SEEDS, "river"), FAULTS))
    (folder / "more.jsonl").write_bytes(b"".join(line + b"\n" for line in seed_rows(20, "lamp")))
    with models(folder):
        build()
    return folder


@pytest.fixture
def tree(built_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of that project; the current folder."""
    copy = tmp_path / "tree"
    shutil.copytree(built_tree, copy)
    monkeypatch.chdir(copy)
    yield copy
    os.chdir(tmp_path)
