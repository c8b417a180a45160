"""`bezoar attest` on the small graph: each file of an artifact, and what its proof says; nothing that isn't proven."""

import hashlib
import json
from pathlib import Path
from typing import Any

from graph import Graph


def attested(graph: Graph, *arguments: str) -> dict[str, Any]:
    """The output of `bezoar attest`."""
    found: dict[str, Any] = json.loads(graph.run("bezoar", "attest", *arguments))
    return found


def digests(data: bytes) -> dict[str, str]:
    return {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}


def subjects(graph: Graph, statement: dict[str, Any]) -> list[str]:
    """Names of the files that a statement is about, each compared with its bytes on disk."""
    for one in statement["subject"]:
        assert one["digest"] == digests((graph.root / one["name"]).read_bytes())
    return [one["name"] for one in statement["subject"]]


def test_an_artifact_is_attested_with_its_files_values_and_inputs(built: Graph) -> None:
    found = attested(built, "data/adapters/dpo")
    assert subjects(built, found) == sorted(path for path in built.contents() if path.startswith("data/adapters/dpo/"))
    definition = found["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {
        "stage": "train-dpo",
        "values": {"stages.dpo": built.params()["stages"]["dpo"]},
    }
    used = {one["name"]: one for one in definition["resolvedDependencies"]}
    rows = (built.root / "data/mixes/few/rows.txt").read_bytes()
    assert used["data/mixes/few/rows.txt"]["digest"] == {"md5": digests(rows)["md5"]}
    assert list(used["data/adapters/sft"]["digest"]) == ["dvcDirectory"]
    assert "scripts/helper.py" in used
    head = built.run("git", "rev-parse", "HEAD~").strip()  # HEAD came after the build
    assert used["commit"] == {"name": "commit", "digest": {"gitCommit": head}, "annotations": {"edited": False}}
    assert "finishedOn" in found["predicate"]["runDetails"]["metadata"]


def test_a_part_of_an_artifact_and_a_folder_of_a_stage_are_attested(built: Graph, tmp_path: Path) -> None:
    shards = [f"data/generated/upper/{number:04d}/{name}.txt" for number in range(3) for name in ("report", "rows")]
    built.run("bezoar", "attest", "data/generated/upper/", "--out", str(tmp_path / "upper.json"))
    found = json.loads((tmp_path / "upper.json").read_text())
    assert subjects(built, found) == shards
    assert len(found["predicate"]["buildDefinition"]["internalParameters"]["actions"]) == 3
    assert subjects(built, attested(built, shards[0])) == shards[:1]
    said = built.refused("bezoar", "attest", "data/generated")
    assert "found:    outputs of generate-lower, generate-upper" in said
    assert "found:    no output of a stage" in built.refused("bezoar", "attest", "params.yaml")


def test_what_is_not_on_disk_is_read_from_the_cache_and_what_is_nowhere_is_an_error(built: Graph) -> None:
    path = built.root / "results/score.json"
    data = path.read_bytes()
    path.write_bytes(b"by hand")
    assert attested(built, "results/score.json")["subject"] == [{"name": "results/score.json", "digest": digests(data)}]
    path.unlink()
    md5 = digests(data)["md5"]
    (built.root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    assert "results/score.json" in built.refused("bezoar", "attest", "results/score.json")


def test_what_is_out_of_date_is_not_attested(built: Graph) -> None:
    built.set("stages.dpo.rate", 0.9)
    said = built.refused("bezoar", "attest", "data/adapters/dpo")
    assert "data/adapters/dpo has no proof to attest" in said
    assert "stages.dpo.rate: 0.1 -> 0.9" in said


def test_only_what_was_made_here_is_signed(built: Graph, tmp_path: Path) -> None:
    said = built.refused("bezoar", "attest", "--sign", "results/score.json")
    assert "BEZOAR_SIGNING_KEY is not set" in said
    built.environment["BEZOAR_SIGNING_KEY"] = str(tmp_path / "ann.pem")
    built.run("bezoar", "key", "new", "ann")
    (signature,) = attested(built, "--sign", "results/score.json")["signatures"]
    assert sorted(signature) == ["keyid", "sig"]
    built.run("dvc", "push", "--quiet")
    clone = built.clone(tmp_path / "clone")
    clone.run("snakemake", "results/score.json")
    assert "wasn't made here, so it isn't signed" in clone.refused("bezoar", "attest", "--sign", "results/score.json")
    assert subjects(clone, attested(clone, "results/score.json")) == ["results/score.json"]
