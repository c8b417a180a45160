"""The statement about an artifact: in the form of in-toto and SLSA, values with their types, signed as DSSE says."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bezoar.cache import CacheError, signing
from bezoar.cache.attest import Job, envelope, statement
from bezoar.cache.hashing import Content

JOB = Job(
    stage="generate-evol",
    action="a" * 64,
    values={"schemes.evol.seed": 3, "schemes.evol.rate": 3.0, "schemes.evol.wide": True, "schemes.evol.big": 2**60 + 1},
    inputs={"data/seed/0000.txt": "0" * 32, "data/base/llama": "1" * 32 + ".dir"},
    outputs={"data/generated/evol/0000/rows": Content("2" * 32, 4)},
    modules={"scripts.generate.evol": "3" * 64},
    packages={"torch": "2.13.0+cpu", "PyYAML": "6.0.3", "ruamel.yaml": "0.18"},
    here=True,
    reads={"templates/evol.txt": "7" * 32, "data/seed/0000.txt": "0" * 32},
    made={"time": "2026-01-02T03:04:05Z", "commit": "8" * 40, "edited": "no", "host": "desk"},
)
NEXT = replace(
    JOB,
    action="b" * 64,
    inputs={"data/seed/0001.txt": "4" * 32},
    outputs={"data/generated/evol/0001/rows": Content("5" * 32, 4)},
    made={"time": "2026-01-02T03:04:05Z, 2026-01-03T00:00:00Z", "commit": f"{'8' * 40}, {'9' * 40}", "edited": "yes"},
)
SUBJECTS = [{"name": "data/generated/evol/0000/rows", "digest": {"md5": "2" * 32, "sha256": "6" * 64}}]


def test_a_statement_says_what_was_asked_and_what_was_used() -> None:
    made = statement([JOB, NEXT], SUBJECTS)
    assert (made["_type"], made["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    assert made["subject"] == SUBJECTS
    definition = made["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"stage": "generate-evol", "values": JOB.values}
    assert definition["internalParameters"]["actions"] == {
        "data/generated/evol/0000/rows": "a" * 64,
        "data/generated/evol/0001/rows": "b" * 64,
    }
    assert definition["resolvedDependencies"] == [
        {"name": "commit", "digest": {"gitCommit": "8" * 40}, "annotations": {"edited": True}},
        {"name": "commit", "digest": {"gitCommit": "9" * 40}, "annotations": {"edited": True}},
        {"name": "data/base/llama", "digest": {"dvcDirectory": "1" * 32}},
        {"name": "data/seed/0000.txt", "digest": {"md5": "0" * 32}},
        {"name": "data/seed/0001.txt", "digest": {"md5": "4" * 32}},
        {"name": "templates/evol.txt", "digest": {"md5": "7" * 32}},
        {"name": "scripts.generate.evol", "digest": {"bezoarMeaning": "3" * 64}},
        {"name": "PyYAML", "uri": "pkg:pypi/pyyaml@6.0.3"},
        {"name": "ruamel.yaml", "uri": "pkg:pypi/ruamel-yaml@0.18"},
        {"name": "torch", "uri": "pkg:pypi/torch@2.13.0%2Bcpu"},
    ]
    assert made["predicate"]["runDetails"]["metadata"]["finishedOn"] == "2026-01-03T00:00:00Z"
    assert "desk" not in json.dumps(made)  # it may be published


def test_what_a_record_does_not_say_in_the_usual_form_is_left_out() -> None:
    made = statement([replace(JOB, made={"time": "yesterday", "commit": "main"})], SUBJECTS)
    assert list(made["predicate"]["runDetails"]["metadata"]) == ["invocationId"]
    names = [one["name"] for one in made["predicate"]["buildDefinition"]["resolvedDependencies"]]
    assert "commit" not in names


def test_values_keep_their_types() -> None:
    values = statement([JOB], SUBJECTS)["predicate"]["buildDefinition"]["externalParameters"]["values"]
    assert json.dumps(values) == json.dumps(JOB.values)  # 3 isn't 3.0, and no digit of 2**60 + 1 is lost


@pytest.mark.parametrize(
    ("subjects", "values", "found"),
    [
        ([], {}, "At least one subject required"),
        ([{"name": "data/rows"}], {}, "At least one digest required"),
        ([{"name": "data/rows", "sha512": "7" * 64}], {}, "sha512"),
        (SUBJECTS, {"rate": float("nan")}, "not JSON compliant"),
    ],
)
def test_what_has_not_the_form_of_a_statement_is_not_written(
    subjects: list[dict[str, Any]], values: dict[str, Any], found: str
) -> None:
    with pytest.raises(CacheError) as error:
        statement([replace(JOB, values=values)], subjects)
    assert str(error.value).startswith("stage generate-evol can't be attested\n  found:    ")
    assert found in str(error.value)


def test_an_envelope_is_signed_as_dsse_says() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    made = statement([JOB], SUBJECTS)
    found = envelope(made, key)
    payload = base64.b64decode(found["payload"])
    assert (found["payloadType"], json.loads(payload)) == ("application/vnd.in-toto+json", made)
    (signature,) = found["signatures"]
    assert signature["keyid"] == signing.key_id(key.public_key().public_bytes_raw())
    message = b"DSSEv1 28 application/vnd.in-toto+json " + str(len(payload)).encode() + b" " + payload
    key.public_key().verify(base64.b64decode(signature["sig"]), message)
