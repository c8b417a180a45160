"""What somebody put, or left, among artifacts."""

from graph import Graph


def test_an_artifact_that_was_changed_by_hand_is_set_aside(graph: Graph) -> None:
    graph.build()
    notes = graph.root / "data/adapters/sft/notes.txt"
    notes.write_text("keep me")
    before = (graph.root / "data/adapters/sft/history.json").read_text()
    said = graph.build()
    assert "data/adapters/sft was altered since it was made" in said
    (kept,) = (graph.root / "scratch/altered/data/adapters").glob("sft.*")
    assert (kept / "notes.txt").read_text() == "keep me"
    assert not notes.exists()
    assert (graph.root / "data/adapters/sft/history.json").read_text() == before
    assert "Nothing to be done" in said


def test_what_a_killed_job_left_half_made_is_in_nobodys_way(graph: Graph) -> None:
    left = graph.root / "data/generated/upper/.0000.partial/rows.txt"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    graph.build()
    assert not left.exists()


def test_a_forced_run_of_what_is_never_the_same_twice_is_kept(graph: Graph) -> None:
    graph.environment["RANDOM_STAGE"] = "data/adapters/dpo"
    graph.build()
    first = graph.contents()["data/adapters/dpo/weights/weight.txt"]
    graph.ran()
    graph.build("--forcerun", "data/adapters/dpo")
    second = graph.contents()["data/adapters/dpo/weights/weight.txt"]
    assert second != first
    assert graph.ran() == ["data/adapters/dpo", "results/score.json"]
    assert "Nothing to be done" in graph.build()
    assert graph.contents()["data/adapters/dpo/weights/weight.txt"] == second
    assert "up to date" in graph.run("dvc", "status")


def test_a_forced_stage_of_dvc_runs_with_lookup_off(graph: Graph) -> None:
    graph.repro()
    graph.ran()
    graph.repro("--force", "--single-item", "train-sft")
    assert graph.ran() == []  # a proof says that it would come out the same
    graph.environment["BEZOAR_NO_LOOKUP"] = "1"
    graph.repro("--force", "--single-item", "train-sft")
    assert graph.ran() == ["data/adapters/sft"]
