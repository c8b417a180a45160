"""What is asked of a graph in ways that the default target never is."""

from graph import Graph

EXTRA = """

rule extra:
    input:
        script="scripts/letters.py",
        rows="data/source/words/rows.txt",
    output:
        "data/extra/words/letters.txt",
    params:
        values={},
    shell:
        "bezoar exec {output:q} -- cp {input.rows:q} {output:q}"
"""


def test_what_is_left_out_of_a_run_is_not_planned_and_the_rest_is_built(graph: Graph) -> None:
    graph.build("--omit-from", "mix")
    made = graph.ran()
    assert made
    assert not [path for path in made if path.startswith(("data/mixes", "data/adapters", "results"))]
    graph.build("--until", "mix")
    assert graph.ran() == ["data/mixes/all", "data/mixes/few"]
    assert "0 of 0" not in graph.build("--omit-from", "mix")
    assert graph.ran() == []


def test_a_rule_that_no_result_needs_is_built_and_told_of(built: Graph) -> None:
    with (built.root / "Snakefile").open("a") as file:
        file.write(EXTRA)
    said = built.build("data/extra/words/letters.txt")
    assert "extra: not recorded in dvc.lock\n  found:    no such stage in dvc.yaml\n" in said
    assert (built.root / "data/extra/words/letters.txt").exists()
    assert "dvc.yaml is up to date" in built.run("bezoar", "dvc")


def test_a_rule_that_the_cache_can_not_follow_is_refused_by_name_and_reason(graph: Graph) -> None:
    rules = graph.root / "Snakefile"
    text = rules.read_text() + EXTRA
    rules.write_text(text.replace("{input.rows:q} {output:q}", "{input.rows:q} > {output:q}"))
    said = graph.refused("snakemake", "--dry-run", "extra")
    assert "rule extra: the command uses the shell in a way that the cache can't follow" in said
    assert "  found:    > {output:q}" in said
    rules.write_text(text.replace("scripts/letters.py", "words.txt"))
    assert "rule extra: the code of its script can't be followed\n  found:    words.txt" in graph.refused(
        "bezoar", "plan", "extra"
    )


def test_an_artifact_whose_script_or_source_is_gone_is_not_taken_for_a_source(built: Graph) -> None:
    before = {name: (built.root / name).read_text() for name in ("dvc.yaml", "dvc.lock")}
    for missing, artifact in (("scripts/score.py", "results/score.json"), ("words.txt", "data/source/words/rows.txt")):
        (built.root / missing).rename(built.root / "aside")
        for command in (("snakemake",), ("bezoar", "plan"), ("bezoar", "verify")):
            said = built.refused(*command)
            assert f"{artifact} is on disk, but rule " in said
            assert f"found:    missing input {missing}" in said
        (built.root / "aside").rename(built.root / missing)
    assert {name: (built.root / name).read_text() for name in before} == before
