"""Publishing: the exact bytes and the card go to the hub, in one commit, and nothing goes anywhere by accident."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from hub import Hub

from bezoar.errors import BezoarError, InputError
from bezoar.files import files_in, sha256
from bezoar.publish import records
from bezoar.publish.card import card
from bezoar.publish.hub import upload
from bezoar.publish.records import File, Published, target_of
from bezoar.recipe.recipe import Recipe
from bezoar.steps.base.package import PackagedModel
from bezoar.steps.evaluate.evaluation import EvalBlock

TOKEN = "hf_dummy0123456789"
FILES = {"config.json": b"{}\n", "model.safetensors": bytes(range(256)) * 64, "sub/notes.txt": b"n\xc3\xa9\n"}


class Known(dict[str, Any]):
    """Records of these JSON files."""

    def read(self, path: str) -> Any:
        """The content, if it is known."""
        return self.get(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The look-alike; this process asks no other hub."""
    from huggingface_hub import constants

    with Hub(tmp_path / "hub", TOKEN) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", running.address, raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Published:
    """A checkpoint's files."""
    folder = tmp_path / "data/checkpoints/sft"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    files = (File(name, len(content), hashlib.sha256(content).hexdigest()) for name, content in FILES.items())
    return Published("model", "sft", folder, tuple(files))


def stored(hub: Hub, repository: str, kind: str = "models") -> dict[str, bytes]:
    folder = hub.root / kind / repository
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- The hub --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_the_exact_bytes_and_the_card_go_in_one_commit_to_a_private_repository(hub, target, kind):
    where = upload(Published(kind, "sft", target.folder, target.files), "# sft\n", "org/sft", public=False)
    assert stored(hub, "org/sft", f"{kind}s") == {**FILES, "README.md": b"# sft\n"}
    assert hub.uploads == ["create org/sft", "commit sft by bezoar"]
    assert hub.private == {"org/sft"}
    assert where.endswith(f"/commit/{hub.commit}")


def test_a_public_repository_is_made_only_if_asked_for(hub, target):
    upload(target, "# sft\n", "org/sft", public=True)
    assert hub.private == set()
    with pytest.raises(InputError, match="org/sft is public"):
        upload(target, "# sft\n", "org/sft", public=False)
    assert hub.uploads == ["create org/sft", "commit sft by bezoar"]


def test_an_earlier_state_is_replaced_and_files_of_others_are_not_left_beside(hub, target):
    upload(target, "# one\n", "org/sft", public=False)
    upload(target, "# two\n", "org/sft", public=False)
    assert stored(hub, "org/sft")["README.md"] == b"# two\n"
    (hub.root / "models/org/sft/model-00002-of-00002.safetensors").touch()
    with pytest.raises(InputError, match=r"(?s)files that .* doesn't have\n  found: .*model-00002-of-00002"):
        upload(target, "# three\n", "org/sft", public=False)
    assert stored(hub, "org/sft")["README.md"] == b"# two\n"


def test_a_file_that_changes_on_the_way_is_not_sent(hub, target):
    (target.folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(BezoarError, match=r"model\.safetensors has just changed"):
        upload(target, "# sft\n", "org/sft", public=False)
    assert stored(hub, "org/sft") == {}


def test_without_a_token_in_the_environment_nothing_is_sent(hub, target, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(InputError, match="HF_TOKEN is not set"):
        upload(target, "# sft\n", "org/sft", public=False)
    assert hub.uploads == []


def test_a_token_that_the_hub_refuses_is_an_error_that_does_not_show_it(hub, target, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(BezoarError, match="was not published as org/sft") as caught:
        upload(target, "# sft\n", "org/sft", public=False)
    assert "401" in str(caught.value)
    assert "hf_wrong" not in str(caught.value)


def test_a_hub_that_cannot_be_reached_is_an_error(hub, target, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(BezoarError, match="was not published as org/sft"):
        upload(target, "# sft\n", "org/sft", public=False)


# --- The card -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    data = yaml.safe_load((ROOT / "recipes/openbezoar-3b.yaml").read_text())
    data["sources"]["flan"].pop("licence")
    data["sources"]["hh_dpo"].pop("licence")
    return Recipe.model_validate(data)


RECORDS = Known(
    {
        "data/adapters/sft_evol/rows.json": {"train": {"rows": 1567}, "eval": {"rows": 32}},
        "data/adapters/sft_evol/history.json": [{"eval_loss": 1.5}, {"loss": 1.2}, {"eval_loss": 1.25}],
        "results/harness.json": {
            "num_fewshot": 0,
            "tasks": {"boolq": {"num_fewshot": 0}},
            "checkpoints": {
                "sft_hh": {"boolq": {"metrics": {"acc": {"score": 0.661, "standard_error": 0.008}}, "questions": 3270}}
            },
        },
        "results/mtbench.json": {
            "judge": {"models_returned": ["a-judge"]},
            "judge_compromised": False,
            "controls_that_failed": [],
            "note": "",
            "questions": {"count": 80},
            "models": {"sft_hh": {"average": {"mean": 3.25, "low": 3.0, "high": 3.5}}},
        },
    }
)


def card_of(name: str, recipe: Recipe, records: Known = RECORDS) -> tuple[dict[str, Any], str]:
    """A card's metadata and its text."""
    text = card(name, recipe, records)  # type: ignore[arg-type]
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_a_model_card_names_the_whole_lineage_with_rows_and_losses(recipe):
    head, body = card_of("sft_hh", recipe)
    assert head["base_model"] == "openlm-research/open_llama_3b_v2"
    assert head["license"] == "cc-by-nc-4.0"
    assert set(head["datasets"]) == {
        "databricks/databricks-dolly-15k",
        "kowndinya23/flan2022",
        "Anthropic/hh-rlhf",
    }
    assert "Base model `open_llama_3b_v2`: openlm-research/open_llama_3b_v2 at bce5d60d" in body
    assert "licence: Apache-2.0." in body
    assert "| `sft_evol` | `sft_orca` | sft | `evol` | 1567 | 1.500 → 1.250 |" in body
    assert "| `sft_hh` | `sft_evol` | sft | `hh_chosen` |  |  |" in body  # it was not built
    places = [body.index(f"| `{name}` | `") for name in ("sft_lamini", "sft_orca", "sft_evol", "sft_hh")]
    assert places == sorted(places)
    assert "dpo_hh" not in body


def test_a_model_card_names_the_package_of_a_base_model(recipe):
    package = PackagedModel(
        method="package", distribution="llm-files", version="1.2", file="m/small.gguf", sha256="0" * 64, licence="mit"
    )
    _, body = card_of("sft_hh", recipe.model_copy(update={"models": {"open_llama_3b_v2": package}}))
    assert f"m/small.gguf of the Python package llm-files 1.2 (sha256 {'0' * 64}); licence: MIT." in body


def test_a_system_text_of_several_lines_is_one_block_of_a_card(recipe):
    prompt = recipe.prompt.model_copy(update={"system": "Be kind.\n# Be brief."})
    _, body = card_of("sft_hh", recipe.model_copy(update={"prompt": prompt}))
    assert "\n    Be kind.\n    # Be brief.\n" in body


def test_a_model_card_names_data_with_licences_and_the_models_that_wrote_it(recipe):
    _, body = card_of("sft_hh", recipe)
    assert (
        "| `dolly` | databricks/databricks-dolly-15k at bdd27f4d94b9c1f951818a7da7fd7aeea5dbff1a | CC-BY-SA-3.0 |"
        in body
    )
    assert "| `flan` | kowndinya23/flan2022 at 5bde81623c03eb11b0fb9eaca25745f87cf7079a | not stated |" in body
    assert "sha256 7779004fa198fdf27cf70a159363879d8a26c53329e11b436af17b3941875f48" in body
    teacher = "h2oai/h2ogpt-gm-oasst1-en-2048-falcon-40b-v2"
    assert f"| `evol` | evol | `dolly` | {teacher} | Apache-2.0 | gpt-5.6-sol |" in body


def test_a_model_card_states_the_licences_of_all_that_it_is_made_of(recipe):
    head, body = card_of("sft_evol", recipe, Known())
    assert head["license"] == "cc-by-nc-4.0"
    found = body.split("## Licences")[1].split("\n## ")[0]
    assert "Published under CC-BY-NC-4.0. It is made of:" in found
    assert "| model open_llama_3b_v2 | Apache-2.0 |" in found
    assert "| backend teacher, teacher of lamini | Apache-2.0 |" in found
    assert (
        "| backend filter, judge of lamini | [OpenAI's terms](https://openai.com/policies/services-agreement/): "
        in found
    )
    assert "Share-alike: what is made of it has the same licence: source dolly (CC-BY-SA-3.0)." in found
    assert "Licence not stated: source flan." in found
    assert "hh" not in found  # of a later stage


def test_a_model_card_gives_scores_with_intervals_and_says_what_was_not_run(recipe):
    _, body = card_of("sft_hh", recipe)
    assert "| boolq | acc | 0.661 | 0.008 | 3270 |" in body
    assert "80 questions, judged by a-judge: 3.25 of 10 (95 % interval 3.00 to 3.50)." in body
    _, bare = card_of("sft_hh", recipe, Known())
    assert "## Scores" not in bare
    assert "- `harness` (harness) has no result that is up to date." in bare
    assert "- `mtbench` (mtbench) has no result that is up to date." in bare
    assert "memorised text were not measured, beyond the scores above." in body
    assert "memorised text were not measured." in bare


def test_a_model_card_says_which_rows_repeat_evaluation_items_or_that_nothing_was_compared(recipe):
    said = {"rows": {"train": 90, "eval": 10}, "matching_rows": {"train": 3, "eval": 0}, "passes": True}
    task = {"questions": {"items": 80, "matched": 2}}
    found = {"evol": said | {"evaluations": {"mtbench": task}}, "orca": said | {"evaluations": {}}}
    _, body = card_of("sft_hh", recipe, Known({f"data/certificates/{name}.json": one for name, one in found.items()}))
    assert "- `evol`: 3 of 100 rows repeat 2 of 80 scored items; passes." in body
    assert "- `orca`: 100 rows and nothing to compare them with: no evaluation has items." in body
    assert "Evaluation items in the rows" not in card_of("sft_hh", recipe, Known())[1]


def test_a_model_card_gives_the_likelihood_of_held_out_answers(recipe):
    block = {"method": "likelihood", "checkpoints": ["sft_hh"], "mixes": ["hh_chosen"], "dtype": "float32"}
    evals = Recipe.model_validate({"recipe": "r", "evals": {"held_out": block}}).evals
    gap = {"to": "open_llama_3b_v2", "mean": 0.25, "low": 0.2, "high": 0.3}
    one = {"mean": -1.5, "low": -1.6, "high": -1.4, "difference_to_first": gap}
    report = {"note": "Higher is better.", "checkpoints": {"sft_hh": {"hh_chosen": one}}}
    records = Known({"results/held_out.json": report})
    _, body = card_of("sft_hh", recipe.model_copy(update={"evals": evals}), records)
    assert "| hh_chosen | -1.500 | -1.600 to -1.400 | open_llama_3b_v2: +0.250 (0.200 to 0.300) |" in body


def test_a_model_card_gives_the_counts_of_answers_that_nobody_rates(recipe):
    block = {"method": "answers", "checkpoints": ["sft_hh"], "answers": "chat"}
    evals = Recipe.model_validate({"recipe": "r", "evals": {"beside": block}}).evals
    counts = {"answers": 4, "empty": 1, "cut": 2, "words_per_answer": 7.5}
    records = Known({"results/beside.json": {"no_score": "no judge", "checkpoints": {"sft_hh": counts}}})
    _, body = card_of("sft_hh", recipe.model_copy(update={"evals": evals}), records)
    assert "`beside`: 4 answers, 1 empty, 2 cut by the token limit, 7.5 words per answer; no judge." in body


@pytest.mark.parametrize("report", [{"checkpoints": {"a": {"score": 0.5}}}, {"a": {"score": 0.5}}])
def test_a_method_without_words_of_its_own_gives_its_report(report):
    found = EvalBlock(checkpoints=["a"]).scores_of("a", report)
    assert found == ('as reported:\n\n```json\n{\n  "score": 0.5\n}\n```', (), ())


def test_a_judge_without_a_readable_rating_and_a_compromised_one_are_said(recipe):
    report = RECORDS["results/mtbench.json"]
    silent = {
        **report,
        "models": {"sft_hh": {"average": None, "withheld": "the judge gave no readable rating: 8 refused"}},
    }
    assert (
        "judged by a-judge: no score (the judge gave no readable rating: 8 refused)."
        in card_of("sft_hh", recipe, Known({"results/mtbench.json": silent}))[1]
    )
    bad = {**report, "judge_compromised": True, "controls_that_failed": ["control_spoof"]}
    assert (
        "compromised: it rewards control_spoof." in card_of("sft_hh", recipe, Known({"results/mtbench.json": bad}))[1]
    )


def test_a_model_card_gives_the_settings_of_each_stage(recipe):
    _, body = card_of("dpo_hh", recipe, Known())
    settings = yaml.safe_load(body.split("```yaml\n")[1].split("```")[0])
    assert list(settings) == ["seed", "sft_lamini", "sft_orca", "sft_evol", "sft_hh", "dpo_hh"]
    assert settings["dpo_hh"]["beta"] == 0.1
    assert settings["sft_lamini"]["lora"]["rank"] == 16


def test_a_cell_cannot_break_its_table(recipe):
    source = recipe.sources["hh_dpo"].model_copy(update={"licence": "a | b\nc"})
    _, body = card_of("dpo_hh", recipe.model_copy(update={"sources": {**recipe.sources, "hh_dpo": source}}), Known())
    assert "| a \\| b c |" in body


# --- Names ----------------------------------------------------------------------------------------------------------


def test_an_artifact_is_named_by_stage_mix_or_folder(recipe):
    assert target_of("sft_hh", recipe) == Published("model", "sft_hh", Path("data/checkpoints/sft_hh"))
    assert target_of("data/datasets/hh_pairs/", recipe) == Published(
        "dataset", "hh_pairs", Path("data/datasets/hh_pairs")
    )


def test_an_unknown_name_and_one_of_two_artifacts_are_refused(recipe):
    with pytest.raises(InputError, match="open_llama_3b_v2: no checkpoint or mix of this name"):
        target_of("open_llama_3b_v2", recipe)
    both = recipe.model_copy(update={"mixes": {**recipe.mixes, "sft_hh": recipe.mixes["evol"]}})
    with pytest.raises(InputError, match=r"more than one .*\n  found: .*data/checkpoints/sft_hh, data/datasets/sft_hh"):
        target_of("sft_hh", both)


class Proofs:
    """A build that made these files of a mix."""

    def __init__(self, folder: Path) -> None:
        self.steps: list[Any] = []
        self.subjects = [{"name": str(path), "digest": {"sha256": sha256(path)}} for path in files_in(folder)]


def test_the_files_of_a_folder_are_compared_and_none_is_left_out(tmp_path, monkeypatch):
    folder = tmp_path / "data/datasets/all"
    folder.mkdir(parents=True)
    for name in ("train.parquet", "eval.parquet", "README.md"):
        (folder / name).write_text(f"{name}\n")
    build, target = Proofs(folder), Published("dataset", "all", folder)
    monkeypatch.setattr(records, "subjects_of", lambda path, build: build.subjects)
    found = records.Records(build).checked(target)
    assert [one.name for one in found.files] == ["README.md", "eval.parquet", "train.parquet"]
    (folder / "eval.parquet").write_text("other\n")
    with pytest.raises(BezoarError, match=r"(?s)eval\.parquet differ from the record.*snakemake .*all/README\.md"):
        records.Records(build).checked(target)
