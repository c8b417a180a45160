"""What evaluations ask: all documents of harness tasks, read by the harness itself, and all turns of questions."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from harness_data import STAND_INS, write_settings
from mains import script

from bezoar.errors import InputError
from bezoar.recipe.load import load
from bezoar.steps.data.contamination.items import Item
from bezoar.steps.data.rows import QuestionRow, read_rows, write_rows
from bezoar.steps.evaluate.targets import write_harness_targets

ROOT = Path(__file__).parents[2]
INCLUDED = ("arc_easy.yaml", "truthfulqa_mc1.yaml")
NO_EXAMPLES = ("truthfulqa_mc2",)  # its six examples are part of its prompt, and it takes no other


def stand_in(task, folder):
    """The task of lm-eval with its own code, in a folder, over files with a document for each split."""
    import lm_eval

    inside, name, document, _ = STAND_INS[task]
    shutil.copytree(Path(lm_eval.__file__).parent / "tasks" / inside, folder)
    splits = ("train", "validation", "test")
    for split in splits:
        (folder / f"{split}.jsonl").write_text(json.dumps(document) + "\n" + json.dumps(document) + "\n")
    for path in folder.glob("*.yaml"):
        if path.name in (name, *INCLUDED):
            text = path.read_text().replace("dataset_name:", "old_name:").replace("dataset_path:", "old_path:")
            lines = [line for line in text.splitlines() if not line.startswith(("old_", "dataset_kwargs", "  trust"))]
            data = {split: str(folder / f"{split}.jsonl") for split in splits}
            lines += ["dataset_path: json", f"dataset_kwargs: {json.dumps({'data_files': data})}"]
            path.write_text("\n".join(lines) + "\n")
        else:
            path.unlink()


@pytest.mark.parametrize("task", STAND_INS)
def test_the_paper_recipes_tasks_have_the_texts_that_it_names(tmp_path, task):
    fields = load(ROOT / "recipes/openbezoar-3b.yaml").evals["harness"].texts
    assert set(fields) == set(STAND_INS)
    stand_in(task, tmp_path / "tasks")
    out = tmp_path / "harness" / f"{task}.jsonl"
    write_harness_targets(fields[task], write_settings(tmp_path / "plain"), str(tmp_path / "tasks"), out)
    items = list(read_rows(out, Item))
    assert [(one.eval, one.task, one.id, one.fewshot) for one in items] == [
        ("harness", task, "0", False),
        ("harness", task, "1", False),
    ]
    assert [text for texts in items[0].texts.values() for text in texts] == STAND_INS[task][3]
    out = tmp_path / "more" / f"{task}.jsonl"
    two = write_settings(tmp_path / "two", num_fewshot=2)
    write_harness_targets(fields[task], two, str(tmp_path / "tasks"), out)
    shots = [one for one in read_rows(out, Item) if one.fewshot]
    assert [one.id for one in shots] == ([] if task in NO_EXAMPLES else ["fewshot-0", "fewshot-1"])
    assert all(one.texts == items[0].texts for one in shots)


def own_task(folder, *documents, **more):
    """A task of the project's own over a file."""
    folder.mkdir()
    (folder / "items.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))
    task = {
        "task": "own",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "items.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": ["yes", "no"],
        "doc_to_target": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(task | more))
    return str(folder)


def targets(tmp_path, *documents, fields=None, num_fewshot=0, **more):
    folder = own_task(tmp_path / "tasks", *documents, **more)
    shutil.rmtree(tmp_path / "own", ignore_errors=True)
    task = write_settings(tmp_path / "own", num_fewshot=num_fewshot)
    write_harness_targets(fields, task, folder, tmp_path / "bench" / "own.jsonl")
    return list(read_rows(tmp_path / "bench" / "own.jsonl", Item))


def test_a_task_without_named_fields_has_all_texts_of_two_words_or_more(tmp_path):
    document = {
        "id": "a7",
        "question": "Is ice cold?",
        "label": 1,
        "more": {"notes": ["It is.", "No"], "by": "Ann Lee"},
    }
    (item,) = targets(tmp_path, document)
    assert item.texts == {"question": ["Is ice cold?"], "more.notes": ["It is."], "more.by": ["Ann Lee"]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["query"], "own, document 0: no field 'query'\n  found: .*label, more, question"),
        (["more.text"], "own, document 0: no field 'more.text'\n  found: .*notes"),
        (["question", "label"], "own, document 0: 'label' isn't text\n  found: .*1"),
    ],
)
def test_a_field_that_a_task_does_not_have_is_an_error(tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        targets(tmp_path, {"question": "Is ice cold?", "label": 1, "more": {"notes": ["It is."]}}, fields=fields)


def test_a_task_without_texts_is_an_error_and_a_document_without_one_is_counted(tmp_path, caplog):
    with pytest.raises(InputError, match=r"bench: own has no text to compare training rows with\n  found: .*1 items"):
        targets(tmp_path, {"question": "ice", "label": 1})
    shutil.rmtree(tmp_path / "tasks")
    items = targets(tmp_path, {"question": "ice", "label": 1}, {"question": "Is ice cold?", "label": 1})
    assert [item.texts for item in items] == [{}, {"question": ["Is ice cold?"]}]
    assert "2 items; 1 have no text, such as 0" in caplog.text


def test_solved_examples_of_a_tasks_own_are_items_if_they_are_shown(tmp_path):
    samples = [{"question": "Is fire hot?", "label": 0}]
    shown = {"fewshot_config": {"sampler": "first_n", "samples": samples}}
    items = targets(tmp_path, {"question": "Is ice cold?", "label": 1}, num_fewshot=1, **shown)
    assert [(item.id, item.fewshot, item.texts["question"]) for item in items] == [
        ("0", False, ["Is ice cold?"]),
        ("fewshot-0", True, ["Is fire hot?"]),
    ]


def test_the_scripts_write_tasks_and_every_turn_of_questions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own_task(tmp_path / "tasks", {"question": "Is ice cold?", "label": 1})
    block = {"texts": {"own": ["question"]}, "task_folder": "tasks"}
    task = str(write_settings(tmp_path / "data/tasks/bench/own"))
    Path("params.yaml").write_text(json.dumps({"evals": {"bench": block}}))
    names = [f"evals.bench.{key}" for key in block]
    script("evaluate/harness_targets").main(["--params", *names, "--task", task, "--out", "targets/bench/own.jsonl"])
    assert [item.texts for item in read_rows("targets/bench/own.jsonl", Item)] == [{"question": ["Is ice cold?"]}]
    write_rows("questions.jsonl", [QuestionRow(question_id=81, category="math", turns=["One?", "And two?"])])
    flags = ["--questions", "questions.jsonl", "--out", "targets/look/questions.jsonl"]
    script("evaluate/question_targets").main(flags)
    (item,) = read_rows("targets/look/questions.jsonl", Item)
    assert item == Item(eval="look", task="questions", id="81", texts={"turns": ["One?", "And two?"]})


def recipe_with(path, **harness):
    """The embedded recipe with other values of its harness evaluation."""
    data = yaml.safe_load((ROOT / "recipes/tiny.yaml").read_text())
    data["evals"]["harness"] |= harness
    path.write_text(yaml.safe_dump(data))
    return path


def test_a_recipe_says_what_it_guards(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    recipe = load(recipe_with(tmp_path / "params.yaml", texts={"world_choices": ["question"]}))
    assert recipe.guarded() == [
        "guarded: harness: world_choices (question); world_preferences (all texts); world_generation (all texts)",
        "guarded: mtbench: questions (all turns of the questions of answers.mtbench)",
    ]
    files = ["harness/world_choices", "harness/world_preferences", "harness/world_generation", "mtbench/questions"]
    assert recipe.targets() == [f"data/targets/{name}.jsonl" for name in files]
    data = yaml.safe_load((tmp_path / "params.yaml").read_text()) | {"evals": {}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(data))
    assert load(tmp_path / "params.yaml").guarded() == [
        "note: no evaluation has items, so rows of mixes are compared with nothing"
    ]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"world_chioces": ["question"]}, "texts.world_chioces: no such task in `tasks`\n  found: .*world_chioces"),
        ({"world_choices": []}, "texts.world_choices: a task without texts\n  found: .*no field"),
    ],
)
def test_texts_of_no_task_and_no_texts_of_a_task_are_errors_of_the_recipe(tmp_path, monkeypatch, texts, message):
    monkeypatch.chdir(ROOT)
    with pytest.raises(Exception, match=message):
        load(recipe_with(tmp_path / "params.yaml", texts=texts))
