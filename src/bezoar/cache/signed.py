"""Signatures of the records in traces.lock: which records count, and which ones are signed here.

A signature is over a record with its stage and its entry in dvc.lock: contents of inputs and outputs, values, commands,
traces, environment, cost, and where it was made.
"""

from dataclasses import fields, replace
from typing import Any

from bezoar.cache import foreign
from bezoar.cache.proofs import Proof, Proofs, differences
from bezoar.cache.records import Record, digest_of_entry, record_of
from bezoar.cache.signing import (
    COUNTS,
    Policy,
    TrustedKey,
    UnknownKey,
    Verdict,
    WrongSignature,
    key_id,
    public_bytes,
    sign,
    signing_key,
    verify,
)
from bezoar.cache.stages import DvcStage

SIGNED, UNSIGNED, UNKNOWN, WRONG = "signed", "unsigned", "unknown", "wrong"  # what a signature is worth


def payload(stage: str, entry: dict[str, Any], record: Record) -> dict[str, Any]:
    """What is signed: everything in a record but the signature, beside the entry of dvc.lock as it is."""
    found = {one.name: getattr(record, one.name) for one in fields(record) if one.name != "signature"}
    return {**found, "entry": digest_of_entry(entry), "stage": stage}


def verdict(stage: str, entry: dict[str, Any], record: Record | None, policy: Policy) -> Verdict:
    """Whether the record of a stage counts.

    Args:
        entry: The stage's entry in dvc.lock.
        record: What traces.lock has for the stage, even if it was written for another entry.
    """
    if record is None:
        return COUNTS  # without a trace it proves nothing
    return policy.counts(payload(stage, entry, record) if record.signature else {}, record.signature or None)


class Signer:
    """Writes records of stages, signed if their jobs ran with this cache, or if this key has signed them before.

    Args:
        policy: Whose signatures count.
        proofs: The proofs in this cache.

    Raises:
        CacheError: The key that `BEZOAR_SIGNING_KEY` names can't be used.
    """

    def __init__(self, policy: Policy, proofs: Proofs) -> None:
        self.proofs = proofs
        self.key = signing_key()
        self.id = key_id(public_bytes(self.key)) if self.key else ""
        self.is_trusted = self.id in policy.trusted
        own = {self.id: TrustedKey("this key", public_bytes(self.key))} if self.key else {}
        self.trusted = {**own, **policy.trusted}

    def record(self, stage: DvcStage, entry: dict[str, Any], proofs: dict[str, Proof], old: Record | None) -> Record:
        """The record of a stage whose jobs all have proofs with traces; the earlier one if it says the same.

        Args:
            entry: The stage's new entry in dvc.lock.
            proofs: Proofs by step name.
            old: The stage's record in traces.lock.
        """
        new = record_of(entry, stage.steps, proofs)
        kept = old if old and _facts(old) == _facts(new) else None  # with the cost and origin of who made it
        worth = self._worth(stage.name, entry, kept) if kept else UNSIGNED
        if kept and (worth == SIGNED or (worth == UNKNOWN and not self.is_trusted)):
            return kept
        if self.key and (own := self._own(stage, proofs)):
            made = record_of(entry, stage.steps, own)
            return replace(made, signature=sign(payload(stage.name, entry, made), self.key))
        return kept if kept and worth != WRONG else new

    def _worth(self, stage: str, entry: dict[str, Any], record: Record) -> str:
        if not record.signature:
            return UNSIGNED
        try:
            verify(payload(stage, entry, record), record.signature, self.trusted)
            return SIGNED
        except WrongSignature:
            return WRONG
        except (UnknownKey, foreign.Malformed):
            return UNKNOWN

    def _own(self, stage: DvcStage, proofs: dict[str, Proof]) -> dict[str, Proof] | None:
        """The proofs of a stage as this machine made them, or as this key has signed them; None if one isn't."""
        found = {}
        for step in stage.steps:
            proof = proofs[step.name]
            own = proof if proof.signer == self.id else self._made_here(proof)
            if own is None:
                return None
            found[step.name] = own
        return found

    def _made_here(self, proof: Proof) -> Proof | None:
        for one in self.proofs.made_here(proof.action):
            if one.trace and proof.trace and one.trace.digest == proof.trace.digest and not differences(proof, one):
                return one
        return None


def _facts(record: Record) -> tuple[Any, ...]:
    """What two records have in common that say the same."""
    return record.entry, record.forms, record.traces, record.environment
