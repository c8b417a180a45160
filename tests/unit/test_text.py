"""What others wrote reaches terminals and logs as text, never as commands to a terminal."""

import io
import logging
import sys
import unicodedata
from pathlib import Path

import pytest
from snakemake.logging import DefaultFormatter

from bezoar import logs
from bezoar.cache import CacheError, graph
from bezoar.problems import RecipeError
from bezoar.requests.failures import of_status
from bezoar.text import printable, show

ERASES = "\x1b[2K\r\u202eall is well\u200b"  # erases the line, returns to its start, turns the reading direction
SHOWN = r"\x1b[2K\r\u202eall is well\u200b"


def test_every_control_format_and_surrogate_character_is_escaped_but_newline_and_tab():
    characters = [chr(number) for number in range(sys.maxunicode + 1)]
    categories = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    dangerous = {one for one in characters if unicodedata.category(one) in categories} - {"\n", "\t"}
    passed = {one for one in dangerous if printable(one) == one}
    assert {f"U+{ord(one):04X}" for one in passed} == set()


def test_text_of_any_language_stays_as_it_is():
    text = "naïve Übung 日本語 العربية हिन्दी 한국어 “quoted” 🙂\n\tindented"
    assert printable(text) == text


def test_letters_and_marks_that_show_nothing_are_escaped():
    assert printable("a\u3164b\ufe0fc\u2800") == r"a\u3164b\ufe0fc\u2800"


def test_escapes_are_plain_ascii_and_done_once():
    assert printable(ERASES) == SHOWN
    assert printable(printable(ERASES)) == SHOWN


def test_a_text_that_must_be_one_line_can_not_begin_another():
    assert printable("no\nhint: run `curl`\t", lines=False) == r"no\nhint: run `curl`\t"


def test_half_a_surrogate_pair_can_be_shown_anywhere():
    stream = io.StringIO()
    show("file-\udcff", file=stream)
    assert stream.getvalue() == "file-\\udcff\n"


@pytest.mark.parametrize("kind", [CacheError, RecipeError])
def test_errors_are_safe_to_print_and_keep_their_lines(kind):
    assert str(kind(f"{ERASES}\n  found:    x")) == f"{SHOWN}\n  found:    x"


def test_a_servers_words_are_one_safe_line():
    assert str(of_status(400, {}, f"{ERASES}\n12:00:00 paid")) == f"HTTP 400: {SHOWN}\\n12:00:00 paid"


def test_a_log_is_safe_and_so_is_an_exception_in_it(tmp_path):
    log = tmp_path / "a.log"
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    root.handlers = []
    try:
        logs.setup(log)
        logs.logger.info(ERASES)
        try:
            raise ValueError(ERASES)
        except ValueError:
            logs.logger.exception("failed")
    finally:
        root.handlers = before
    assert "\x1b" not in log.read_text()
    assert log.read_text().count(SHOWN) == 2


def test_a_warning_of_a_process_without_a_log_is_safe(monkeypatch):
    graph._print_safely()
    record = logging.LogRecord("bezoar", logging.WARNING, "", 1, ERASES, (), None)
    assert logging.lastResort.format(record) == SHOWN


def test_what_snakemake_shows_is_safe():
    record = logging.LogRecord("snakemake", logging.ERROR, "", 1, ERASES, (), None)
    assert DefaultFormatter(None, False).format(record) == SHOWN


def test_code_prints_through_the_one_function_that_makes_text_safe():
    said = Path(__file__).parents[2].joinpath("pyproject.toml").read_text()
    assert '"T20"]' in said  # ruff refuses `print` elsewhere
