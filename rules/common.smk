"""Look-ups in the recipe by a rule's wildcards."""

import os
import re
import subprocess
import sys
from functools import reduce

from bezoar import installed
from bezoar.cache import committed, git, graph, locks
from bezoar.cache.environment import HUB
from bezoar.cache.job import Network
from bezoar.cluster.servers import server_of
from bezoar.errors import BezoarError, problem
from bezoar.page import files
from bezoar.recipe import memory
from bezoar.recipe.load import active, load, plain
from bezoar.requests.network import network_of
from bezoar.steps.evaluate import answers, harness, task, tasks
from bezoar.steps.evaluate.checks import Authoring, Checking
from bezoar.steps.evaluate.evaluation import AnsweredEval
from bezoar.steps.evaluate.games import Comparing
from bezoar.steps.evaluate.gate import Gate
from bezoar.steps.evaluate.graded import GradedEval
from bezoar.steps.evaluate.gradings import Grading
from bezoar.steps.evaluate.judgments import Judging
from bezoar.steps.evaluate.likelihood import Scored
from bezoar.steps.evaluate.mtbench import CONTROL
from bezoar.steps.evaluate.nulls import GradedGate, Spoofed
from bezoar.steps.evaluate.questions import Asked
from bezoar.steps.generate.skill_list import Listing
from bezoar.steps.results import headline
from bezoar.steps.train.merge import Merging

try:
    if workflow.is_main_process:
        committed.check_own(git.tracked())  # before anything is written or removed
    recipe = load(contents=workflow.is_main_process)
except BezoarError as error:
    raise WorkflowError(str(error))
written = plain()  # not by `configfile:`, which reads YAML 1.1, where DVC and the scripts read 1.2
if any(written.get(name) != value for name, value in config.items()):
    raise WorkflowError(
        problem(
            "values were given by --config or --configfile",
            found=", ".join(sorted(name for name, value in config.items() if written.get(name) != value)),
            expected="values in params.yaml, which is what the scripts read",
        )
    )
resolved = recipe.values()  # with all defaults: they are part of every key
config.update(resolved)

if workflow.is_main_process:
    held = locks.forget_killed_runs()  # so that a killed run needs no --unlock; open files hold the lock


def approval():
    """The estimate and approval of a run's spending on model requests."""
    from bezoar.recipe.approval import Approval  # slow to import, and needed only if jobs run

    return Approval(recipe)


def write_run_page(build):
    """Write the page about a run that has ended, unless it did nothing; returns its path."""
    from bezoar.page.run.page import write_after  # brings Jinja2

    return write_after(build, recipe.page())


def server_for(rule):
    """A function from a job's wildcards to the server of its requests; the block's wildcard is the first one."""

    def server(wildcards):
        _, backends = recipe.asked(rule, wildcards)
        servers = [server_of(one, recipe.resources_of(f"server-{one.name}")) for one in backends.values()]
        return next(filter(None, servers), None)  # a recipe with two for one job is refused

    return server


def asks(rule):
    """A function from a job's wildcards to what it needs to ask its backends, if they are somewhere else."""

    def network(wildcards):
        _, backends = recipe.asked(rule, wildcards)
        return network_of(backends.values(), recipe.budget)

    return network


def downloads(section):
    """A function from a job's wildcards to what it needs to download something, if it does."""
    return lambda wildcards: Network(HUB) if getattr(recipe, section)[wildcards[0]].downloads() else None


# By rule, what its jobs need to reach others; own rules may add themselves.
NETWORK = {
    **{rule: asks(rule) for rule, *_ in recipe.asking},
    "source": downloads("sources"),
    "base": downloads("models"),
    "harness_tasks": downloads("evals"),
    "train": lambda w: Network(local=True) if resources_for("train", "stage")(w).gpus > 1 else None,
}


report: "captions/recipe.rst"


# Proofs decide what runs (docs/explanation/how-it-decides.md). A DVC stage covers all shards, or all tasks, of its block.
graph.attach(
    workflow,
    parts={"shard": lambda w: SHARDS, "task": lambda w: recipe.evals[w.harness].tasks},
    plots={
        "train": {"file": "history.json", "x": "step", "y": ["loss", "eval_loss"]},
        "summary": {"x": "checkpoint", "y": ["score"], "template": installed.find("rules/plots/scores.json")},
    },
    params=str(active()),
    values=resolved,
    spending=approval,
    servers={rule: server_for(rule) for rule, *_ in recipe.asking},
    network=NETWORK,
    notes=lambda steps: memory.lines(recipe, steps),
    packaged=True,
    rerun_on=recipe.rerun_on,
    together=[  # tasks of a checkpoint share the loaded model
        installed.find("scripts/evaluate/harness.py"),
        installed.find("scripts/evaluate/harness_tasks.py"),
    ],
    closing=headline.parts,
    ended=write_run_page,
)

# Rules call `bezoar` and `python` of Snakemake's environment, even if it isn't activated.
os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]))


onstart:  # a real run: curves of its stages are passed on for as long as it lives
    if recipe.trackers.tools:
        subprocess.Popen(["bezoar", "track", "--while", str(os.getpid())])


SHARDS = recipe.shard_names()
CHECKPOINTS = recipe.checkpoints()


def one_of(names):
    """A pattern for a wildcard that takes one of the names."""
    return "|".join(map(re.escape, names)) or "(?!)"


def evals_of(method):
    """Names of the evaluations of a method."""
    return [name for name, block in recipe.evals.items() if block.method == method]


wildcard_constraints:
    agreement=one_of(evals_of("agreement")),
    answers=one_of(recipe.answers),
    baseline=one_of(name for name, block in recipe.filters.items() if not block.decides),
    checkpoint=one_of(CHECKPOINTS),
    control=f"{CONTROL}[a-z]+",
    checklist=one_of(evals_of("checklist")),
    graded=one_of([name for name, block in recipe.evals.items() if isinstance(block, GradedEval)]),
    harness=one_of(evals_of("harness")),
    asked=one_of([name for name, block in recipe.evals.items() if isinstance(block, AnsweredEval)]),
    likelihood=one_of(evals_of("likelihood")),
    mtbench=one_of(evals_of("mtbench")),
    side_by_side=one_of(evals_of("answers")),
    model=r"[a-z][a-z0-9_]*",
    pairs=one_of(recipe.pairs),
    rubric=one_of(evals_of("rubric")),
    scheme=one_of(recipe.schemes),
    scored=one_of(recipe.scores),
    selection=one_of(recipe.selections),
    shard=r"\d{4}",
    source=one_of(recipe.sources),
    stage=one_of(recipe.stages),
    task=r"[a-z][a-z0-9_]*",


def leaves_of(name):
    """The names whose values are part of keys: no connection of a backend, and none of the budget."""
    section, *keys = name.split(".")
    if section == "budget" or (section == "backends" and keys[1:] == ["connection"]):
        return []  # no result depends on it
    if section != "backends" or len(keys) > 1:
        return [name]
    return [f"{name}.{key}" for key in config["backends"][keys[0]] if key != "connection"]


def value_of(name):
    """The recipe's value under a name."""
    return reduce(lambda block, key: block[key], name.split("."), config)


def values_of(names):
    """The recipe's values under the names that a rule's script reads: they are part of a job's key."""
    return lambda wildcards: {leaf: value_of(leaf) for name in names(wildcards) for leaf in leaves_of(name)}


def checkpoint(name):
    """The directory with a checkpoint's full weights: a base model's, or a stage's after merging."""
    return recipe.folder_of(name)


def weights_of(backend):
    """The model directory of the recipe that a backend, or its server, loads, if there is any."""
    weights = recipe.backends[backend].weights if backend else None
    return [checkpoint(weights)] if weights else []


def backends_of(block, rule):
    """The names in params.yaml of the backends that a rule's jobs of a block ask."""
    return [f"backends.{name}" for name in dict.fromkeys(block.asked_by(rule).values())]


def second_model(wildcards):
    """The weights of the model that compares rewrites, or criticises answers, if it isn't the teacher."""
    others = [name for key, name in recipe.schemes[wildcards.scheme].asked_by("generate").items() if key != "teacher"]
    return [path for name in others for path in weights_of(name)]


def kept_rows(scheme, shard):
    """The rows of a scheme's shard that others use: those that its filter keeps, or all if it has none."""
    folder, file = recipe.kept_of(scheme)
    return f"data/{folder}/{shard}/{file}"


def seed_rows(wildcards):
    """The rows that a scheme's work is drawn from: a source's, or all shards of another scheme."""
    section, name = recipe.schemes[wildcards.scheme].starts_from()
    return rows_of(name) if section == "sources" else [kept_rows(name, shard) for shard in SHARDS]


def scored_rows(wildcards):
    """The rows of a shard that are scored."""
    return kept_rows(recipe.scores[wildcards.scored].of, wildcards.shard)


def scoring_models(wildcards):
    """The model directories that a scoring job loads: a local judge's, or those of a ratio."""
    block = recipe.scores[wildcards.scored]
    judges = [path for name in block.asked_by("score").values() for path in weights_of(name)]
    return [*judges, *map(checkpoint, block.checkpoints().values())]


def score_names(wildcards):
    """The parameters that a score script reads."""
    block = recipe.scores[wildcards.scored]
    backends = backends_of(block, "score")
    return [f"scores.{wildcards.scored}", *backends, "prompt", *(["seed", "budget"] if backends else [])]


def paired_rows(wildcards):
    """The rows of a shard that are paired: a scheme's, or scored ones."""
    section, name = recipe.pairs[wildcards.pairs].starts_from()[0]
    return kept_rows(name, wildcards.shard) if section == "schemes" else scored_file(name, wildcards.shard)


def paired_against(wildcards):
    """What they are compared with: the seeds of a scheme, scored originals, or nothing but themselves."""
    (section, name), *others = recipe.pairs[wildcards.pairs].starts_from()
    seeds = [f"data/seed/{name}/{wildcards.shard}.jsonl"] if section == "schemes" else []
    return [*seeds, *(scored_file(name, wildcards.shard) for _, name in others)]


def scored_file(scores, shard):
    """The rows of a block of scores."""
    return f"data/scored/{scores}/{shard}/rows.jsonl"


def resources_for(rule, *wildcards):
    """A function to the resources of a rule's jobs in params.yaml; the wildcards name a job's block."""
    return lambda w: recipe.resources_of("-".join([rule, *(w[name] for name in wildcards)]))


def cores_of(*job):
    """The threads of a rule's jobs."""
    return lambda wildcards: resources_for(*job)(wildcards).cpus


def resources_of(*job):
    """Memory, time and GPUs of a rule's jobs on a cluster.

    A second try requests twice the memory and time, since the first one may have run out of either.
    """
    resources = resources_for(*job)
    return {
        "mem_mb": lambda wildcards, attempt: int(resources(wildcards).memory_gb * 1000 * attempt),
        "runtime": lambda wildcards, attempt: resources(wildcards).minutes * attempt,
        "gpu": lambda wildcards: resources(wildcards).gpus,
    }


def rows_of(source):
    """The rows of a source."""
    return f"data/source/{source}/rows.jsonl"


def source_files(wildcards):
    """The local files that a source's rows depend on."""
    return recipe.sources[wildcards.source].files()


def keys_of(block, section, wildcard):
    """The keys of a block that a script reads: the fields of the class that it reads."""
    return lambda wildcards: [f"{section}.{wildcards[wildcard]}.{key}" for key in block.model_fields]


def generate_names(wildcards):
    """The parameters that a generate script reads."""
    backends = backends_of(recipe.schemes[wildcards.scheme], "generate")
    return [f"schemes.{wildcards.scheme}", *backends, "prompt", "seed", "budget"]


def skill_names(wildcards):
    """The parameters that the script of a scheme's skills reads."""
    name, backends = f"schemes.{wildcards.scheme}", backends_of(recipe.schemes[wildcards.scheme], "skills")
    keys = [key for key in Listing.model_fields if key in value_of(name)]  # an own seed that is null isn't
    return [*(f"{name}.{key}" for key in keys), *backends, "prompt", "seed", "budget"]


def shard_rows(wildcards):
    """What a scheme's work is drawn from: the rows of its seeds, or the list of its skills."""
    block = recipe.schemes[wildcards.scheme]
    return f"data/skills/{block.name}/skills.jsonl" if "skills" in block.rules else seed_rows(wildcards)


def shard_names(wildcards):
    """The parameters that a shard script reads."""
    deals = recipe.schemes[wildcards.scheme].deals
    keys = [key for key in deals if key in config["schemes"][wildcards.scheme]]  # an own seed that is null isn't
    return [*(f"schemes.{wildcards.scheme}.{key}" for key in keys), *(["seed"] if deals else []), "shards"]


def filter_names(wildcards):
    """The parameters that the filter script reads."""
    block = recipe.filters[wildcards.scheme]
    shards = ["shards"] if block.rule == "quota" else []
    return [f"filters.{wildcards.scheme}", *backends_of(block, block.rule), "prompt", "seed", "budget", *shards]


def filtered_by(rule):
    """A pattern for the schemes whose filters have jobs of a rule."""
    return one_of([name for name, block in recipe.filters.items() if block.decides and block.rule == rule])


def topics_of(wildcards):
    """The topic list of a scheme, if any."""
    return recipe.schemes[wildcards.scheme].files()


def mix_names(wildcards):
    """The parameters that the mix script reads."""
    return [f"mixes.{wildcards.mix}", "prompt", "seed", "shards"]


def certified(split):
    """A function from a stage's wildcards to a split of its mix, without rows that repeat evaluation items."""
    return lambda wildcards: f"data/certified/{recipe.stages[wildcards.stage].mix}/{split}.jsonl"


def part_files(part):
    """The files with a part's rows, and with their places where these don't say them."""
    if part.kind == "scheme":
        return expand("data/filtered/{name}/{shard}/kept.jsonl", name=part.name, shard=SHARDS)
    if part.kind == "pairs":
        return expand("data/pairs/{name}/{shard}/rows.jsonl", name=part.name, shard=SHARDS)
    return [f"data/{part.kind}/{part.name}/{file}.jsonl" for file in ("rows", "places")]


def mix_parts(wildcards):
    """The files that a mix is drawn from."""
    return [path for part in recipe.mixes[wildcards.mix].parts for path in part_files(part)]


def select_names(wildcards):
    """The parameters that the script of a selection reads."""
    block = recipe.selections[wildcards.selection]
    return [f"selections.{wildcards.selection}", *backends_of(block, "select"), *block.reads]


def scorer(key):
    """The weights of the local model that gives the scores of a selection under a key, if there is one."""
    return lambda wildcards: weights_of(getattr(recipe.selections[wildcards.selection], key, None))


def mix_earlier(wildcards):
    """The train splits of earlier mixes: this one holds out none of their rows."""
    return [f"data/mixes/{name}/train.jsonl" for name in recipe.earlier_mixes(wildcards.mix)]


def dataset_reports(wildcards):
    """The reports of all steps on the way to a mix."""
    card = recipe.card(wildcards.mix)
    schemes = list(dict.fromkeys(one.scheme for one in card.schemes.values()))
    filters = [name for name in card.schemes if name not in card.unfiltered]
    names_of = lambda step: [name for kind, name in card.paired if kind == step]
    return [
        f"data/mixes/{wildcards.mix}/report.json",
        *expand("data/source/{name}/report.json", name=card.sources),
        *expand("data/generated/{name}/{shard}/report.json", name=schemes, shard=SHARDS),
        *expand("data/filtered/{name}/{shard}/report.json", name=filters, shard=SHARDS),
        *expand("data/scored/{name}/{shard}/report.json", name=names_of("score"), shard=SHARDS),
        *expand("data/pairs/{name}/{shard}/report.json", name=names_of("pairs"), shard=SHARDS),
        *expand("data/selected/{name}/report.json", name=card.selections),
    ]


def dataset_tokenizer(wildcards):
    """The model whose tokenizer counts the tokens of a mix's folder, if there is one."""
    name = recipe.card(wildcards.mix).tokenizer
    return [checkpoint(name)] if name else []


def mix_tokenizer(wildcards):
    """The model whose tokenizer counts a mix's tokens, if it has a limit."""
    limit = recipe.mixes[wildcards.mix].limit
    return [checkpoint(limit.tokenizer)] if limit else []


def model_source(wildcards):
    """The inputs of a base model: raw text, a model directory, checkpoints, or nothing for a model of the hub."""
    block = recipe.models[wildcards.model]
    members = map(checkpoint, recipe.members_of(wildcards.model))
    return [*block.files(), *map(rows_of, block.sources()), *members]


def base_of(wildcards):
    """The base weights of a stage's adapter."""
    return checkpoint(recipe.base_weights(wildcards.stage))


def adapter_before(wildcards):
    """The adapter that a stage continues, if it does."""
    stage = recipe.stages[wildcards.stage]
    return [f"data/adapters/{stage.init_from}"] if stage.continue_adapter else []


def guide_of(wildcards):
    """The weights that a stage's loss looks at, by role; a stage without a guide has no such input in its key."""
    guide = recipe.stages[wildcards.stage].checkpoints().get("guide")
    return {"guide": checkpoint(guide)} if guide else {}


def evaluator(rule, wildcards):
    """The script of an evaluation's jobs for a checkpoint: it loads the checkpoint, or asks the server that has."""
    served = "served_" if recipe.asked(rule, wildcards)[0] else ""
    return installed.find(f"scripts/evaluate/{served}{rule}.py")


def harness_names(wildcards):
    """The parameters that the harness script reads."""
    server = recipe.server_names("harness", wildcards)
    keys = keys_of(harness.Asking if server else harness.Scoring, "evals", "harness")(wildcards)
    return [*keys, *server, "seed"]


def task_names(wildcards):
    """The parameters that the script of a task's settings and data reads: none of other tasks."""
    name, block = f"evals.{wildcards.harness}", recipe.evals[wildcards.harness].tasks[wildcards.task]
    return [f"{name}.tasks.{wildcards.task}", f"{name}.task_folder", *(["prompt"] if block.takes_prompt else [])]


def target_names(wildcards):
    """The parameters that the script of a task's documents reads: none of other tasks."""
    name, texts = f"evals.{wildcards.harness}", recipe.evals[wildcards.harness].texts
    return [*([f"{name}.texts.{wildcards.task}"] if wildcards.task in texts else []), f"{name}.task_folder"]


def task_files(wildcards):
    """The files of a harness evaluation's own tasks, if any."""
    folder = recipe.evals[wildcards.harness].task_folder
    return tasks.task_files(folder) if folder else []


def trained_rows(wildcards):
    """The rows that a checkpoint was trained on: none that it is scored on may be related to them."""
    return [f"data/mixes/{name}/train.jsonl" for name in recipe.trained_on(wildcards.checkpoint)]


def certificates_of(name):
    """CHECKPOINT=FILE for each certificate of a mix that a checkpoint of an evaluation was trained on."""
    checkpoints = recipe.evals[name].checkpoints
    return [f"{one}=data/certificates/{mix}.json" for one in checkpoints for mix in recipe.trained_on(one)]


def chain_names(name):
    """The parameters that say on which mixes the checkpoints of an evaluation were trained."""
    stages = dict.fromkeys(stage for one in recipe.evals[name].checkpoints for stage in recipe.ancestors(one))
    return [f"stages.{stage}.{key}" for stage in stages for key in (*recipe.stages[stage].checkpoints(), "mix")]


def answer_names(wildcards):
    """The parameters that the answers script reads."""
    server = recipe.server_names("answers", wildcards)
    keys = keys_of(answers.Asking if server else answers.Answering, "answers", "answers")(wildcards)
    return [*keys, *server, "prompt", "seed"]


def asked_names(name):
    """What a judge's prompts depend on beside an evaluation's keys: how its answers were asked for."""
    return [f"answers.{recipe.evals[name].answers}.{key}" for key in Asked.model_fields]


def judgment_names(wildcards):
    """The parameters that the judgments script reads."""
    judge = recipe.evals[wildcards.mtbench].judge
    keys = [*keys_of(Judging, "evals", "mtbench")(wildcards), *asked_names(wildcards.mtbench)]
    return [*keys, f"backends.{judge}", "prompt", "seed", "budget"]


def answers_of(name, model):
    """The answers of a checkpoint or a control to the questions of an evaluation."""
    folder = f"controls/{name}" if model.startswith(CONTROL) else f"answers/{recipe.evals[name].answers}"
    return f"data/{folder}/{model}/answers.jsonl"


def shuffled_answers(wildcards):
    """The answers that the control `shuffled` is made from."""
    name = wildcards.mtbench
    shuffled = wildcards.control == f"{CONTROL}shuffled"
    return [answers_of(name, recipe.evals[name].shuffled_from)] if shuffled else []


def source_for(role):
    """The source that an MT-Bench evaluation takes in a role: references or judge_prompts."""
    return lambda wildcards: rows_of(getattr(recipe.evals[wildcards.mtbench], role))


def controls_of(name):
    """The controls of an MT-Bench evaluation; they are judged like checkpoints."""
    return recipe.evals[name].control_names()


def gate_of(wildcards):
    """The gate, which checkpoints wait for before they are judged; controls don't."""
    controls = controls_of(wildcards.mtbench)
    return [f"data/gates/{wildcards.mtbench}.json"] if controls and wildcards.model not in controls else []


def comparison_names(wildcards):
    """The parameters that the comparisons script reads."""
    judge = recipe.evals[wildcards.pairwise].judge
    keys = [*keys_of(Comparing, "evals", "pairwise")(wildcards), *asked_names(wildcards.pairwise)]
    return [*keys, f"backends.{judge}", "prompt", "seed", "budget"]


def pairwise_references(wildcards):
    """The reference answers that a judge of pairs sees, if any."""
    references = recipe.evals[wildcards.pairwise].references
    return [rows_of(references)] if references else []


def pairwise_gate(wildcards):
    """The gate, which checkpoints wait for before they are compared; controls don't."""
    controls = recipe.evals[wildcards.pairwise].control_names()
    return [f"data/gates/{wildcards.pairwise}.json"] if controls and wildcards.model not in controls else []


# By method, where a model's grades are.
GRADES = {
    "checklist": "data/checks/{}/{}/checks.jsonl",
    "mtbench": "data/judgments/{}/{}/verdicts.jsonl",
    "rubric": "data/gradings/{}/{}/gradings.jsonl",
}


def grades_of(name, models):
    """The grades of checkpoints and controls in an evaluation."""
    return [GRADES[recipe.evals[name].method].format(name, model) for model in models]


def null_source(wildcards):
    """The answers that the control `shuffled` is made from."""
    block = recipe.evals[wildcards.graded]
    return [answers_of(wildcards.graded, block.shuffled_from)] if wildcards.control == f"{CONTROL}shuffled" else []


def graded_gate_of(name, model):
    """The gate, which checkpoints wait for before they are graded; controls don't."""
    controls = recipe.evals[name].control_names()
    return [f"data/gates/{name}.json"] if controls and model not in controls else []


def asking_names(block, rule, wildcard):
    """The parameters of a script whose jobs ask the one backend of a rule."""

    def names(wildcards):
        evaluation = recipe.evals[wildcards[wildcard]]
        return [
            *keys_of(block, "evals", wildcard)(wildcards),
            *asked_names(evaluation.name),
            *backends_of(evaluation, rule),
            "prompt",
            "seed",
            "budget",
        ]

    return names


# By method, where a checkpoint's scores of single items are.
ITEMS = GRADES | {
    "harness": "data/harness/{}/{}/{{task}}/items.jsonl",
    "likelihood": "data/likelihood/{}/{}/scores.jsonl",
    "pairwise": "data/comparisons/{}/{}/verdicts.jsonl",
}


def scored_items(wildcards):
    """The scores of single items of a matrix's checkpoints, and the questions that they are of."""
    matrix = recipe.matrix[wildcards.matrix]
    block = recipe.evals[matrix.eval]
    names = dict.fromkeys(name for chain in matrix.chains for name in chain.checkpoints.values())
    files = [ITEMS[block.method].format(block.name, name) for name in names]
    if block.method == "harness":
        files = expand(files, task=block.tasks)
    questions = [rows_of(recipe.questions_of(block.name))] if isinstance(block, AnsweredEval) else []
    return [*files, *questions]


def rubric_references(wildcards):
    """The reference answers of an evaluation, if it has any."""
    source = recipe.evals[wildcards.rubric].references
    return [rows_of(source)] if source else []


def page_files():
    """The artifacts that the page shows."""
    return files.files(recipe.page())


def loose_ends():
    """The artifacts that nothing else uses: `all` makes them beside the results."""
    ends = recipe.loose_ends()
    return [
        *expand("data/filtered/{name}/{shard}/kept.jsonl", name=ends["filters"], shard=SHARDS),
        *expand("data/generated/{name}/{shard}/rows.jsonl", name=ends["schemes"], shard=SHARDS),
        *expand("data/scored/{name}/{shard}/rows.jsonl", name=ends["scores"], shard=SHARDS),
        *expand("data/pairs/{name}/{shard}/rows.jsonl", name=ends["pairs"], shard=SHARDS),
        *expand("data/selected/{name}/rows.jsonl", name=ends["selections"]),
        *expand("data/certified/{name}/train.jsonl", name=ends["mixes"]),
        *expand("data/clearances/{name}.json", name=ends["mixes"]),
        *map(checkpoint, ends["stages"]),
    ]
