"""The form of a job: its expanded command, its inputs in order under their roles, its outputs, its software."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from snakemake.deployment.conda import CondaEnvDirSpec, CondaEnvFileSpec, CondaEnvNameSpec
from snakemake.iocontainers import InputFiles, OutputFiles, Params, Wildcards
from snakemake.shell import shell
from snakemake.sourcecache import LocalSourceFile

from bezoar.cache.form import expanded, form_of
from bezoar.cache.graph import facts
from bezoar.cache.layout import RuleLayout

SHELL = "bezoar exec {output.rows:q} -- python {input.script:q} --a {input.a:q} --b {input.b:q} --out {output.rows:q}"
INPUTS = {"script": "scripts/mix.py", "a": "data/a/0001", "b": "data/b/0001"}
OUTPUTS = {"rows": "data/mix/{mix}/{shard}/rows"}


def job(
    command: str = SHELL,
    *,
    inputs: dict[str, Any] = INPUTS,
    unnamed: tuple[str, ...] = (),
    outputs: dict[str, str] = OUTPUTS,
    params: dict[str, Any] | None = None,
    names: dict[str, Any] | None = None,
    shard: str = "0001",
    threads: int = 1,
    **software: Any,
) -> Any:
    """A job as Snakemake has it; `names` are those of the Snakefile."""
    values = {"mix": "all", "shard": shard}
    made = {name: path.format(**values) for name, path in outputs.items()}
    found = InputFiles(toclone=list(unnamed))
    for name, paths in inputs.items():
        at = len(found)
        found.extend([paths] if isinstance(paths, str) else paths)
        found._set_name(name, at, end=None if isinstance(paths, str) else len(found))
    rule = SimpleNamespace(
        name="mix",
        shellcmd=command,
        output=list(outputs.values()),
        workflow=SimpleNamespace(globals=names or {}),
    )
    return SimpleNamespace(
        rule=rule,
        name="mix",
        input=found,
        output=OutputFiles(fromdict=made),
        params=Params(fromdict=params or {}),
        wildcards_dict=values,
        _format_wildcards=Wildcards(fromdict=values),
        threads=threads,
        conda_env_spec=software.get("conda"),
        container_img_url=software.get("container"),
        env_modules=software.get("modules"),
    )


def form(*arguments: Any, inner: frozenset[str] = frozenset({"shard"}), **options: Any) -> str:
    made = job(*arguments, **options)
    return form_of(made, RuleLayout(made.rule, inner).inner)


def test_a_command_is_its_words_as_they_run() -> None:
    words = "python scripts/mix.py --a data/a/0001 --b data/b/0001 --out data/mix/all/0001/rows"
    assert expanded(job()) == words.split()
    assert expanded(job(inputs={**INPUTS, "a": "data/a b"}))[3] == "data/a b"


@pytest.mark.parametrize(
    "command",
    [
        SHELL + " --more",
        SHELL.replace("--a {input.a:q} --b {input.b:q}", "--b {input.b:q} --a {input.a:q}"),
        SHELL.replace("--a {input.a:q}", "--a {input.b:q}"),
        SHELL + " {params.level}",
        SHELL + " {LEVEL}",
    ],
)
def test_another_command_is_another_form(command: str) -> None:
    given: dict[str, Any] = {"params": {"level": 1}, "names": {"LEVEL": "high"}}
    assert form(command, **given) != form(**given)


def test_the_layout_of_a_command_does_not_count() -> None:
    assert form("\n    " + SHELL.replace(" --", " \\\n        --") + "\n") == form()
    assert form(SHELL.replace("--b", "'--b'")) == form()


def test_values_that_only_the_command_names_count() -> None:
    for place in ("params", "names"):
        command = SHELL + (" --level {params.level}" if place == "params" else " --level {level}")
        one, other = (form(command, **{place: {"level": level}}) for level in (1, 2))
        assert one != other
    assert form(params={"unused": 1}) == form(params={"unused": 2})


def test_threads_resources_and_logs_do_not_count() -> None:
    command = SHELL + " --threads {threads} --memory {resources.mem_mb} --log {log} --log {log[0]:q}"
    assert form(command, threads=1) == form(command, threads=8)


@pytest.mark.parametrize(
    "inputs",
    [
        {**INPUTS, "a": INPUTS["b"], "b": INPUTS["a"]},
        {"script": INPUTS["script"], "b": INPUTS["b"], "a": INPUTS["a"]},
        {"script": INPUTS["script"], "a": INPUTS["a"], "c": INPUTS["b"]},
        {**INPUTS, "more": []},
        {**INPUTS, "a": ["data/a/0001"]},
    ],
    ids=["swapped", "order", "role", "one more role", "a list"],
)
def test_inputs_count_in_their_order_under_their_roles(inputs: dict[str, Any]) -> None:
    command = "bezoar exec {output.rows} -- python {input.script}"
    same = inputs["a"] == ["data/a/0001"]  # one path, by itself or in a list, is the same
    assert (form(command, inputs=inputs) == form(command)) is same


def test_lists_of_inputs_and_inputs_without_a_name_count_in_their_order() -> None:
    command = "bezoar exec {output.rows} -- python {input.script}"
    one, other = ("data/x", "data/y"), ("data/y", "data/x")
    assert form(command, inputs={**INPUTS, "parts": one}) != form(command, inputs={**INPUTS, "parts": other})
    assert form(command, unnamed=one) != form(command, unnamed=other)
    assert form(command, unnamed=one) != form(command, inputs={**INPUTS, "parts": one})


def test_where_two_parts_of_a_block_swap_roles_forms_differ() -> None:
    both = {**INPUTS, "a": "data/a/0001", "b": "data/b/0001"}
    swapped = {**INPUTS, "a": "data/b/0001", "b": "data/a/0001"}
    assert form(inputs=both) != form(inputs=swapped)


def test_all_parts_of_a_block_have_one_form() -> None:
    shards = {
        form(inputs={**INPUTS, "a": f"data/a/{shard}.txt", "b": f"data/b/{shard}"}, shard=shard)
        for shard in ("0001", "0002", "0417")
    }
    assert len(shards) == 1
    crossed = form(inputs={**INPUTS, "a": "data/a/0001.txt", "b": "data/b/0002"}, shard="0001")
    assert crossed not in shards


def test_outputs_count() -> None:
    assert form(outputs={"rows": "data/mixes/{mix}/{shard}/rows"}) != form()
    assert form(outputs={**OUTPUTS, "report": "data/mix/{mix}/{shard}/report"}) != form()


def test_the_software_that_a_rule_names_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "environment.yaml"
    found = set()
    for text in ("dependencies: [numpy=1]", "dependencies: [numpy=2]"):
        file.write_text(text)
        found.add(form(conda=CondaEnvFileSpec(LocalSourceFile(str(file)))))
        assert form(conda=CondaEnvFileSpec(LocalSourceFile(str(file)))) in found
    found |= {form(), form(container="docker://a"), form(container="docker://b")}
    found |= {form(conda=CondaEnvNameSpec("named")), form(conda=CondaEnvDirSpec("/opt/named"))}
    found.add(form(modules=SimpleNamespace(names=["cuda/12"])))
    monkeypatch.setattr(shell, "_process_prefix", "set -o pipefail; ")
    found.add(form())
    assert len(found) == 9


def test_a_packaged_script_has_its_name_wherever_the_package_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from bezoar import installed

    there = {**INPUTS, "script": str(installed.ROOT / "scripts/train/merge.py")}
    assert form(inputs=there) == form(inputs={**INPUTS, "script": "scripts/train/merge.py"})


def test_facts_of_the_machine_count_only_if_the_project_says_so() -> None:
    assert facts([]) == {}
    found = facts(["python", "gpus"])
    assert set(found) == {"made.python", "made.gpus"}
    assert found["made.python"]
