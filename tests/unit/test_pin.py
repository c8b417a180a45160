"""`bezoar recipe pin`: commits and sha256 are written into a params file, and nothing else of it changes."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import close_session

from bezoar import yaml12
from bezoar.errors import InputError
from bezoar.recipe.pin import Pin, pinned, pins_of

TEXT = """\
# yaml-language-server: $schema=recipes/params.schema.json
recipe:   mine      # comments and blanks stay
models:
  base:
    method: hub
    repository: org/base   # the base

    dtype: float32
  flow: {method: hub, repository: org/flow, revision: main}   # a comment
  null_one:
    method: hub
    repository: 'org/null'
    revision:
  known: {method: hub, repository: org/known, revision: "ONES"}
sources:
  mine: {path: rows.jsonl, limit: 3}
  given: {path: rows.jsonl, sha256: "TWOS"}
  folder: {path: rows}
  web:
    limit: 10_000
    origin:
      kind: url
      url: "ADDRESS/rows.jsonl"   # where it is
  é: {origin: {kind: file, path: rows.jsonl}}
""".replace("ONES", "1" * 40).replace("TWOS", "2" * 64)
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = b'{"text": "one"}\n'
SHA256 = hashlib.sha256(ROWS).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *arguments):
        pass


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with rows, which it also serves; the address is that of params.yaml."""
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_bytes(ROWS)
    Path("rows").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def without_hub(text):
    """The text with no repository of the hub: these need a hub that answers (tests/workflow/test_hub.py)."""
    return text[: text.index("models:")] + text[text.index("sources:") :]


def test_files_and_addresses_get_the_sha256_of_their_content(project):
    text = without_hub(TEXT).replace("ADDRESS", project)
    pins = pins_of(text, Path("params.yaml"))
    assert [(".".join(map(str, pin.key)), pin.found, pin.value) for pin in pins] == [
        ("sources.mine.sha256", "nothing", SHA256),
        ("sources.web.origin.sha256", "nothing", SHA256),
        ("sources.é.origin.sha256", "nothing", SHA256),
    ]
    assert pins_of(pinned(text, pins, Path("params.yaml")), Path("params.yaml")) == []


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_only_the_pins_are_new(newline):
    text = TEXT.replace("\n", newline)
    pins = [
        Pin(("models", "base", "revision"), "nothing", COMMIT, "repository"),
        Pin(("models", "flow", "revision"), "main", COMMIT, "repository"),
        Pin(("models", "null_one", "revision"), "nothing", COMMIT, "repository"),
        Pin(("sources", "mine", "sha256"), "nothing", SHA256, "path"),
        Pin(("sources", "web", "origin", "sha256"), "nothing", SHA256, "url"),
        Pin(("sources", "é", "origin", "sha256"), "nothing", SHA256, "path"),
    ]
    expected = (
        text.replace("org/base   # the base", f"org/base   # the base{newline}    revision: {COMMIT}")
        .replace("revision: main", f"revision: {COMMIT}")
        .replace(f"    revision:{newline}", f"    revision: {COMMIT}{newline}")
        .replace("{path: rows.jsonl, limit: 3}", f"{{path: rows.jsonl, sha256: {SHA256}, limit: 3}}")
        .replace("# where it is", f"# where it is{newline}      sha256: {SHA256}")
        .replace("kind: file, path: rows.jsonl", f"kind: file, path: rows.jsonl, sha256: {SHA256}")
    )
    assert pinned(text, pins, Path("params.yaml")) == expected


@pytest.mark.parametrize("value", ["1" * 40, f"{'1' * 20}e{'1' * 19}", "0" * 64])
def test_digits_that_yaml_reads_as_a_number_are_quoted(value):
    text = pinned("sources: {a: {path: b}}\n", [Pin(("sources", "a", "sha256"), "nothing", value, "path")], Path("p"))
    assert yaml12.load(text) == {"sources": {"a": {"path": "b", "sha256": value}}}


def test_what_can_not_be_written_without_another_change_is_refused():
    text = "sources:\n  a: &rows {path: rows.jsonl}\n  b:\n    <<: *rows\n    limit: 3\n"
    with pytest.raises(InputError, match="can't be written without a change of other values"):
        pinned(text, [Pin(("sources", "b", "sha256"), "nothing", SHA256, "path")], Path("params.yaml"))


def test_an_address_that_does_not_answer_is_an_error_with_its_key(project):
    text = without_hub(TEXT).replace("ADDRESS/rows.jsonl", f"{project}/none.jsonl")
    with pytest.raises(InputError, match=r"sources.web.origin: http.*/none.jsonl can't be pinned\n  found: .*404"):
        pins_of(text, Path("params.yaml"))


@pytest.mark.parametrize("text", ["- 1\n", "models: 3\nsources: [1]\n", "sources: {a: 1, b: {origin: 2}, c: {}}\n", ""])
def test_a_file_of_another_form_has_nothing_to_pin(text):
    assert pins_of(text, Path("params.yaml")) == []


def test_a_hub_that_is_not_reached_is_an_error_with_a_hint(tmp_path, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    close_session()  # it has the settings of its start
    text = "models:\n  base: {method: hub, repository: org/base, revision: main}\n"
    with pytest.raises(InputError, match=r"models.base: org/base at main can't be pinned\n(.|\n)*\nhint: .*a network"):
        pins_of(text, tmp_path / "params.yaml")
    close_session()
