"""The schema of params.yaml, its checks and their messages, on the whole 3B recipe with one thing changed."""

import re
import shutil
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

from bezoar.cluster.resources import Resources
from bezoar.problems import RecipeError
from bezoar.recipe.load import load
from bezoar.recipe.recipe import BLOCKS, SECTIONS, Recipe
from bezoar.requests.api import ApiBackend
from bezoar.requests.blocks import Budget
from bezoar.requests.network import network_of
from bezoar.requests.prices import load_prices
from bezoar.steps import prompts
from bezoar.steps.data.formats import FORMATS
from bezoar.steps.filter.judge import filter_prompts
from bezoar.steps.generate import templates
from bezoar.steps.generate.evol import Evol
from bezoar.steps.generate.orca import system_messages
from bezoar.world import SETS

ROOT = Path(__file__).parents[2]
RECIPES = sorted(ROOT.glob("recipes/*.yaml"))
RECIPE_3B = ROOT / "recipes" / "openbezoar-3b.yaml"
SOURCE = re.compile(r"  # (fact: \S.*|fallback: \S.*|fallback \(own\)(: \S.*)?)$")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The whole 3B recipe, with defaults, in a working directory that holds a copy of its prompt files."""
    for name in ("prompts", "templates"):
        shutil.copytree(ROOT / "recipes" / name, tmp_path / "recipes" / name)
    monkeypatch.chdir(tmp_path)
    return Recipe.model_validate(yaml.safe_load(RECIPE_3B.read_text(encoding="utf-8"))).resolved()


def written(data: object) -> str:
    """The text of params.yaml once `data` is in it."""
    text = data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False, width=1000)
    Path("params.yaml").write_text(text, encoding="utf-8")
    return text


def refusal(data: object) -> str:
    """What `load` says against a recipe."""
    written(data)
    with pytest.raises(RecipeError) as caught:
        load()
    return str(caught.value)


def line_of(data: object, mark: str, nth: int = 1) -> int:
    """Number of the nth line that holds a text."""
    lines = written(data).splitlines()
    return [number for number, line in enumerate(lines, start=1) if mark in line][nth - 1]


def problem(line: int, key: str, what: str, found: str, expected: str, hint: str = "") -> str:
    """A problem as it should be reported."""
    text = f"params.yaml:{line}: {key}: {what}\n  found:    {found}\n  expected: {expected}"
    return text + (f"\nhint: {hint}" if hint else "")


PIN = "`bezoar recipe pin` finds it out and writes it"


def missing(key: str, kind: str, example: str, about: str = "") -> str:
    """What is expected where a key without a default is missing."""
    return f"`{key}`, {kind}{f' ({about})' if about else ''}; such as `{key}: {example}`"


def leaves(node: yaml.Node) -> Iterator[yaml.Node]:
    """The values of a YAML document that hold no others; an empty list is one of them."""
    values: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        values = [value for _, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        values = node.value
    if not values:
        yield node
    for value in values:
        yield from leaves(value)


# The recipes


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_named_after_its_file(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    assert load(path).recipe == path.stem


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_prompt_files_of_every_recipe_hold_what_its_scripts_fill(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    recipe = load(path)
    for scheme in recipe.schemes.values():
        if scheme.method == "lamini":
            prompts.load(scheme.prompts, templates.LAMINI)
        elif scheme.method == "evol":
            shown = " ".join(prompts.load(scheme.prompts, templates.EVOL).values()).casefold()
            assert [word for word in scheme.forbidden_words if word not in shown] == []
        else:
            messages = system_messages(Path(scheme.prompts))
            open_to_all = [one.applies_to for one in messages if not one.multiple_choice_only]
            assert {one for sources in open_to_all for one in sources} >= set(scheme.shares or {})
    for block in recipe.filters.values():
        if block.judge is not None:
            filter_prompts(Path(block.prompts))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_model_that_a_recipe_reaches_over_a_network_has_a_price(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    recipe = load(path)
    prices = load_prices(recipe.budget.prices)
    asked = [block.model for block in recipe.backends.values() if isinstance(block, ApiBackend)]
    assert [prices.of(model, recipe.budget.prices).model for model in asked] == asked
    assert len(asked) == (3 if path == RECIPE_3B else 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: '{one}'\n", ": the prompts are not those that this method uses\n  found:    a\n  expected: a, plain"),
        ("- a\n", ": the prompts are not those that this method uses\n  found:    ['a']\n  expected: a, plain"),
        ("a: 3\nplain: x\n", ": a: not text\n  found:    3\n  expected: a prompt template"),
        (
            "a: '{one}'\nplain: x\n",
            ": a: the slots are not those that this method fills\n  found:    {one}\n  expected: {one}, {two}",
        ),
        (
            "a: '{one} {two} {three}'\nplain: x\n",
            ": a: the slots are not those that this method fills\n"
            "  found:    {one}, {three}, {two}\n  expected: {one}, {two}",
        ),
        ("a: [\n", ":2: not YAML\n  found:    "),
    ],
)
def test_templates_that_a_method_can_not_fill_are_told_with_file_and_name(tmp_path, text, message):
    path = tmp_path / "prompts.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="found: ") as caught:
        prompts.load(path, {"a": ("one", "two"), "plain": ()})
    assert str(caught.value).startswith(f"{path}{message}")


def test_a_template_that_is_never_filled_may_hold_braces(tmp_path):
    path = tmp_path / "prompts.yaml"
    path.write_text("a: '{one}'\nplain: 'Write {json}.'\n", encoding="utf-8")
    assert prompts.load(path, {"a": ("one",), "plain": ()}) == {"a": "{one}", "plain": "Write {json}."}


def test_operations_of_the_schema_are_those_of_the_code():
    (listed,) = typing.get_args(Evol.model_fields["operations"].annotation)
    hint = "make the Literal in src/bezoar/steps/generate/evol.py what bezoar.steps.generate.templates says"
    assert typing.get_args(listed) == templates.OPERATIONS, f"Evol.operations differs\nhint: {hint}"


def test_every_value_of_the_3b_recipe_says_where_it_comes_from():
    text = RECIPE_3B.read_text(encoding="utf-8")
    lines = text.splitlines()
    values = list(leaves(yaml.compose(text, Loader=yaml.SafeLoader)))
    silent = [number for value in values if not SOURCE.search(lines[(number := value.start_mark.line)])]
    assert values
    assert [f"{RECIPE_3B.name}:{number + 1}: {lines[number]}" for number in silent] == []


def test_lora_of_the_3b_recipe_trains_as_many_parameters_as_the_released_adapter(data):
    written(data)
    lora = load().stages["sft_lamini"].lora
    # OpenLLaMA 3B v2 has 26 layers, and q, k and v map 3,200 numbers to 3,200: a rank-16 pair of matrices has
    # 16 x (3,200 + 3,200) = 102,400 numbers, so 3 projections x 26 layers x 102,400 = 7,987,200
    pair = lora.rank * (3200 + 3200)
    assert len(lora.target_modules) * 26 * pair == 7_987_200


def test_3b_stages_carry_one_adapter_through_sft_and_then_start_from_merged_models(data):
    written(data)
    recipe = load()
    base_weights = {stage: recipe.base_weights(stage) for stage in recipe.stages}
    assert base_weights == {
        "sft_lamini": "open_llama_3b_v2",
        "sft_orca": "open_llama_3b_v2",
        "sft_evol": "open_llama_3b_v2",
        "sft_hh": "sft_evol",
        "dpo_hh": "sft_hh",
    }


def test_3b_system_messages_are_16_with_2_for_multiple_choice_and_1_empty():
    messages = system_messages(ROOT / "recipes" / "prompts" / "openbezoar-3b" / "orca.yaml")
    assert len({one.id for one in messages}) == len({one.text for one in messages}) == 16
    assert sum(one.multiple_choice_only for one in messages) == 2
    assert sum(one.text == "" for one in messages) == 1


def test_3b_teacher_sees_the_markers_of_its_model_card(data):
    written(data)
    server = load().backends["teacher"].connection.server
    (path,) = [word.partition("=")[2] for word in server.command if word.startswith("--chat-template=")]
    template = Environment(trim_blocks=True, lstrip_blocks=True).from_string(Path(path).read_text(encoding="utf-8"))
    system, user = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a river."}
    assert template.render(messages=[user]) == "<|prompt|>Name a river.<|endoftext|><|answer|>"
    whole = "<|prompt|>Be brief.\n\nName a river.<|endoftext|><|answer|>"
    assert template.render(messages=[system, user]) == whole


def test_3b_topics_are_distinct_and_of_one_or_two_words():
    topics = (ROOT / "recipes" / "prompts" / "openbezoar-3b" / "topics.txt").read_text(encoding="utf-8").splitlines()
    assert len(topics) == len({topic.casefold() for topic in topics})
    assert [topic for topic in topics if len(topic.split()) not in (1, 2)] == []


# Keys and values


def test_misspelt_key_is_reported_once_with_the_right_one(data):
    data["schemes"]["evol"]["ruonds"] = data["schemes"]["evol"].pop("rounds")
    known = (
        "equality_check, equality_judge, forbidden_words, keep_questions, max_characters, max_dropped_share, "
        "max_failed_share, method, operations, prompts, refusal_words, rounds, sampling, seed, seeds, teacher"
    )
    line = line_of(data, "ruonds:")
    assert refusal(data) == problem(
        line, "schemes.evol.ruonds", "no such key", "ruonds", known, "did you mean `rounds`?"
    )


def test_missing_key_without_a_default_is_named_at_its_block(data):
    del data["stages"]["dpo_hh"]["init_from"]
    line = line_of(data, "  dpo_hh:")
    about = "Base model, or stage whose checkpoint (or adapter) this stage continues"
    expected = missing("init_from", "text", "name", about)
    assert refusal(data) == problem(line, "stages.dpo_hh.init_from", "the key is missing", "nothing", expected)


METHODS = "asft, dpo, grpo, kto, orpo, sft, simpo, sppo, tgdpo, tpo"


def test_unknown_method_is_reported_with_the_methods(data):
    data["stages"]["dpo_hh"]["method"] = "dpoo"
    line = line_of(data, "method: dpoo")
    assert refusal(data) == problem(
        line, "stages.dpo_hh.method", "unknown method", "dpoo", METHODS, "did you mean `dpo`?"
    )


def test_unknown_backend_kind_is_reported_with_the_kinds(data):
    data["backends"]["teacher"]["kind"] = "opeani"
    line = line_of(data, "kind: opeani")
    kinds = "anthropic, local, openai, verifier"
    assert refusal(data) == problem(
        line, "backends.teacher.kind", "unknown kind", "opeani", kinds, "did you mean `openai`?"
    )


def test_misspelt_method_key_is_suspected(data):
    data["schemes"]["orca"]["metod"] = data["schemes"]["orca"].pop("method")
    line = line_of(data, "  orca:")
    expected = "`method`: lamini or evol or orca or sample or skillmix or revise"
    assert refusal(data) == problem(
        line, "schemes.orca.method", "the key is missing", "nothing", expected, "is `metod` meant for it?"
    )


def test_key_of_a_block_whose_kind_is_also_a_key_is_named(data):
    data["sources"]["questions"]["origin"]["sha256"] = "abc"  # origin has kind: url and a key url
    line = line_of(data, "sha256: abc")
    expected = "text that matches ^[0-9a-f]{64}$"
    assert refusal(data) == problem(
        line, "sources.questions.origin.sha256", "the value does not fit", "'abc'", expected
    )


@pytest.mark.parametrize(
    ("key", "value", "found", "expected"),
    [
        ("rounds", "four", "'four'", "a whole number"),
        ("rounds", True, "True", "a whole number"),
        ("rounds", 0, "0", "greater than or equal to 1"),
        ("forbidden_words", "request", "'request'", "a list"),
        ("operations", [], "[]", "1 or more entries"),
        ("sampling", None, "None", "a block of keys"),
    ],
)
def test_value_of_another_type_or_range_does_not_fit(data, key, value, found, expected):
    data["schemes"]["evol"][key] = value
    data["schemes"] = {"evol": data["schemes"].pop("evol")} | data["schemes"]  # its keys stand first
    line = line_of(data, f"    {key}:")
    assert refusal(data) == problem(line, f"schemes.evol.{key}", "the value does not fit", found, expected)


@pytest.mark.parametrize(
    ("cleaning", "place", "found", "expected"),
    [
        ({"secrets": False}, "secrets", "False", "'redact' or 'drop', or null"),
        ({"languages": ["english"]}, "languages.0", "'english'", "text that matches ^[a-z]{2,3}$"),
    ],
)
def test_a_cleaning_that_cannot_be_done_is_refused_before_any_job(data, cleaning, place, found, expected):
    data["mixes"]["evol"]["cleaning"] = cleaning
    (line,) = re.findall(r"^params\.yaml:(\d+): ", message := refusal(data), re.MULTILINE)
    assert message == problem(int(line), f"mixes.evol.cleaning.{place}", "the value does not fit", found, expected)


def test_a_wrong_key_of_a_licence_is_the_only_problem_though_a_text_may_stand_there(data):
    data["sources"]["dolly"]["licence"] = {"name": "Mine", "comercial": True}
    message, known = refusal(data), "commercial, link, name, note, share_alike"
    (line,) = re.findall(r"^params\.yaml:(\d+): ", message, re.MULTILINE)
    hint = "did you mean `commercial`?"
    assert message == problem(int(line), "sources.dolly.licence.comercial", "no such key", "comercial", known, hint)


@pytest.mark.parametrize(
    ("place", "value", "found", "expected"),
    [
        ("schemes.evol.max_failed_share", 1.5, "1.5", "less than or equal to 1"),
        ("schemes.evol.max_failed_share", -0.1, "-0.1", "greater than or equal to 0"),
        ("filters.evol.max_failed_share", None, "None", "a number"),
        ("filters.evol.quota", 0, "0", "greater than or equal to 1"),
        ("filters.evol.quota", "all", "'all'", "a whole number"),
        ("evals.mtbench.max_failed_share", 2, "2", "less than or equal to 1"),
        ("backends.filter.max_attempts", 0, "0", "greater than or equal to 1"),
        ("backends.filter.max_output_tokens", 0, "0", "greater than or equal to 1"),
        ("backends.filter.connection.concurrency", 0, "0", "greater than or equal to 1"),
        ("backends.filter.connection.requests_per_minute", 0, "0", "greater than or equal to 1"),
        ("backends.filter.connection.tokens_per_minute", 0.5, "0.5", "a whole number"),
        ("backends.filter.connection.timeout", 0, "0", "greater than 0"),
        ("backends.filter.connection.deadline", 0, "0", "greater than 0"),
        ("backends.teacher.connection.server", "vllm", "'vllm'", "a block of keys"),
        ("backends.teacher.connection.server.command", [], "[]", "1 or more entries"),
        (
            "backends.teacher.connection.server.command",
            ["vllm", "--port", "8000"],
            "['vllm', '--port', '8000']",
            "words of which one holds {port}",
        ),
        ("backends.teacher.connection.server.health", "health", "'health'", "text that matches ^/"),
        ("backends.teacher.connection.server.start", 0, "0", "greater than 0"),
        ("backends.teacher.connection.server.idle", None, "None", "a number"),
        ("backends.filter.connection.batch", "no batch", "'no batch'", "true or false"),
        ("budget.run.dollars", -1, "-1", "greater than or equal to 0"),
        ("budget.run.tokens", 0.5, "0.5", "a whole number"),
        ("budget.approve_above", -1, "-1", "greater than or equal to 0"),
        ("resources.default.cpus", 0, "0", "greater than or equal to 1"),
        ("resources.default.memory_gb", 0, "0", "greater than 0"),
        ("resources.default.minutes", 0.5, "0.5", "a whole number"),
        ("resources.default.gpus", -1, "-1", "greater than or equal to 0"),
    ],
)
def test_value_about_requests_or_money_does_not_fit(data, place, value, found, expected):
    *blocks, key = place.split(".")
    block = data
    for name in blocks:
        block = block[name]
    block[key] = value
    message = refusal(data)
    (line,) = re.findall(r"^params\.yaml:(\d+): ", message, re.MULTILINE)
    assert message == problem(int(line), place, "the value does not fit", found, expected)
    assert Path("params.yaml").read_text().splitlines()[int(line) - 1].split(":")[0].strip() == key


def test_null_is_no_limit_where_there_need_not_be_one(data):
    data["filters"]["evol"]["quota"] = data["backends"]["judge"]["max_output_tokens"] = None
    data["backends"]["judge"]["connection"] |= {"requests_per_minute": None, "tokens_per_minute": None}
    data["budget"] |= {"run": {"dollars": None, "tokens": None}, "approve_above": None}
    written(data)
    recipe = load()
    assert (recipe.filters["evol"].quota, recipe.budget.run.dollars, recipe.budget.run.tokens) == (None, None, None)


def test_a_key_that_is_missing_has_the_default_of_its_class(data):
    del data["budget"], data["resources"]
    del data["stages"]["dpo_hh"]["beta"], data["backends"]["judge"]["connection"]["deadline"]
    del data["backends"]["teacher"]["connection"]["server"]["idle"]
    written(data)
    recipe = load()
    assert recipe.budget == Budget()
    assert recipe.resources == {}
    assert recipe.stages["dpo_hh"].beta == 0.1  # Rafailov et al. 2023
    assert recipe.backends["judge"].connection.deadline == 3600
    assert recipe.backends["teacher"].connection.server.idle == 300


def test_a_stages_ceiling_of_dollars_is_none_of_tokens(data):
    data["budget"]["stages"] = {"generate-lamini": {"dollars": 3.0}}
    written(data)
    ceiling = load().budget.stages["generate-lamini"]
    assert (ceiling.dollars, ceiling.tokens) == (3.0, None)


@pytest.mark.parametrize(
    ("block", "key", "known"),
    [
        ("filters", "most_unjudged", "max_failed_share"),
        ("backends", "retries", "max_attempts"),
        ("backends", "tries", "max_attempts"),
    ],
)
def test_a_key_of_before_is_reported_with_the_keys_of_now(data, block, key, known):
    data[block]["filter" if block == "backends" else "evol"][key] = 1
    message = refusal(data)
    assert f": no such key\n  found:    {key}\n  expected: " in message
    assert known in message.split("expected: ")[1].split("\n")[0].split(", ")


def test_a_connection_says_where_its_key_is(data):
    connection = data["backends"]["judge"]["connection"]
    del connection["api_key_env"]
    line = line_of(data, "    connection:", nth=3)
    assert refusal(data) == problem(
        line,
        "backends.judge.connection.api_key_env",
        "the key is missing",
        "nothing",
        missing("api_key_env", "text", "name"),
    )


def test_a_server_says_its_command_and_its_words_are_text(data):
    server = data["backends"]["teacher"]["connection"]["server"]
    server["command"].append(2048)
    place, word = "backends.teacher.connection.server", line_of(data, "- 2048")
    key = f"{place}.command.{len(server['command']) - 1}"
    assert refusal(data) == problem(word, key, "the value does not fit", "2048", "text")
    del server["command"]
    line = line_of(data, "      server:")
    about = "Program and arguments; {host}, {port} and {checkpoint} are filled in"
    expected = missing("command", "a list", "[name]", about)
    assert refusal(data) == problem(line, f"{place}.command", "the key is missing", "nothing", expected)


def test_blocks_know_their_names(data):
    data["selections"] = {"some": {"method": "random", "of": "evol", "rows": 10}}
    sampling = data["schemes"]["evol"]["sampling"]
    data["schemes"]["own"] = {
        "method": "sample",
        "seeds": {"kind": "scheme", "name": "evol"},
        "teacher": "teacher",
        "n": 2,
        "sampling": sampling,
    }
    data["scores"] = {"ratio": {"method": "logratio", "of": "own", "strong": "sft_evol", "weak": "sft_orca"}}
    data["pairs"] = {"best": {"method": "best_of_n", "of": "ratio"}}
    written(data)
    recipe = load()
    named = [
        (section, name, getattr(recipe, section)[name].name) for section in BLOCKS for name in data.get(section, {})
    ]
    assert {section for section, *_ in named} == set(BLOCKS)
    assert all(name == own for _, name, own in named)


def test_number_that_yaml_reads_as_text_comes_with_a_hint(data):
    text = written(data).replace("learning_rate: 5.0e-06", "learning_rate: '5e-6'")
    line = line_of(text, "learning_rate: '5e-6'")
    hint = "YAML reads a number in quotes as text: remove the quotes"
    assert refusal(text) == problem(
        line, "stages.dpo_hh.learning_rate", "the value does not fit", "'5e-6'", "a number", hint
    )


def test_infinite_number_does_not_fit(data):
    data["stages"]["dpo_hh"]["beta"] = float("inf")
    line = line_of(data, "beta: .inf")
    assert refusal(data) == problem(line, "stages.dpo_hh.beta", "the value does not fit", "inf", "a finite number")


def test_value_off_a_list_comes_with_the_nearest(data):
    data["stages"]["dpo_hh"]["optimizer"] = "rmsprob"
    line = line_of(data, "optimizer: rmsprob")
    known = "adamw_torch, paged_adamw_32bit, rmsprop"
    assert refusal(data) == problem(
        line, "stages.dpo_hh.optimizer", "the value does not fit", "rmsprob", known, "did you mean `rmsprop`?"
    )


def test_format_off_the_list_comes_with_the_nearest(data):
    data["sources"]["dolly"]["format"] = "dolli"
    line = line_of(data, "format: dolli")
    known = ", ".join(sorted(FORMATS))
    assert refusal(data) == problem(
        line, "sources.dolly.format", "the value does not fit", "dolli", known, "did you mean `dolly`?"
    )


def test_label_smoothing_is_refused_for_a_loss_that_ignores_it(data):
    data["stages"]["dpo_hh"] |= {"label_smoothing": 0.1}
    line = line_of(data, "label_smoothing")
    expected = "0.0 with loss sigmoid, which ignores it, or loss: robust or exo_pair or aot or aot_unpaired"
    assert refusal(data) == problem(line, "stages.dpo_hh.label_smoothing", "the value does not fit", "0.1", expected)
    data["stages"]["dpo_hh"]["loss"] = "robust"
    written(data)
    stage = load().stages["dpo_hh"]
    assert (stage.loss, stage.label_smoothing) == ("robust", 0.1)


def test_keys_of_a_loss_that_are_not_set_are_no_part_of_a_stage(data):
    assert not {"ld_alpha", "weighting", "reward_system"} & data["stages"]["dpo_hh"].keys()
    data["stages"]["dpo_hh"] |= {
        "ld_alpha": 0.5,
        "weighting": True,
        "reward_system": "{score} of 10",
        "sft_weight": 0.0,
    }
    found = Recipe.model_validate(data).resolved()["stages"]["dpo_hh"]
    assert (found["ld_alpha"], found["weighting"], found["reward_system"]) == (0.5, True, "{score} of 10")


def test_a_stage_on_rows_without_a_column_that_its_loss_needs_is_refused(data):
    data["stages"]["sppo_hh"] = {"method": "sppo", "init_from": "sft_hh", "mix": "hh_pairs"}
    line = line_of(data, "mix: hh_pairs", 2)
    source = data["mixes"]["hh_pairs"]["parts"][0]["name"]
    assert refusal(data) == problem(
        line,
        "stages.sppo_hh.mix",
        f"rows of `{source}` have no win_rate_chosen and no win_rate_rejected",
        "format hh_rlhf",
        "format preference or implicit_preference",
        "name the columns with win rates in the source's `columns`, or win_rates: hard",
    )
    data["stages"]["sppo_hh"]["win_rates"] = "hard"
    written(data)
    assert load().stages["sppo_hh"].needs() == ()


def guided(data: dict[str, Any], guide: str) -> None:
    """Add a stage with a guide."""
    data["stages"]["tgdpo_hh"] = {"method": "tgdpo", "init_from": "sft_hh", "mix": "hh_pairs", "guide": guide}


def test_a_guide_has_the_base_model_of_its_stage(data):
    (name,) = data["models"]
    data["models"]["other"] = data["models"][name]
    guided(data, "other")
    line = line_of(data, "guide: other")
    what = "`other` has another base model than this stage"
    assert refusal(data) == problem(line, "stages.tgdpo_hh.guide", what, "other", f"a checkpoint of {name}")


def test_a_guide_is_built_before_its_stage(data):
    guided(data, "dpo_hh")
    data["stages"]["dpo_hh"]["init_from"] = "tgdpo_hh"
    assert "a checkpoint is built from itself" in refusal(data)
    data["stages"]["dpo_hh"]["init_from"] = "sft_hh"
    written(data)
    recipe = load()
    assert recipe.ancestors("tgdpo_hh")[:3] == ["tgdpo_hh", "sft_hh", "dpo_hh"]
    assert recipe.trained_on("tgdpo_hh") == sorted({"hh_pairs", *recipe.trained_on("sft_hh")})


def test_value_with_two_possible_types_is_one_problem(data):
    data["stages"]["dpo_hh"]["lora"]["target_modules"] = 3
    line = line_of(data, "target_modules: 3")
    expected = "'all-linear' or a list"
    assert refusal(data) == problem(line, "stages.dpo_hh.lora.target_modules", "the value does not fit", "3", expected)


def test_block_name_is_lower_case(data):
    data["evals"]["MT-Bench"] = data["evals"].pop("mtbench")
    line = line_of(data, "MT-Bench:")
    expected = "a to z, 0 to 9 and _, a letter first"
    assert refusal(data) == problem(line, "evals.MT-Bench", "the name does not fit", "'MT-Bench'", expected)


@pytest.mark.parametrize("revision", ["main", "v1.0", "bce5d60", "BCE5D60D3B0C68318862270EC4E794D83308D80A"])
@pytest.mark.parametrize("kind", ["models.open_llama_3b_v2", "sources.dolly.origin"])
def test_revision_that_can_move_is_refused(data, kind, revision):
    block = data
    for name in kind.split("."):
        block = block[name]
    block["revision"] = revision
    line = line_of(data, f"revision: {revision}")
    expected = "the 40 hexadecimal digits of a commit; a branch or a tag can move"
    assert refusal(data) == problem(line, f"{kind}.revision", "the value does not fit", f"'{revision}'", expected, PIN)


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("models.open_llama_3b_v2", "revision"),
        ("sources.dolly.origin", "revision"),
        ("sources.questions.origin", "sha256"),
    ],
)
def test_what_is_not_pinned_is_refused_with_the_command_that_pins_it(data, kind, key):
    block = data
    for name in kind.split("."):
        block = block[name]
    del block[key]
    assert f"{kind}.{key}: the key is missing\n" in refusal(data)
    assert refusal(data).endswith(f"hint: {PIN}")


def test_address_of_a_file_on_this_machine_is_refused(data):
    data["sources"]["questions"]["origin"]["url"] = "file:///etc/hostname"
    line = line_of(data, "url: file:///etc/hostname")
    expected = "text that matches ^https?://"
    assert refusal(data) == problem(
        line, "sources.questions.origin.url", "the value does not fit", "'file:///etc/hostname'", expected
    )


def test_shares_that_leave_something_out_are_refused(data):
    shares = {"CoT": 0.5, "P3": 0.48}
    data["schemes"]["orca"]["shares"] = shares
    line = line_of(data, "    shares:")
    expected = "shares that sum to 1, and these sum to 0.98"
    assert refusal(data) == problem(line, "schemes.orca.shares", "the value does not fit", f"{shares}", expected)


# The file as YAML


def test_key_that_stands_twice_is_refused(data):
    text = written(data).replace("\nshards: 8\n", "\nshards: 8\nseed: 1\n")
    first, second = line_of(text, "seed: 0"), line_of(text, "seed: 1")
    assert refusal(text) == problem(
        second, "seed", "the key is in one block twice", f"lines {first} and {second}", "once"
    )


def test_block_that_holds_itself_is_refused(data):
    written(data)
    assert refusal("schemes: &all\n  evol: *all\n") == problem(
        2, "schemes.evol", "the block contains itself", "an alias of a block around it", "blocks that end"
    )


def test_text_that_is_not_yaml_is_refused_at_its_line(data):
    message = refusal("seed: 0\nshards: [1\n")
    assert message.startswith("params.yaml:3: not YAML\n  found:    did not find expected ',' or ']'")
    assert message.endswith("  expected: a recipe in YAML")


def test_file_without_blocks_is_refused(data):
    expected = "a block of keys"
    assert refusal("") == problem(1, "the file", "the value does not fit", "None", expected)


def test_missing_file_comes_with_the_command_that_makes_it(data):
    with pytest.raises(RecipeError) as caught:
        load("elsewhere.yaml")
    assert str(caught.value).startswith("elsewhere.yaml: no params file here\n  found:    nothing")
    assert str(caught.value).endswith("hint: run `bezoar recipe use tiny`")


def test_blocks_may_share_values_through_yaml_merge_keys(data):
    text = written(data).replace("\n  sft_lamini:\n", "\n  sft_lamini: &sft\n")
    start, end = text.index("\n  sft_orca:"), text.index("\n  sft_evol:")
    merged = "\n  sft_orca:\n    <<: *sft\n    init_from: sft_lamini\n    continue_adapter: true\n    mix: orca"
    assert written(text[:start] + merged + text[end:])
    assert load().stages["sft_orca"].learning_rate == 2.0e-4


# Names


def test_stage_from_an_unknown_base_is_reported_with_the_nearest_checkpoint(data):
    data["stages"]["dpo_hh"]["init_from"] = "sft_hhh"
    line = line_of(data, "init_from: sft_hhh")
    what = "starts from a checkpoint that nothing builds"
    known = "open_llama_3b_v2, sft_evol, sft_hh, sft_lamini, sft_orca"
    assert refusal(data) == problem(line, "stages.dpo_hh.init_from", what, "sft_hhh", known, "did you mean `sft_hh`?")


def test_mix_of_a_missing_data_set_is_reported_with_the_sources_and_schemes(data):
    data["mixes"]["hh_pairs"]["parts"][0]["name"] = "hh_dpos"
    line = line_of(data, "name: hh_dpos")
    known = "dolly, evol, flan, hh, hh_dpo, judge_prompts, lamini, orca, questions, references, seed_tasks"
    assert refusal(data) == problem(
        line, "mixes.hh_pairs.parts.0.name", "no such source", "hh_dpos", known, "did you mean `hh_dpo`?"
    )


def test_unknown_set_of_the_world_is_reported_with_the_sets(data):
    data["sources"]["dolly"]["origin"] = {"kind": "builtin", "set": "doly", "rows": 9, "prompts": None}
    line = line_of(data, "set: doly")
    what = "the embedded world has no such set"
    assert refusal(data) == problem(
        line, "sources.dolly.origin.set", what, "doly", ", ".join(SETS), "did you mean `dolly`?"
    )


def test_lessons_without_prompts_are_refused(data):
    data["sources"]["lessons"] = data["sources"]["dolly"] | {
        "origin": {"kind": "builtin", "set": "teacher", "rows": 9, "prompts": None},
        "format": "chat",
    }
    line = line_of(data, "prompts: null")
    what = "the set `teacher` needs prompts"
    assert refusal(data) == problem(line, "sources.lessons.origin.prompts", what, "null", "a folder of prompt files")


def test_scheme_without_a_filter_is_refused(data):
    del data["filters"]["evol"]
    line = line_of(data, "filters:")
    found = problem(line, "filters", "a scheme has no filter", "none for evol", "a block filters.evol")
    where, what = line_of(data, "name: evol"), "only rows that a filter keeps are taken"
    hint = "filters: {evol: {judge: null}} keeps what passes its rules"
    scheme = "scheme evol without a filter"
    assert refusal(data) == f"{found}\n" + problem(
        where, "mixes.evol.parts.0.name", what, scheme, "a block filters.evol", hint
    )


def test_teacher_that_only_judges_is_refused(data):
    data["backends"]["rules"] = {"kind": "verifier"}
    data["schemes"]["orca"]["teacher"] = "rules"
    line = line_of(data, "teacher: rules")
    known = "filter, judge, teacher"
    assert refusal(data) == problem(line, "schemes.orca.teacher", "no backend that can write", "rules", known)


def test_two_stages_that_wait_for_each_other_are_shown_as_a_circle(data):
    data["stages"]["sft_lamini"]["init_from"] = "sft_orca"
    line = line_of(data, "init_from: sft_lamini")
    what, expected = "a checkpoint is built from itself", "a chain that starts at a base model"
    circle = "sft_lamini <- sft_orca <- sft_lamini"
    assert refusal(data) == problem(line, "stages.sft_orca.init_from", what, circle, expected)


def test_stage_that_starts_from_itself_is_shown_as_a_circle(data):
    data["stages"]["dpo_hh"]["init_from"] = "dpo_hh"
    line = line_of(data, "init_from: dpo_hh")
    what, expected = "a checkpoint is built from itself", "a chain that starts at a base model"
    assert refusal(data) == problem(line, "stages.dpo_hh.init_from", what, "dpo_hh <- dpo_hh", expected)


def test_stage_that_waits_for_itself_through_its_teacher_is_shown_as_a_circle(data):
    student = {"kind": "local", "checkpoint": "sft_orca", "template": "tokenizer", "batch_size": 8}
    data["backends"]["teacher"] = student | {"dtype": "bfloat16"}
    data["schemes"]["evol"]["teacher"] = data["schemes"]["lamini"]["teacher"] = "filter"
    line = line_of(data, "teacher: teacher")
    what, expected = "a checkpoint is built from itself", "a chain that starts at a base model"
    assert refusal(data) == problem(line, "schemes.orca.teacher", what, "sft_orca <- sft_orca", expected)


def test_the_control_shuffled_names_its_checkpoint(data):
    del data["evals"]["mtbench"]["shuffled_from"]
    written(data)
    expected = f"a checkpoint of {', '.join(data['evals']['mtbench']['checkpoints'])}"
    found = refusal(data)
    assert "evals.mtbench.shuffled_from: the control `shuffled` has no answers\n  found:    nothing" in found
    assert f"  expected: {expected}" in found
    data["evals"]["mtbench"]["shuffled_from"] = "sft_hhh"
    found = refusal(data)
    assert "no answers of this checkpoint are made\n  found:    sft_hhh\n" in found
    assert found.count("\n  found:") == 1
    data["evals"]["mtbench"] |= {"controls": ["empty"], "shuffled_from": None}
    written(data)
    load()


def test_a_pilot_with_few_questions_is_sound_and_its_references_are_whole(data):
    mtbench, sources = data["evals"]["mtbench"], data["sources"]
    questions = data["answers"][mtbench["answers"]]["questions"]
    sources[questions]["limit"] = 10
    written(data)
    load()
    sources[mtbench["references"]]["limit"] = 10
    found = refusal(data)
    source = mtbench["references"]
    what = "evals.mtbench.references: evals.mtbench needs all of its rows"
    assert f"{what}\n  found:    sources.{source}.limit: 10\n" in found
    sources[mtbench["references"]]["limit"] = None
    sources[questions]["limit"] = 1
    assert "evals.mtbench.controls: the control `shuffled` needs answers to other questions" in refusal(data)


def test_a_category_judged_with_a_reference_is_one_that_is_answered(data):
    data["evals"]["mtbench"]["reference_categories"] = ["math", "codin"]
    found = refusal(data)
    assert "evals.mtbench.reference_categories.1: no category that is answered\n  found:    codin\n" in found
    assert "did you mean `coding`?" in found


def test_checkpoint_named_like_a_control_is_refused(data):
    data["models"]["control_llama"] = data["models"]["open_llama_3b_v2"]
    line = line_of(data, "control_llama:")
    what, expected = "the name is reserved for controls", "no name that starts with control_"
    assert refusal(data) == problem(line, "models.control_llama", what, "control_llama", expected)


# What fits together


def test_adapter_that_is_carried_on_keeps_its_shape(data):
    data["stages"]["sft_evol"]["lora"]["rank"] = 8
    line = line_of(data, "    lora:", nth=3)
    what = "an adapter that is continued keeps its lora"
    variants = "rslora=False dora=False init=None"
    lora = f"rank={{}} alpha=16 dropout=0.05 target_modules=['q_proj', 'k_proj', 'v_proj'] {variants}"
    expected = f"{lora.format(16)}, as in stages.sft_orca"
    assert refusal(data) == problem(line, "stages.sft_evol.lora", what, lora.format(8), expected)


def test_base_model_has_no_adapter_to_carry_on(data):
    data["stages"]["sft_lamini"]["continue_adapter"] = True
    line = line_of(data, "continue_adapter: true")
    expected = "a stage in `init_from`, or continue_adapter: false"
    assert refusal(data) == problem(
        line,
        "stages.sft_lamini.continue_adapter",
        "there is no adapter to continue",
        "`open_llama_3b_v2`, a base model",
        expected,
    )


@pytest.mark.parametrize(
    ("stage", "mix", "found", "expected"),
    [
        ("sft_hh", "hh_pairs", "hh_pairs, of format preference", "prompt_completion"),
        ("dpo_hh", "hh_chosen", "hh_chosen, of format prompt_completion", "preference"),
    ],
)
def test_stage_takes_mixes_of_its_methods_format(data, stage, mix, found, expected):
    method = data["stages"][stage]["method"]
    before = data["stages"][stage]["mix"]
    line = line_of(data, f"mix: {before}")
    data["stages"][stage]["mix"] = mix
    assert refusal(data) == problem(line, f"stages.{stage}.mix", f"method {method} takes another mix", found, expected)


def test_scheme_takes_seeds_of_its_methods_format(data):
    data["schemes"]["orca"]["seeds"] = "hh"
    line = line_of(data, "seeds: hh")
    assert refusal(data) == problem(
        line, "schemes.orca.seeds", "source `hh` holds other rows", "format hh_rlhf", "flan"
    )


def test_a_source_whose_format_is_found_by_looking_fits_wherever_a_format_is_asked_for(data):
    for source in data["sources"].values():
        source["format"] = None
    written(data)
    assert {source.format for source in load().sources.values()} == {None}


# Files


def test_missing_prompt_file_is_refused(data):
    data["schemes"]["evol"]["prompts"] = "recipes/prompts/evil.yaml"
    line = line_of(data, "evil.yaml")
    assert refusal(data) == problem(
        line, "schemes.evol.prompts", "no such file", "recipes/prompts/evil.yaml", "a file in the repository"
    )


def test_missing_price_table_is_refused(data):
    data["budget"]["prices"] = "recipes/prizes.yaml"
    line = line_of(data, "prizes.yaml")
    expected = "a file in the repository"
    assert refusal(data) == problem(line, "budget.prices", "no such file", "recipes/prizes.yaml", expected)


def test_a_ceiling_of_a_stage_that_is_not_there_is_refused(data):
    ceiling = {"dollars": 1.0, "tokens": None}
    data["budget"]["stages"] = {"generate-lamini": ceiling, "judgments-mtbench-control_empty": ceiling}
    written(data)
    load()
    data["budget"]["stages"]["filter-lamni"] = ceiling
    said = refusal(data)
    assert "budget.stages.filter-lamni: no stage of this name sends model requests" in said
    assert "hint: did you mean `filter-lamini`?" in said


@pytest.mark.parametrize("path", ["../outside.yaml", "/etc/hostname", "recipes/../../outside.yaml"])
def test_path_outside_the_repository_is_refused(data, path):
    data["schemes"]["evol"]["prompts"] = path
    line = line_of(data, f"prompts: {path}")
    what, expected = "the path leads out of the repository", "a path below the repository's root"
    assert refusal(data) == problem(line, "schemes.evol.prompts", what, path, expected)


def test_symbolic_link_out_of_the_repository_is_refused(data, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "evol.yaml"
    outside.write_text("constraint: none\n", encoding="utf-8")
    Path("recipes/link.yaml").symlink_to(outside)
    data["schemes"]["evol"]["prompts"] = "recipes/link.yaml"
    line = line_of(data, "prompts: recipes/link.yaml")
    what, expected = "the path leads out of the repository", "a path below the repository's root"
    assert refusal(data) == problem(line, "schemes.evol.prompts", what, "recipes/link.yaml", expected)


# Several problems, and parts of a recipe


def test_seven_problems_of_the_schema_are_all_reported_in_the_order_of_their_lines(data):
    data["shards"] = 0
    data["sources"]["dolly"]["origin"]["kind"] = "hubb"
    data["backends"]["judge"]["effort"] = "most"
    data["schemes"]["evol"]["rounds"] = "four"
    data["mixes"]["evol"]["parts"] = []
    data["stages"]["dpo_hh"]["betta"] = data["stages"]["dpo_hh"].pop("beta")
    del data["evals"]["mtbench"]["judge"]
    places = [line.split(": ")[:2] for line in refusal(data).splitlines() if line.startswith("params.yaml:")]
    numbers = [int(place.split(":")[1]) for place, _ in places]
    assert numbers == sorted(numbers)
    assert [key for _, key in places] == [
        "shards",
        "sources.dolly.origin.kind",
        "backends.judge.effort",
        "schemes.evol.rounds",
        "mixes.evol.parts",
        "stages.dpo_hh.betta",
        "evals.mtbench.judge",
    ]


def test_seven_names_and_files_that_lead_nowhere_are_all_reported(data):
    data["schemes"]["lamini"]["topics"] = "recipes/topics.txt"
    data["schemes"]["orca"]["seeds"] = "flann"
    data["filters"]["evol"]["judge"] = "gpt"
    data["filters"]["evol"]["prompts"] = "../filter.yaml"
    data["mixes"]["lamini"]["parts"][0]["name"] = "lamina"
    data["stages"]["sft_hh"]["mix"] = "hh"
    data["evals"]["mtbench"]["checkpoints"][3] = "sft"
    message = refusal(data)
    assert re.findall(r"^params\.yaml:\d+: ([^:]+)", message, re.MULTILINE) == [
        "schemes.lamini.topics",
        "schemes.orca.seeds",
        "filters.evol.judge",
        "filters.evol.prompts",
        "mixes.lamini.parts.0.name",
        "stages.sft_hh.mix",
        "evals.mtbench.checkpoints.3",
    ]
    assert message.count("\n  found:    ") == message.count("\n  expected: ") == 7


def test_a_task_that_no_file_of_the_task_folder_defines_is_refused(data):
    Path("tasks/more").mkdir(parents=True)
    Path("tasks/choices.yaml").write_text("# own\ntask: choices\n")
    Path("tasks/more/both.yaml").write_text("group: both\ntask:\n  - choices\n  - 'quoted'\n")
    Path("tasks/more/quoted.yaml").write_text("task: 'quoted'\n")
    data["evals"]["harness"] |= {
        "texts": {},
        "expected": None,
        "task_folder": "tasks",
        "tasks": ["choices", "both", "quoted"],
    }
    written(data)
    load()
    data["evals"]["harness"]["tasks"][0] = "choice"
    line = line_of(data, "    tasks:")
    key, what = "evals.harness.tasks.choice", "no such task in task_folder"
    expected = "both, choices, quoted"
    assert refusal(data) == problem(line, key, what, "choice", expected, "did you mean `choices`?")


def test_a_task_that_includes_a_file_from_outside_its_folder_is_refused(data):
    Path("tasks/more").mkdir(parents=True)
    Path("tasks/more/base.yaml").write_text("output_type: multiple_choice\nprocess_docs: !function utils.changed\n")
    Path("tasks/choices.yaml").write_text("task: choices\ninclude: more/base.yaml\n")
    data["evals"]["harness"] |= {"texts": {}, "expected": None, "task_folder": "tasks", "tasks": ["choices"]}
    written(data)
    load()
    Path("tasks/more/base.yaml").write_text("include:\n  - ../choices.yaml\n  - ../../elsewhere.yaml\n")
    line, what = line_of(data, "task_folder"), "a task includes a file from outside"
    found, expected = "../../elsewhere.yaml, in more/base.yaml", "files below task_folder only"
    assert refusal(data) == problem(line, "evals.harness.task_folder", what, found, expected)


def test_data_of_a_task_that_is_no_source_of_its_evaluation_is_refused(data):
    Path("tasks").mkdir()
    text = "task: choices\ndataset_path: json\ndataset_kwargs: {data_files: {test: data/source/hh/rows.jsonl}}\n"
    Path("tasks/choices.yaml").write_text(text)
    own = {"texts": {}, "expected": None, "task_folder": "tasks", "tasks": ["choices"], "data": ["flan"]}
    data["evals"]["harness"] |= own
    what, found = "a task reads undeclared data", "data/source/hh/rows.jsonl, in choices.yaml"
    expected = "a file below task_folder, or data/source/<name>/rows.jsonl of a source in `data`"
    assert refusal(data) == problem(line_of(data, "    data:"), "evals.harness.data", what, found, expected)
    data["evals"]["harness"]["data"].append("hh")
    written(data)
    load()


def test_a_served_checkpoint_is_one_of_the_recipe_and_is_what_its_server_loads(data):
    teacher = data["backends"]["teacher"]
    teacher["checkpoint"] = "open_llama_3b"
    what, key = "serves an unknown checkpoint", "backends.teacher.checkpoint"
    known = ", ".join(sorted([*data["models"], *data["stages"]]))
    hint = "did you mean `open_llama_3b_v2`?"
    assert refusal(data) == problem(line_of(data, "checkpoint: open_llama_3b"), key, what, "open_llama_3b", known, hint)
    teacher["checkpoint"] = "open_llama_3b_v2"
    place, words = "backends.teacher.connection.server.command", teacher["connection"]["server"]["command"]
    what, found = "the command doesn't load `open_llama_3b_v2`", " ".join(words)
    line = line_of(data, "        command:")
    assert refusal(data) == problem(line, place, what, found, "{checkpoint} in place of the weights")
    words[2] = "{checkpoint}"
    written(data)
    assert load().backends["teacher"].weights == "open_llama_3b_v2"
    assert load().unnamed_weights() == []
    teacher["checkpoint"] = None
    what = "the command loads a checkpoint, and the backend names none"
    expected = "a key `checkpoint` in backends.teacher"
    hint = "checkpoint: <model or stage>"
    assert refusal(data) == problem(line_of(data, "        command:"), place, what, "{checkpoint}", expected, hint)
    words[2] = "another/model"
    written(data)
    assert load().unnamed_weights() == ["teacher"]


def with_servers(data: dict, served_by: list[str], **served: str) -> dict:
    """The recipe with backends whose servers have loaded checkpoints, and the harness asking those of `served_by`."""
    teacher = data["backends"]["teacher"]
    words = ["serve", "{checkpoint}", "--port={port}"]
    for name, checkpoint in served.items():
        connection = teacher["connection"] | {"server": {"command": words}}
        data["backends"][name] = teacher | {"checkpoint": checkpoint, "connection": connection}
    data["evals"]["harness"]["served_by"] = served_by
    return data


def test_an_evaluation_is_served_by_backends_with_a_checkpoint_of_it_each_by_one(data):
    first, second, *_ = data["evals"]["harness"]["checkpoints"]
    key = "evals.harness.served_by"
    with_servers(data, ["teacher"], one=first)
    what, known = "no backend that serves a checkpoint", "one"
    assert refusal(data) == problem(line_of(data, "    - teacher"), f"{key}.0", what, "teacher", known)
    with_servers(data, ["one", "two"], one=first, two=first)
    found = f"one and two, for {first}"
    what = "two backends serve one checkpoint"
    assert refusal(data) == problem(line_of(data, "    - two"), f"{key}.1", what, found, "one of them")
    data["evals"]["harness"]["checkpoints"].remove(first)
    del data["evals"]["harness"]["expected"]
    with_servers(data, ["two", "one"], one=first, two=second)
    what, found = "the backend serves a checkpoint that isn't evaluated here", f"one, which serves {first}"
    known = ", ".join(data["evals"]["harness"]["checkpoints"])
    assert refusal(data) == problem(line_of(data, "    - one"), f"{key}.1", what, found, known)


def test_jobs_of_a_served_checkpoint_ask_its_server_and_the_others_ask_nobody(data):
    first, second, *_ = data["evals"]["harness"]["checkpoints"]
    written(with_servers(data, ["one"], one=first))
    recipe = load()
    block, backends = recipe.asked("harness", ("harness", first, "task"))
    assert block is recipe.evals["harness"]
    assert {key: one.name for key, one in backends.items()} == {"served_by": "one"}
    assert recipe.asked("harness", ("harness", second, "task")) == (None, {})
    assert list(recipe.asked("judgments", ("mtbench", first))[1]) == ["judge"]
    data["budget"]["stages"] = {f"harness-harness-{first}": {"tokens": 1}, f"harness-harness-{second}": {"tokens": 1}}
    assert "no stage of this name sends model requests" in refusal(data)
    del data["budget"]["stages"][f"harness-harness-{second}"]
    written(data)
    load()


def test_a_served_checkpoints_result_depends_on_no_other_key_of_its_backend(data):
    first, second, *_ = data["evals"]["harness"]["checkpoints"]
    data["answers"]["mtbench"]["served_by"] = ["one"]
    written(with_servers(data, ["one"], one=first))
    recipe, own = load(), ("kind", "model", "checkpoint")
    names = [*(f"backends.one.{key}" for key in (*own, "connection")), "budget"]
    assert recipe.server_names("harness", ("harness", first, "task")) == names
    assert recipe.server_names("harness", ("harness", second, "task")) == []
    more = ("token_limit_field", "sends_sampling", "connection")
    answers = recipe.server_names("answers", ("mtbench", first))
    assert answers == [*(f"backends.one.{key}" for key in (*own, *more)), "budget"]
    whole = recipe.backends["one"]
    read = whole.model_dump(include={name.split(".")[2] for name in answers[:-1]})
    assert type(whole).model_validate(read).weights == first  # they are enough for the script


def test_a_providers_own_server_serves_no_checkpoint(data):
    judge = data["backends"]["judge"]
    assert judge["connection"].get("base_url_env") is None
    judge["checkpoint"] = "open_llama_3b_v2"
    what = "the provider's own server loads no checkpoint of this recipe"
    expected = "`server` or `base_url_env` in its connection, or null"
    key, line = "backends.judge.checkpoint", line_of(data, "    checkpoint: open_llama_3b_v2")
    assert refusal(data) == problem(line, key, what, "open_llama_3b_v2", expected)
    judge["connection"]["base_url_env"] = "JUDGE_BASE_URL"
    written(data)
    assert load().backends["judge"].weights == "open_llama_3b_v2"


def test_a_checkpoint_whose_rows_it_writes_itself_is_refused(data):
    stage = next(name for name, one in data["stages"].items() if one["mix"] == "lamini")
    data["backends"]["teacher"]["checkpoint"] = stage
    data["backends"]["teacher"]["connection"]["server"]["command"][2] = "{checkpoint}"
    assert data["schemes"]["lamini"]["teacher"] == "teacher"
    assert "a checkpoint is built from itself" in refusal(data)


def test_resources_are_of_known_rules_and_stages(data):
    asked = dict(data["resources"]["default"])
    known = ("train", "train-dpo_hh", "harness-harness-dpo_hh", "controls-mtbench-control_empty", "server-teacher")
    data["resources"] |= dict.fromkeys(known, asked)
    written(data)
    assert load().resources_of("train-dpo_hh") == load().resources["default"]
    data["resources"] |= {"trian": asked}
    assert "resources.trian: no rule or stage of this name" in refusal(data)


def test_resources_are_those_of_the_stage_or_of_its_rule_or_of_all_or_the_defaults(data):
    asked = data["resources"]["default"]
    data["resources"] = {
        name: asked | {"cpus": cpus} for name, cpus in (("train-dpo_hh", 7), ("train", 5), ("default", 3))
    }
    written(data)
    stages = ("train-dpo_hh", "train-sft_hh", "merge-sft_hh")
    assert [load().resources_of(stage).cpus for stage in stages] == [7, 5, 3]
    del data["resources"]["default"]
    written(data)
    assert load().resources_of("merge-sft_hh") == Resources()


# Short recipes


SHORT = """\
recipe: my-sft
models: {base: {method: hub, repository: org/model, revision: 0123abcd0123abcd0123abcd0123abcd0123abcd}}
sources: {mine: {path: mine.jsonl}}
mixes: {mine: {parts: [mine]}}
stages: {sft: {init_from: base, mix: mine}}
evals: {}
"""


@pytest.fixture
def short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A recipe that fine-tunes on one's own rows, in a working directory with these rows and nothing else."""
    (tmp_path / "mine.jsonl").write_text('{"instruction": "Say a.", "response": "a"}\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return yaml.safe_load(SHORT)


def test_a_recipe_of_fifteen_lines_fine_tunes_on_rows_of_its_own(short):
    written(SHORT)
    recipe = load()
    assert len(SHORT.splitlines()) <= 15
    mixed = [f"{rule}-mine" for rule in ("mix", "certificate", "certified", "clearance", "dataset")]
    assert recipe.stage_names() == ["source-mine", "base-base", *mixed, "train-sft", "merge-sft", "page"]
    assert ends(recipe) == {"stages": ["sft"]}
    assert (recipe.seed, recipe.shards, recipe.asking, recipe.schemes, recipe.evals) == (0, 1, {}, {}, {})


@pytest.mark.parametrize("section", SECTIONS)
def test_every_kind_of_block_may_be_missing_or_empty(short, section):
    needed_by = {"sources": "mixes", "mixes": "stages", "models": "stages"}
    while section:
        short[section] = {}
        written(short)
        emptied, section = section, needed_by.get(section, "")
        if not section:
            load()
    del short[emptied]
    written(short)
    assert getattr(load(), emptied) == {}


def test_the_name_of_a_recipe_is_all_that_it_must_hold(short):
    expected = missing("recipe", "text", "name", "Name, as in recipes/<name>.yaml")
    assert refusal({}) == problem(1, "recipe", "the key is missing", "nothing", expected)
    written({"recipe": "nothing"})
    assert load().stage_names() == []


def ends(recipe):
    """A recipe's loose ends by section, where it has some."""
    return {section: names for section, names in recipe.loose_ends().items() if names}


def test_what_nothing_else_takes_is_a_loose_end(short):
    short["stages"]["more"] = short["stages"]["sft"] | {"init_from": "sft"}
    short["mixes"]["spare"] = {"parts": ["mine"]}
    written(short)
    assert ends(load()) == {"mixes": ["spare"], "stages": ["more"]}
    short["evals"] = {"h": {"method": "harness", "checkpoints": ["more"], "tasks": ["piqa"]}}
    short["evals"]["h"]["revisions"] = {"baber/piqa": "a" * 40}
    short["mixes"].pop("spare")
    written(short)
    assert ends(load()) == {}


def test_loose_ends_of_the_3b_recipe_are_none(data):
    written(data)
    assert ends(load()) == {}
    data["mixes"]["evol"]["parts"] = ["dolly"]
    written(data)
    assert ends(load()) == {"filters": ["evol"]}


def test_a_path_is_short_for_an_origin_of_kind_file(short):
    written(short)
    origin = {"kind": "file", "path": "mine.jsonl", "sha256": None}
    assert load().sources["mine"].origin.model_dump() == origin
    short["sources"]["mine"] = {"origin": origin}
    written(short)
    assert load().sources["mine"].origin.model_dump() == origin


def test_a_path_may_stand_beside_its_sha256_and_the_other_keys_of_a_source(short):
    short["sources"]["mine"] |= {"sha256": "0" * 64, "limit": 3}
    written(short)
    source = load().sources["mine"]
    assert (source.origin.sha256, source.limit, source.format) == ("0" * 64, 3, None)


def test_a_path_beside_an_origin_is_no_key_of_a_source(short):
    short["sources"]["mine"]["origin"] = {"kind": "file", "path": "mine.jsonl"}
    line = line_of(short, "path: mine.jsonl")
    known = "columns, format, licence, limit, max_dropped_share, origin, sample"
    assert refusal(short) == problem(line, "sources.mine.path", "no such key", "path", known)


def test_a_path_that_is_not_there_is_named(short):
    short["sources"]["mine"]["path"] = "yours.jsonl"
    line = line_of(short, "  mine:")
    expected = "a file, a folder with files of rows, or a pattern such as rows/*.jsonl"
    assert refusal(short) == problem(line, "sources.mine.origin.path", "no such file", "yours.jsonl", expected)


@pytest.mark.parametrize("path", ["../mine.jsonl", "{}/mine.jsonl", "~/mine.jsonl", "link.jsonl", "{}/*.jsonl", "{}"])
def test_a_source_may_lie_outside_of_the_repository(short, tmp_path_factory, monkeypatch, path):
    outside = tmp_path_factory.mktemp("outside")
    monkeypatch.setenv("HOME", str(outside))
    for folder in (outside, Path("..")):
        (folder / "mine.jsonl").write_text("{}\n")
    Path("link.jsonl").symlink_to(outside / "mine.jsonl")
    short["sources"]["mine"]["path"] = path.format(outside)
    written(short)
    source = load().sources["mine"]
    assert source.origin.path == path.format(outside).replace("~", str(outside))
    assert [Path(one).exists() for one in source.files()] == [True]


def test_a_source_outside_that_is_gone_is_refused_unless_a_record_says_what_was_built_of_it(short):
    short["sources"]["mine"]["path"] = "../gone.jsonl"
    assert "sources.mine.origin.path: no such file" in refusal(short)
    dep = {"path": "../gone.jsonl", "hash": "md5", "md5": "0" * 32, "size": 3}
    stage = {"cmd": "bezoar build source mine", "deps": [dep]}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"source-mine": stage}}))
    assert load(contents=True).sources["mine"].files() == ["../gone.jsonl"]
    short["sources"]["mine"]["path"] = "gone.jsonl"
    assert "sources.mine.origin.path: no such file" in refusal(short)


def test_a_sha256_is_that_of_one_file(short):
    Path("rows").mkdir()
    Path("rows/a.jsonl").write_text("{}\n")
    for path in ("rows", "rows/*.jsonl"):  # a pattern has one file today, and may have two tomorrow
        short["sources"]["mine"] |= {"path": path, "sha256": "0" * 64}
        assert "sources.mine.origin.sha256: only a single file has a sha256" in refusal(short)


def test_a_part_by_its_name_alone_is_all_rows_of_the_scheme_or_source_of_that_name(data):
    data["mixes"]["evol"]["parts"] = ["evol", "dolly", {"name": "seed_tasks", "rows": 9}]
    written(data)
    parts = [(part.name, part.kind, part.rows) for part in load().mixes["evol"].parts]
    assert parts == [("evol", "scheme", None), ("dolly", "source", None), ("seed_tasks", "source", 9)]


def test_a_part_says_its_kind_where_a_scheme_and_a_source_share_a_name(data):
    data["sources"]["evol"] = data["sources"]["dolly"]
    data["mixes"]["evol"]["parts"] = ["evol", {"name": "evol", "kind": "source"}]
    written(data)
    assert [part.kind for part in load().mixes["evol"].parts] == ["scheme", "source"]


def test_a_part_without_a_block_is_reported_at_its_place(short):
    short["mixes"]["mine"]["parts"] = ["mine", "min"]
    line = line_of(short, "- min", nth=2)
    assert refusal(short) == problem(
        line, "mixes.mine.parts.1.name", "no such source", "min", "mine", "did you mean `mine`?"
    )


def test_the_whole_recipe_says_everything_and_means_the_same(short):
    written(short)
    recipe = load()
    whole = recipe.resolved()
    assert whole["mixes"]["mine"]["parts"] == [{"name": "mine", "kind": "source", "rows": None}]
    assert whole["sources"]["mine"]["origin"]["kind"] == "file"
    assert whole["stages"]["sft"]["lora"]["rank"] == 16  # a default
    written(whole)
    assert load() == recipe


@pytest.mark.parametrize(
    ("source", "place", "what"),
    [
        ({"path": 3}, "sources.mine.path", "the value does not fit\n  found:    3\n  expected: text"),
        ({"pth": "mine.jsonl"}, "sources.mine.pth", "no such key\n  found:    pth\n"),
        ({"path": "mine.jsonl", "sha256": "abc"}, "sources.mine.sha256", "the value does not fit\n  found:    'abc'\n"),
        ({}, "sources.mine.origin", "the key is missing\n  found:    nothing\n"),
    ],
)
def test_a_source_in_short_that_does_not_fit_is_reported_by_the_keys_that_it_has(short, source, place, what):
    short["sources"]["mine"] = source
    assert f": {place}: {what}" in refusal(short)


def test_a_stage_without_a_method_is_fine_tuning(short):
    written(short)
    assert load().stages["sft"].method == "sft"
    short["stages"]["sft"] |= {"metod": "dpo", "beta": 0.1}
    assert "stages.sft.metod: no such key\n  found:    metod\n" in refusal(short)


# Who asks models


def test_asking_names_the_block_and_the_backend_of_every_rule_that_sends_requests(data):
    written(data)
    recipe = load()
    found = {
        key: (block.name, {one: backend.name for one, backend in backends.items()})
        for key, (block, backends) in recipe.asking.items()
    }
    assert found == {
        **{("generate", name): (name, {"teacher": "teacher"}) for name in ("lamini", "evol", "orca")},
        **{("filter", name): (name, {"judge": "filter"}) for name in ("lamini", "evol", "orca")},
        ("judgments", "mtbench"): ("mtbench", {"judge": "judge"}),
    }
    assert recipe.asking["filter", "evol"][0] is recipe.filters["evol"]
    assert recipe.asking["generate", "evol"][1]["teacher"] is recipe.backends["teacher"]


@pytest.mark.parametrize(
    ("judge", "asked"), [(None, ["teacher"]), ("teacher", ["teacher"]), ("judge", ["teacher", "judge"])]
)
def test_rewrites_are_compared_by_the_teacher_or_by_another_backend(data, judge, asked):
    data["schemes"]["evol"]["equality_judge"] = judge
    written(data)
    _, backends = load().asking["generate", "evol"]
    assert [one.name for one in backends.values()] == asked


def test_a_job_waits_for_one_self_hosted_server_only(data):
    data["backends"]["second"] = data["backends"]["teacher"]
    data["schemes"]["evol"]["equality_judge"] = "second"
    written(data)
    said = "schemes.evol.equality_judge: a job would need two self-hosted servers\n  found:    teacher, second\n"
    assert said in refusal(data)
    data["schemes"]["evol"]["equality_judge"] = "filter"  # an API: no server of one's own
    written(data)
    network = network_of(load().asking["generate", "evol"][1].values(), load().budget)
    assert network is not None
    assert network.variables == ("TEACHER_API_KEY", "TEACHER_BASE_URL", "OPENAI_API_KEY")


def test_a_filter_without_a_judge_asks_nobody_and_has_no_prompts(data):
    data["filters"]["evol"] = data["filters"]["evol"] | {"judge": None, "prompts": None}
    written(data)
    assert ("filter", "evol") not in load().asking
    data["budget"]["stages"] = {"filter-evol": {"dollars": 1.0}}
    assert "budget.stages.filter-evol: no stage of this name sends model requests" in refusal(data)
    data["budget"]["stages"] = {}
    data["filters"]["evol"] |= {"prompts": "recipes/prompts/openbezoar-3b/filter.yaml"}
    assert "a judge with its prompts, or neither" in refusal(data)


def test_only_stages_that_ask_a_model_have_a_ceiling(data):
    written(data)
    asking = {rule for rule, _ in load().asking}
    for name in load().stage_names():
        data["budget"]["stages"] = {name: {"dollars": 1.0}}
        if name.partition("-")[0] not in asking:
            assert f"budget.stages.{name}: no stage of this name sends model requests" in refusal(data)
            break
    else:
        pytest.fail("every stage asks a model")


def test_a_block_names_the_stages_that_make_its_artifacts(data):
    written(data)
    recipe = load()
    assert recipe.stages["dpo_hh"].stage_names() == ["train-dpo_hh", "merge-dpo_hh"]
    assert recipe.sources["hh"].stage_names() == ["source-hh"]
    assert recipe.schemes["evol"].stage_names() == ["shard-evol", "generate-evol"]
    assert recipe.backends["teacher"].stage_names() == ["server-teacher"]
    data["evals"]["mtbench"] |= {"checkpoints": ["dpo_hh"], "controls": ["empty"], "shuffled_from": None}
    written(data)
    assert load().evals["mtbench"].stage_names() == [
        "report_mtbench-mtbench",
        "question_targets-mtbench",
        "answers-mtbench-dpo_hh",
        "controls-mtbench-control_empty",
        "judgments-mtbench-dpo_hh",
        "judgments-mtbench-control_empty",
        "gate-mtbench",
    ]
    scored = load().evals["harness"].checkpoints
    assert load().evals["harness"].stage_names() == [
        "report_harness-harness",
        "harness_tasks-harness",
        "harness_targets-harness",
        *(f"harness-harness-{name}" for name in scored),
    ]


def test_a_base_model_says_what_files_and_sources_it_is_made_from(short):
    Path("folder").mkdir()
    Path("folder/model.safetensors").touch()
    Path("mine.jinja").write_text("{{ messages[-1].content }}")
    pretrained = {"method": "pretrain", "corpus": "mine", "learning_rate": 1e-3}
    sizes = {"hidden_size": 8, "layers": 1, "heads": 1, "intermediate_size": 8}
    short["models"] |= {
        "copied": {"method": "local", "path": "folder", "chat_template": "mine.jinja"},
        "trained": pretrained | {"architecture": sizes, "chat_template": "mine.jinja"},
    }
    written(short)
    made_from = {name: (one.files(), one.sources(), one.templates()) for name, one in load().models.items()}
    assert made_from == {
        "base": ([], [], []),
        "copied": (["folder"], [], ["mine.jinja"]),
        "trained": ([], ["mine"], ["mine.jinja"]),
    }


def test_a_directory_without_weights_is_refused_before_anything_runs(short):
    Path("folder").mkdir()
    Path("folder/chat_template.jinja").write_text("{{ messages }}")
    Path("folder/pytorch_model.bin").touch()
    short["models"]["base"] = {"method": "local", "path": "folder"}
    assert "models.base.path: not a model directory\n  found:    no weights\n" in refusal(short)


@pytest.mark.parametrize("config", [None, "{}", '{"chat_template": null}', "[]"])
def test_a_base_model_without_a_chat_template_is_refused_before_anything_runs(short, config):
    Path("folder").mkdir()
    Path("folder/model.safetensors").touch()
    if config is not None:
        Path("folder/tokenizer_config.json").write_text(config)
    short["models"]["base"] = {"method": "local", "path": "folder"}
    line = line_of(short, "base:")
    message = problem(
        line,
        "models.base.chat_template",
        "the model's tokenizer has no chat template",
        "tokenizer",
        "a file PATH.jinja",
        "recipes/templates/openbezoar.jinja is one",
    )
    assert message in refusal(short)
    Path("folder/tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    load()
    Path("folder/tokenizer_config.json").unlink()
    Path("folder/chat_template.jinja").write_text("{{ messages }}")
    load()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("tokeniser", "models.base.chat_template: the value does not fit"),
        ("gone.jinja", "models.base.chat_template: no such file"),
        ("../out.jinja", "models.base.chat_template: the path leads out of the repository"),
    ],
)
def test_a_chat_template_is_the_tokenizers_or_a_file(short, given, message):
    short["models"]["base"]["chat_template"] = given
    assert message in refusal(short)
