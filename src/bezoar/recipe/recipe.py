"""The recipe: every block of params.yaml, and look-ups across blocks."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from bezoar.blocks import Block, Name, NamedBlock, Prompt
from bezoar.cluster.resources import Resources
from bezoar.page.block import Page
from bezoar.recipe import licences
from bezoar.recipe.cards import card_of
from bezoar.recipe.loop import Loop
from bezoar.recipe.pages import page_of
from bezoar.requests.blocks import BackendBlock, Budget
from bezoar.steps.backends.any import AnyBackend
from bezoar.steps.base.hub import HubModel
from bezoar.steps.base.local import LocalModel
from bezoar.steps.base.package import PackagedModel
from bezoar.steps.base.pretrain import PretrainedModel
from bezoar.steps.base.soup import Soup
from bezoar.steps.data.contamination.block import Contamination
from bezoar.steps.data.mix import Mix, Part, part_of
from bezoar.steps.data.sources import Source
from bezoar.steps.dataset.card import Card
from bezoar.steps.evaluate.agreement import Agreement
from bezoar.steps.evaluate.answers import Answers
from bezoar.steps.evaluate.checklist import Checklist
from bezoar.steps.evaluate.evaluation import SERVED, AnsweredEval, EvalBlock, ServedBlock
from bezoar.steps.evaluate.harness import Harness
from bezoar.steps.evaluate.likelihood import Likelihood
from bezoar.steps.evaluate.matrix import Matrix
from bezoar.steps.evaluate.mtbench import Mtbench
from bezoar.steps.evaluate.pairwise import Pairwise
from bezoar.steps.evaluate.rubric import Rubric
from bezoar.steps.evaluate.side_by_side import SideBySide
from bezoar.steps.filter.baseline import Baseline
from bezoar.steps.filter.block import Filter
from bezoar.steps.generate.evol import Evol
from bezoar.steps.generate.lamini import Lamini
from bezoar.steps.generate.orca import Orca
from bezoar.steps.generate.revise import Revise
from bezoar.steps.generate.sample import Sample
from bezoar.steps.generate.scheme import SchemeBlock
from bezoar.steps.generate.skillmix import Skillmix
from bezoar.steps.pairs.best_of_n import BestOfN
from bezoar.steps.pairs.block import PairsBlock
from bezoar.steps.pairs.ranked import Ranked
from bezoar.steps.pairs.revision import Revision
from bezoar.steps.pairs.self_play import SelfPlay
from bezoar.steps.score.block import ScoreBlock
from bezoar.steps.score.judge import JudgeScore
from bezoar.steps.score.logratio import LogRatio
from bezoar.steps.select.deita import Deita
from bezoar.steps.select.difficulty import Difficulty
from bezoar.steps.select.ordered import Ordered
from bezoar.steps.select.selection import SelectionBlock
from bezoar.steps.train.asft import Asft
from bezoar.steps.train.dpo import Dpo
from bezoar.steps.train.grpo import Grpo
from bezoar.steps.train.kto import Kto
from bezoar.steps.train.orpo import Orpo
from bezoar.steps.train.sft import Sft
from bezoar.steps.train.simpo import Simpo
from bezoar.steps.train.sppo import Sppo
from bezoar.steps.train.tgdpo import Tgdpo
from bezoar.steps.train.tpo import Tpo
from bezoar.steps.train.trackers import Trackers

# A new method is added to its union here. No other list exists.
Model = Annotated[HubModel | LocalModel | PackagedModel | PretrainedModel | Soup, Field(discriminator="method")]
Scheme = Annotated[Lamini | Evol | Orca | Sample | Skillmix | Revise, Field(discriminator="method")]
Score = Annotated[JudgeScore | LogRatio, Field(discriminator="method")]
Pairs = Annotated[SelfPlay | BestOfN | Ranked | Revision, Field(discriminator="method")]
AnyFilter = Annotated[Filter | Baseline, Field(discriminator="method")]
Selection = Annotated[Deita | Difficulty | Ordered, Field(discriminator="method")]
Stage = Annotated[Asft | Dpo | Grpo | Kto | Orpo | Sft | Simpo | Sppo | Tgdpo | Tpo, Field(discriminator="method")]
Eval = Annotated[
    Agreement | Checklist | Harness | Likelihood | Mtbench | Pairwise | Rubric | SideBySide,
    Field(discriminator="method"),
]

Asked = tuple[NamedBlock, dict[str, BackendBlock]]

# By kind of a part whose kind isn't said, the sections with its name; the first kind that has one. Else it's a source.
KINDS = {"scheme": ("schemes", "filters"), "selected": ("selections",), "pairs": ("pairs",)}
SUMMARY = "summary"  # the stage of results/summary.csv
CARDS, PAGE = "cards", "page"  # of the values of a run
BLOCKS = (
    "sources",
    "backends",
    "models",
    "schemes",
    "filters",
    "scores",
    "pairs",
    "selections",
    "mixes",
    "stages",
    "answers",
    "evals",
)
SECTIONS = (*BLOCKS, "loops", "matrix")  # those of blocks, and those that are unrolled into blocks


def _is_empty(blocks: dict[str, Any]) -> bool:
    """Whether a section has no blocks: a newer one is then no value of a recipe."""
    return not blocks


class Recipe(Block):
    """Every value that the build depends on."""

    recipe: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name, as in recipes/<name>.yaml.")
    seed: int = Field(0, ge=0, description="Start of every random draw.")
    shards: int = Field(1, ge=1, le=10_000, description="Parts that the work of each scheme is split into.")
    commercial: bool = Field(
        False,
        description="Refuse sources, models and teachers that don't permit commercial use, and those whose licence "
        "isn't stated.",
    )
    prompt: Prompt = Prompt()
    budget: Budget = Budget()
    resources: dict[str, Resources] = Field(
        {}, description="Resources of jobs on a cluster, by stage (train-dpo_hh), by rule (train), or `default`."
    )
    trackers: Trackers = Trackers()
    contamination: Contamination = Contamination()
    rerun_on: list[Literal["python", "machine", "processor", "gpus"]] = Field(
        [],
        description="Facts of the machine that are a reason to make a result again; by default they are recorded only.",
    )
    sources: dict[Name, Source] = Field({})
    backends: dict[Name, AnyBackend] = Field({})
    models: dict[Name, Model] = Field({})
    schemes: dict[Name, Scheme] = Field({})
    filters: dict[Name, AnyFilter] = Field({})
    scores: dict[Name, Score] = Field({}, exclude_if=_is_empty)
    pairs: dict[Name, Pairs] = Field({}, exclude_if=_is_empty)
    selections: dict[Name, Selection] = Field({}, exclude_if=_is_empty)
    mixes: dict[Name, Mix] = Field({})
    stages: dict[Name, Stage] = Field({})
    answers: dict[Name, Answers] = Field({})
    evals: dict[Name, Eval] = Field({})
    loops: dict[Name, Loop] = Field({}, exclude_if=lambda loops: not loops)
    matrix: dict[Name, Matrix] = Field({}, exclude_if=lambda matrix: not matrix)
    own: dict[Name, dict[str, JsonValue]] = Field(
        {}, description="Blocks that rules of the project's own read; their scripts check them."
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        """Complete short forms: the kind of each part of a mix, and the default methods of filters and stages."""
        if not isinstance(data, dict):
            return data
        data = {
            key: value for key, value in data.items() if key not in (CARDS, PAGE)
        }  # a process of a run reads its values
        kinds = {name: kind for kind, sections in reversed(KINDS.items()) for name in _names(data, *sections)}
        if isinstance(mixes := data.get("mixes"), dict):
            data = data | {"mixes": {name: _with_kinds(mix, kinds) for name, mix in mixes.items()}}
        if isinstance(selections := data.get("selections"), dict):
            ofs = {name: kind for name, kind in kinds.items() if kind == "scheme"}
            data = data | {"selections": {name: _with_kind(one, ofs, "of") for name, one in selections.items()}}
        for section, method in (("filters", "judge"), ("stages", "sft")):
            if isinstance(blocks := data.get(section), dict):
                data = data | {section: {name: _with_method(block, method) for name, block in blocks.items()}}
        return data

    def model_post_init(self, _: Any) -> None:
        """Set the blocks' names."""
        for section in SECTIONS:
            for name, block in getattr(self, section).items():
                block._name = name

    def blocks(self) -> list[NamedBlock]:
        """All named blocks."""
        return [block for section in SECTIONS for block in getattr(self, section).values()]

    def resolved(self) -> dict[str, Any]:
        """The whole recipe as plain maps, lists and values, with all defaults."""
        return self.model_dump(mode="json")

    def values(self) -> dict[str, Any]:
        """What jobs read: the whole recipe without licences; the cards of its mixes, which state them; and the page's.

        So an edit of a licence reruns no other job.
        """
        found = self.resolved()
        del found["commercial"]
        found.pop("loops", None)  # their blocks are there
        for section, key in licences.KEYS.items():
            for block in found[section].values():
                del block[key]
        cards = {name: self.card(name).model_dump(mode="json") for name in self.mixes}
        return found | {CARDS: cards, PAGE: self.page().model_dump(mode="json")}

    def card(self, mix: str) -> Card:
        """The values of a mix's card."""
        return card_of(self, mix)

    def page(self) -> Page:
        """The values of the page results/report.html."""
        return page_of(self)

    def origin_of(self, part: Part) -> Part:
        """The scheme or source that a part's rows are from: the one that a selection is made from, or the part."""
        return self.selections[part.name].part if part.kind == "selected" else part

    def most_rows(self, part: Part) -> int | None:
        """The most rows that a scheme's filter keeps, or that a source has; None if that isn't known."""
        if part.kind == "source":
            source = self.sources.get(part.name)
            return source.known_rows if source else None
        block = self.filters.get(part.name)
        scheme = self.schemes.get(self.scheme_of(part.name)) if block else None
        section, name = scheme.starts_from() if scheme else ("", "")
        seeds = self.sources.get(name) if section == "sources" else None
        if scheme is None or seeds is None:
            return None
        shard = scheme.candidates_of_a_shard(seeds.known_rows, self.shards)
        most = [shard and shard * self.shards, getattr(block, "quota", None)]
        return min((one for one in most if one is not None), default=None)

    def scheme_of(self, filter_name: str) -> str:
        """The scheme whose rows a filter keeps."""
        block = self.filters[filter_name]
        return block.like if isinstance(block, Baseline) else filter_name

    def kept_of(self, scheme: str) -> tuple[str, str]:
        """Folder below `data/` and file, in each shard's folder, with the rows of a scheme that others use."""
        return (f"filtered/{scheme}", "kept.jsonl") if scheme in self.filters else (f"generated/{scheme}", "rows.jsonl")

    def lineage(self, section: str, name: str) -> list[NamedBlock]:
        """The blocks that rows come from, the first one first, and the block of that name itself; each once.

        Args:
            section: Of the block: sources, schemes (the rows that a scheme's filter keeps, or all if it has none),
                filters, scores, pairs or mixes.
            name: Its name.
        """
        found: dict[tuple[str, str], NamedBlock] = {}
        seen: set[tuple[str, str]] = set()

        def add(section: str, name: str, *, kept: bool = True) -> None:
            if section == "schemes" and kept and name in self.filters:
                section = "filters"
            if (section, name) in seen:
                return
            seen.add((section, name))
            block = getattr(self, section)[name]
            if section == "filters":
                add("schemes", self.scheme_of(name), kept=False)
            for before in self.read_by(block):
                add(*before)
            found[section, name] = block

        add(section, name)
        return list(found.values())

    def read_by(self, block: NamedBlock) -> list[tuple[str, str]]:
        """Section and name of the blocks whose rows a scheme, scores, pairs or a mix read."""
        match block:
            case SchemeBlock() | ScoreBlock():
                return [block.starts_from()]
            case PairsBlock():
                return block.starts_from()
            case SelectionBlock():
                return [part_of(block.part)]
            case Mix():
                return [part_of(part) for part in block.parts]
        return []

    def answers_to_a_prompt(self, scores: str) -> int:
        """The most answers to one prompt among the rows of scores."""
        return getattr(self.schemes[self.scores[scores].of], "n", 1)

    def base_weights(self, stage: str) -> str:
        """The base model or stage whose full weights a stage's adapter is trained on."""
        block = self.stages[stage]
        return self.base_weights(block.init_from) if block.continue_adapter else block.init_from

    def folder_of(self, checkpoint: str) -> str:
        """The directory with a checkpoint's full weights: a base model's, or a stage's after merging."""
        return self.models[checkpoint].folder if checkpoint in self.models else f"data/checkpoints/{checkpoint}"

    def unnamed_weights(self) -> list[str]:
        """Backends with a self-hosted server whose weights are no checkpoint of this recipe."""
        served = {name: getattr(block, "connection", None) for name, block in self.backends.items()}
        return [name for name, one in served.items() if one and one.server and not self.backends[name].weights]

    def chain(self, stage: str) -> list[str]:
        """A stage and all stages that it starts from, directly or not; each once, even in a cycle."""
        found: list[str] = []
        while stage in self.stages and stage not in found:
            found.append(stage)
            stage = self.stages[stage].init_from
        return found

    def members_of(self, checkpoint: str) -> list[str]:
        """The checkpoints that a base model is averaged from; none for any other checkpoint."""
        model = self.models.get(checkpoint)
        return model.checkpoints() if isinstance(model, Soup) else []

    def ancestors(self, checkpoint: str) -> list[str]:
        """A stage and all stages that it is made of, also through soups and guides; each once, even in a cycle."""
        waiting, seen = [checkpoint], list[str]()
        while waiting:
            name = waiting.pop(0)
            if name not in seen:
                seen.append(name)
                waiting += self.stages[name].checkpoints().values() if name in self.stages else self.members_of(name)
        return [name for name in seen if name in self.stages]

    def base_model(self, checkpoint: str) -> str:
        """The base model that a checkpoint descends from."""
        stages = self.chain(checkpoint)
        return self.stages[stages[-1]].init_from if stages else checkpoint

    def trained_on(self, checkpoint: str) -> list[str]:
        """The mixes that a checkpoint was trained on: by its own stage, and by those that it is made of."""
        return sorted({self.stages[stage].mix for stage in self.ancestors(checkpoint)})

    def earlier_mixes(self, mix: str) -> list[str]:
        """The other mixes that are trained on before a stage trains on this one."""
        trained = [stage for stage, block in self.stages.items() if block.mix == mix]
        before = {name for stage in trained for name in self.ancestors(stage)[1:]}
        return sorted({self.stages[name].mix for name in before} - {mix})

    def targets(self) -> list[str]:
        """The files with items of all evaluations, which the rows of all mixes are compared with."""
        return [f"data/targets/{name}/{task}.jsonl" for name, block in self.evals.items() for task in block.targets()]

    def guarded(self) -> list[str]:
        """What rows of mixes are compared with, in words: a line for each evaluation."""
        lines = [
            f"guarded: {name}: {'; '.join(f'{task} ({texts})' for task, texts in targets.items())}"
            for name, block in self.evals.items()
            if (targets := block.targets())
        ]
        return lines or ["note: no evaluation has items, so rows of mixes are compared with nothing"]

    @cached_property
    def asking(self) -> dict[tuple[str, ...], Asked]:
        """By rule and block name: the block whose jobs send requests, and by its keys the backends that answer them.

        Jobs for one checkpoint of an evaluation come by rule, block name and checkpoint, if a server has loaded it.
        """
        found: dict[tuple[str, ...], Asked] = {
            (rule, block.name): (block, {key: self.backends[name] for key, name in names.items()})
            for block in self.blocks()
            for rule in block.asks
            if (names := block.asked_by(rule))
        }
        for block, checkpoint, backend in self.served():
            found[block.served_rule, block.name, checkpoint] = (block, {SERVED: backend})
        return found

    def asked(self, rule: str, names: Sequence[str]) -> Asked | tuple[None, dict[str, BackendBlock]]:
        """The block whose job sends requests, and the backends that answer them; none if it sends none.

        Args:
            rule: The job's rule.
            names: Its names in this recipe: values of its wildcards.
        """
        keys = [(rule, *names[:count]) for count in (1, 2)]
        return next((self.asking[key] for key in keys if key in self.asking), (None, {}))

    def served(self) -> Iterator[tuple[ServedBlock, str, BackendBlock]]:
        """Blocks with their checkpoints for which the server of a backend answers; jobs load the others."""
        for block in (*self.answers.values(), *self.evals.values()):
            if isinstance(block, ServedBlock):
                for checkpoint, backend in block.servers(self.backends, self.checkpoints_of(block)).items():
                    yield block, checkpoint, backend

    def answering(self, answers: str) -> list[AnsweredEval]:
        """The evaluations of a block of answers."""
        return [one for one in self.evals.values() if isinstance(one, AnsweredEval) and one.answers == answers]

    def checkpoints_of(self, block: NamedBlock) -> list[str]:
        """The checkpoints of an evaluation, or of all evaluations of a block of answers."""
        blocks = [block] if isinstance(block, EvalBlock) else self.answering(block.name)
        return list(dict.fromkeys(name for one in blocks for name in one.checkpoints))

    def turns_of(self, answers: str) -> int | None:
        """Turns that each question of a block of answers must have; None if no evaluation says."""
        return next((one.turns for one in self.answering(answers) if one.turns), None)

    def questions_of(self, evaluation: str) -> str:
        """The source of an evaluation's questions."""
        block = self.evals[evaluation]
        if not isinstance(block, AnsweredEval):
            raise TypeError(f"evals.{evaluation} asks no questions")
        return self.answers[block.answers].questions

    def server_names(self, rule: str, names: Sequence[str]) -> list[str]:
        """Names of the values that a job reads to ask a checkpoint's server; none if it loads the checkpoint."""
        block, backends = self.asked(rule, names)
        keys = (*block.server_keys, "connection") if isinstance(block, ServedBlock) else ()
        found = [f"backends.{one.name}.{key}" for one in backends.values() for key in keys]
        return [*found, "budget"] if found else []

    def stage_names(self) -> list[str]:
        """Names of the stages of dvc.yaml, and of self-hosted servers."""
        names = [name for block in self.blocks() for name in block.stage_names()]
        shown = bool(self.filters or self.selections or self.mixes or self.stages or self.evals)
        last = {SUMMARY: bool(self.evals), PAGE: shown}
        return list(dict.fromkeys([*names, *(name for name, made in last.items() if made)]))

    def resources_of(self, stage: str) -> Resources:
        """Resources of a stage's jobs on a cluster: the stage's own, its rule's, or the default."""
        names = (stage, stage.partition("-")[0], "default")
        return next((self.resources[name] for name in names if name in self.resources), Resources())

    def shard_names(self) -> list[str]:
        """Names of the shards: 0000, 0001, ..."""
        return [f"{shard:04d}" for shard in range(self.shards)]

    def checkpoints(self) -> list[str]:
        """Base models and stages."""
        return [*self.models, *self.stages]

    def loose_ends(self) -> dict[str, list[str]]:
        """By section, blocks whose artifacts no other block uses: `all` makes them beside the results."""
        blocks = [*self.schemes.values(), *self.scores.values(), *self.pairs.values(), *self.selections.values()]
        read = {one for block in [*blocks, *self.mixes.values()] for one in self.read_by(block)}
        loading = [*self.scores.values(), *self.selections.values()]
        loaded = {name for block in loading for name in block.checkpoints().values()}
        scored = {name for block in self.evals.values() for name in block.checkpoints}
        asked = {block.weights for block in self.backends.values()}
        trained = {name for stage in self.stages.values() for name in stage.checkpoints().values()}
        taken = trained | scored | asked | loaded | {one for name in self.models for one in self.members_of(name)}
        soups = [name for name in self.models if self.members_of(name)]
        return {
            "filters": [name for name in self.filters if not {("filters", name), ("schemes", name)} & read],
            "schemes": [name for name in self.schemes if name not in self.filters and ("schemes", name) not in read],
            "scores": [name for name in self.scores if ("scores", name) not in read],
            "pairs": [name for name in self.pairs if ("pairs", name) not in read],
            "selections": [name for name in self.selections if ("selections", name) not in read],
            "mixes": [name for name in self.mixes if all(stage.mix != name for stage in self.stages.values())],
            "stages": [name for name in (*soups, *self.stages) if name not in taken],
        }


def _names(data: dict[str, Any], *sections: str) -> list[str]:
    """The names of the blocks of sections, as far as these are maps."""
    return [name for section in sections if isinstance(blocks := data.get(section), dict) for name in blocks]


def _with_kinds(mix: Any, kinds: dict[str, str]) -> Any:
    if not isinstance(mix, dict) or not isinstance(mix.get("parts"), list):
        return mix
    parts = [{"name": part} if isinstance(part, str) else part for part in mix["parts"]]
    return mix | {"parts": [_with_kind(part, kinds, "name") for part in parts]}


def _with_kind(block: Any, kinds: dict[str, str], key: str) -> Any:
    """A block with the kind of the rows that a key names; rows of a source if nothing else has that name."""
    if not isinstance(block, dict) or block.get("kind") is not None or not isinstance(block.get(key), str):
        return block
    return block | {"kind": kinds.get(block[key], "source")}


def _with_method(block: Any, method: str) -> Any:
    return {"method": method} | block if isinstance(block, dict) else block
