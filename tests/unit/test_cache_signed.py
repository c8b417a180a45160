"""Signed records: what a signature covers, which records count, who signs, and what a stranger is told."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from test_cache_decide import CACHE, SCRIPT, TRACE, A, B, Chain

from bezoar.cache import git, records, signing
from bezoar.cache.environment import environment_of
from bezoar.cache.job import Step
from bezoar.cache.proofs import Proof, Proofs
from bezoar.cache.records import Record, Records, record_of
from bezoar.cache.signed import Signer, payload, verdict
from bezoar.cache.signing import IMPORTED, NEVER, Policy, parse, sign
from bezoar.cache.stages import stages_of

ANN, BEN = (Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32) for byte in (1, 2))
MADE = {"time": "2026-01-02T03:04:05Z", "commit": "c" * 40}
COST = {"seconds": 1.5, "prompt_tokens": 12, "dollars": 1e-7}
COMMIT = "d" * 40


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty project, without a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BEZOAR_SIGNING_KEY", raising=False)
    monkeypatch.delenv("BEZOAR_REQUIRE_SIGNED", raising=False)
    Path("source").write_text("source")
    Path("s.py").write_bytes(SCRIPT)


def trust(*keys: Ed25519PrivateKey, require: str = IMPORTED) -> Policy:
    """Write trusted.keys; the first key is Ann's, the second Ben's."""
    lines = [signing.line_of(key, name) for key, name in zip(keys, ("ann", "ben"), strict=False)]
    Path("trusted.keys").write_text("\n".join([f"require_signed {require}", *lines]))
    return parse(Path("trusted.keys").read_bytes())


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Ed25519PrivateKey], None]:
    """Let builds sign with a key."""

    def set_key(key: Ed25519PrivateKey) -> None:
        path = Path(f"{signing.key_id(signing.public_bytes(key))}.pem").absolute()
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        path.chmod(0o600)
        monkeypatch.setenv("BEZOAR_SIGNING_KEY", str(path))

    return set_key


class Signed(Chain):
    """The chain, with records that others have signed; `change` is what somebody did to them since."""

    def __init__(self, *steps: Step, key: Ed25519PrivateKey | None = ANN, **change: Any) -> None:
        super().__init__(*steps)
        self.key, self.change = key, change

    @property
    def records(self) -> Records:
        """The content of traces.lock."""
        found = super().records
        for name, one in found.stages.items():
            made = replace(one, cost=COST, made=MADE)
            if self.key:
                made = replace(made, signature=sign(payload(name, self.locked[name], made), self.key))
            found.stages[name] = replace(made, **self.change)
        Path("traces.lock").write_text(found.text)
        return records.read()


def reasons(chain: Chain, name: str = "a") -> list[str]:
    """Why a step runs."""
    return [str(one) for one in chain.decide(targets=(name,)).reasons.get(name, [])]


# --- What counts -----------------------------------------------------------------------------------------------------


def test_a_record_that_a_trusted_key_signed_counts() -> None:
    trust(ANN)
    chain = Signed(A)
    chain.prove(A, "theirs", locked=True)
    decision = chain.decide(targets=("a",))
    assert decision.reasons == {}
    assert decision.proofs["a"].signer == signing.key_id(signing.public_bytes(ANN))


@pytest.mark.parametrize(
    ("signer", "trusted", "why"),
    [
        (None, [ANN], "not signed"),
        (BEN, [ANN], "signed by {ben}, a key that isn't in trusted.keys"),
        (ANN, [], "signed by {ann}, a key that isn't in trusted.keys"),  # its line was removed
    ],
)
def test_what_no_trusted_key_signed_is_made_here_if_the_policy_says_so(
    signer: Ed25519PrivateKey | None, trusted: list[Ed25519PrivateKey], why: str
) -> None:
    ids = {name: signing.key_id(signing.public_bytes(key)) for name, key in (("ann", ANN), ("ben", BEN))}
    chain = Signed(A, key=signer)
    chain.prove(A, "theirs", locked=True)
    trust(*trusted, require=NEVER)
    assert reasons(chain) == []
    trust(*trusted, require=IMPORTED)
    assert reasons(chain) == [f"its record doesn't count: {why.format(**ids)}"]
    chain.prove(A, "theirs")  # the job has run here
    assert reasons(chain) == []


@pytest.mark.parametrize("require", [NEVER, IMPORTED])
@pytest.mark.parametrize(
    "change",
    [
        {"made": {**MADE, "commit": "e" * 40}},
        {"cost": {**COST, "seconds": 1.25}},
        {"cost": {**COST, "prompt_tokens": 12.0}},
        {"environment": {"MODE": "fast"}},
        {"forms": {"a": A.form}},
        {"forms": {"*": "b" * 64}},
        {"traces": {}},
    ],
    ids=str,
)
def test_a_record_that_was_changed_after_it_was_signed_never_counts(change: dict[str, Any], require: str) -> None:
    trust(ANN, require=require)
    chain = Signed(A, **change)
    chain.prove(A, "theirs", locked=True)
    assert "its record doesn't count: changed after ann signed it" in reasons(chain)


@pytest.mark.parametrize("require", [NEVER, IMPORTED])
@pytest.mark.parametrize("field", ["outs", "deps"])
def test_a_signature_is_of_the_entry_of_dvc_lock(field: str, require: str) -> None:
    policy = trust(ANN, require=require)
    chain = Signed(A)
    chain.prove(A, "theirs", locked=True)
    entry, record = chain.locked["a"], chain.records.stages["a"]
    assert verdict("a", entry, record, policy).counts
    assert not verdict("b", entry, record, policy).counts
    for change in ({"md5": "0" * 32}, {"path": "other"}):
        changed = {**entry, field: [{**entry[field][0], **change}]}
        rewritten = replace(record, entry=records.digest_of_entry(changed))
        assert verdict("a", changed, record, policy) == (False, "changed after ann signed it", "")
        assert verdict("a", changed, rewritten, policy) == (False, "changed after ann signed it", "")
    values = {**entry, "params": {"params.resolved.yaml": {"rate": 1.0}}}  # 1 was signed
    assert not verdict("a", values, record, policy).counts


def test_a_record_that_does_not_count_is_named_though_its_inputs_are_made_again() -> None:
    trust(ANN)
    chain = Signed(A, B, key=None)
    chain.prove(A, "theirs", locked=True)
    chain.prove(B, "theirs, too", locked=True)
    kinds = {name: [one.kind for one in found] for name, found in chain.decide(targets=("b",)).reasons.items()}
    assert kinds == {"a": ["untrusted"], "b": ["untrusted", "upstream"]}


def test_a_record_that_does_not_count_is_named_beside_other_reasons_unless_the_job_ran_here() -> None:
    trust(ANN)
    chain = Signed(A, key=None)
    chain.prove(A, "theirs", locked=True)
    Path("source").write_text("other")
    assert reasons(chain) == ["its record doesn't count: not signed", "source changed"]
    Path("source").write_text("source")
    chain.prove(A, "ours")
    Path("source").write_text("other")
    assert reasons(chain) == ["source changed"]


# --- Contradictions --------------------------------------------------------------------------------------------------


def test_a_signed_record_beats_what_came_out_here() -> None:
    trust(ANN)
    chain = Signed(A)
    ours, theirs = chain.prove(A, "ours"), chain.prove(A, "theirs", locked=True)
    decision = chain.decide(targets=("a",))
    assert decision.proofs["a"].outputs["a"].md5 == theirs
    assert [(one.path, one.locked, one.made) for one in decision.contradictions] == [("a", theirs, ours)]
    assert "dvc.lock counts" in decision.contradictions[0].hint


@pytest.mark.parametrize(
    ("key", "change", "why"),
    [(None, {}, "not signed"), (ANN, {"cost": {"seconds": 1.0}}, "changed after ann signed it")],
)
def test_what_came_out_here_beats_a_record_that_does_not_count(
    key: Ed25519PrivateKey | None, change: dict[str, Any], why: str
) -> None:
    trust(ANN)
    chain = Signed(A, key=key, **change)
    ours, theirs = chain.prove(A, "ours"), chain.prove(A, "theirs", locked=True)
    decision = chain.decide(targets=("a",))
    assert (decision.reasons, decision.proofs["a"].outputs["a"].md5) == ({}, ours)
    (found,) = decision.contradictions
    assert (found.locked, found.made) == (theirs, ours)
    assert found.hint == f"the one made here counts; dvc.lock's is {why}"


def test_an_entry_that_its_signed_record_does_not_fit_is_named_where_the_job_ran() -> None:
    trust(ANN)
    chain = Signed(A)
    ours = chain.prove(A, "ours")
    chain.prove(A, "ours", locked=True)
    written = chain.records
    chain.locked["a"]["outs"][0]["md5"] = "0" * 32
    decision = chain.decide(targets=("a",), records=written)
    assert decision.proofs["a"].outputs["a"].md5 == ours
    assert [(one.locked, one.made) for one in decision.contradictions] == [("0" * 32, ours)]


# --- Imported proofs -------------------------------------------------------------------------------------------------


def test_an_imported_proof_counts_as_long_as_its_key_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git, "in_history", lambda commit: commit == COMMIT)
    chain = Chain(A)
    chain.prove(A, "theirs", locked=True)
    for signer in ("", signing.key_id(signing.public_bytes(ANN))):
        Proofs(CACHE).add(replace(chain.proofs["a"], origin=COMMIT, signer=signer))
        found = {}
        for name, keys, require in (("lax", [ANN], NEVER), ("strict", [ANN], IMPORTED), ("revoked", [], IMPORTED)):
            trust(*keys, require=require)
            found[name] = Proofs(CACHE).find(chain.proofs["a"].action, TRACE.__eq__) is not None
        assert found == {"lax": True, "strict": bool(signer), "revoked": False}


# --- Who signs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def job() -> Signed:
    """A job that ran here, and whose entry is in dvc.lock."""
    chain = Signed(A, key=None)
    chain.prove(A, "ours")
    chain.prove(A, "ours", locked=True)
    return chain


def written(job: Signed, old: Record | None = None, proof: Proof | None = None) -> Record:
    """The record that a build writes for the stage of the job."""
    signer = Signer(signing.policy(), Proofs(CACHE))
    return signer.record(stages_of([A])["a"], job.locked["a"], {"a": proof or job.proofs["a"]}, old)


def test_without_a_key_nothing_is_signed_and_a_record_that_says_the_same_stays(job: Signed) -> None:
    assert written(job).signature == {}
    old = job.records.stages["a"]
    assert written(job, old) is old
    assert written(job, replace(old, forms={"*": "b" * 64})) == record_of(job.locked["a"], [A], job.proofs)


def test_what_was_made_here_is_signed_with_its_own_cost(job: Signed, use: Callable[[Ed25519PrivateKey], None]) -> None:
    use(ANN)
    Proofs(CACHE).add(replace(job.proofs["a"], cost={"seconds": 7.0}, made={**MADE, "host": "desk"}))
    found = written(job, job.records.stages["a"])  # it was there before, without a signature
    assert (found.cost, found.made) == ({"seconds": 7.0}, MADE)
    assert verdict("a", job.locked["a"], found, trust(ANN)).why == "signed by ann"
    assert written(job, found) is found


def test_what_others_made_is_not_signed(use: Callable[[Ed25519PrivateKey], None]) -> None:
    use(ANN)
    job = Signed(A, key=None)
    job.prove(A, "theirs", locked=True)
    assert written(job, old := job.records.stages["a"]) is old
    assert written(job).signature == {}
    job.prove(A, "ours")  # another result
    assert written(job).signature == {}


def test_what_this_key_signed_before_is_signed_again_where_it_was_not_made(
    use: Callable[[Ed25519PrivateKey], None],
) -> None:
    use(ANN)
    trust(ANN)
    job = Signed(A)
    job.prove(A, "theirs", locked=True)
    found = replace(job.proofs["a"], signer=signing.key_id(signing.public_bytes(ANN)))
    assert written(job, proof=found).signature["key"] == found.signer
    assert written(job, proof=replace(found, signer=signing.key_id(signing.public_bytes(BEN)))).signature == {}


def test_a_signature_of_another_trusted_key_stays(job: Signed, use: Callable[[Ed25519PrivateKey], None]) -> None:
    job.key = BEN
    old = job.records.stages["a"]
    use(ANN)
    trust(ANN, BEN)
    assert written(job, old) is old
    trust(ANN)  # Ben's key is revoked
    assert written(job, old).signature["key"] == signing.key_id(signing.public_bytes(ANN))
    trust()  # no key is better than another
    assert written(job, old) is old


def test_a_signature_that_is_wrong_goes_once_the_job_has_run_here(job: Signed) -> None:
    trust(ANN)
    job.key, job.change = ANN, {"cost": {"seconds": 9.0}}
    old = job.records.stages["a"]
    assert old.signature
    assert written(job, old) == record_of(job.locked["a"], [A], job.proofs)


# --- Surroundings ----------------------------------------------------------------------------------------------------


def test_a_job_does_not_learn_where_the_key_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEZOAR_SIGNING_KEY", "/secret.pem")
    monkeypatch.setenv("BEZOAR_REQUIRE_SIGNED", IMPORTED)
    assert "/secret.pem" not in environment_of({}, network=()).values()
    assert environment_of({})["BEZOAR_REQUIRE_SIGNED"] == IMPORTED


SLOW = "import sys; sys.exit(any(name.partition('.')[0] == 'cryptography' for name in sys.modules))"


def test_without_trusted_keys_nothing_slow_is_imported() -> None:
    chain = Signed(A)
    chain.prove(A, "theirs", locked=True)
    Path("entry.json").write_text(json.dumps(chain.locked["a"]))
    assert chain.records.stages["a"].signature
    code = (
        "import json; from bezoar.cache import records, signing, signed\n"
        "record, entry = records.read().stages['a'], json.load(open('entry.json'))\n"
        "assert signed.verdict('a', entry, record, signing.policy()).counts\n" + SLOW
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
