"""What a job is, and what it was seen to use, decide for both front ends: edits that are easily taken for none."""

import datetime
import shutil
from pathlib import Path

import pytest
import yaml
from graph import JOBS, Graph

ALL = sorted(JOBS)
MIXES = ["data/mixes/all", "data/mixes/few"]
SCORE = ["results/score.json"]
PAIRS = [f"data/pairs/both/000{shard}" for shard in range(3)]
PAIR = r'''

rule pair:
    input:
        script="scripts/pair.py",
        one="data/generated/upper/{shard}/rows.txt",
        two="data/generated/lower/{shard}/rows.txt",
    output:
        rows="data/pairs/{pair}/{shard}/rows.txt",
    params:
        values=values_of(lambda w: ["seed"]),
    shell:
        r"""
        bezoar exec {output.rows:q} -- python {input.script:q} --params seed --inputs {input.one:q} {input.two:q} \
            --out data/pairs/{wildcards.pair}/{wildcards.shard} --work scratch/graph
        """
'''
PAIR_SCRIPT = """
from helper import lines, start, write

args, _ = start()
write(args.out / "rows.txt", [row for path in args.inputs for row in lines(path)])
"""
SCORE_OF = '"scores": scores'  # in scripts/score.py
FIRST_LINES = '"""A score of each directory."""\n\nimport json\n'


@pytest.fixture(params=["snakemake", "dvc"])
def front_end(request: pytest.FixtureRequest) -> str:
    return request.param


def jobs(graph: Graph, front_end: str) -> list[str]:
    """What a build starts scripts for."""
    graph.by(front_end)
    return graph.ran()


def jobs_elsewhere(graph: Graph, front_end: str) -> list[str]:
    """The same after a change outside of the project's files, at which alone DVC looks."""
    if front_end == "dvc":
        graph.run("bezoar", "fingerprint")
    return jobs(graph, front_end)


def score_with(graph: Graph, code: str, value: str = "") -> None:
    """Run code at the start of the script that scores, and put a value of it into the result."""
    graph.edit("scripts/score.py", FIRST_LINES, f"{FIRST_LINES}{code}\n")
    if value:
        graph.edit("scripts/score.py", SCORE_OF, f'{SCORE_OF}, "more": {value}')


def scored(graph: Graph) -> str:
    return (graph.root / "results/score.json").read_text()


def test_all_that_a_command_expands_to_counts(built: Graph, front_end: str) -> None:
    parts = 'expand("data/generated/{scheme}/{shard}/rows.txt", scheme=schemes, shard=SHARDS)'
    built.edit("Snakefile", parts, f"{parts}[::-1]")
    assert jobs(built, front_end) == MIXES  # another order of inputs
    (built.root / "environment.yaml").write_text("dependencies: [python]\n")
    built.edit("Snakefile", "SHARDS = [", 'FLAGS = "-B"\n\nSHARDS = [')
    built.edit(
        "Snakefile",
        "python {input.script:q} --params evals",
        "python {params.flag} {FLAGS} {input.script:q} --params evals",
    )
    named = '        values=values_of(lambda w: [f"evals.{w.eval}"]),\n'
    built.edit("Snakefile", named, f'{named}        flag="-O",\n    conda:\n        "environment.yaml"\n')
    assert jobs(built, front_end) == SCORE
    for path, old, new in (
        ("Snakefile", 'flag="-O"', 'flag="-OO"'),  # of params outside of values
        ("Snakefile", 'FLAGS = "-B"', 'FLAGS = "-BB"'),  # a global
        ("environment.yaml", "python", "python, gcc"),  # of conda
        ("Snakefile", "    conda:\n", '    container:\n        "docker://debian:12"\n    conda:\n'),
    ):
        built.edit(path, old, new)
        assert jobs(built, front_end) == SCORE, new
        assert jobs(built, front_end) == []
    built.edit("Snakefile", "SHARDS = [", 'shell.prefix("set -o noclobber; ")\n\nSHARDS = [')
    assert jobs(built, front_end) == ALL


def test_a_clone_in_another_folder_has_the_same_commands(built: Graph, front_end: str, tmp_path: Path) -> None:
    (built.root / "environment.yaml").write_text("dependencies: [python]\n")
    named = '        values=values_of(lambda w: [f"evals.{w.eval}"]),\n'
    built.edit("Snakefile", named, f'{named}    conda:\n        "environment.yaml"\n')
    assert jobs(built, front_end) == SCORE
    built.run("dvc", "push")
    built.commit()
    clone = built.clone(tmp_path / "clone")
    clone.run("dvc", "pull")
    assert jobs(clone, front_end) == []


def test_inputs_of_a_shard_that_swap_their_roles_are_another_job(built: Graph, front_end: str) -> None:
    (built.root / "scripts/pair.py").write_text(PAIR_SCRIPT)
    with (built.root / "Snakefile").open("a") as file:
        file.write(PAIR)
    results = 'expand("results/{eval}.json", eval=config["evals"]),\n'
    built.edit("Snakefile", results, f'{results}        expand("data/pairs/both/{{shard}}/rows.txt", shard=SHARDS),\n')
    built.run("bezoar", "dvc")
    assert jobs(built, front_end) == PAIRS
    before = built.contents()
    built.edit("Snakefile", 'one="data/generated/upper/', 'one="data/generated/swap/')
    built.edit("Snakefile", 'two="data/generated/lower/', 'two="data/generated/upper/')
    built.edit("Snakefile", 'one="data/generated/swap/', 'one="data/generated/lower/')
    assert jobs(built, front_end) == PAIRS
    for name in PAIRS:
        one, two = (built.contents()[f"data/generated/{scheme}/{name[-4:]}/rows.txt"] for scheme in ("upper", "lower"))
        assert (before[f"{name}/rows.txt"], built.contents()[f"{name}/rows.txt"]) == (one + two, two + one)


def test_a_proof_is_of_the_code_that_ran(built: Graph, front_end: str, tmp_path: Path) -> None:
    """Two worktrees with one environment, whose Python finds a package in the first of them."""
    package = built.root / "own/weights.py"
    package.parent.mkdir()
    package.write_text("FACTOR = 2\n")
    built.environment = {**built.environment, "PYTHONPATH": str(package.parent)}
    score_with(built, "from weights import FACTOR", "FACTOR")
    assert jobs(built, front_end) == SCORE
    built.run("dvc", "push")
    built.commit()
    built.run("git", "worktree", "add", "--quiet", "-b", "other", str(tmp_path / "other"))
    other = Graph(tmp_path / "other", dict(built.environment))
    other.run("dvc", "pull")
    other.edit("own/weights.py", "2", "7")  # which no job there imports
    assert jobs(other, front_end) == []
    other.set("evals.score.draws", 5)
    assert jobs(other, front_end) == SCORE
    assert '"more": 2' in scored(other)
    other.run("dvc", "push")
    other.commit()
    built.run("git", "merge", "--quiet", "other")
    assert jobs(built, front_end) == SCORE
    assert '"more": 7' in scored(built)


def test_numbers_that_are_equal_for_python_are_different_values(built: Graph, front_end: str) -> None:
    for value in (3.0, 1, True, 1.0):
        built.set("evals.score.draws", value)
        assert jobs(built, front_end) == SCORE, value
    built.set("evals.score.draws", 3)
    assert jobs(built, front_end) == []


def test_code_counts_wherever_the_project_has_it(built: Graph, front_end: str) -> None:
    for path, text in {"src/own/sizes.py": "SIZE = 2\n", "more/flags.smk": 'FLAGS = "-B"\n'}.items():
        (built.root / path).parent.mkdir(parents=True)
        (built.root / path).write_text(text)
    built.edit("Snakefile", "SHARDS = [", 'include: "more/flags.smk"\n\n\nSHARDS = [')
    built.edit("Snakefile", "python {input.script:q} --params evals", "python {FLAGS} {input.script:q} --params evals")
    score_with(built, 'import sys\nsys.path.insert(0, "src")\nfrom own.sizes import SIZE', "SIZE")
    built.run("bezoar", "dvc")
    assert jobs(built, front_end) == SCORE
    built.edit("src/own/sizes.py", "2", "3")
    assert jobs(built, front_end) == SCORE
    assert '"more": 3' in scored(built)
    built.edit("more/flags.smk", "-B", "-OO")
    assert jobs(built, front_end) == SCORE


def test_maps_with_other_keys_are_other_values(built: Graph, front_end: str) -> None:
    day = datetime.date(2024, 5, 1)
    for value in ({1: "a"}, {"1": "a"}, str(day)):
        built.set("mixes.few.note", value)
        assert jobs(built, front_end) == ["data/mixes/few"], value
    built.set("mixes.few.note", {1: "a"})
    assert jobs(built, front_end) == []
    by_dvc = "Unsupported value of type 'date' in 'params.yaml:mixes.few.note'"
    for value, refusal in (({1: "a", "1": "b"}, ""), (day, by_dvc if front_end == "dvc" else "")):
        built.set("mixes.few.note", value)
        said = built.refused(*(["snakemake"] if front_end == "snakemake" else ["dvc", "repro"]))
        assert (refusal or "mixes.few can't be recorded") in said
        assert "Traceback" not in said


def test_an_import_that_no_text_names_counts(built: Graph, front_end: str) -> None:
    more = built.root / "scripts/more"
    more.mkdir()
    (more / "names.py").write_text("NAME = 'Ann'\n")
    code = 'import importlib\nimport sys\nsys.path.insert(0, "scripts/more")\nnames = importlib.import_module("names")'
    score_with(built, code, "names.NAME")
    assert jobs(built, front_end) == SCORE
    built.edit("scripts/more/names.py", "Ann", "Bob")
    assert jobs(built, front_end) == SCORE
    assert '"more": "Bob"' in scored(built)
    built.edit("scripts/more/names.py", "NAME =", "NAME =  ")
    assert jobs(built, front_end) == []
    (built.root / "scripts/names.py").write_text("NAME = 'Cid'\n")  # found later
    assert jobs(built, front_end) == []


def install(site: Path, name: str, version: str, text: str) -> None:
    """A distribution with one module."""
    for old in site.glob(f"{name}-*.dist-info"):
        shutil.rmtree(old)
    record = site / f"{name}-{version}.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (record / "RECORD").write_text(f"{name}.py,,\n{record.name}/METADATA,,\n{record.name}/RECORD,,\n")
    (site / f"{name}.py").write_text(text)


def test_versions_count_those_of_builds_apart(built: Graph, front_end: str, tmp_path: Path) -> None:
    """Of distributions, also of those that they import."""
    site = tmp_path / "lib/site-packages"
    built.environment = {**built.environment, "PYTHONPATH": str(site)}
    install(site, "outer", "1.0", "from inner import NAME\n")
    install(site, "inner", "0.1.dev3+gaaa", "NAME = 'Ann'\n")
    score_with(built, "import outer", "outer.NAME")
    assert jobs(built, front_end) == SCORE
    for name, version, ran in (
        ("inner", "0.1.dev3+gbbb", SCORE),
        ("inner", "0.2+cpu", SCORE),
        ("inner", "0.2+cu130", []),
        ("outer", "1.1", SCORE),
        ("unused", "1.0", []),
    ):
        install(site, name, version, (site / f"{name}.py").read_text() if name != "unused" else "")
        assert jobs_elsewhere(built, front_end) == ran, (name, version)


def test_a_docstring_counts_where_code_reads_it(built: Graph, front_end: str) -> None:
    score_with(built, "from letters import number", "number.__doc__")
    assert jobs(built, front_end) == SCORE
    built.edit("scripts/letters.py", "A number that a row's letters make.", "Another one.")
    assert jobs(built, front_end) == SCORE  # and no job that only calls the function
    assert '"more": "Another one."' in scored(built)


def test_a_variable_reaches_a_job_only_if_it_counts(built: Graph, front_end: str) -> None:
    built.environment = {**built.environment, "MODE": "fast"}
    score_with(built, "import os", 'os.environ.get("MODE")')
    assert jobs(built, front_end) == SCORE
    assert '"more": null' in scored(built)
    built.environment["MODE"] = "slow"
    assert jobs(built, front_end) == []
    built.edit("Snakefile", "    parts={", '    environment=["MODE"],\n    parts={')
    for mode in ("slow", "fast"):
        built.environment["MODE"] = mode
        assert jobs(built, front_end) == ALL
        assert f'"more": "{mode}"' in scored(built)
    built.environment["MODE"] = "slow"
    assert jobs(built, front_end) == []
    assert '"more": "slow"' in scored(built)
    del built.environment["MODE"]
    assert jobs(built, front_end) == []  # as before it was declared
    assert '"more": null' in scored(built)
    built.environment["MODE"] = "fast"
    assert jobs(built, front_end) == []
    assert '"more": "fast"' in scored(built)


def test_an_undeclared_file_counts_where_a_job_may_read_it(built: Graph, front_end: str) -> None:
    built.environment = {**built.environment, "BEZOAR_ISOLATION": "observe"}
    (built.root / "notes.txt").write_text("one")
    score_with(built, 'notes = open("notes.txt").read()', "notes")
    assert jobs(built, front_end) == SCORE
    (built.root / "notes.txt").write_text("two")
    assert jobs(built, front_end) == SCORE
    assert '"more": "two"' in scored(built)


def test_code_that_a_job_never_loads_is_not_its_own(graph: Graph, front_end: str) -> None:
    graph.edit(
        "scripts/helper.py",
        "def lines(path):",
        "def count(row):\n    from letters import number\n\n    return number(row)\n\n\ndef lines(path):",
    )
    assert jobs(graph, front_end) == ALL
    graph.edit("scripts/letters.py", "FIRST = 0", "FIRST = 97 * 3")  # all scripts name the module now
    assert jobs(graph, front_end) == ["data/adapters/dpo", "data/adapters/sft", "data/seed/words"]
    graph.edit("scripts/letters.py", "def number", "class Unused:\n    pass\n\n\ndef number")
    (graph.root / "scripts/unused.py").write_text("import letters\n")
    assert jobs(graph, front_end) == ["data/adapters/dpo", "data/adapters/sft", "data/seed/words"]
    (graph.root / "scripts/unused.py").write_text("import helper\n")
    assert jobs(graph, front_end) == []


def as_an_earlier_version(graph: Graph) -> None:
    """What it had in place of traces: fingerprints of rules and scripts, and a digest of roles in commands."""
    (graph.root / "traces.lock").unlink()
    shutil.rmtree(graph.root / ".dvc/cache/proofs")
    shutil.rmtree(graph.root / ".dvc/cache/traces")
    proof = graph.root / f".dvc/cache/proofs/12/{'12' * 32}.json"
    proof.parent.mkdir(parents=True)
    proof.write_text('{"key": {"rule": "score"}, "outputs": {}, "cost": {}}')
    for name, kind in (("dvc.lock", dict), ("dvc.yaml", list)):
        data = yaml.safe_load((graph.root / name).read_text())
        for stage, entry in data["stages"].items():
            if stage != "code":
                rule = stage.split("-")[0]
                entry["cmd"] += " --roles bf5f2ee3"
                params = entry["params"]
                if kind is dict:
                    params["code.lock"] = {f"rules.{rule}": "1b" * 16, f"scripts.{rule}": "e6" * 16}
                else:
                    params[0] = {"code.lock": [f"rules.{rule}", f"scripts.{rule}"]}
        (graph.root / name).write_text(yaml.safe_dump(data, sort_keys=False))
    rules = ("generate", "mix", "score", "shard", "source", "train")
    prints = {"rules": dict.fromkeys(rules, "1b" * 16), "scripts": dict.fromkeys(rules, "e6" * 16)}
    (graph.root / "code.lock").write_text(yaml.safe_dump(prints))
    graph.commit()


def test_a_tree_of_an_earlier_version_is_built_once_more_and_it_says_why(built: Graph, front_end: str) -> None:
    before = built.contents()
    as_an_earlier_version(built)
    why = "its record is of an earlier version, without a trace of what the job used"
    assert why in built.run("bezoar", "plan")
    if front_end == "dvc":
        for command in (("dvc", "repro"), ("bezoar", "build", "score", "score", "--roles", "bf5f2ee3")):
            assert "hint: run `bezoar dvc`" in built.refused(*command)
        built.run("bezoar", "dvc")
    assert why in built.by(front_end)
    assert built.ran() == ALL
    assert built.contents() == before
    assert jobs(built, front_end) == []
    assert "Nothing to be done" in built.build()
    assert "up to date" in built.run("dvc", "status")
