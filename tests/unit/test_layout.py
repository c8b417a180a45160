"""What may import what: the floors of the package, and the table of what each script may depend on.

The floors stand in pyproject.toml (tool.importlinter). A script's row here is what its fingerprint may cover, imports
in functions included: an edit outside of it reruns nothing of its rule.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from mains import SCRIPTS

from bezoar.cache.code import Closures
from bezoar.cache.hashing import Hasher

ROOT = Path(__file__).parents[2]
NAMES = sorted(str(path.relative_to(SCRIPTS).with_suffix("")) for path in SCRIPTS.glob("**/*.py"))
SLOW = ("accelerate", "bitsandbytes", "datasets", "lm_eval", "peft", "tokenizers", "torch", "transformers", "trl")
CURE = "hint: import it where it is needed, or move what is needed to a module of its own"

PLAIN = {"blocks", "errors", "files", "jsonl", "logs", "script", "text", "yaml12"}
DEMAND = {"requests", "requests.base", "requests.blocks", "requests.demand"}  # what a block says of its requests
MODELS = {"models", "tokenizers"}
BACKENDS = {"backends", "chat", "prompts", "data", "generate.templates", "generate"} | MODELS  # whoever answers
ASKING = PLAIN | {"cache", "costs", "problems", "requests", "serving", "world"}
DEALING = PLAIN | DEMAND | {"problems", "requests.calls"}  # the block of a scheme
SHARDS = {"data", "generate", "generate.scheme", "seeded"}
TRAINING = {
    "chat",
    "seeded",
    "train",
    "train.conversations",
    "train.curves",
    "train.devices",
    "train.lisa",
    "train.memory",
    "train.packing",
    "train.pair",
    "train.pairs",
    "train.preference",
    "train.preflight",
    "train.shards",
    "train.stage",
    "train.training",
    "train.tuning",
} | MODELS
CHOOSING = PLAIN | {"problems"}  # the block of a selection
SELECTING = {"chat", "data", "seeded", "select", "select.selection"}
# By script: packages and modules of the tool, and of the steps, that it may depend on.
TABLE: dict[str, tuple[set[str], set[str]]] = {
    "base/*": (PLAIN, {"base", "chat", "data", "data.rows"} | MODELS),
    "data/certificate": (PLAIN, {"data", "data.contamination", "data.rows", "data.unspaced"}),
    "data/certified": (PLAIN, {"data", "data.contamination", "data.rows", "data.unspaced"}),
    "data/clearance": (PLAIN, {"data", "data.contamination", "data.rows", "data.unspaced"}),
    "data/dataset": (PLAIN, {"chat", "data", "dataset"} | MODELS),  # `models` for a tokenizer
    "data/mix": (PLAIN, {"chat", "data", "seeded"} | MODELS),  # `models` for a tokenizer
    "data/source": (PLAIN | {"problems", "world"}, {"chat", "data", "generate", "generate.templates", "prompts"}),
    "evaluate/answers": (PLAIN | DEMAND | {"costs", "problems"}, {"backends.local", "evaluate"} | BACKENDS),
    "evaluate/controls": (PLAIN | DEMAND | {"problems"}, {"data", "evaluate", "prompts"}),
    "evaluate/gate": (PLAIN | DEMAND | {"problems"}, {"data", "evaluate", "prompts"}),
    "evaluate/harness": (PLAIN | DEMAND | {"problems", "together"}, {"chat", "evaluate"} | MODELS),
    "evaluate/harness_targets": (
        PLAIN | DEMAND | {"problems"},
        {"data", "data.contamination", "data.rows", "data.unspaced", "evaluate"},
    ),
    "evaluate/harness_tasks": (PLAIN | {"problems", "together"}, {"evaluate"}),
    "evaluate/question_targets": (
        PLAIN | DEMAND | {"problems"},
        {"data", "data.contamination", "data.rows", "data.unspaced", "evaluate"},
    ),
    "evaluate/likelihood": (
        PLAIN | DEMAND | {"problems"},
        {
            "chat",
            "data",
            "data.examples",
            "data.families",
            "data.rows",
            "data.split",
            "evaluate",
            *MODELS,
            "train",
            "train.conversations",
        },
    ),
    "evaluate/comparisons": (ASKING, {"evaluate"} | BACKENDS),
    "evaluate/gate_pairwise": (PLAIN | DEMAND | {"problems"}, {"data", "evaluate", "prompts"}),
    "evaluate/checklists": (ASKING, {"evaluate"} | BACKENDS),
    "evaluate/checks": (ASKING, {"evaluate"} | BACKENDS),
    "evaluate/gradings": (ASKING, {"evaluate"} | BACKENDS),
    "evaluate/graded_gate": (PLAIN | DEMAND | {"problems"}, {"data", "evaluate", "prompts"}),
    "evaluate/judgments": (ASKING, {"evaluate"} | BACKENDS),
    "evaluate/null_answers": (PLAIN | DEMAND | {"problems"}, {"data", "evaluate", "prompts"}),
    "evaluate/served_answers": (ASKING, {"evaluate"} | BACKENDS),
    "evaluate/served_harness": (ASKING, {"chat", "evaluate"} | MODELS),
    "pairs/*": (
        DEALING,
        {
            "data",
            "chat",
            "score.block",
            "score",
            "score.names",
            "generate",
            "generate.scheme",
            "generate.seeds",
            "pairs",
            "seeded",
        },
    ),
    "score/judge": (ASKING, {"evaluate", "generate.scheme", "score", "seeded"} | BACKENDS),
    "score/logratio": (
        DEALING,
        {
            "evaluate",
            "generate",
            "generate.scheme",
            "prompts",
            "score",
            "seeded",
            "data",
            "chat",
            "train",
            "train.conversations",
        }
        | MODELS,
    ),
    "select/ordered": (CHOOSING, SELECTING | MODELS),  # `models` for a tokenizer
    "select/difficulty": (
        CHOOSING | DEMAND,
        SELECTING | MODELS | {"evaluate", "train", "train.conversations"},
    ),
    "select/deita": (ASKING, SELECTING | BACKENDS),
    "shard/evol": (DEALING, SHARDS),
    "shard/revise": (DEALING, SHARDS | {"generate.seeds", "chat"}),
    "shard/sample": (DEALING, SHARDS | {"generate.seeds", "chat"}),
    "shard/lamini": (DEALING, SHARDS | {"generate.lamini", "prompts"}),
    "shard/orca": (DEALING, SHARDS | {"generate.orca"}),
    "shard/skillmix": (DEALING, SHARDS | {"generate.skillmix", "generate.skill_list", "prompts"}),
    "filter/*": (ASKING, {"filter"} | BACKENDS),
    "generate/*": (
        ASKING,
        {
            "filter",
            "filter.refusals",
            "generate.scheme",
            "generate.scripts",
            "generate.seeds",
            "generate.skill_list",
            "seeded",
        }
        | BACKENDS,
    ),
    "report/ablation": (
        PLAIN | DEMAND | {"problems"},
        {"data", "evaluate", "prompts", "report", "report.ablation", "results"},
    ),
    "report/agreement": (PLAIN | DEMAND | {"problems"}, {"data", "evaluate", "prompts", "report", "results"}),
    "report/answers": (PLAIN | DEMAND | {"problems"}, {"data", "evaluate", "prompts", "report", "results"}),
    "report/likelihood": (
        PLAIN | DEMAND | {"problems"},
        {
            "chat",
            "data",
            "data.examples",
            "data.families",
            "data.rows",
            "data.split",
            "evaluate",
            *MODELS,
            "train",
            "train.conversations",
            "report",
            "results",
        },
    ),
    "report/harness": (PLAIN | DEMAND | {"problems"}, {"chat", "evaluate", "report", "results"} | MODELS),
    "report/mtbench": (PLAIN | DEMAND | {"problems"}, {"data", "evaluate", "prompts", "report", "results"}),
    "report/page": (PLAIN | {"page"}, {"data", "evaluate", "evaluate.answered", "evaluate.ceilings", "results"}),
    "report/pairwise": (PLAIN | DEMAND | {"problems"}, {"data", "evaluate", "prompts", "report", "results"}),
    "report/summary": (PLAIN, {"results"}),
    "report/checklist": (PLAIN | DEMAND | {"problems"}, {"data", "evaluate", "prompts", "report", "results"}),
    "report/rubric": (PLAIN | DEMAND | {"problems"}, {"data", "evaluate", "prompts", "report", "results"}),
    "train/*": (PLAIN, TRAINING),
    # Rewards, among them the embedded world's rules, with what its texts are made of.
    "train/grpo": (
        PLAIN | {"problems", "world"},
        TRAINING | {"train.groups", "train.rewards", "data", "generate", "generate.templates", "prompts"},
    ),
}
# Packages of steps of which a script may have its own module and those of its row, and no other.
APART = ("base", "generate", "select", "train")


@pytest.fixture(scope="module")
def closure() -> Callable[[str], set[str]]:
    """A function from a script to the modules of bezoar that it imports, directly or not, without `bezoar.`."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(ROOT)
        found = Closures(Hasher())
        closures = {name: found.files(f"scripts/{name}.py").values() for name in NAMES}
    return lambda name: {one.removeprefix("bezoar.") for one in closures[name] if one.startswith("bezoar.")}


def rows_of(name: str) -> list[str]:
    """The rows of the table that a script has: its own, or those whose pattern fits."""
    return [name] if name in TABLE else [pattern for pattern in TABLE if fnmatch(name, pattern)]


def fits(module: str, allowed: set[str]) -> bool:
    """Whether a module is among those allowed, or in a package that is allowed whole."""
    tops = {one for one in allowed if not any(other.startswith(f"{one}.") for other in allowed)}
    return module in allowed or any(module.startswith(f"{top}.") for top in tops)


def test_the_floors_stand():
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]  # apart: it switches other loggers off
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_no_module_imports_itself_in_a_circle_also_not_inside_functions():
    graph = grimp.build_graph("bezoar", cache_dir=None, exclude_type_checking_imports=True)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    assert imports["bezoar.steps.train.sft"]
    try:
        list(TopologicalSorter(imports).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' <- '.join(error.args[1])}")


def test_every_module_is_in_a_package_that_is_linted():
    graph = grimp.build_graph("bezoar", cache_dir=None)
    paths = [path.relative_to(ROOT / "src").with_suffix("") for path in (ROOT / "src/bezoar").rglob("*.py")]
    apart = {"hook", "template"}  # Python imports the hook as `sitecustomize`, from a folder of PYTHONPATH
    modules = {".".join(path.parts).removesuffix(".__init__") for path in paths if apart.isdisjoint(path.parts)}
    assert modules - graph.modules == set(), "hint: give the folder an __init__.py"


def test_every_script_has_one_row_and_every_row_a_script():
    assert {name: len(rows_of(name)) for name in NAMES} == dict.fromkeys(NAMES, 1)
    assert {row for name in NAMES for row in rows_of(name)} == set(TABLE)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_depends_on_what_its_row_says(name, closure):
    tool, steps = TABLE[rows_of(name)[0]]
    found = closure(name) - {"steps"}
    own = {one.removeprefix("steps.") for one in found if one.startswith("steps.")}
    more = {one for one in found if not one.startswith("steps.") and not fits(one, tool)}
    assert more == set(), f"{name} depends on more of the tool than its row says\n{CURE}"
    assert {one for one in own if not fits(one, steps) and one != name.replace("/", ".")} == set(), CURE
    for package in APART:
        methods = {path.stem for path in (ROOT / "src/bezoar/steps" / package).glob("*.py")}
        others = {path.stem for path in (SCRIPTS / package).glob("*.py")} & methods - {Path(name).name}
        assert own & {f"{package}.{other}" for other in others} == set(), f"{name} depends on another method\n{CURE}"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("base/", "train/"))])
def test_training_depends_on_no_requests_no_world_and_no_recipe(name, closure):
    packages = {one.split(".")[0] for one in closure(name)}
    # The world's rules are a reward, loaded if a stage names it; its texts come with the errors of prompt files.
    rewarding = {"world", "problems"} if name == "train/grpo" else set()
    assert packages & {"cache", "cli", "cluster", "problems", "recipe", "requests", "serving", "world"} == rewarding
    assert "blocks" in packages  # so that an empty closure would be seen


def test_no_script_depends_on_the_recipe(closure):
    assert {name for name in NAMES if any(one.split(".")[0] in ("recipe", "cli") for one in closure(name))} == set()


def test_what_counts_no_tokens_and_runs_no_model_depends_on_no_torch(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = Closures(Hasher())
    heavy = {f"{name} (package)" for name in SLOW} - {"datasets (package)"}  # which reads sources of the hub
    for name in (
        "data/source",
        "shard/evol",
        "shard/lamini",
        "shard/orca",
        "data/certificate",
        "data/certified",
        "data/clearance",
        "evaluate/controls",
        "evaluate/gate",
        "evaluate/graded_gate",
        "evaluate/null_answers",
        "report/checklist",
        "report/mtbench",
        "report/rubric",
    ):
        assert set(found.parts(f"scripts/{name}.py")) & heavy == set(), name
    assert set(found.parts("scripts/train/sft.py")) & heavy != set()


def test_a_script_imports_nothing_slow_before_it_works():
    code = (
        "import sys, json; sys.path.insert(0, 'tests'); from mains import script\n"
        f"for name in {NAMES}: script(name)\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert "bezoar.steps.train.sft" in loaded
    assert {name.split(".")[0] for name in loaded} & set(SLOW) == set()
    assert "bezoar.steps.models" not in loaded
