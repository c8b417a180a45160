"""Who signed a record, whose signatures count, and what `trusted.keys` may say."""

import base64
import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from bezoar.cache import CacheError, foreign, signing
from bezoar.cache.signing import IMPORTED, NEVER, Policy, UnknownKey, Verdict, WrongSignature, parse, sign, verify
from bezoar.cli import main

ANN, BEN = (Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32) for byte in (1, 2))
RECORD: dict[str, Any] = {
    "stage": "train-sft",
    "action": "a" * 64,
    "trace": "b" * 64,
    "inputs": {"data/mixes/all": "0" * 32},
    "outputs": {"data/adapters/sft": "1" * 32 + ".dir"},
    "provenance": {"host": "träumerei", "threads": 2},
}


def trusting(*keys: Ed25519PrivateKey, require: str = NEVER) -> Policy:
    """A policy as `trusted.keys` says it; the first key is Ann's, the second Ben's."""
    lines = [signing.line_of(key, name) for key, name in zip(keys, ("ann", "ben"), strict=False)]
    return parse("\n".join([f"require_signed {require}", *lines]).encode())


def test_a_signature_names_its_key() -> None:
    assert verify(RECORD, sign(RECORD, ANN), trusting(ANN, BEN).trusted) == "ann"
    assert verify(RECORD, sign(RECORD, BEN), trusting(ANN, BEN).trusted) == "ben"


def test_a_signature_is_of_the_record_in_the_encoding_of_dsse() -> None:
    # the specification: "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body
    body = b'{"action":"a","provenance":{"host":"tr\xc3\xa4um"}}'
    message = b"DSSEv1 37 application/vnd.bezoar.record.v1+json " + str(len(body)).encode() + b" " + body
    made = sign({"provenance": {"host": "träum"}, "action": "a"}, ANN)
    ANN.public_key().verify(base64.b64decode(made["ed25519"]), message)
    assert made["key"] == hashlib.sha256(ANN.public_key().public_bytes_raw()).hexdigest()[:16]


def changed(record: dict[str, Any], *path: str, to: Any) -> dict[str, Any]:
    """A record with another value at a path."""
    first, *rest = path
    return {**record, first: changed(record.get(first, {}), *rest, to=to) if rest else to}


@pytest.mark.parametrize(
    "other",
    [
        changed(RECORD, "stage", to="train-dpo"),
        changed(RECORD, "action", to="c" * 64),
        changed(RECORD, "trace", to="c" * 64),
        changed(RECORD, "inputs", "data/mixes/all", to="2" * 32),
        changed(RECORD, "outputs", "data/adapters/sft", to="1" * 32),
        changed(RECORD, "outputs", "data/adapters/more", to="1" * 32),
        changed(RECORD, "provenance", "threads", to=2.0),
        changed(RECORD, "provenance", "threads", to="2"),
        {name: value for name, value in RECORD.items() if name != "provenance"},
    ],
)
def test_a_signature_fits_no_other_record(other: dict[str, Any]) -> None:
    with pytest.raises(WrongSignature, match="changed after ann signed it"):
        verify(other, sign(RECORD, ANN), trusting(ANN).trusted)


def test_a_signature_of_another_kind_of_text_is_none_of_a_record() -> None:
    body = signing.canonical(RECORD)
    made = ANN.sign(signing.encoded("application/vnd.in-toto+json", body))
    for bytes_ in (made, ANN.sign(body)):
        signature = {**sign(RECORD, ANN), "ed25519": base64.b64encode(bytes_).decode()}
        with pytest.raises(WrongSignature):
            verify(RECORD, signature, trusting(ANN).trusted)


def test_a_key_that_is_not_trusted_is_named() -> None:
    with pytest.raises(UnknownKey, match=f"signed by {sign(RECORD, BEN)['key']}, a key that isn't in trusted.keys"):
        verify(RECORD, sign(RECORD, BEN), trusting(ANN).trusted)


def test_a_signature_under_another_name_counts_for_nobody() -> None:
    forged = {**sign(RECORD, BEN), "key": sign(RECORD, ANN)["key"]}
    with pytest.raises(WrongSignature):
        verify(RECORD, forged, trusting(ANN, BEN).trusted)


GOOD = sign(RECORD, ANN)
MALFORMED = [
    "signed",
    [],
    {"key": GOOD["key"]},
    {**GOOD, "more": 1},
    {**GOOD, "key": "ANN"},
    {**GOOD, "key": GOOD["key"].upper() + "\n"},
    {**GOOD, "key": 7},
    {**GOOD, "ed25519": GOOD["ed25519"][:-4]},
    {**GOOD, "ed25519": GOOD["ed25519"] + "\n"},
    {**GOOD, "ed25519": GOOD["ed25519"].replace("=", "")},
    {**GOOD, "ed25519": "é" * 88},
    {**GOOD, "ed25519": None},
]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)
)


@pytest.mark.parametrize("signature", MALFORMED, ids=str)
def test_what_is_no_signature_is_malformed(signature: Any) -> None:
    with pytest.raises(foreign.Malformed):
        verify(RECORD, signature, trusting(ANN).trusted)
    assert trusting(ANN, require=IMPORTED).counts(RECORD, signature).counts is False


@given(JSON)
def test_no_data_in_place_of_a_signature_breaks_the_policy(signature: Any) -> None:
    assert trusting(ANN, require=IMPORTED).counts(RECORD, signature).counts is False
    assert trusting(ANN).counts(RECORD, signature).counts is True


def test_the_policy_says_which_records_count_and_why() -> None:
    other, id_of_ben = changed(RECORD, "stage", to="train-dpo"), sign(RECORD, BEN)["key"]
    lax, strict = trusting(ANN), trusting(ANN, require=IMPORTED)
    assert lax.counts(RECORD, None) == Verdict(True, "")
    assert strict.counts(RECORD, None) == Verdict(False, "not signed")
    id_of_ann = signing.key_id(signing.public_bytes(ANN))
    for policy in (lax, strict):
        assert policy.counts(RECORD, sign(RECORD, ANN)) == Verdict(True, "signed by ann", id_of_ann)
        assert policy.counts(other, sign(RECORD, ANN)) == Verdict(False, "changed after ann signed it")
    unknown = f"signed by {id_of_ben}, a key that isn't in trusted.keys"
    assert lax.counts(RECORD, sign(RECORD, BEN)) == Verdict(True, unknown)
    assert strict.counts(RECORD, sign(RECORD, BEN)) == Verdict(False, unknown)


LINE_OF_ANN = signing.line_of(ANN, "ann")
PUBLIC = LINE_OF_ANN.split()[1]


def test_trusted_keys_has_comments_and_a_policy() -> None:
    text = f"# who builds\n\nrequire_signed imported\n  # the laboratory's machine\r\n{LINE_OF_ANN}\r\n"
    found = parse(text.encode())
    assert found.require == IMPORTED
    assert [(key.name, key.public) for key in found.trusted.values()] == [("ann", ANN.public_key().public_bytes_raw())]
    assert parse(b"") == Policy()


def test_a_comment_hides_no_key() -> None:
    for end in ("\r", "\v", "\f", "\x1c", "\x85", "\u2028"):  # line breaks for Python, not for a reviewer
        assert parse(f"# of last year:{end}{LINE_OF_ANN}\n".encode()).trusted == {}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"rsa {PUBLIC} ann", f"'rsa {PUBLIC} ann'"),
        (f"ed25519 {PUBLIC}", f"'ed25519 {PUBLIC}'"),
        (f"{LINE_OF_ANN} # of 2025", "ann # of 2025'"),
        (f"ed25519 {PUBLIC[:-1]} ann", "for a public key"),
        (f"ed25519 {PUBLIC[:-2]}== ann", "for a public key"),
        ("ed25519 AAAA ann", "'AAAA' for a public key"),
        (f"ed25519 {PUBLIC} ../ann", "'../ann' for a name"),
        (f"{LINE_OF_ANN}\n{LINE_OF_ANN}", "ann or its key twice"),
        (f"{LINE_OF_ANN}\n{LINE_OF_ANN[:-3]}eve", "eve or its key twice"),
        (f"{signing.line_of(BEN, 'ann')}\n{LINE_OF_ANN}", "ann or its key twice"),
        ("require_signed always", "'require_signed always', which isn't `require_signed never|imported`"),
        ("require_signed", "'require_signed', which"),
        (f"{LINE_OF_ANN}\nrequire_signed imported", "`require_signed` after another line"),
        ("require_signed never\nrequire_signed imported", "`require_signed` after another line"),
    ],
)
def test_a_wrong_line_of_trusted_keys_is_named(line: str, found: str) -> None:
    number = 2 + line.count("\n")
    with pytest.raises(CacheError) as error:
        parse(f"# keys\n{line}\n".encode())
    assert str(error.value).startswith(f"trusted.keys:{number}: not a trusted key\n  found:    ")
    assert found in str(error.value)


def test_trusted_keys_is_utf_8() -> None:
    with pytest.raises(CacheError, match=r"trusted.keys:2: not a trusted key\n  found:    bytes that are not UTF-8"):
        parse(b"# keys\n# \xff\n")


@pytest.mark.parametrize(
    ("committed", "own", "counts"),
    [
        ("", "", NEVER),
        ("", "imported", IMPORTED),
        ("require_signed imported\n", "never", IMPORTED),  # a variable can't loosen what the project requires
        ("require_signed imported\n", "", IMPORTED),
        ("require_signed never\n", "imported", IMPORTED),
    ],
)
def test_the_stricter_policy_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: str, own: str, counts: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEZOAR_REQUIRE_SIGNED", own)
    if committed:
        Path("trusted.keys").write_text(committed)
    assert signing.policy().require == counts


def test_an_unknown_policy_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEZOAR_REQUIRE_SIGNED", "always")
    with pytest.raises(CacheError, match="BEZOAR_REQUIRE_SIGNED isn't a policy\n  found:    'always'"):
        signing.policy()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home folder; the current one is apart from it, and a project."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("BEZOAR_SIGNING_KEY", raising=False)
    (tmp_path / "project").mkdir()
    (tmp_path / "project/Snakefile").touch()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "home"


def test_a_new_key_is_its_owners_alone_and_signs(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key", "new", "ann"]) == 0
    said = capsys.readouterr().out.splitlines()
    path = home / ".config/bezoar/keys/ann.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    monkeypatch.setenv("BEZOAR_SIGNING_KEY", str(path))
    key = signing.signing_key()
    assert key
    assert verify(RECORD, sign(RECORD, key), parse(said[-1].encode()).trusted) == "ann"
    assert path.read_text() not in "\n".join(said)
    assert os.listdir() == ["Snakefile"]


def test_a_key_is_never_overwritten(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["key", "new", "ann"])
    line = capsys.readouterr().out.splitlines()[-1]
    path = home / ".config/bezoar/keys/ann.pem"
    before = path.read_bytes()
    assert main(["key", "new", "ann"]) == 1
    assert line in capsys.readouterr().err  # a lost line is found again
    assert path.read_bytes() == before


def test_a_key_is_refused_inside_the_project(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home.parent / "link").symlink_to(home.parent / "project")
    for path in ("ci.pem", str(home.parent / "link/keys/ci.pem")):
        monkeypatch.setenv("BEZOAR_SIGNING_KEY", path)
        assert main(["key", "new", "ci"]) == 1
        assert "a private key doesn't belong in a repository" in capsys.readouterr().err
    assert os.listdir() == ["Snakefile"]


@pytest.mark.parametrize("name", ["../ann", "", "a b", ".ann", "ann\n", "a" * 65])
def test_a_key_has_a_name(home: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["key", "new", name]) == 1
    assert "not a name for a key" in capsys.readouterr().err
    assert not home.exists()


def test_nothing_signs_without_a_key(home: Path) -> None:
    assert signing.signing_key() is None


def pem(key: Any, encryption: Any = None) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))


@pytest.mark.parametrize(
    ("content", "mode", "found"),
    [
        (None, 0o600, "No such file or directory"),
        (pem(ANN), 0o640, "mode 0640: others can use it"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600, "no private key in PEM"),
        (b"", 0o600, "no private key in PEM"),
        (pem(ANN, BestAvailableEncryption(b"secret")), 0o600, "or one with a passphrase"),
        (pem(generate_private_key(SECP256R1())), 0o600, "a key of another kind"),
    ],
)
def test_a_file_that_can_not_sign_is_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, mode: int, found: str
) -> None:
    path = home.parent / "ci.pem"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    monkeypatch.setenv("BEZOAR_SIGNING_KEY", str(path))
    with pytest.raises(CacheError) as error:
        signing.signing_key()
    assert str(error.value).startswith(f"{path} can't sign\n  found:    ")
    assert found in str(error.value)


def test_a_project_without_keys_imports_no_cryptography() -> None:
    code = (
        "import sys; from bezoar.cache.signing import Policy; Policy().counts({}, None);"
        "sys.exit('cryptography' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
