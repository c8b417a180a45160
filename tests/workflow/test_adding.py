"""Pages of docs/contributing, word by word: each is applied to a copy of the repository, and works there."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from guide import changed

from bezoar.steps.data.rows import SeedRow, read_rows

GUIDES = ROOT / "docs/contributing"
BLOCK = re.compile(r"(?:^`([^`\n]+)`:\n\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NO_COPY = shutil.ignore_patterns("__pycache__")


def code_of(page: str) -> list[tuple[str, str, str]]:
    """The code of a page: path, language and text of each block."""
    return BLOCK.findall((GUIDES / f"{page}.md").read_text(encoding="utf-8"))


@pytest.fixture
def applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Applies a page to a copy of the repository and gives its folder."""

    def apply(page: str) -> Path:
        for name in ("src", "scripts", "rules", "recipes"):
            shutil.copytree(ROOT / name, tmp_path / name, ignore=NO_COPY)
        for name in ("Snakefile", "params.yaml"):
            shutil.copy(ROOT / name, tmp_path / name)
        for path, language, text in code_of(page):
            place = tmp_path / path
            if language == "diff":
                place.write_text(changed(place.read_text(), text))
            elif path:
                assert not place.exists()
                place.write_text(text)
            else:
                params = yaml.safe_load((tmp_path / "params.yaml").read_text())
                for kind, blocks in yaml.safe_load(text).items():
                    params[kind] |= blocks
                (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "src"))
        return tmp_path

    return apply


def run(*words: str) -> str:
    """What a command of this environment writes."""
    program = (
        [sys.executable, *words[1:]] if words[0] == "python" else [Path(sys.executable).with_name(words[0]), *words[1:]]
    )
    done = subprocess.run(program, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_training_method_is_one_module_with_its_script_and_a_line(applied):
    applied("training-method")
    planned = run("snakemake", "-n", "--quiet", "host")
    assert "train dft_lamini" in planned or "data/adapters/dft_lamini" in planned
    assert "data/checkpoints/dft_lamini" in planned
    assert "--params" in run("python", "scripts/train/dft.py", "--help")


def test_an_evaluation_is_one_module_with_its_rule_and_a_line(applied):
    applied("evaluation")
    planned = run("snakemake", "-n", "results/heldout.json")
    assert "rule perplexity:" in planned
    assert "data/checkpoints/sft_lamini" in planned
    written = "from bezoar.steps.results.perplexity import PerplexityReport as Report; from pathlib import Path\n"
    written += "from bezoar.steps.results.write import write; out = Path('results/heldout.json')\n"
    run("python", "-c", written + "write(out, {'perplexity': {'sft_lamini': 3.5}, 'rows': 9}, Report)")
    run("python", "scripts/report/summary.py", "--reports", "results/heldout.json", "--out", "results/summary.csv")
    assert Path("results/summary.csv").read_text().splitlines()[1:] == [
        "heldout,perplexity,sft_lamini,perplexity,3.5,,,9,,,,true"
    ]
    assert json.loads(Path("results/metrics/heldout/sft_lamini.json").read_text()) == {"average": 3.5}


def test_a_row_format_is_one_module_and_is_found_by_its_columns(applied):
    folder = applied("row-format")
    answers = {"text": ["Rhine.", "None."], "score": [7, 2]}
    rows = [{"title": f"Name {n} rivers.", "selftext": "", "answers": answers} for n in range(3)]
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("bezoar", "recipe", "check")
    said = run("python", "scripts/data/source.py", "--params", "sources.mine", "seed", "--out", "data/source/mine")
    assert "format eli5" in said
    made = list(read_rows(folder / "data/source/mine/rows.jsonl", SeedRow))
    assert [row.response for row in made] == ["Rhine."] * 3


def test_a_backend_is_one_module_and_a_line(applied):
    folder = applied("backend")
    run("bezoar", "recipe", "check")
    seeds = folder / "seeds.jsonl"
    seed = {"id": "0a", "instruction": "name a river", "context": None, "response": None, "category": None}
    seeds.write_text(json.dumps(seed) + "\n")
    values = ["schemes.evol", "backends.teacher", "prompt", "seed", "budget"]
    run("python", "scripts/generate/evol.py", "--params", *values, "--seeds", str(seeds), "--prompts",
        "recipes/prompts/tiny/evol.yaml", "--out", "data/generated/evol/0000")  # fmt: skip
    dropped = (folder / "data/generated/evol/0000/dropped.jsonl").read_text()
    assert "NAME A RIVER" in dropped  # the program's answer: the prompt in capitals, which copies the prompt's words
