"""`bezoar verify --rerun` makes artifacts again under the conditions of a run."""

from graph import Graph


def test_a_rerun_has_the_hash_seed_and_the_threads_of_a_run(graph: Graph) -> None:
    graph.edit("scripts/source.py", "from helper", "import os\n\nfrom helper")
    unordered = """[*{f"word {n}" for n in range(50)}, os.environ["OMP_NUM_THREADS"]]"""
    graph.edit("scripts/source.py", '"rows.txt", [', f'"rows.txt", {unordered} + [')
    graph.build("data/source/words/rows.txt")
    made = graph.contents()
    assert "source-words: every byte came out as recorded" in graph.run("bezoar", "verify", "--rerun", "source-words")
    assert graph.contents() == made
