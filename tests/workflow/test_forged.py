"""Forged records: a contradiction is reported, and a branch's records leave with the branch."""

import hashlib
import json

import yaml
from graph import Graph

from bezoar.cache.dvc import stages_in
from bezoar.cache.records import digest_of_entry


def forge(graph: Graph, stage: str, other: str, **rates: float) -> None:
    """Let dvc.lock and traces.lock say that a stage made what another stage made, with other values."""
    path = graph.root / "dvc.lock"
    lock = yaml.safe_load(path.read_text())
    entry, source = lock["stages"][stage], lock["stages"][other]
    entry["outs"][0] |= {name: source["outs"][0][name] for name in ("md5", "size", "nfiles")}
    entry["params"]["params.resolved.yaml"][f"stages.{stage.removeprefix('train-')}"] |= rates
    path.write_text(yaml.safe_dump(lock))
    traces = graph.root / "traces.lock"
    records = json.loads(traces.read_text())
    records["stages"][stage]["entry"] = digest_of_entry(stages_in(path.read_bytes(), "dvc.lock")[stage])
    traces.write_text(json.dumps(records))


def test_a_lock_that_contradicts_what_was_built_here_is_named_by_all_who_read_it(built: Graph) -> None:
    forge(built, "train-dpo", "train-sft")
    said = "data/adapters/dpo is on record with two different contents"
    assert said in built.run("bezoar", "plan")
    assert said in built.build("--dry-run")
    refused = built.refused("bezoar", "verify")
    assert f"first broken link: {said}" in refused
    assert "is consistent" not in refused
    assert said in built.build()


def test_what_a_branch_forged_is_forgotten_with_the_branch(built: Graph) -> None:
    built.run("git", "checkout", "--quiet", "-b", "forged")
    built.set("stages.sft.rate", 0.7)
    forge(built, "train-sft", "train-dpo", rate=0.7)
    built.commit()
    built.set("stages.sft.rate", 0.9)
    built.build("data/adapters/sft")  # the entry gives way to that of 0.9
    built.set("stages.sft.rate", 0.7)
    assert "Nothing to be done" in built.build("data/adapters/sft")  # and is remembered on that branch
    assert built.ran() == ["data/adapters/sft"]
    built.run("git", "checkout", "--quiet", "--force", "main")
    built.set("stages.sft.rate", 0.7)
    built.build("data/adapters/sft")
    assert built.ran() == ["data/adapters/sft"]


def test_proofs_that_a_commit_brings_are_refused(built: Graph) -> None:
    built.run("git", "add", "--force", ".dvc/cache/proofs")
    for command in (["snakemake"], ["bezoar", "plan"], ["bezoar", "verify"], ["bezoar", "fingerprint"]):
        said = built.refused(*command)
        assert "git tracks files in .dvc/cache, where only builds of this machine write\n" in said
        assert "Traceback" not in said


def test_a_list_that_leads_outside_is_refused_and_nothing_is_written(built: Graph) -> None:
    objects, payload = built.root / ".dvc/cache/files/md5", hashlib.md5(b"payload").hexdigest()
    entries = json.dumps([{"md5": payload, "relpath": "../../../../victim"}]).encode()
    hostile = hashlib.md5(entries).hexdigest() + ".dir"
    for name, data in ((payload, b"payload"), (hostile, entries)):
        (objects / name[:2]).mkdir(exist_ok=True)
        (objects / name[:2] / name[2:]).write_bytes(data)
    lock = yaml.safe_load((built.root / "dvc.lock").read_text())
    lock["stages"]["train-sft"]["outs"][0]["md5"] = hostile
    (built.root / "dvc.lock").write_text(yaml.safe_dump(lock))
    before = sorted(built.root.parent.iterdir())
    said = built.refused("snakemake", "data/adapters/sft")
    assert f"object {hostile} is not a list of a directory's files\n" in said
    assert "Traceback" not in said
    assert sorted(built.root.parent.iterdir()) == before
