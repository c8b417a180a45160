"""What is damaged, foreign or in the way is a clear error or made again; nothing is lost, and no artifact is wrong."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from graph import JOBS, Graph

UPPER, LOWER = "data/generated/upper/0000", "data/generated/lower/0000"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def stated(said: str, what: str) -> None:
    """Check that an error says what, what was found, what was expected, and the way out, and shows no insides."""
    assert "Traceback" not in said, said[-4000:]
    lines = [line.strip() for line in said.splitlines()]
    starts = [n for n, line in enumerate(lines) if what in line]
    assert starts, f"{what!r} in\n{said[-4000:]}"
    form = ["found:", "expected:", "hint:"]
    for start in starts:
        block = lines[start + 1 : start + 12]
        if [part for line in block for part in form if line.startswith(part)][:3] == form:
            return
    raise AssertionError(f"found, expected and hint behind {what!r} in\n{said[-4000:]}")


def objects(graph: Graph) -> list[Path]:
    return sorted(path for path in (graph.root / ".dvc/cache/files").rglob("*") if path.is_file())


def damage(path: Path) -> None:
    """Flip a bit of every byte; objects are read-only."""
    path.chmod(0o644)
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))


def object_of(graph: Graph, md5: str, folder: str = ".dvc/cache") -> Path:
    return graph.root / folder / "files/md5" / md5[:2] / md5[2:]


def locked(graph: Graph) -> dict:
    return yaml.safe_load((graph.root / "dvc.lock").read_text())["stages"]


def md5_of(graph: Graph, stage: str) -> str:
    """What dvc.lock says that a stage's first output is."""
    return locked(graph)[stage]["outs"][0]["md5"]


def proofs(graph: Graph) -> dict[str, Path]:
    """Paths of all proofs by the output that they speak of first."""
    found = (graph.root / ".dvc/cache/proofs").rglob("*.json")
    return {json.loads(path.read_text())["action"]["outputs"][0]: path for path in found}


def forget(graph: Graph, *paths: str) -> None:
    """Delete artifacts."""
    for path in paths or ("data", "results"):
        place = graph.root / path
        shutil.rmtree(place) if place.is_dir() else place.unlink()


def add_rule(graph: Graph, text: str) -> None:
    with (graph.root / "Snakefile").open("a") as file:
        file.write(text)


# --- the cache -------------------------------------------------------------------------------------------------------


def test_damaged_objects_of_artifacts_that_are_there_cost_nothing(built: Graph) -> None:
    for path in objects(built):
        damage(path)
    assert "Nothing to be done" in built.build()


def test_what_only_damaged_objects_hold_is_made_again(built: Graph) -> None:
    before = built.contents()
    for path in objects(built):
        damage(path)
    forget(built)
    built.build()
    twins = {name for name in JOBS if before.get(f"{name}/rows.txt") == b""}  # the first one made serves the others
    assert {*built.ran(), *twins} == JOBS
    assert built.contents() == before
    forget(built)
    built.build()
    assert built.ran() == []  # sound objects took the place of the damaged ones
    assert built.contents()["results/score.json"] == before["results/score.json"]


@pytest.mark.parametrize("stage", ["train-dpo", "score-score"])
def test_one_damaged_object_costs_one_job(built: Graph, stage: str) -> None:
    before = built.contents()
    damage(object_of(built, md5_of(built, stage)))
    forget(built)
    built.build("data/adapters/dpo", "results/score.json")
    assert len(built.ran()) == 1
    assert {path: before[path] for path in built.contents()} == built.contents()


def test_a_damaged_object_that_the_remote_has_sound_is_fetched(built: Graph) -> None:
    before = built.contents()
    built.run("dvc", "push")
    for path in objects(built):
        damage(path)
    forget(built)
    built.build()
    assert built.ran() == []
    assert built.contents()["results/score.json"] == before["results/score.json"]


def test_an_object_that_is_damaged_on_the_remote_too_is_made_again(built: Graph) -> None:
    before = built.contents()
    built.run("dvc", "push")
    md5 = md5_of(built, "score-score")
    for folder in ("../remote", ".dvc/cache"):
        damage(object_of(built, md5, folder))
    forget(built)
    built.build()
    assert built.ran() == ["results/score.json"]
    assert built.contents()["results/score.json"] == before["results/score.json"]


@pytest.mark.parametrize(  # all kinds of garbage are read in unit/test_cache_foreign.py
    "text", ["garbage", *(pytest.param(text, marks=pytest.mark.long) for text in ("", '{"key": {', "[]", "null"))]
)
def test_proofs_that_are_garbage_are_no_proofs(built: Graph, text: str) -> None:
    before = built.contents()
    (built.root / "dvc.lock").unlink()
    for path in proofs(built).values():
        path.write_text(text)
    said = built.build()
    assert "it is ignored, and its job runs again" in said
    assert built.ran() == sorted(JOBS)
    assert built.contents() == before
    assert len(proofs(built)) == len(JOBS)


def test_the_proof_of_another_job_proves_nothing(built: Graph) -> None:
    before = built.contents()
    (built.root / "dvc.lock").unlink()
    found = proofs(built)
    shutil.copyfile(found[f"{UPPER}/report.txt"], found[f"{LOWER}/report.txt"])
    built.build()
    assert built.ran() == [LOWER]
    assert built.contents() == before


def test_the_proof_of_the_same_job_with_other_parameters_proves_nothing(built: Graph) -> None:
    before = built.contents()
    (old,) = (path for name, path in proofs(built).items() if name == "data/adapters/sft")
    text = old.read_text()
    built.set("stages.sft.rate", 0.75)
    built.build()
    assert "data/adapters/sft" in built.ran()
    new = next(
        path
        for path in (built.root / ".dvc/cache/proofs").rglob("*.json")
        if '"stages.sft"' in path.read_text() and path != old
    )
    new.write_text(text)
    (built.root / "dvc.lock").unlink()
    built.build()
    assert built.ran() == ["data/adapters/sft"]
    assert built.contents() != before


def test_a_full_disk_is_named_and_the_build_goes_on_when_there_is_room(graph: Graph, small: Path) -> None:
    graph.run("dvc", "config", "--local", "cache.dir", str(small))
    (small / "ballast").write_bytes(bytes(920 << 10))
    said = graph.refused("snakemake")
    stated(said, "the cache can't be written to")
    assert "No space left on device" in said
    done = graph.ran()
    assert done
    assert not list(small.rglob("*.partial"))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
    graph.build()
    assert graph.planned() == 0
    forget(graph)
    graph.ran()
    graph.build()
    assert graph.ran() == []  # everything is in the cache


def test_what_a_full_disk_could_not_store_is_stored_by_a_later_run(graph: Graph, small: Path) -> None:
    graph.run("dvc", "config", "--local", "cache.dir", str(small))
    graph.edit("scripts/score.py", "import json\n", "import json\nimport os\n")
    graph.edit("scripts/score.py", "write(args.out, [", "write(args.out, [os.urandom(999_999).hex(), ")
    assert "No space left on device" in graph.build()  # a score of 2 MB; its record has room
    assert "results/score.json" in graph.ran()
    subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
    before = graph.contents()["results/score.json"]
    graph.build()
    forget(graph)
    graph.build()
    assert graph.ran() == []
    assert graph.contents()["results/score.json"] == before


def test_a_cache_that_can_not_be_written_refuses_before_anything_runs(built: Graph) -> None:
    (built.root / "file").write_text("a file where a folder should be")
    built.run("dvc", "config", "--local", "cache.dir", "file/cache")
    built.set("stages.sft.rate", 0.75)
    before = built.contents()
    stated(built.refused("snakemake"), "the cache can't be written to")
    assert built.ran() == []
    assert built.contents() == before
    built.environment["BEZOAR_OFFLINE"] = "1"
    stated(built.refused("snakemake"), "the cache can't be written to")
    assert built.planned() == 3  # a dry run still answers: what lies sound on disk needs no cache


def test_a_read_only_cache_is_read(built: Graph) -> None:
    cache = built.root / ".dvc/cache"
    done = subprocess.run(["mount", "--bind", "-o", "ro", str(cache), str(cache)], capture_output=True)
    if done.returncode:
        pytest.skip(f"no folder can be made read-only here: {done.stderr.decode().strip()}")
    try:
        before = built.contents()
        assert "Nothing to be done" in built.build()
        forget(built)
        assert "Nothing to be done" in built.build("results/score.json", "data/adapters/sft")
        assert built.ran() == []
        assert {path: before[path] for path in built.contents()} == built.contents()
        built.set("stages.sft.rate", 0.75)
        stated(built.refused("snakemake"), "the cache can't be written to")
        assert built.ran() == []
    finally:
        subprocess.run(["umount", str(cache)], check=True)


# --- dvc.lock, .dvc/config and the remote ----------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"garbage", b"stages: [", b"\xff\xfe\x00", b"- a\n"])
def test_a_lock_that_is_garbage_is_refused_and_can_be_removed(built: Graph, content: bytes) -> None:
    before = (built.root / "dvc.lock").read_text()
    (built.root / "dvc.lock").write_bytes(content)
    stated(built.refused("snakemake"), "dvc.lock:")
    assert (built.root / "dvc.lock").read_bytes() == content
    (built.root / "dvc.lock").unlink()  # as the hint says
    assert "Nothing to be done" in built.build()
    assert (built.root / "dvc.lock").read_text() == before


def test_a_merge_conflict_in_the_lock_is_named_and_either_side_is_a_way_out(built: Graph) -> None:
    built.run("git", "checkout", "--quiet", "-b", "theirs")
    built.set("stages.sft.rate", 0.75)
    built.build()
    built.commit()
    built.run("git", "checkout", "--quiet", "main")
    built.set("stages.sft.rate", 0.25)
    built.build()
    built.commit()
    ours = built.contents()
    built.ran()
    built.refused("git", "merge", "theirs")
    built.run("git", "checkout", "--ours", "params.yaml")
    said = built.refused("snakemake")
    stated(said, "dvc.lock:")
    assert "a merge conflict" in said
    for side in ("theirs", "main"):  # a record of other parameters says nothing, and the cache knows both
        built.run("git", "checkout", side, "--", "dvc.lock", "traces.lock")  # and git takes it for resolved
        built.build()
        assert built.ran() == []
        assert built.contents() == ours
    assert locked(built)["train-sft"]["params"]["params.resolved.yaml"]["stages.sft"]["rate"] == 0.25


@pytest.mark.parametrize(
    "stages",
    [
        {"other": {"cmd": "make", "deps": [{"path": "x", "md5": "0" * 32}]}},
        {"score-score": {"cmd": "make"}, "train-sft": {"deps": None, "outs": ["data/adapters/sft"]}},
        {"train-sft": {"outs": [{"path": "data/adapters/sft", "md5": "0" * 32 + ".dir"}]}},
        {
            "mix-all": {
                "outs": [{"path": "data/mixes/all", "md5": "0" * 32}],
                "params": {"params.resolved.yaml": {"seed": 0}},
            }
        },
    ],
)
def test_the_lock_of_another_pipeline_changes_nothing(built: Graph, stages: dict) -> None:
    before = (built.root / "dvc.lock").read_text()
    (built.root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    built.build()
    assert built.ran() == []
    assert (built.root / "dvc.lock").read_text() == before


def test_a_lock_that_names_contents_nobody_has_is_made_good(built: Graph) -> None:
    before = built.contents()
    lock = yaml.safe_load((built.root / "dvc.lock").read_text())
    lock["stages"]["score-score"]["outs"][0]["md5"] = "0" * 32
    (built.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    built.build()
    assert built.contents() == before
    assert md5_of(built, "score-score") != "0" * 32
    built.ran()
    assert "Nothing to be done" in built.build()


@pytest.mark.parametrize("content", [b"garbage", b"[core\nremote = shared\n", b"\xff\xfe\x00"])
def test_a_dvc_configuration_that_is_garbage_is_refused(built: Graph, content: bytes) -> None:
    (built.root / ".dvc/config").write_bytes(content)
    stated(built.refused("snakemake"), ".dvc/config can't be read")
    assert built.ran() == []


def clone_with_remote(built: Graph, folder: Path, url: str) -> Graph:
    """A clone whose cache is empty, and whose remote is at an address."""
    clone = built.clone(folder / "clone")
    clone.run("dvc", "remote", "modify", "shared", "url", url)
    return clone


def test_a_remote_without_anything_is_as_none(built: Graph, tmp_path: Path) -> None:
    clone = clone_with_remote(built, tmp_path, str(tmp_path / "nowhere"))
    clone.build()
    assert clone.ran() == sorted(JOBS)
    assert clone.contents() == built.contents()


@pytest.mark.parametrize(
    "url",
    ["ssh://localhost:1/x", *(pytest.param(url, marks=pytest.mark.long) for url in ("below a file", "s3://bucket/x"))],
)
def test_a_remote_that_can_not_be_read_is_refused_and_can_be_left_out(built: Graph, tmp_path: Path, url: str) -> None:
    (tmp_path / "file").write_text("a file where a folder should be")
    clone = clone_with_remote(built, tmp_path, str(tmp_path / "file" / "remote") if url == "below a file" else url)
    stated(clone.refused("snakemake"), "the DVC remote can't be read")
    assert clone.ran() == []
    clone.environment["BEZOAR_OFFLINE"] = "1"
    clone.build()
    assert clone.ran() == sorted(JOBS)
    assert clone.contents() == built.contents()


def test_a_remote_that_is_gone_is_not_asked_for_what_is_here(built: Graph) -> None:
    built.run("dvc", "remote", "modify", "shared", "url", "s3://bucket/of-nobody")
    assert "Nothing to be done" in built.build()
    built.set("stages.dpo.rate", 0.75)
    built.build()
    assert built.ran() == ["data/adapters/dpo", "results/score.json"]


# --- files in the way ------------------------------------------------------------------------------------------------


def test_an_undeclared_file_of_a_script_is_refused_and_nothing_is_recorded(graph: Graph) -> None:
    graph.edit(
        "scripts/mix.py",
        'write(args.out / "report.txt"',
        'write(args.out / "extra.txt", [1])\nwrite(args.out / "report.txt"',
    )
    said = graph.refused("snakemake", "data/mixes/all/rows.txt")
    stated(said, "data/mixes/all/extra.txt was written, but isn't declared by its rule")
    assert not [name for name in proofs(graph) if "mixes" in name]
    assert "data/mixes/all" in graph.ran()
    forget(graph, "data/mixes/all")
    graph.refused("snakemake", "data/mixes/all/rows.txt")
    assert graph.ran() == ["data/mixes/all"]  # tried again


def test_a_file_in_the_folder_of_another_artifact_is_refused_when_that_is_made(graph: Graph) -> None:
    # generate runs before mix, whose folder it writes into
    graph.environment["BEZOAR_ISOLATION"] = "off"  # it couldn't otherwise
    graph.edit(
        "scripts/generate.py",
        'write(args.out / "report.txt"',
        'write(args.out.parents[2] / "mixes/all/stray.txt", [1])\nwrite(args.out / "report.txt"',
    )
    graph.environment["BEZOAR_ISOLATION"] = "observe"
    stated(graph.refused("snakemake"), "data/mixes/all/stray.txt is in an artifact's folder, but no rule makes it")
    assert (graph.root / "data/mixes/all/stray.txt").exists()


def test_a_directory_that_another_script_wrote_into_is_put_back(built: Graph) -> None:
    before = built.contents()
    built.environment["BEZOAR_ISOLATION"] = "off"  # it couldn't otherwise
    built.edit(
        "scripts/score.py",
        "write(args.out,",
        'write(args.inputs[0] / "history.json", ["written over"])\nwrite(args.out,',
    )
    built.environment["BEZOAR_ISOLATION"] = "observe"
    said = built.refused("snakemake")
    stated(said, "data/adapters/sft changed while results/score.json used it")
    built.run("git", "checkout", "scripts/score.py")
    built.build()
    assert built.contents() == before


@pytest.mark.parametrize(
    "path",
    [
        "data/adapters/sft/notes.txt",
        pytest.param("data/mixes/all/notes.txt", marks=pytest.mark.long),
        pytest.param(f"{UPPER}/notes.txt", marks=pytest.mark.long),
    ],
)
def test_a_file_of_the_user_in_an_artifacts_folder_survives_every_build(built: Graph, path: str) -> None:
    def kept() -> bool:
        found = [place.read_text() for place in (tmp, *tmp.rglob("notes.txt")) if place.is_file()]
        return "mine" in found

    tmp = built.root
    (built.root / path).write_text("mine")
    for change in ("nothing", "params", "revert"):
        if change == "params":
            built.set("sources.words.drop", "A")
        elif change == "revert":
            built.run("git", "checkout", "params.yaml")
        done = subprocess.run(["snakemake"], cwd=built.root, env=built.environment, capture_output=True)
        said = (done.stdout + done.stderr).decode()
        assert kept(), said
        if done.returncode:
            stated(said, "but no rule makes it")


def test_a_file_of_the_user_in_a_directory_survives_a_job_that_makes_it_again(built: Graph) -> None:
    (built.root / "data/adapters/sft/notes.txt").write_text("mine")
    built.set("stages.sft.rate", 0.75)
    assert "data/adapters/sft was changed after it was made and is replaced; it was moved to scratch/" in built.build()
    (kept,) = (built.root / "scratch/altered/data/adapters").glob("sft.*/notes.txt")
    assert kept.read_text() == "mine"
    assert not (built.root / "data/adapters/sft/notes.txt").exists()


def test_a_file_that_the_cache_holds_may_go(built: Graph) -> None:
    shutil.copyfile(built.root / "data/mixes/few/rows.txt", built.root / "data/mixes/all/rows.old.txt")
    built.set("mixes.all.schemes", ["lower", "upper"])
    built.build()
    assert "data/mixes/all" in built.ran()
    assert not (built.root / "data/mixes/all/rows.old.txt").exists()


def test_what_a_killed_copy_left_is_not_in_the_way(built: Graph) -> None:
    for path in ("data/mixes/all/.rows.txt.partial", f"{UPPER}/.rows.txt.partial"):
        (built.root / path).write_text("half a fi")
    built.set("sources.words.drop", "A")
    built.build()
    assert not list((built.root / "data").rglob("*.partial"))
    assert "up to date" in built.repro()


@pytest.mark.parametrize("path", ["data/mixes/all/rows.txt", "data/adapters/sft"])
def test_an_output_behind_a_link_is_taken_by_its_content(built: Graph, tmp_path: Path, path: str) -> None:
    before = built.contents()
    place, elsewhere = built.root / path, tmp_path / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    assert "Nothing to be done" in built.build()
    altered = elsewhere if elsewhere.is_file() else elsewhere / "history.json"
    altered.write_text("altered")
    built.build()
    assert built.ran() == []
    assert built.contents() == before
    assert altered.read_text() == "altered"  # what the link points to may be anybody's


def test_a_link_to_nothing_in_an_artifact_is_refused(graph: Graph) -> None:
    graph.edit("scripts/train.py", "import json\n", "import json\nimport os\n")
    with (graph.root / "scripts/train.py").open("a") as file:
        file.write('os.symlink("nowhere", args.out / "link")\n')
    stated(graph.refused("snakemake"), "data/adapters/sft/link can't be stored as it is")
    assert "data/adapters/sft" not in proofs(graph)


# --- rules, scripts and generated files ------------------------------------------------------------------------------


def test_an_output_in_two_stages_is_refused(built: Graph) -> None:
    add_rule(
        built,
        '\n\nrule extra:\n    input:\n        script="scripts/mix.py",\n        rows="data/mixes/{mix}/rows.txt",\n'
        '    output:\n        extra="data/mixes/{mix}/extra/out.txt",\n    params:\n        values={},\n'
        '    shell:\n        "bezoar exec {output.extra} -- python {input.script} --out {output.extra}"\n',
    )
    stated(built.refused("snakemake", "data/mixes/all/extra/out.txt"), "would be stored by two stages")
    assert built.ran() == []


def test_a_rule_that_does_not_say_what_it_reads_is_refused(built: Graph) -> None:
    add_rule(
        built,
        '\n\nrule plain:\n    input:\n        script="scripts/mix.py",\n    output:\n        "data/plain.txt",\n'
        '    shell:\n        "bezoar exec {output} -- touch {output}"\n',
    )
    stated(built.refused("snakemake", "data/plain.txt"), "rule plain doesn't say which parameters it reads")


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ('        script="scripts/mix.py",\n', "touch {output}"),
        ("", "bezoar exec {output} -- touch {output}"),
    ],
)
def test_a_rule_that_does_not_go_through_the_cache_is_refused(built: Graph, script: str, command: str) -> None:
    text = f'    input:\n{script}        rows="data/mixes/all/rows.txt",\n    output:\n        "data/plain.txt",\n'
    add_rule(built, f'\n\nrule plain:\n{text}    shell:\n        "{command}"\n')
    stated(built.refused("snakemake", "data/plain.txt"), "rule plain doesn't go through the cache")
    assert not (built.root / "data/plain.txt").exists()


def test_a_stale_dvc_yaml_is_refused_by_dvc_with_the_cure_and_a_dry_run_answers(built: Graph) -> None:
    before = (built.root / "dvc.yaml").read_text()
    built.set("stages.more", {"mix": "all", "init_from": None, "rate": 0.5, "decay": 0.5})
    built.set("evals.score.stages", ["sft", "dpo", "more"])
    assert built.planned() == 2  # the new stage and the score
    said = built.refused("dvc", "repro")
    stated(said, "dvc.yaml doesn't match the Snakefile and params.yaml")
    assert "hint: run `bezoar dvc`" in said
    assert built.ran() == []
    assert (built.root / "dvc.yaml").read_text() == before
    built.run("bezoar", "dvc")
    built.repro()
    assert built.ran() == ["data/adapters/more", "results/score.json"]


def test_snakemake_writes_what_is_generated_for_a_target_and_for_all_results(built: Graph) -> None:
    names = ("dvc.yaml", "params.resolved.yaml")
    before = {name: (built.root / name).read_text() for name in names}
    built.set("stages.more", {"mix": "all", "init_from": None, "rate": 0.5, "decay": 0.5})
    built.set("evals.score.stages", ["sft", "dpo", "more"])
    built.build("--dry-run")
    assert {name: (built.root / name).read_text() for name in names} == before
    said = built.build("data/adapters/more")
    assert (
        "updated code.lock and dvc.yaml and params.resolved.yaml to match the rules, the code and params.yaml\n" in said
    )
    assert "train-more" in yaml.safe_load((built.root / "dvc.lock").read_text())["stages"]
    assert "to match the rules" not in built.build()
    assert built.ran() == ["data/adapters/more", "results/score.json"]
    assert "up to date" in built.repro()
    built.run("git", "checkout", "params.yaml", "dvc.lock")
    assert "updated code.lock and dvc.yaml and params.resolved.yaml" in built.build()
    assert {name: (built.root / name).read_text() for name in names} == before
    assert built.ran() == []


def test_what_a_run_leaves_out_stays_in_dvc_yaml(built: Graph) -> None:
    before = (built.root / "dvc.yaml").read_text()
    built.build("--until", "mix")
    built.build("--omit-from", "mix")
    assert (built.root / "dvc.yaml").read_text() == before


def test_a_dvc_yaml_that_is_garbage_is_refused_with_the_cure(built: Graph) -> None:
    before = (built.root / "dvc.yaml").read_text()
    (built.root / "dvc.yaml").write_text("stages: [")
    said = built.refused("snakemake")
    stated(said, "dvc.yaml:")
    built.run("bezoar", "dvc")
    assert (built.root / "dvc.yaml").read_text() == before


def test_a_script_that_is_not_python_is_refused_with_its_place(built: Graph) -> None:
    with (built.root / "scripts/mix.py").open("a") as file:
        file.write("def unfinished(:\n")
    line = len((built.root / "scripts/mix.py").read_text().splitlines())
    stated(built.refused("snakemake"), f"scripts/mix.py:{line}: not Python")
    stated(built.refused("snakemake", "--dry-run"), f"scripts/mix.py:{line}: not Python")
    said = built.refused("dvc", "repro")
    stated(said, f"scripts/mix.py:{line}: not Python")
    assert built.ran() == []


def test_acceptances_that_are_garbage_are_refused(built: Graph) -> None:
    (built.root / "code.accepted.yaml").write_text("- scripts.mix: yes\n- [")
    stated(built.refused("snakemake"), "code.accepted.yaml can't be read")
    (built.root / "code.accepted.yaml").unlink()
    assert "Nothing to be done" in built.build()


def test_a_code_lock_with_a_merge_conflict_is_written_again(built: Graph) -> None:
    before = (built.root / "code.lock").read_text()
    (built.root / "code.lock").write_text(f"<<<<<<< HEAD\n{before}=======\n>>>>>>> other\n")
    built.build()
    assert built.ran() == []
    assert (built.root / "code.lock").read_text() == before


# --- jobs ------------------------------------------------------------------------------------------------------------


def test_a_job_that_fails_records_nothing_and_is_tried_again(built: Graph) -> None:
    built.edit("scripts/train.py", "losses = []", 'losses = []\nassert False, "out of memory"')
    before = len(list((built.root / ".dvc/cache/proofs").rglob("*.json")))
    for _ in range(2):
        assert "out of memory" in built.refused("snakemake")
        assert built.ran() == ["data/adapters/sft"]
    assert len(list((built.root / ".dvc/cache/proofs").rglob("*.json"))) == before
    built.run("git", "checkout", "scripts/train.py")
    built.build()
    assert built.ran() == []  # and what was there comes back


def test_a_job_that_fails_leaves_what_others_made(graph: Graph) -> None:
    graph.edit("scripts/score.py", "scores = ", 'assert False, "no judge"\nscores = ')
    assert "no judge" in graph.refused("snakemake")
    assert graph.ran() == sorted(JOBS)
    graph.edit("scripts/score.py", 'assert False, "no judge"\n', "")
    graph.build()
    assert graph.ran() == ["results/score.json"]


def test_a_command_that_makes_no_output_has_failed(graph: Graph) -> None:
    graph.edit("scripts/source.py", '"dropped.txt"', '"drop.txt"')
    said = graph.refused("snakemake")
    assert "the command succeeded, but didn't make data/source/words/dropped.txt" in said
    assert graph.ran() == ["data/source/words"]
    assert not (graph.root / ".dvc/cache/proofs").exists() or not proofs(graph)


def test_by_hand_another_command_than_planned_is_refused(built: Graph) -> None:
    built.set("stages.dpo.rate", 0.75)
    built.build()
    before = built.contents()
    built.ran()
    words = "--params stages.dpo --inputs data/mixes/few/rows.txt data/adapters/sft --out data/adapters/dpo"
    words += " --work scratch/graph"
    said = built.refused("bezoar", "exec", "data/adapters/dpo", "--", "python", "scripts/train.py", *words.split()[:-2])
    stated(said, "data/adapters/dpo: the command differs from the planned one")
    assert built.contents() == before
    built.run("bezoar", "exec", "data/adapters/dpo", "--", "python", "scripts/train.py", *words.split())
    assert built.ran() == []  # the planned one is answered by its proof
    assert built.contents() == before


def test_what_no_run_planned_is_made_and_not_recorded(built: Graph) -> None:
    before = len(list((built.root / ".dvc/cache/proofs").rglob("*.json")))
    built.run("bezoar", "exec", "data/by_hand.txt", "--", "touch", "data/by_hand.txt")
    assert (built.root / "data/by_hand.txt").exists()
    assert len(list((built.root / ".dvc/cache/proofs").rglob("*.json"))) == before
