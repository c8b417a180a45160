"""An acceptance, which reviewers read, is compared with the real changes."""

from pathlib import Path

import pytest
import yaml

from bezoar.cache import CacheError, code
from bezoar.cache.code import Code, acceptances, changes
from bezoar.cache.hashing import Hasher


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """A script of which a helper was edited since its fingerprint was recorded: both fingerprints, an acceptance."""
    monkeypatch.chdir(tmp_path)
    Path("scripts").mkdir()
    Path("scripts/main.py").write_text("import helper\n")
    Path("scripts/helper.py").write_text("x = 1\n")
    before = Code({}, Hasher(None))
    before.write("cache")
    Path("scripts/helper.py").write_text("x = 2\n")
    after = Code({}, Hasher(None))

    def accept(what):
        entry = {"code": "scripts.main", "was": was, "now": now, "reason": "a comment"}
        Path(code.ACCEPTED).write_text(yaml.safe_dump([entry | ({} if what is ... else {"what": what})]))

    was, now = before.found["scripts.main"], after.found["scripts.main"]
    return was, now, accept


def test_what_changed_is_found_from_the_two_fingerprints(edited):
    was, now, _ = edited
    Code({}, Hasher(None)).write("cache")
    assert changes("scripts.main", was, now, "cache") == ["helper"]
    assert changes("rules.mix", was, now, "cache") == ["rules.mix"]


def test_what_changed_is_not_known_without_the_earlier_code(edited):
    was, now, accept = edited
    assert changes("scripts.main", was, now, "elsewhere") is None
    accept(["anything"])
    Code({}, Hasher(None)).check_acceptances("elsewhere")  # can't be compared


@pytest.mark.parametrize("what", [["helper"], None, ...])
def test_an_acceptance_that_says_what_changed_or_nothing_passes(edited, what):
    _, _, accept = edited
    accept(what)
    Code({}, Hasher(None)).check_acceptances("cache")


@pytest.mark.parametrize("what", [["scripts.main"], [], ["helper", "scripts.main"]])
def test_an_acceptance_that_names_another_change_is_refused(edited, what):
    _, _, accept = edited
    accept(what)
    with pytest.raises(
        CacheError, match=r"acceptance of scripts\.main doesn't list the real changes(.|\n)*expected: helper\n"
    ):
        Code({}, Hasher(None)).check_acceptances("cache")


def test_an_acceptance_further_back_is_compared_too(edited):
    _, now, accept = edited
    Code({}, Hasher(None)).write("cache")
    accept(["scripts.main"])
    entries = yaml.safe_load(Path(code.ACCEPTED).read_text())
    Path("scripts/helper.py").write_text("x = 3\n")
    third = Code({}, Hasher(None))
    entries.append({"code": "scripts.main", "was": now, "now": third.found["scripts.main"], "reason": "another"})
    Path(code.ACCEPTED).write_text(yaml.safe_dump(entries))
    with pytest.raises(CacheError, match="doesn't list the real changes"):
        third.check_acceptances("cache")


def test_parts_that_are_not_those_of_the_fingerprint_are_not_believed(edited):
    was, _, _ = edited
    path = Path("cache/code", f"{was}.json")
    path.write_text(path.read_text().replace("helper", "other"))
    assert code.parts_of(was, "cache") is None


@pytest.mark.parametrize("was", ["../../secret", "", "/etc/passwd", "A" * 32])
def test_a_fingerprint_that_is_none_names_no_file(edited, was):
    assert code.parts_of(was, "cache") is None


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "0",
        "- {code: a, now: b, was: 1, reason: d}",
        "- {code: a, now: b, was: c, reason: d, what: [1]}",
        "- {code: a, now: b, was: c, reason: d, what: 0}",
        "- {code: a, now: b, was: c, reason: d, what: false}",
    ],
)
def test_acceptances_of_another_shape_are_refused(edited, text):
    Path(code.ACCEPTED).write_text(text)
    with pytest.raises(CacheError, match=r"code\.accepted\.yaml can't be read"):
        acceptances()
