"""The folder of a mix: what the hub, `datasets` and Croissant's own reader read, the statistics, and equal bytes."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import yaml

from bezoar.errors import InputError
from bezoar.files import files_in
from bezoar.recipe.recipe import Recipe
from bezoar.steps.data.rows import write_rows
from bezoar.steps.dataset import markdown, table
from bezoar.steps.dataset.folder import Inputs, languages_of, write_dataset
from bezoar.steps.dataset.statistics import SAMPLE, Lengths, Statistics, distinct, self_bleu
from bezoar.steps.dataset.table import joined
from bezoar.steps.dataset.waterfall import falls

RECIPE = {
    "recipe": "r",
    "shards": 2,
    "sources": {
        "mine": {"path": "a.jsonl", "format": "chat", "licence": "CC-BY-SA-4.0"},
        "seeds": {"path": "b.jsonl", "format": "dolly", "licence": "CC-BY-NC-4.0"},
    },
    "models": {"base": {"method": "hub", "repository": "o/m", "revision": "0" * 40, "licence": "Apache-2.0"}},
    "backends": {
        "teacher": {"kind": "local", "checkpoint": "base"},
        "judge": {"kind": "local", "checkpoint": "base", "terms": {"name": "Own terms", "commercial": None}},
    },
    "schemes": {
        "evol": {"method": "evol", "seeds": "seeds", "teacher": "teacher", "prompts": "p.yaml", "max_characters": 100}
    },
    "filters": {"evol": {"judge": "judge", "prompts": "p.yaml"}},
    "mixes": {"all": {"parts": ["mine", "evol"], "eval_rows": 2}},
}
WORDS = "the quick brown fox jumps over a lazy dog while we walk along the river and talk about books".split()
CERTIFICATE = {
    "policy": "drop",
    "passes": True,
    "reasons": [],
    "rows": {"train": 40, "eval": 4},
    "matching_rows": {"train": 2, "eval": 0},
    "evaluations": {
        "harness": {"boolq": {"items": 3270, "matched": 2, "share": 0.000612, "low": 0.0002, "high": 0.0022}}
    },
}


def row(number: int, split: str) -> dict[str, Any]:
    """A row of the mix."""
    answer = " ".join(WORDS[(number * step) % len(WORDS)] for step in range(1, 6 + number % 5))
    asked = [{"role": "user", "content": f"Write about {WORDS[number % len(WORDS)]}, please."}]
    if number % 3 == 0:
        asked = [{"role": "system", "content": "Be kind."}, *asked]
    completion = [{"role": "assistant", "content": f"Here it is, {answer}."}]
    return {
        "id": f"{split}{number}",
        "family": f"f{number}",
        "first_turn": "t",
        "prompt": asked,
        "completion": completion,
    }


def origin(one: dict[str, Any], split: str, number: int) -> dict[str, Any]:
    scheme = number % 2 == 0
    return {
        "id": one["id"],
        "split": split,
        "part": "evol" if scheme else "mine",
        "kind": "scheme" if scheme else "source",
        "scheme": "evol" if scheme else None,
        "file": f"data/filtered/evol/000{number % 4 // 2}/kept.jsonl" if scheme else "a.jsonl",
        "line": number + 1,
        "family": one["family"],
        "cluster": f"c{number // 2}" if number < 4 else None,
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Artifacts of a recipe, as the steps before write them."""
    splits = {"train": [row(n, "train") for n in range(40)], "eval": [row(n, "eval") for n in range(4)]}
    mix = tmp_path / "data/mixes/all"
    mix.mkdir(parents=True)
    for split, rows in splits.items():
        write_rows(mix / f"{split}.jsonl", rows)
    write_rows(mix / "origins.jsonl", (origin(one, s, n) for s, rows in splits.items() for n, one in enumerate(rows)))
    part = {
        "kind": "source",
        "name": "mine",
        "asked": None,
        "found": 30,
        "taken": 22,
        "dropped": {"duplicate": 8},
        "not_drawn": 0,
    }
    scheme = {"kind": "scheme", "name": "evol", "asked": 22, "found": 24, "taken": 22, "dropped": {}, "not_drawn": 2}
    report = {"parts": [part, scheme], "dropped": {"duplicate": 8}, "train": 40, "eval": 4}
    reports = {"mixes/all": report}
    for name in ("mine", "seeds"):
        reports[f"source/{name}"] = {"read": 31, "rows": 30, "dropped": {"no text": 1}, "not_taken": {"not sampled": 0}}
    for shard in ("0000", "0001"):
        failed = {"failed: cut": 1}
        reports[f"generated/evol/{shard}"] = {
            "candidates": 15,
            "rows": 13,
            "dropped": {"too long": 1},
            "failed": failed,
        }
        reports[f"filtered/evol/{shard}"] = {"rows": 13, "kept": 12, "rejected": {"judge: \x1b[31m|": 1}, "failed": {}}
    for folder, content in reports.items():
        path = tmp_path / "data" / folder / "report.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    (tmp_path / "certificate.json").write_text(json.dumps(CERTIFICATE))
    return tmp_path / "data"


def made(data: Path, *, certificate: bool = False, **mix: Any) -> Path:
    """The folder of the mix."""
    recipe = Recipe.model_validate({**RECIPE, "mixes": {"all": {**RECIPE["mixes"]["all"], **mix}}})  # type: ignore[dict-item]
    where = Inputs(
        data / "mixes/all",
        data / "mixes/all/origins.jsonl",
        data,
        data.parent / "certificate.json" if certificate else None,
    )
    write_dataset(recipe.card("all"), where, lambda texts: [len(text) // 4 for text in texts], data / "datasets/all")
    return data / "datasets/all"


def head_of(folder: Path) -> tuple[dict[str, Any], str]:
    _, head, body = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head), body


def test_a_mix_of_pairs_has_the_further_columns_of_its_rows(tmp_path):
    turn = [{"role": "assistant", "content": "Yes."}]
    plain = {"id": "a", "family": "f", "prompt": turn, "chosen": turn, "rejected": turn, "cluster": None}
    scored = plain | {"gold": turn, "win_rate_chosen": 0.5}
    for split, rows in (("train", [plain, scored]), ("eval", [plain])):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    columns = table.columns_of(tmp_path, "preference")
    assert columns == ("prompt", "chosen", "rejected", "gold", "win_rate_chosen")
    table.write_parquet(tmp_path / "train.parquet", [plain, scored], columns)
    found = pyarrow.parquet.read_table(tmp_path / "train.parquet").to_pylist()
    assert [(one["gold"], one["win_rate_chosen"]) for one in found] == [(None, None), (turn, 0.5)]
    assert {"name": "win_rate_chosen", "dtype": "float64"} in table.features(columns)
    (tmp_path / "train.jsonl").write_text(json.dumps(plain) + "\n")
    assert table.columns_of(tmp_path, "preference") == ("prompt", "chosen", "rejected")


# --- Read by others -------------------------------------------------------------------------------------------------


def test_datasets_opens_the_folder_offline_with_its_splits_and_columns(data, monkeypatch, tmp_path):
    folder = made(data)
    code = (
        "import datasets, json, sys\n"
        "found = datasets.load_dataset(sys.argv[1])\n"
        "print(json.dumps([{n: list(rows) for n, rows in found.items()}, list(found['train'].features)]))"
    )
    environment = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "PATH": "/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    splits, columns = json.loads(done.stdout)
    assert {name: len(rows) for name, rows in splits.items()} == {"train": 40, "eval": 4}
    first = splits["train"][0]
    assert (first["prompt"], first["completion"]) == (row(0, "train")["prompt"], row(0, "train")["completion"])
    assert [first[name] for name in ("part", "kind", "scheme", "line", "cluster")] == [
        "evol",
        "scheme",
        "evol",
        1,
        "c0",
    ]
    assert first["licence"] == "CC-BY-NC-4.0 AND Apache-2.0"
    assert splits["train"][1]["licence"] == "CC-BY-SA-4.0"
    assert columns == [
        "id",
        "family",
        "prompt",
        "completion",
        "part",
        "kind",
        "scheme",
        "file",
        "line",
        "cluster",
        "licence",
    ]


def test_croissants_own_reader_finds_no_error_and_reads_the_rows(data):
    import mlcroissant

    folder = made(data)
    found = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not found.metadata.issues.errors
    rows = list(found.records("eval"))
    assert len(rows) == 4
    assert rows[0]["eval/id"] == b"eval0"
    assert rows[1]["eval/completion"][0]["eval/completion/role"] == b"assistant"
    written = json.loads((folder / "croissant.json").read_text())
    assert written["license"] == "Apache-2.0 AND CC-BY-NC-4.0 AND CC-BY-SA-4.0"
    for one in written["distribution"]:
        assert one["sha256"] == hashlib.sha256((folder / one["contentUrl"]).read_bytes()).hexdigest()


def test_a_preference_mix_has_its_own_columns(data, tmp_path):
    mix = data / "mixes/all"
    for split in ("train", "eval"):
        rows = [json.loads(line) for line in (mix / f"{split}.jsonl").read_text().splitlines()]
        pairs = [
            {
                **{k: v for k, v in one.items() if k != "completion"},
                "chosen": one["completion"],
                "rejected": one["prompt"][-1:],
            }
            for one in rows
        ]
        write_rows(mix / f"{split}.jsonl", pairs)
    import pyarrow.parquet as pq

    table = pq.read_table(made(data, format="preference") / "train.parquet")
    assert table.column_names[:5] == ["id", "family", "prompt", "chosen", "rejected"]
    assert table.num_rows == 40


# --- The card -------------------------------------------------------------------------------------------------------


def test_the_head_has_what_the_hub_reads(data):
    head, _ = head_of(made(data))
    assert head["license"] == ["apache-2.0", "cc-by-nc-4.0", "cc-by-sa-4.0"]
    assert head["size_categories"] == ["n<1K"]
    assert head["language"] == ["en"]
    assert head["configs"][0]["data_files"] == [
        {"split": "train", "path": "train.parquet"},
        {"split": "eval", "path": "eval.parquet"},
    ]
    info = head["dataset_info"]
    assert [(one["name"], one["num_examples"]) for one in info["splits"]] == [("train", 40), ("eval", 4)]
    folder = data / "datasets/all"
    assert info["download_size"] == sum((folder / f"{name}.parquet").stat().st_size for name in ("train", "eval"))
    assert info["dataset_size"] == sum(one["num_bytes"] for one in info["splits"])
    stated, _ = head_of(made_again(data, licence="CC-BY-NC-SA-4.0"))
    assert stated["license"] == "cc-by-nc-sa-4.0"


def made_again(data: Path, **mix: Any) -> Path:
    for path in files_in(data / "datasets/all"):
        path.unlink()
    return made(data, **mix)


def test_the_card_says_where_rows_are_from_and_what_their_licences_ask_for(data):
    _, body = head_of(made(data))
    assert "| `mine` | a file of the recipe's author (sha256 not pinned) | CC-BY-SA-4.0 |" in body
    assert "| `evol` | evol | `seeds` | base | Apache-2.0 | base |" in body
    assert "| backend judge, judge of evol | Own terms |" in body
    assert "Not for commercial use: source seeds (CC-BY-NC-4.0)." in body
    assert "Share-alike: what is made of it has the same licence: source mine (CC-BY-SA-4.0)." in body


def test_the_card_has_every_step_with_its_rows_by_reason(data):
    _, body = head_of(made(data))
    assert "| source seeds | 31 | 30 | no text: 1 |" in body
    assert "| generate evol | 30 | 26 | failed: cut: 2, too long: 2 |" in body  # of both shards
    assert "| filter evol | 26 | 24 | judge: \\x1b[31m\\|: 2 |" in body  # a model's words can't break the table
    assert "| mix all, source mine | 30 | 22 | duplicate: 8 |" in body
    assert "| mix all, scheme evol | 24 | 22 | not drawn: 2 |" in body
    assert "\x1b" not in body


def test_the_card_has_the_certificate_and_the_rows_that_it_took(data):
    mix = data / "mixes/all"
    left = [
        line for n, line in enumerate((mix / "train.jsonl").read_text().splitlines(keepends=True)) if n not in (3, 7)
    ]
    (mix / "train.jsonl").write_text("".join(left))
    head, body = head_of(made(data, certificate=True))
    assert head["dataset_info"]["splits"][0]["num_examples"] == 38
    assert "| certificate all | 44 | 42 | evaluation item: 2 |" in body
    assert "2 of 44 rows of the mix repeat an evaluation item, and were left out." in body
    assert "| harness | boolq | 3,270 | 2 | 0.06% (0.02% to 0.22%) |" in body
    assert "Not compared with any evaluation." in head_of(made_again(data))[1]


def test_the_card_says_which_rows_that_repeat_items_are_still_there(data):
    refused = {"policy": "block", "passes": False, "reasons": ["2 of 44 rows repeat evaluation items"]}
    (data.parent / "certificate.json").write_text(json.dumps(CERTIFICATE | refused))
    _, body = head_of(made(data, certificate=True))
    assert "2 of 44 rows of the mix repeat an evaluation item, and are still in it." in body
    assert "The mix isn't fit to train on: 2 of 44 rows repeat evaluation items." in body
    assert "left out." not in body


def test_a_scheme_and_its_baseline_are_generated_once(data):
    for path in (data / "filtered/evol").rglob("report.json"):
        baseline = data / "filtered/random" / path.parent.name
        baseline.mkdir(parents=True)
        (baseline / "report.json").write_text(path.read_text())
    filters = {**RECIPE["filters"], "random": {"method": "random", "like": "evol"}}  # type: ignore[dict-item]
    mix = {"parts": ["mine", "evol", "random"], "eval_rows": 2}
    recipe = Recipe.model_validate({**RECIPE, "filters": filters, "mixes": {"all": mix}})
    steps = [one.step for one in falls(recipe.card("all"), "all", data, 44)]
    assert steps[:5] == ["source mine", "source seeds", "generate evol", "filter evol", "filter random"]


def test_checksums_are_those_of_all_files(data):
    folder = made(data)
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {"README.md", "croissant.json", "eval.parquet", "statistics.json", "train.parquet"}
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == one for name, one in sums.items())
    _, body = head_of(folder)
    assert all(f"| {sums[name]} |" in body for name in sums if name != "README.md")


def test_the_same_rows_give_the_same_bytes(data):
    before = {path.name: path.read_bytes() for path in files_in(made(data))}
    assert {path.name: path.read_bytes() for path in files_in(made_again(data))} == before


def test_a_row_without_an_origin_is_an_error_that_names_it(data):
    lines = (data / "mixes/all/origins.jsonl").read_text().splitlines(keepends=True)
    (data / "mixes/all/origins.jsonl").write_text("".join(lines[:5] + lines[6:]))
    with pytest.raises(InputError, match=r"train\.jsonl:6: a row without an origin\n  found:    the row train5"):
        made(data)


# --- Statistics -----------------------------------------------------------------------------------------------------


def test_statistics_are_those_of_the_rows(data):
    found = json.loads((made(data) / "statistics.json").read_text())["train"]
    assert found["rows"] == 40
    assert found["parts"] == {"scheme evol": 20, "source mine": 20}
    assert found["licences"] == {"CC-BY-NC-4.0 AND Apache-2.0": 20, "CC-BY-SA-4.0": 20}
    assert found["turns"] == {"2": 40}
    assert found["near_duplicates"] == {"clusters": 2, "rows": 4, "largest": [2, 2]}
    lengths = found["lengths"]["completion"]
    texts = [row(n, "train")["completion"][0]["content"] for n in range(40)]
    assert lengths["characters"]["mean"] == pytest.approx(sum(map(len, texts)) / 40, abs=0.01)
    assert lengths["tokens"]["most"] == max(len(text) // 4 for text in texts)
    assert sum(lengths["words"]["bins"].values()) == 40


def test_a_histogram_has_powers_of_two():
    lengths = Lengths()
    for length in (0, 1, 2, 3, 4, 7, 8, 1023, 1024):
        lengths.add(length)
    report = lengths.report()
    assert report["bins"]["0"] == report["bins"]["1"] == 1
    assert report["bins"]["2-3"] == report["bins"]["4-7"] == 2
    assert report["bins"]["16-31"] == 0
    assert report["bins"]["512-1023"] == report["bins"]["1024-2047"] == 1
    assert (report["least"], report["most"]) == (0, 1024)


def test_diversity_falls_when_texts_repeat():
    same = ["a b c d e f"] * 20
    varied = [" ".join(WORDS[(n * k) % len(WORDS)] for k in range(1, 9)) for n in range(1, 18)]
    assert distinct(same, 2) == pytest.approx(5 / 100)
    assert distinct(["a b", "a b", "c d"], 2) == pytest.approx(2 / 3, abs=1e-3)
    assert distinct(["a"], 2) is None
    assert distinct(["\u6211\u4eec\u53bb", "\u6211\u4eec\u6765"], 2) == pytest.approx(3 / 4)  # each character is a word
    assert self_bleu(same) == pytest.approx(100, abs=0.1)
    assert self_bleu(varied) < 60
    assert self_bleu(["alone"]) is None


def test_the_sample_is_the_same_in_any_order_of_rows_and_bounded():
    rows = [
        {
            "id": str(n),
            "kind": "source",
            "part": "a",
            "licence": "MIT",
            "cluster": None,
            "prompt": [],
            "completion": [{"role": "assistant", "content": f"text {n}"}],
        }
        for n in range(SAMPLE + 500)
    ]
    found = [Statistics(0, None), Statistics(0, None)]
    for one, order in zip(found, (rows, rows[::-1]), strict=True):
        assert len(list(one.through(iter(order)))) == len(rows)
    first, second = ({text for *_, text in one.sample} for one in found)
    assert first == second
    assert len(first) == SAMPLE


def test_origins_go_with_rows_that_share_an_id_and_licences_with_parts_that_share_a_name(tmp_path):
    rows = [{"id": "1", "n": 1}, {"id": "1", "n": 2}]
    write_rows(tmp_path / "train.jsonl", rows)
    places = [
        {"id": "1", "split": "train", "part": "a", "kind": "scheme", "line": 1},
        {"id": "1", "split": "train", "part": "a", "kind": "source", "line": 2},
    ]
    write_rows(tmp_path / "origins.jsonl", [{"id": "1", "split": "eval", "part": "c", "line": 9}, *places])
    licences = {"scheme a": "MIT", "source a": "X"}
    found = list(joined(tmp_path / "train.jsonl", tmp_path / "origins.jsonl", licences))
    assert [(one["n"], one["part"], one["line"], one["licence"]) for one in found] == [
        (1, "a", 1, "MIT"),
        (2, "a", 2, "X"),
    ]


def test_a_cell_of_a_table_stays_one_cell():
    assert markdown.cell("a|b\\|c\nd\x1b[2J") == "a\\|b\\\\\\|c d\\x1b[2J"


def test_languages_are_named_by_share():
    german = "Das Wetter ist heute sehr schön, und wir gehen am Fluss entlang spazieren."
    english = "The weather is nice today, and we are going for a walk along the river."
    assert languages_of([english] * 30 + [german] * 10 + ["x"]) == ["en", "de"]
    assert languages_of([english] * 40 + [german]) == ["en"]
    assert languages_of([]) == []
