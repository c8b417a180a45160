"""Signatures of records, and whose signatures count.

A record that comes with a commit is a claim: these inputs gave these outputs. A signature says who makes it. The keys
that a project trusts are in `trusted.keys`, which is committed and reviewed like code. A private key is a file outside
the repository; `BEZOAR_SIGNING_KEY` names it where records are signed. A key has no expiry date, since only the signer
would say when a record was signed: who removes a line from `trusted.keys` revokes the key.

What is signed is bytes with their type in DSSE's encoding, so that a signature of a record is never one of an
attestation.
"""

import base64
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bezoar.cache import CacheError, foreign
from bezoar.cache.environment import SIGNING_KEY
from bezoar.cache.hashing import canonical
from bezoar.errors import problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TRUSTED = "trusted.keys"
FORM = "`ed25519 PUBLIC-KEY NAME`, one key a line, as `bezoar key new NAME` prints it"
NEVER, IMPORTED = REQUIRED = ("never", "imported")  # from lax to strict
REQUIRE = "BEZOAR_REQUIRE_SIGNED"
RECORD = "application/vnd.bezoar.record.v1+json"  # type of what is signed
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
ID = re.compile("[0-9a-f]{16}")
PUBLIC_BYTES, SIGNATURE_BYTES = 32, 64


class Unverified(CacheError):
    """A signature that doesn't count; the message says why, in a few words."""


class UnknownKey(Unverified):
    """A signature by a key that isn't trusted."""


class WrongSignature(Unverified):
    """A signature by a trusted key of other content: the record was changed after it was signed."""


class TrustedKey(NamedTuple):
    """A public key, and whose it is."""

    name: str
    public: bytes


class Verdict(NamedTuple):
    """Whether a record counts, and if there is anything to say about it, why.

    Attributes:
        signer: ID of the trusted key that signed it; empty without one.
    """

    counts: bool
    why: str
    signer: str = ""


COUNTS = Verdict(True, "")


@dataclass(frozen=True)
class Policy:
    """Which records from others count.

    Attributes:
        require: `never`, or `imported`: a record that wasn't made here counts only if a trusted key signed it.
        trusted: Trusted keys by ID.
    """

    require: str = NEVER
    trusted: Mapping[str, TrustedKey] = field(default_factory=dict)

    def takes(self, signer: str) -> bool:
        """Whether a record counts that this key signed; of no key, if it is empty."""
        return self.require == NEVER or signer in self.trusted

    def counts(self, record: Mapping[str, Any], signature: Any) -> Verdict:
        """Whether a record that wasn't made here counts.

        A record that was changed after a trusted key signed it never does.

        Args:
            record: What was signed.
            signature: As read from a file; None if there is none.
        """
        if signature is None:
            return Verdict(self.require == NEVER, "" if self.require == NEVER else "not signed")
        try:
            return Verdict(True, f"signed by {verify(record, signature, self.trusted)}", signature["key"])
        except WrongSignature as error:
            return Verdict(False, str(error))
        except (UnknownKey, foreign.Malformed) as error:
            return Verdict(self.require == NEVER, str(error))


def sign(payload: Mapping[str, Any], key: "Ed25519PrivateKey") -> dict[str, str]:
    """The signature of a record: ID of the key and, in base64, the signature itself."""
    made = key.sign(encoded(RECORD, canonical(payload)))
    return {"key": key_id(public_bytes(key)), "ed25519": base64.b64encode(made).decode()}


def verify(payload: Mapping[str, Any], signature: Any, trusted: Mapping[str, TrustedKey]) -> str:
    """The name of the trusted key that signed a record.

    Raises:
        Malformed: It isn't a signature.
        UnknownKey: The key isn't trusted.
        WrongSignature: It is the signature of another content.
    """
    found = foreign.table(signature, "key", "ed25519")
    if not ID.fullmatch(foreign.text(found["key"])):
        raise foreign.Malformed(f"{foreign.shown(found['key'])} for the ID of a key")
    made = _from_base64(found["ed25519"], SIGNATURE_BYTES, "a signature")
    key = trusted.get(found["key"])
    if key is None:
        raise UnknownKey(f"signed by {found['key']}, a key that isn't in {TRUSTED}")
    from cryptography.exceptions import InvalidSignature  # slow to import
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(made, encoded(RECORD, canonical(payload)))
    except InvalidSignature as error:
        raise WrongSignature(f"changed after {key.name} signed it") from error
    return key.name


def encoded(kind: str, payload: bytes) -> bytes:
    """Bytes with their type, as DSSE signs them (its "pre-authentication encoding")."""
    return b"DSSEv1 %d %b %d %b" % (len(kind.encode()), kind.encode(), len(payload), payload)


def key_id(public: bytes) -> str:
    """The ID of a public key: the first 16 hexadecimal digits of its sha256."""
    return hashlib.sha256(public).hexdigest()[:16]


def public_bytes(key: "Ed25519PrivateKey") -> bytes:
    """The public key of a private key."""
    return key.public_key().public_bytes_raw()


def line_of(key: "Ed25519PrivateKey", name: str) -> str:
    """The line of `trusted.keys` that trusts a key."""
    return f"ed25519 {base64.b64encode(public_bytes(key)).decode()} {name}"


def policy() -> Policy:
    """The policy of this project; the environment may make it stricter.

    Raises:
        CacheError: `trusted.keys` or the variable isn't as it should be.
    """
    data = b""
    with suppress(FileNotFoundError):
        data = foreign.read(TRUSTED)
    found = parse(data)
    wanted = os.environ.get(REQUIRE) or found.require
    if wanted not in REQUIRED:
        raise CacheError(problem(f"{REQUIRE} isn't a policy", found=repr(wanted), expected=" or ".join(REQUIRED)))
    return Policy(max(found.require, wanted, key=REQUIRED.index), found.trusted)


def parse(data: bytes) -> Policy:
    """The policy in the content of a `trusted.keys`.

    Raises:
        CacheError: A line of it is wrong; the message names it.
    """
    require, keys = NEVER, dict[str, TrustedKey]()
    first = True
    for number, line in enumerate(data.split(b"\n"), 1):  # at no other line break: a comment would hide a key
        try:
            words = _words(line)
            if not words:
                continue
            if words[0] == "require_signed":
                require = _required(words, first)
            else:
                key = _trusted(words, keys)
                keys[key_id(key.public)] = key
        except foreign.Malformed as error:
            raise CacheError(problem(f"{TRUSTED}:{number}: not a trusted key", found=error, expected=FORM)) from error
        first = False
    return Policy(require, keys)


def _words(line: bytes) -> list[str]:
    """The words of a line; none for a comment."""
    try:
        words = line.decode().split()
    except UnicodeDecodeError as error:
        raise foreign.Malformed("bytes that are not UTF-8") from error
    return [] if words and words[0].startswith("#") else words


def _required(words: list[str], first: bool) -> str:
    if not first:
        raise foreign.Malformed("`require_signed` after another line")
    if len(words) != 2 or words[1] not in REQUIRED:
        raise foreign.Malformed(f"{foreign.shown(' '.join(words))}, which isn't `require_signed {'|'.join(REQUIRED)}`")
    return words[1]


def _trusted(words: list[str], known: Mapping[str, TrustedKey]) -> TrustedKey:
    if len(words) != 3 or words[0] != "ed25519":
        raise foreign.Malformed(foreign.shown(" ".join(words)))
    if not NAME.fullmatch(words[2]):
        raise foreign.Malformed(f"{foreign.shown(words[2])} for a name")
    key = TrustedKey(words[2], _from_base64(words[1], PUBLIC_BYTES, "a public key"))
    if key_id(key.public) in known or key.name in {one.name for one in known.values()}:
        raise foreign.Malformed(f"{key.name} or its key twice")
    return key


def _from_base64(found: Any, length: int, what: str) -> bytes:
    """A number of bytes in base64, in its one canonical form."""
    with suppress(ValueError):  # also for text beyond ASCII
        data = base64.b64decode(foreign.text(found).encode("ascii"), validate=True)
        if len(data) == length and base64.b64encode(data).decode() == found:
            return data
    raise foreign.Malformed(f"{foreign.shown(found)} for {what}")


def make_key(path: Path) -> "Ed25519PrivateKey":
    """A new private key, in a file that only its owner can read.

    Raises:
        FileExistsError: There is a file already; it stays as it is.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(text)
    return key


def signing_key() -> "Ed25519PrivateKey | None":
    """The key that `BEZOAR_SIGNING_KEY` names; None if it isn't set.

    Raises:
        CacheError: The file isn't a private key, or others can read it.
    """
    path = os.environ.get(SIGNING_KEY)
    return read_key(Path(path)) if path else None


def read_key(path: Path) -> "Ed25519PrivateKey":
    """A private key.

    Raises:
        CacheError: The file isn't one, or others can read it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise _unusable(path, f"mode {mode:04o}: others can use it", f"chmod 600 {path}")
        key = load_pem_private_key(foreign.read(str(path)), password=None)
    except OSError as error:
        raise _unusable(path, error.strerror, "`bezoar key new NAME` makes one") from error
    except (ValueError, TypeError, UnsupportedAlgorithm, foreign.Malformed) as error:  # TypeError: it is encrypted
        raise _unusable(path, "no private key in PEM, or one with a passphrase") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable(path, "a key of another kind")
    return key


def _unusable(path: Path, found: object, hint: str = "") -> CacheError:
    return CacheError(
        problem(
            f"{path} can't sign",
            found=found,
            expected="an ed25519 private key in PEM, readable by its owner only",
            hint=hint,
        )
    )
