"""Each test file is under one promise of the README, and each promise is tested by default."""

from pathlib import Path

import promises

TESTS = Path(__file__).parents[1]
APART = ("end_to_end", "gpu", "cluster")  # markers of whole files that the default tier leaves out


def test_every_test_file_is_under_one_promise() -> None:
    files = [file for one in promises.PROMISES.values() for file in one]
    assert sorted(files) == sorted(str(path.relative_to(TESTS)) for path in TESTS.glob("*/test_*.py"))


def test_every_promise_has_a_file_in_the_default_tier() -> None:
    for promise, files in promises.PROMISES.items():
        texts = [(TESTS / file).read_text() for file in files]
        apart = [any(f"pytestmark = pytest.mark.{marker}" in text for marker in APART) for text in texts]
        assert not all(apart), f"nothing in the default tier tests that {promise}"


def test_a_promise_is_broken_by_one_failure_and_not_held_by_skipped_tests() -> None:
    outcomes = [("unit/test_chat.py", "passed"), ("unit/test_models.py", "failed"), ("tiny/test_tiny.py", "skipped")]
    assert promises.summary(outcomes) == [
        "broken    training resumes, merges and repeats to the byte: 1 failed, 1 passed",
        "not tried the embedded recipe builds offline, learns, and repeats to the byte: 1 skipped",
    ]
