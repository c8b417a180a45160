"""The paper recipe's harness tasks: a document of each with all columns of its data set, and a hub's copy of them."""

import json
from pathlib import Path
from typing import Any

import yaml

from bezoar.steps.evaluate.task_data import pack

LISTED = {"text": ["a hot stone", "some cold water"], "label": ["A", "B"]}
# By task of the paper recipe: its folder and file in lm-eval, a document with all columns, and the texts in it.
STAND_INS = {
    "arc_challenge": (
        "arc",
        "arc_challenge.yaml",
        {"id": "Mercury_7", "question": "Which of these melts ice?", "choices": LISTED, "answerKey": "A"},
        ["Which of these melts ice?", *LISTED["text"]],
    ),
    "arc_easy": (
        "arc",
        "arc_easy.yaml",
        {"id": "Mercury_8", "question": "Which of these melts ice?", "choices": LISTED, "answerKey": "A"},
        ["Which of these melts ice?", *LISTED["text"]],
    ),
    "boolq": (
        "super_glue/boolq",
        "default.yaml",
        {"question": "is ice cold", "passage": "Ice is frozen water.", "idx": 0, "label": 1},
        ["is ice cold", "Ice is frozen water."],
    ),
    "hellaswag": (
        "hellaswag",
        "hellaswag.yaml",
        {
            "ind": 4,
            "activity_label": "Melting ice",
            "ctx_a": "A man holds ice.",
            "ctx_b": "he",
            "ctx": "A man holds ice. he",
            "endings": ["drops the ice.", "eats the ice."],
            "source_id": "activitynet~1",
            "split": "val",
            "split_type": "indomain",
            "label": "1",
        },
        ["A man holds ice. he", "drops the ice.", "eats the ice."],
    ),
    "openbookqa": (
        "openbookqa",
        "openbookqa.yaml",
        {"id": "7-9", "question_stem": "Ice is melted by", "choices": LISTED, "answerKey": "A"},
        ["Ice is melted by", *LISTED["text"]],
    ),
    "piqa": (
        "piqa",
        "piqa.yaml",
        {"goal": "melt the ice", "sol1": "Use a hot stone.", "sol2": "Use cold water.", "label": 0},
        ["melt the ice", "Use a hot stone.", "Use cold water."],
    ),
    "rte": (
        "glue/rte",
        "default.yaml",
        {"sentence1": "Ice is frozen water.", "sentence2": "Ice is water.", "label": 0, "idx": 0},
        ["Ice is frozen water.", "Ice is water."],
    ),
    "truthfulqa_mc2": (
        "truthfulqa",
        "truthfulqa_mc2.yaml",
        {
            "question": "What melts ice?",
            "mc1_targets": {"choices": ["A hot stone", "Magic"], "labels": [1, 0]},
            "mc2_targets": {"choices": ["A hot stone", "Some salt", "Magic"], "labels": [1, 1, 0]},
        },
        ["What melts ice?", "A hot stone", "Some salt", "Magic"],
    ),
    "wic": (
        "super_glue/wic",
        "default.yaml",
        {
            "word": "ice",
            "sentence1": "The ice melts.",
            "sentence2": "They ice the cake.",
            "start1": 4,
            "start2": 5,
            "end1": 7,
            "end2": 8,
            "idx": 0,
            "label": 0,
        },
        ["The ice melts.", "They ice the cake."],
    ),
    "winogrande": (
        "winogrande",
        "default.yaml",
        {"sentence": "The ice fell on the stone and _ broke.", "option1": "ice", "option2": "stone", "answer": "1"},
        ["The ice fell on the stone and _ broke."],
    ),
}


def write_settings(folder: Path, **settings: Any) -> Path:
    """A task's settings in a folder, for a task that reads nothing of the hub."""
    block = {"num_fewshot": 0, "chat_template": False, "system": None, "limit": None, "versions": {}, "data": []}
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(block | settings))
    pack({}, folder / "data.zip")
    return folder


SPLITS = ("train", "validation", "test")
# The data sets that lm-eval reads for these tasks: the task of each configuration ("default" has no name).
ON_THE_HUB = {
    "allenai/ai2_arc": {"ARC-Challenge": "arc_challenge", "ARC-Easy": "arc_easy"},
    "aps/super_glue": {"boolq": "boolq", "wic": "wic"},
    "Rowan/hellaswag": {"default": "hellaswag"},
    "allenai/openbookqa": {"main": "openbookqa"},
    "baber/piqa": {"default": "piqa"},
    "nyu-mll/glue": {"rte": "rte"},
    "truthfulqa/truthful_qa": {"multiple_choice": "truthfulqa_mc2"},
    "allenai/winogrande": {"winogrande_xl": "winogrande"},
}


def write_harness_data(datasets: Path) -> None:
    """Write the data sets as a hub has them, `datasets/<owner>/<name>/<file>`, with two documents a split."""
    for repository, tasks in ON_THE_HUB.items():
        folder = datasets / repository
        configs = []
        for config, task in tasks.items():
            (folder / config).mkdir(parents=True)
            for split in SPLITS:
                (folder / config / f"{split}.jsonl").write_text(2 * (json.dumps(STAND_INS[task][2]) + "\n"))
            files = [{"split": split, "path": f"{config}/{split}.jsonl"} for split in SPLITS]
            configs.append({"config_name": config, "data_files": files})
        (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n")
