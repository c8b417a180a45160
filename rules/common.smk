"""Look-ups in the recipe: what a rule's wildcards stand for."""

import os
import re
import sys
from functools import reduce

from bezoar import params as parameters
from bezoar import tasks
from bezoar.cache import CacheError, alive, committed, git, graph
from bezoar.cluster.servers import server_of
from bezoar.params.evaluate import CONTROL

try:
    if workflow.is_main_process:
        committed.check_own(git.tracked())  # before anything is written or removed
    recipe = parameters.load(contents=workflow.is_main_process)
except (CacheError, parameters.RecipeError) as error:
    raise WorkflowError(str(error))
values = parameters.plain()  # not by `configfile:`, which reads YAML 1.1, where DVC and the scripts read 1.2
if any(values.get(name) != value for name, value in config.items()):
    raise WorkflowError(
        "values were given by --config or --configfile\n"
        "  expected: values in params.yaml, which is what the scripts read"
    )
config.update(values)

if workflow.is_main_process:
    held = alive.forget_killed_runs()  # a killed run needs no --unlock


def spending():
    """What runs spend on models over a network."""
    from bezoar.llm.allowance import Spending  # slow to import, and only asked where something runs

    return Spending(recipe)


# Proofs decide what runs (docs/how-it-decides.md). A DVC stage holds all shards, and all tasks, of its block.
graph.attach(
    workflow,
    parts={"shard": lambda w: SHARDS, "task": lambda w: recipe.evals[w.harness].tasks},
    plots={"train": {"file": "history.json", "x": "step", "y": ["loss", "eval_loss"]}},
    params=str(parameters.active()),
    spending=spending,
    servers={
        "generate": lambda w: server_of(recipe, recipe.schemes[w.scheme].teacher),
        "filter": lambda w: server_of(recipe, recipe.filters[w.scheme].judge),
        "judgments": lambda w: server_of(recipe, recipe.evals[w.mtbench].judge),
    },
)

# Rules call `bezoar` and `python` of the environment that runs Snakemake, also where it wasn't activated.
os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]))

SHARDS = recipe.shard_names()
CHECKPOINTS = [*recipe.models, *recipe.stages]


def one_of(names):
    """A pattern for a wildcard that stands for one of the names."""
    return "|".join(map(re.escape, names)) or "(?!)"


def evals_of(method):
    """Names of the evaluations of a method."""
    return [name for name, block in recipe.evals.items() if block.method == method]


wildcard_constraints:
    checkpoint=one_of(CHECKPOINTS),
    control=f"{CONTROL}[a-z]+",
    harness=one_of(evals_of("harness")),
    mtbench=one_of(evals_of("mtbench")),
    model=r"[a-z][a-z0-9_]*",
    scheme=one_of(recipe.schemes),
    shard=r"\d{4}",
    source=one_of(recipe.sources),
    stage=one_of(recipe.stages),
    task=r"[a-z][a-z0-9_]*",


def leaves_of(name):
    """The names that stand for a value: of a backend, all but how it is reached; nothing of the budget."""
    if name == "budget":
        return []  # no result depends on it
    if not name.startswith("backends."):
        return [name]
    return [f"{name}.{key}" for key in config["backends"][name.removeprefix("backends.")] if key != "connection"]


def value_of(name):
    """What params.yaml holds under a name."""
    return reduce(lambda block, key: block[key], name.split("."), config)


def values_of(names):
    """What params.yaml holds under the names that a rule's script reads: a job's result depends on these values."""
    return lambda wildcards: {leaf: value_of(leaf) for name in names(wildcards) for leaf in leaves_of(name)}


def checkpoint(name):
    """The directory with a checkpoint's full weights: a base model's, or a stage's after merging."""
    return f"data/base/{name}" if name in recipe.models else f"data/checkpoints/{name}"


def weights_of(backend):
    """The model directory that a backend runs, if it runs one itself."""
    block = recipe.backends[backend]
    return [checkpoint(block.checkpoint)] if block.kind == "local" else []


def asked_by(rule, *wildcards):
    """What jobs of a rule ask a cluster for, by params.yaml; the wildcards name a job's block."""
    return lambda w: recipe.asks("-".join([rule, *(w[name] for name in wildcards)]))


def cores_of(*job):
    """The cores of a rule's jobs, as their threads."""
    return lambda wildcards: asked_by(*job)(wildcards).cpus


def resources_of(*job):
    """What else a rule's jobs ask a cluster for.

    A second try may come after a first that was stopped for want of memory or time: it asks for twice as much.
    """
    asked = asked_by(*job)
    return {
        "mem_mb": lambda wildcards, attempt: int(asked(wildcards).memory_gb * 1000 * attempt),
        "runtime": lambda wildcards, attempt: asked(wildcards).minutes * attempt,
        "gpu": lambda wildcards: asked(wildcards).gpus,
    }


def rows_of(source):
    """The rows of a source."""
    return f"data/source/{source}/rows.jsonl"


def source_files(wildcards):
    """The local files that a source's rows depend on."""
    origin = recipe.sources[wildcards.source].origin
    if origin.kind == "file":
        return [origin.path]
    if origin.kind == "builtin" and origin.prompts:
        return sorted(map(str, Path(origin.prompts).glob("*.yaml")))
    return []


def generate_names(wildcards):
    """The parameters that a generate script reads."""
    teacher = recipe.schemes[wildcards.scheme].teacher
    return [f"schemes.{wildcards.scheme}", f"backends.{teacher}", "prompt", "seed", "shards", "budget"]


def filter_names(wildcards):
    """The parameters that the filter script reads."""
    block = recipe.filters[wildcards.scheme]
    quota = ["shards"] if block.quota else []
    return [f"filters.{wildcards.scheme}", f"backends.{block.judge}", "prompt", "seed", "budget", *quota]


def topics_of(wildcards):
    """The topic list of a scheme, if it has one."""
    topics = getattr(recipe.schemes[wildcards.scheme], "topics", None)
    return [topics] if topics else []


def mix_names(wildcards):
    """The parameters that the mix script reads."""
    sources = [part.name for part in recipe.mixes[wildcards.mix].parts if part.kind == "source"]
    return [f"mixes.{wildcards.mix}", "prompt", "seed", "shards", *(f"sources.{name}.format" for name in sources)]


def mix_parts(wildcards):
    """The files that a mix is drawn from."""
    return [
        path
        for part in recipe.mixes[wildcards.mix].parts
        for path in (
            expand("data/filtered/{name}/{shard}/kept.jsonl", name=part.name, shard=SHARDS)
            if part.kind == "scheme"
            else [rows_of(part.name)]
        )
    ]


def mix_earlier(wildcards):
    """The train splits of the mixes that are trained on before one: none of their rows is held out here."""
    return [f"data/mixes/{name}/train.jsonl" for name in recipe.earlier_mixes(wildcards.mix)]


def mix_tokenizer(wildcards):
    """The model whose tokenizer a mix counts with, if it counts."""
    limit = recipe.mixes[wildcards.mix].limit
    return [checkpoint(limit.tokenizer)] if limit else []


def model_source(wildcards):
    """What a base model is made from, if that isn't the hub: raw text, or a model directory of the repository."""
    block = recipe.models[wildcards.model]
    if block.method == "pretrain":
        return [rows_of(block.corpus)]
    return [block.path] if block.method == "local" else []


def base_of(wildcards):
    """The full weights that a stage's adapter lies on."""
    return checkpoint(recipe.foundation(wildcards.stage))


def adapter_before(wildcards):
    """The adapter that a stage carries on, if it does."""
    stage = recipe.stages[wildcards.stage]
    return [f"data/adapters/{stage.init_from}"] if stage.continue_adapter else []


def harness_names(wildcards):
    """The parameters that the harness script reads."""
    keys = ("shots", "max_length", "batch_size", "precision", "task_folder")
    return [*(f"evals.{wildcards.harness}.{key}" for key in keys), "seed"]


def task_files(wildcards):
    """The files of a harness evaluation's own tasks, if it has some."""
    folder = recipe.evals[wildcards.harness].task_folder
    return tasks.task_files(folder) if folder else []


def answer_names(wildcards):
    """The parameters that the answers script reads."""
    keys = ("batch_size", "precision", "temperatures", "top_p", "max_new_tokens")
    return [*(f"evals.{wildcards.mtbench}.{key}" for key in keys), "prompt", "seed"]


def judgment_names(wildcards):
    """The parameters that the judgments script reads."""
    judge = recipe.evals[wildcards.mtbench].judge
    keys = ("judge_sampling", "judge_attempts", "repeats", "with_reference", "most_failed")
    return [*(f"evals.{wildcards.mtbench}.{key}" for key in keys), f"backends.{judge}", "prompt", "seed", "budget"]


def shuffled_answers(wildcards):
    """The answers that a control is made of, if it is."""
    block = recipe.evals[wildcards.mtbench]
    path = f"data/answers/{wildcards.mtbench}/{block.shuffled_from}/answers.jsonl"
    return [path] if wildcards.control == f"{CONTROL}shuffled" else []


def asked(role):
    """The source that an MT-Bench evaluation takes in a role: questions, references or judge_prompts."""
    return lambda wildcards: rows_of(getattr(recipe.evals[wildcards.mtbench], role))


def controls_of(name):
    """The controls of an MT-Bench evaluation, which stand beside its checkpoints."""
    return [f"{CONTROL}{control}" for control in recipe.evals[name].controls]


def gate_of(wildcards):
    """What controls have to show before a judge is asked about a checkpoint; nothing stands before the controls."""
    controls = controls_of(wildcards.mtbench)
    return [f"data/gates/{wildcards.mtbench}.json"] if controls and wildcards.model not in controls else []


def judged_models(name):
    """The checkpoints and controls of an MT-Bench evaluation."""
    return [*recipe.evals[name].checkpoints, *controls_of(name)]
