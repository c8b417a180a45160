"""The tutorial and the how-tos, to the letter: each command in order, with what the page shows of its output."""

import os
import sys
from pathlib import Path
from typing import Any

import guide
import pytest
import warm
from conftest import GUARD, ROOT
from graph import Graph
from guide import Command, Reader

IN_A_CLONE = {"make setup": "it has made this environment", "source .venv/bin/activate": "tests have it on their path"}
SENDS = "it sends files to the hub; tests/workflow/test_published.py and tests/tiny/test_own_model.py send them to one"
SERVES = "another program's; tests/workflow/test_served_checkpoints.py has transformers serve a checkpoint"
# The pages whose commands need what no test has as the page names it, and the tests that do the same elsewhere.
ELSEWHERE = {
    "how-to/compare.md": "workflow/test_compare_recipes.py",
    "how-to/labels.md": "unit/test_audit_labels.py",
    "how-to/model-servers.md": "workflow/test_serve.py",
    "how-to/plan.md": "workflow/test_commands.py",
    "how-to/remote-servers.md": "cluster/test_remotes.py",
    "how-to/rows.md": "unit/test_audit_rows.py",
    "how-to/share-responses.md": "workflow/test_spending.py",
    "how-to/slurm.md": "cluster/test_slurm.py",
    "how-to/your-data.md": "unit/test_pin.py",
}
PAPER_MIXES = ("lamini", "orca", "evol")
FOLLOWED = {
    "how-to/blocks.md",
    "how-to/own-rules.md",
    "how-to/paper-recipe.md",
    "how-to/project.md",
    "how-to/public-cache.md",
    "how-to/publish.md",
    "how-to/remote-upkeep.md",
    "how-to/remotes.md",
    "how-to/share.md",
    "how-to/upkeep.md",
    "how-to/why.md",
    "tutorial/index.md",
    "tutorial/your-model.md",
    "tutorial/your-rows.md",
}


def newcomer(home: Path, **others: Any) -> Reader:
    """Somebody with an empty home folder and this environment, who begins in a folder beside their projects."""
    folder = home / "clone"
    folder.mkdir(exist_ok=True)
    path = warm.path(os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))
    environment = {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "PYTHONPATH": str(GUARD)}
    return Reader(folder, environment | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}, **others)


def colleague(graph: Graph, **others: Any) -> Reader:
    """Somebody in the folder of the small graph, whose names stand for those of the embedded recipe."""
    names = {"results/mtbench.json": "results/score.json", **others.pop("instead", {})}
    return Reader(graph.root, {**graph.environment, "PATH": warm.path(graph.environment["PATH"])}, names, **others)


def test_each_page_with_commands_is_followed_or_has_tests_that_do_the_same() -> None:
    pages = [path for kind in ("tutorial", "how-to") for path in (ROOT / "docs" / kind).glob("*.md")]
    names = [str(path.relative_to(ROOT / "docs")) for path in pages]
    found = {name for name in names if any(isinstance(step, Command) for step in guide.steps(name))}
    assert found == FOLLOWED | ELSEWHERE.keys()
    assert not FOLLOWED & ELSEWHERE.keys()
    assert [file for file in ELSEWHERE.values() if not (ROOT / "tests" / file).exists()] == []


def test_a_readers_shell_keeps_folder_and_variables_and_misses_what_a_page_does_not_say(tmp_path: Path) -> None:
    follower, planned = newcomer(tmp_path, instead={"NAME": "Ada"}), "echo 11 to run, 2 up to date"
    for text, shown in (
        ("mkdir deeper && cd deeper && export WHO=NAME", ()),
        ("basename $PWD && echo $WHO, 12.5 s, 0a1b2c3d4e", ("deeper", "Ada, 3 s, ffffffffff")),
        ("seq 3 && echo end", ("1", "…", "end")),
        ("seq 3 && echo end", ("…", "e…d")),
        (planned, ("11 to run, 2 up to date",)),
    ):
        follower.run(Command(text, shown), "page")
    for shown in (("deeper",), ("Ada",), ("deeper", "Ben"), ("…", "Ben"), ("deeper", "Ada", "more")):
        with pytest.raises(AssertionError, match="doesn't show"):
            follower.run(Command("basename $PWD && echo $WHO", shown), "page")
    with pytest.raises(AssertionError, match="doesn't show: 10 to run"):
        follower.run(Command(planned, ("10 to run, 2 up to date",)), "page")
    with pytest.raises(AssertionError, match="page: \\$ false"):
        follower.run(Command("false", ()), "page")


def test_why_an_artifact_is_what_it_is(built: Graph) -> None:
    colleague(built).follow("how-to/why.md")


def test_the_cache_is_looked_after(built: Graph) -> None:
    built.run("git", "tag", "v1")

    def rename(_: Reader) -> None:
        built.edit("scripts/letters.py", "(row", "(text")

    accept = 'bezoar accept train-sft --reason "renamed a variable"'
    colleague(built, before={accept: rename}).follow("how-to/upkeep.md")


def test_two_people_share_what_they_build(graph: Graph) -> None:
    folder = graph.root.parent
    graph.run("dvc", "remote", "remove", "shared")
    graph.run("git", "init", "--quiet", "--bare", "--initial-branch=main", "../origin")
    graph.run("git", "remote", "add", "origin", "../origin")
    graph.run("git", "push", "--quiet", "--set-upstream", "origin", "main")
    merges = "two people's merges are in tests/workflow/test_two_people.py"
    follower = colleague(
        graph,
        instead={
            "s3://bucket/path": str(folder / "remote"),
            "ADDRESS": str(folder / "origin"),
            " && make setup": "",
            "$EDITOR": "sed -i 's/draws: 3/draws: 4/'",
        },
        before={
            "git clone ADDRESS ben && cd ben && make setup": lambda reader: setattr(reader, "folder", folder),
            "git pull && snakemake": lambda reader: setattr(reader, "folder", graph.root),
        },
        skipped={
            "git fetch && git merge origin/main": merges,
            "$EDITOR params.yaml": merges,
            "bezoar dvc --resolve": merges,
            "git add dvc.lock traces.lock dvc.yaml code.lock params.resolved.yaml && snakemake && dvc push && "
            "git commit --all": merges,
        },
    )
    follower.follow("how-to/share.md")
    ben = Graph(folder / "ben", graph.environment)
    assert ben.ran() == ["results/score.json"]
    graph.ran()
    assert "Nothing to be done" in graph.build()


def test_a_folder_is_a_remote_and_is_looked_after(built: Graph) -> None:
    there = Graph(built.root.with_name("there"), built.environment)
    remote, made = built.root.with_name("srv"), "mkdir -m 2775 /srv/bezoar && chgrp lab /srv/bezoar"

    def fill(_: Reader) -> None:
        there.run("dvc", "remote", "default", "--local", "shared")
        there.run("dvc", "push", "results/score.json")

    follower = colleague(
        built,
        instead={
            "ADDRESS there && cd there": f"{built.root} {there.root} && cd {there.root}",
            "/srv/bezoar": str(remote),
            "chgrp lab": "chgrp $(id -g)",
            "&& git commit": "&& git commit --allow-empty -m shared",
            "dvc gc": "dvc gc --force",  # nobody is there to ask
        },
        before={
            made: lambda _: there.run("dvc", "remote", "remove", "shared"),
            "dvc gc --cloud --workspace --all-branches --all-tags --dry": fill,
        },
        skipped={"snakemake results/mtbench.json": "no server is here; tests/cluster/test_remotes.py has one"},
    )
    follower.follow("how-to/remotes.md", "how-to/remote-upkeep.md")
    assert there.ran() == []
    assert (remote / "files/md5").is_dir()


def test_a_public_cache_is_signed(built: Graph) -> None:
    clone = "git clone ADDRESS there && cd there && dvc remote default --local mirror"
    line = "grep -rhoE 'ed25519 .* ci$' $HOME/line"
    follower = colleague(
        built,
        instead={
            "data/checkpoints/dpo_hh": "data/adapters/dpo",
            "bezoar key new ci": "bezoar key new ci 2>&1 | tee $HOME/line",
            "echo 'ed25519 … ci'": line,
            " && git commit": " && git commit -m signed",
        },
        skipped={f"{clone} && snakemake results/mtbench.json": "tests/workflow/test_public_cache.py has a server"},
    )
    follower.follow("how-to/public-cache.md")
    assert "signature" in (built.root / "traces.lock").read_text()
    assert (built.root / "dpo_hh.intoto.json").exists()


def test_blocks_are_added_to_a_recipe(tmp_path: Path) -> None:
    newcomer(tmp_path).follow("how-to/blocks.md")


def test_the_papers_recipe_is_planned_without_a_network(tmp_path: Path) -> None:
    """The plan is all that runs here: the recipe itself needs a GPU, the hub and paid APIs."""
    needs = "it needs a GPU, the hub and paid APIs"
    shard, mixes = "data/filtered/lamini/0000/kept.jsonl", [f"data/mixes/{one}/train.jsonl" for one in PAPER_MIXES]
    follower = newcomer(
        tmp_path,
        skipped={
            f"BEZOAR_APPROVE=70 snakemake --cores all {shard}": needs,
            "snakemake --cores all --resources gpu=1": needs,
            f"snakemake --cores all {' '.join(mixes)}": needs,
            "make slurm": "it installs packages; tests/cluster/test_slurm.py runs on a SLURM",
            "snakemake --profile profiles/slurm --dry-run": "it needs that SLURM",
            "BEZOAR_APPROVE=300 snakemake --profile profiles/slurm": "it needs that SLURM",
        },
    )
    follower.run(Command("bezoar init paper --recipe tiny && cd paper", ()), "a project")
    follower.follow("how-to/paper-recipe.md")


@pytest.mark.end_to_end
@pytest.mark.short
def test_the_tutorial_leads_from_a_clone_to_a_model_of_ones_own(tmp_path: Path) -> None:
    follower = newcomer(
        tmp_path,
        instead={"datasets/all": "datasets/instructions", "publish all": "publish instructions"},
        skipped={
            **IN_A_CLONE,
            "transformers serve data/checkpoints/sft": SERVES,
            "vllm serve data/checkpoints/sft": SERVES,
            "lm_eval --model hf --model_args pretrained=data/checkpoints/sft --apply_chat_template --tasks arc_easy": (
                "its task is fetched from the hub"
            ),
            "HF_TOKEN=hf_... bezoar publish sft --to ORG/NAME": SENDS,
            "HF_TOKEN=hf_... bezoar publish all --to ORG/NAME": SENDS,
        },
    )
    pages = ("tutorial/index.md", "tutorial/your-rows.md", "tutorial/your-model.md")
    follower.follow(*pages, "how-to/publish.md", "how-to/own-rules.md")
    wheel = {"pip install bezoar-*.whl": "tests/workflow/test_init.py installs a wheel"}
    newcomer(tmp_path, skipped=wheel).follow("how-to/project.md")
