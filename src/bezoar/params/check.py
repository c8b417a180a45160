"""Checks across blocks: every name refers to something, every file is there, no stage waits for itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bezoar.files import remembered_sha256
from bezoar.params.evaluate import CONTROL, Mtbench
from bezoar.params.problems import Key, Problem, unknown
from bezoar.tasks import includes_outside, names_in, read_tasks
from bezoar.world import SETS

if TYPE_CHECKING:
    from bezoar.params.recipe import Recipe

TEACHERS = ("local", "openai", "anthropic")


def problems_of(recipe: Recipe, root: Path) -> list[Problem]:
    """All problems that the schema alone can't see; files are looked for below `root`."""
    problems = [*_names(recipe)]
    if not problems:  # these follow names
        circles = [*_cycles(recipe)] or [*_mix_circles(recipe)]
        problems = [*circles, *_adapters(recipe), *_formats(recipe), *_questions(recipe)]
    return [*problems, *_files(recipe, root), *_tasks(recipe, root)]


def _names(recipe: Recipe) -> Iterator[Problem]:
    yield from _checkpoint_names(recipe)
    for check in (_source_names, _scheme_names, _mix_names, _stage_names, _eval_names, _budget_names, _resource_names):
        yield from check(recipe)


def _known(key: Key, name: str, names: Iterable[str], what: str) -> Iterator[Problem]:
    if name not in names:
        yield unknown(key, what, name, names)


def _checkpoint_names(recipe: Recipe) -> Iterator[Problem]:
    for kind in ("models", "stages"):
        for name in getattr(recipe, kind):
            if name.startswith(CONTROL):
                yield Problem(
                    (kind, name), "the name is kept for controls", name, f"no name that starts with {CONTROL}"
                )
    for clash in sorted(set(recipe.models) & set(recipe.stages)):
        yield Problem(("stages", clash), "a stage and a model share a name", clash, "one name for one checkpoint")
    for name, model in recipe.models.items():
        if model.method == "pretrain":
            yield from _known(("models", name, "corpus"), model.corpus, recipe.sources, "no such source")
    for name, backend in recipe.backends.items():
        if backend.kind == "local":
            key, what = ("backends", name, "checkpoint"), "answers from an unknown checkpoint"
            yield from _known(key, backend.checkpoint, [*recipe.models, *recipe.stages], what)


def _source_names(recipe: Recipe) -> Iterator[Problem]:
    for name, source in recipe.sources.items():
        if source.origin.kind != "builtin":
            continue
        key: Key = ("sources", name, "origin")
        yield from _known((*key, "set"), source.origin.set, SETS, "the embedded world has no such set")
        if source.origin.set == "teacher" and source.origin.prompts is None:
            what = "the set `teacher` practises prompts"
            yield Problem((*key, "prompts"), what, "null", "a folder of prompt files")


def _scheme_names(recipe: Recipe) -> Iterator[Problem]:
    teachers = [name for name, backend in recipe.backends.items() if backend.kind in TEACHERS]
    for name, scheme in recipe.schemes.items():
        yield from _known(("schemes", name, "seeds"), scheme.seeds, recipe.sources, "no such source")
        yield from _known(("schemes", name, "teacher"), scheme.teacher, teachers, "no backend that can write")
        if name not in recipe.filters:
            yield Problem(("filters",), "a scheme has no filter", f"none for {name}", f"a block filters.{name}")
    for name, block in recipe.filters.items():
        yield from _known(("filters", name), name, recipe.schemes, "a filter has its scheme's name")
        yield from _known(("filters", name, "judge"), block.judge, recipe.backends, "no such backend")
        for position, source in enumerate(block.avoid):
            yield from _known(("filters", name, "avoid", position), source, recipe.sources, "no such source")


def _mix_names(recipe: Recipe) -> Iterator[Problem]:
    for name, mix in recipe.mixes.items():
        for position, part in enumerate(mix.parts):
            names = recipe.schemes if part.kind == "scheme" else recipe.sources
            yield from _known(("mixes", name, "parts", position, "name"), part.name, names, f"no such {part.kind}")
        if mix.limit:
            key = ("mixes", name, "limit", "tokenizer")
            yield from _known(key, mix.limit.tokenizer, recipe.models, "no such model")


def _stage_names(recipe: Recipe) -> Iterator[Problem]:
    for name, stage in recipe.stages.items():
        others = [one for one in (*recipe.models, *recipe.stages) if one != name]
        what = "starts from a checkpoint that nothing builds"
        yield from _known(("stages", name, "init_from"), stage.init_from, others, what)
        yield from _known(("stages", name, "mix"), stage.mix, recipe.mixes, "no such mix")


def _eval_names(recipe: Recipe) -> Iterator[Problem]:
    checkpoints = [*recipe.models, *recipe.stages]
    for name, evaluation in recipe.evals.items():
        for position, checkpoint in enumerate(evaluation.checkpoints):
            key: Key = ("evals", name, "checkpoints", position)
            yield from _known(key, checkpoint, checkpoints, "scores an unknown checkpoint")
        if evaluation.method == "harness":
            for position, source in enumerate(evaluation.data):
                yield from _known(("evals", name, "data", position), source, recipe.sources, "no such source")
        else:
            for role in ("questions", "references", "judge_prompts"):
                yield from _known(("evals", name, role), getattr(evaluation, role), recipe.sources, "no such source")
            yield from _known(("evals", name, "judge"), evaluation.judge, recipe.backends, "no such backend")
            yield from _shuffled(name, evaluation)


def _shuffled(name: str, evaluation: Mtbench) -> Iterator[Problem]:
    """The control `shuffled` names its checkpoint: the last of a list changes when one is appended."""
    found = evaluation.shuffled_from
    if "shuffled" in evaluation.controls and found is None:
        expected = f"a checkpoint of {', '.join(evaluation.checkpoints)}"
        yield Problem(("evals", name, "shuffled_from"), "the control `shuffled` has no answers", "nothing", expected)
    elif found is not None:
        what = "shuffles answers that aren't made"
        yield from _known(("evals", name, "shuffled_from"), found, evaluation.checkpoints, what)


def _budget_names(recipe: Recipe) -> Iterator[Problem]:
    asking = [name for name in _stages(recipe) if name.partition("-")[0] in ("generate", "filter", "judgments")]
    for stage in recipe.budget.stages:
        yield from _known(("budget", "stages", stage), stage, asking, "no stage of this name asks a model")


def _resource_names(recipe: Recipe) -> Iterator[Problem]:
    stages = list(_stages(recipe))
    known = ["default", *dict.fromkeys(name.partition("-")[0] for name in stages), *stages]
    for name in recipe.resources:
        yield from _known(("resources", name), name, known, "no rule or stage of this name")
    if "default" not in recipe.resources:
        what = "the key is missing"
        yield Problem(("resources",), what, ", ".join(recipe.resources) or "nothing", "`default`, for all other jobs")


def _stages(recipe: Recipe) -> Iterator[str]:
    """Names of the stages of dvc.yaml, and of the servers that jobs ask."""
    kinds: dict[str, Iterable[str]] = {
        "source": recipe.sources,
        "shard": recipe.sources,
        "generate": recipe.schemes,
        "filter": recipe.schemes,
        "mix": recipe.mixes,
        "base": recipe.models,
        "train": recipe.stages,
        "merge": recipe.stages,
        "server": recipe.backends,
    }
    for rule, names in kinds.items():
        yield from (f"{rule}-{name}" for name in names)
    for name, evaluation in recipe.evals.items():
        scored = evaluation.checkpoints
        yield f"report_{evaluation.method}-{name}"
        if evaluation.method == "harness":
            yield from (f"harness-{name}-{checkpoint}" for checkpoint in scored)
        else:
            controls = [f"{CONTROL}{control}" for control in evaluation.controls]
            yield from (f"answers-{name}-{checkpoint}" for checkpoint in scored)
            yield from (f"controls-{name}-{control}" for control in controls)
            yield from (f"judgments-{name}-{model}" for model in (*scored, *controls))
            yield from ([f"gate-{name}"] if controls else [])


def _needs(recipe: Recipe, checkpoint: str) -> Iterator[tuple[Key, str]]:
    """The checkpoints that one is built from, with the key that says so."""
    stage = recipe.stages.get(checkpoint)
    if stage is None:
        return
    yield ("stages", checkpoint, "init_from"), stage.init_from
    mixes = [stage.mix, *recipe.earlier_mixes(stage.mix)]  # a mix knows what the earlier ones hold out
    for part in (part for mix in mixes for part in recipe.mixes[mix].parts):
        if part.kind == "scheme":
            for role, name in (
                ("teacher", recipe.schemes[part.name].teacher),
                ("judge", recipe.filters[part.name].judge),
            ):
                backend = recipe.backends[name]
                if backend.kind == "local":
                    place = "schemes" if role == "teacher" else "filters"
                    yield (place, part.name, role), backend.checkpoint


def _cycles(recipe: Recipe) -> Iterator[Problem]:
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> Iterator[Problem]:
        for key, needed in _needs(recipe, name):
            if needed in (*trail, name):
                circle = " <- ".join((*trail, name, needed))
                yield Problem(key, "a checkpoint is built from itself", circle, "a chain that starts at a base model")
            elif needed not in done:
                yield from visit(needed, (*trail, name))
        done.add(name)

    for stage in recipe.stages:
        if stage not in done:
            yield from visit(stage, ())


def _mix_circles(recipe: Recipe) -> Iterator[Problem]:
    """Mixes of which each comes before the other: neither could tell what the other leaves to hold out."""
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> Iterator[Problem]:
        for earlier in recipe.earlier_mixes(name):
            if earlier in (*trail, name):
                circle = " <- ".join((*trail, name, earlier))
                hint = f"give the later stage a copy of mixes.{earlier} under another name; it draws the same rows"
                what = "a mix is trained on before and after another"
                yield Problem(("mixes", earlier), what, circle, "mixes in an order", hint)
            elif earlier not in done:
                yield from visit(earlier, (*trail, name))
        done.add(name)

    for mix in recipe.mixes:
        if mix not in done:
            yield from visit(mix, ())


def _adapters(recipe: Recipe) -> Iterator[Problem]:
    for name, stage in recipe.stages.items():
        if not stage.continue_adapter:
            continue
        key: Key = ("stages", name)
        before = recipe.stages.get(stage.init_from)
        if before is None:
            yield Problem(
                (*key, "continue_adapter"),
                "there is no adapter to carry on",
                f"`{stage.init_from}`, a base model",
                "a stage in `init_from`, or continue_adapter: false",
            )
            continue
        for field in ("lora", "quantization", "compute"):
            if getattr(stage, field) != getattr(before, field):
                yield Problem(
                    (*key, field),
                    f"an adapter that is carried on keeps its {field}",
                    str(getattr(stage, field)),
                    f"{getattr(before, field)}, as in stages.{stage.init_from}",
                )


def _formats(recipe: Recipe) -> Iterator[Problem]:
    def expect(key: Key, source: str, *formats: str) -> Iterator[Problem]:
        found = recipe.sources[source].format
        if found not in formats:
            yield Problem(key, f"source `{source}` holds other rows", f"format {found}", " or ".join(formats))

    for name, scheme in recipe.schemes.items():
        yield from expect(("schemes", name, "seeds"), scheme.seeds, *scheme.seed_formats)
    for name, mix in recipe.mixes.items():
        formats = ("hh_rlhf",) if mix.format == "preference" else ("hh_rlhf", "chat", "dolly", "seed_tasks", "flan")
        for position, part in enumerate(mix.parts):
            key: Key = ("mixes", name, "parts", position)
            if part.kind == "source":
                yield from expect((*key, "name"), part.name, *formats)
            elif mix.format == "preference":
                yield Problem(key, "a scheme has no preferences", part.name, "a source of format hh_rlhf")
    for name, stage in recipe.stages.items():
        wanted = "preference" if stage.method == "dpo" else "prompt_completion"
        if recipe.mixes[stage.mix].format != wanted:
            found = f"{stage.mix}, of format {recipe.mixes[stage.mix].format}"
            yield Problem(("stages", name, "mix"), f"method {stage.method} takes another mix", found, wanted)
    for name, evaluation in recipe.evals.items():
        if evaluation.method == "mtbench":
            for role in ("questions", "references", "judge_prompts"):
                yield from expect(("evals", name, role), getattr(evaluation, role), role)


def _questions(recipe: Recipe) -> Iterator[Problem]:
    """A pilot takes some of the questions, and works; what belongs to all of them is taken whole."""
    for name, block in recipe.evals.items():
        if block.method != "mtbench":
            continue
        for position, category in enumerate(block.with_reference):
            key: Key = ("evals", name, "with_reference", position)
            yield from _known(key, category, block.temperatures, "no category that is answered")
        for source in {block.judge_prompts} | ({block.references} if block.with_reference else set()):
            for part in ("first", "sample"):
                if (found := getattr(recipe.sources[source], part)) is not None:
                    what = f"evals.{name} needs all of its rows"
                    yield Problem(("sources", source, part), what, str(found), "null, also where questions are few")
        questions = recipe.sources[block.questions]
        if "shuffled" in block.controls and 1 in (questions.first, questions.sample):
            what = "the control `shuffled` takes answers to other questions"
            yield Problem(("evals", name, "controls"), what, "one question", "more, or no such control")


def _tasks(recipe: Recipe, root: Path) -> Iterator[Problem]:
    """Tasks of the harness that their task folder doesn't define; a group of tasks counts as one."""
    for name, evaluation in recipe.evals.items():
        if evaluation.method != "harness" or not evaluation.task_folder:
            continue
        folder = root / evaluation.task_folder
        files = list(read_tasks(folder))
        yield from _task_files(("evals", name, "task_folder"), folder, files)
        defined = {
            task
            for path, nodes in files
            if isinstance(nodes, dict) and path.suffix == ".yaml"
            for task in names_in(nodes)
        }
        for position, task in enumerate(evaluation.tasks):
            if task not in defined:
                yield unknown(("evals", name, "tasks", position), "no such task in task_folder", task, defined)


def _task_files(key: Key, folder: Path, files: list[tuple[Path, dict[str, Any] | str]]) -> Iterator[Problem]:
    for path, nodes in files:
        shown = path.relative_to(folder)
        if isinstance(nodes, str):
            yield Problem(key, "a task file is not YAML", f"{nodes}, in {shown}", "a task of the harness")
            continue
        for include in includes_outside(path, nodes, folder):
            found = f"{include}, in {shown}"
            yield Problem(key, "a task includes a file from outside", found, "files below task_folder only")


def _files(recipe: Recipe, root: Path) -> Iterator[Problem]:
    for key, text, kind in _paths(recipe):
        path = (root / text).resolve()
        if not path.is_relative_to(root.resolve()):
            yield Problem(key, "the path leads out of the repository", text, "a path below the repository's root")
        elif kind == "file" and not path.is_file():
            yield Problem(key, "no such file", text, "a file in the repository")
        elif kind == "folder" and not path.is_dir():
            yield Problem(key, "no such folder", text, "a folder in the repository")


def contents_of(recipe: Recipe, root: Path) -> list[Problem]:
    """Local files whose content isn't the one that the recipe pins: found before anything runs."""
    problems = []
    for name, source in recipe.sources.items():
        if source.origin.kind == "file":
            found = remembered_sha256(root / source.origin.path)
            if found != source.origin.sha256:
                what = f"{source.origin.path} is not the pinned file"
                hint = f"if the new content is meant, write sha256: {found}"
                key = ("sources", name, "origin", "sha256")
                problems.append(Problem(key, what, f"sha256 {found}", f"sha256 {source.origin.sha256}", hint))
    return problems


def _paths(recipe: Recipe) -> Iterator[tuple[Key, str, str]]:
    for name, source in recipe.sources.items():
        if source.origin.kind == "file":
            yield ("sources", name, "origin", "path"), source.origin.path, "file"
        if source.origin.kind == "builtin" and source.origin.prompts:
            yield ("sources", name, "origin", "prompts"), source.origin.prompts, "folder"
    for name, model in recipe.models.items():
        if model.method == "local":
            yield ("models", name, "path"), model.path, "folder"
    for name, scheme in recipe.schemes.items():
        yield ("schemes", name, "prompts"), scheme.prompts, "file"
        if scheme.method == "lamini" and scheme.topics:
            yield ("schemes", name, "topics"), scheme.topics, "file"
    for name, block in recipe.filters.items():
        yield ("filters", name, "prompts"), block.prompts, "file"
    yield ("budget", "prices"), recipe.budget.prices, "file"
    for name, evaluation in recipe.evals.items():
        if evaluation.method == "harness" and evaluation.task_folder:
            yield ("evals", name, "task_folder"), evaluation.task_folder, "folder"
