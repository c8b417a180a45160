"""Cleaning of a mix's rows: what goes, what stays, what is counted, and that no secret is written anywhere."""

import json
import random
import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import REAL

from bezoar.steps.data import marks, personal, secrets
from bezoar.steps.data.cleaning import Cleaner, Cleaning, texts_of
from bezoar.steps.data.mix import Mix
from bezoar.steps.data.mixing import write_mix
from bezoar.steps.data.pool import Folders
from bezoar.steps.data.rows import ChatRow, Message, PreferenceRow, SeedRow, Unusable, read_rows, write_rows
from bezoar.steps.data.source import write_source
from bezoar.steps.data.sources import Source

DRAW = random.Random(7)


def token(length: int, letters: str = string.ascii_letters + string.digits) -> str:
    """Random characters: no key of this file is one of anybody."""
    return "".join(DRAW.choice(letters) for _ in range(length))


UPPER, LOWER, HEX = string.ascii_uppercase + string.digits, string.ascii_lowercase + string.digits, "0123456789abcdef"
SECRETS = {
    "AWS Access Key": ["AKIA" + token(16, UPPER), f'aws_secret_key = "{token(40)}"'],
    "Anthropic API Key": ["sk-ant-api03-" + token(95)],
    "Azure Storage Account access key": ["AccountKey=" + token(86) + "=="],
    "Discord Bot Token": ["M" + token(23) + "." + token(6) + "." + token(27)],
    "GitHub Token": ["ghp_" + token(36), "github_pat_" + token(82)],
    "GitLab Token": ["glpat-" + token(20)],
    "Google API Key": ["AIza" + token(35)],
    "Hugging Face Token": ["hf_" + token(34, string.ascii_letters)],
    "JSON Web Token": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI5In0." + token(43)],
    "Mailchimp Access Key": [token(32, HEX) + "-us12"],
    "NPM tokens": ["//registry.npmjs.org/:_authToken=npm_" + token(36)],
    "OpenAI Token": ["sk-" + token(20) + "T3Blbk" + "FJ" + token(20)],
    "Private Key": ["-----BEGIN RSA PRIVATE" + f" KEY-----\n{token(64)}\n{token(40)}\n-----END RSA PRIVATE KEY-----"],
    "PyPI Token": ["pypi-AgEIcHlwaS5v" + "cmc" + token(90)],
    "SendGrid API Key": ["SG." + token(22) + "." + token(43)],
    "Slack Token": ["xoxb-" + token(12, string.digits) + "-" + token(24, LOWER)],
    "Square OAuth Secret": ["sq0csp-" + token(43)],
    "Stripe Access Key": ["sk_live_" + token(24)],
    "Telegram Bot Token": [token(9, "123456789") + ":" + token(35)],
    "Twilio API Key": ["SK" + token(32, HEX)],
}
FRAMES = [
    "{}",
    "My key is {}, keep it.",
    "export TOKEN={}\n",
    "```\nkey: {}\n```",
    "\n\n({})",
    'client(token="{}")',
    "密钥是{}请保管",
]


def seed(instruction: str = "Say it.", response: str | None = "Yes.", context: str | None = None) -> SeedRow:
    return SeedRow(id="r1", instruction=instruction, context=context, response=response, category=None)


def cleaned(text: str, **options: Any) -> str:
    """A response after cleaning."""
    return str(Cleaner(Cleaning(**options))(seed(response=text)).response)


# --- Secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SECRETS)
def test_each_kind_of_secret_is_found_in_each_frame_and_redacted_whole(kind):
    for secret in SECRETS[kind]:
        for frame in FRAMES:
            found: set[str] = set()
            text = secrets.redacted(frame.format(secret), found)
            assert f"secret: {kind}" in found, frame
            assert secrets.PUT in text
            assert not any(part in text for part in secret.split("\n") if len(part) > 25), frame


def test_a_row_with_a_secret_is_dropped_by_default_and_the_reason_does_not_show_it():
    secret = SECRETS["GitHub Token"][0]
    cleaner = Cleaner(Cleaning())
    with pytest.raises(Unusable) as caught:
        cleaner(seed(instruction=f"Use {secret}."))
    assert str(caught.value) == "secret: GitHub Token"
    assert cleaner(seed()) == seed()
    assert cleaner.counts == {}


def test_secrets_are_redacted_if_asked_for_and_left_if_not():
    text = f"It is {SECRETS['Stripe Access Key'][0]}."
    cleaner = Cleaner(Cleaning(secrets="redact"))
    assert cleaner(seed(response=text)).response == "It is [secret]."
    assert cleaner.counts == {"secret: Stripe Access Key": 1}
    assert cleaned(text, secrets=None) == text


@pytest.mark.parametrize(
    "text",
    [
        "ghp_" + "x" * 36,
        "AKIA" + "IOSFODNN7" + "EXAMPLE",
        "The file starts with -----BEGIN RSA PRIVATE KEY-----, then come the bytes.",
        "postgres://user:password@localhost/db",
        "password = 'hunter2'; api_key = os.environ['API_KEY']",
        "sha256 " + token(64, HEX),
        "https://example.com/" + "-".join(["words"] * 30),
        "MISSISSIPPI ASIAN" + "A" * 30,
        "data:image/png;base64," + "iVBORw0KGgo" + "AAAANSUhEUgAA" * 9,
        "\u4e2d\u6587" * 200,
    ],
)
def test_placeholders_documented_examples_and_ordinary_code_are_no_secrets(text):
    found: set[str] = set()
    assert secrets.redacted(text, found) == text
    assert not found


def real_texts() -> Iterator[str]:
    for path in sorted(REAL.rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            yield from strings(json.loads(line))


def strings(data: Any) -> Iterator[str]:
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for one in data.values() if isinstance(data, dict) else data:
            yield from strings(one)


def test_no_text_of_the_real_samples_has_a_secret():
    if not REAL.is_dir():
        pytest.skip("the real samples aren't on this machine")
    found: set[str] = set()
    texts = list(real_texts())
    assert len(texts) > 4000
    assert [secrets.redacted(text, found) for text in texts] == texts
    assert not found


def test_no_file_of_this_project_alarms_and_the_scan_is_fast():
    texts = [path.read_text(encoding="utf-8") for path in sorted(Path(secrets.__file__).parents[3].rglob("*.py"))]
    found: set[str] = set()
    secrets.patterns()
    start = time.process_time()
    assert [secrets.redacted(text, found) for text in texts] == texts
    seconds = time.process_time() - start
    assert not found
    assert seconds < 1e-6 * sum(map(len, texts)) * 2  # a MB takes some 0.05 s; 2 s are for the slowest machine


def test_a_mix_writes_no_secret_anywhere_and_counts_the_rows(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    secret = SECRETS["OpenAI Token"][0]
    lines = [
        {"id": f"r{n}", "instruction": f"Is {n} even?", "context": "", "response": f"It is {n}.[{n}]"}
        for n in range(1, 30)
    ]
    lines[4]["response"] = f"Use {secret}."
    write_rows("rows.jsonl", [{**one, "category": None} for one in lines])
    source = Source.model_validate({"path": "rows.jsonl", "columns": {}})
    write_source(source, 0, tmp_path / "data/source/own")
    block = Mix.model_validate(
        {"parts": [{"name": "own", "kind": "source"}], "eval_rows": 2, "cleaning": {"footnotes": True}}
    )
    folders = Folders(tmp_path / "data/filtered", tmp_path / "data/source", tmp_path / "data/selected", 1)
    write_mix(block, folders, None, [], None, 0, tmp_path / "data/mixes/all")
    report = json.loads((tmp_path / "data/mixes/all/report.json").read_text())
    assert report["cleaned"] == {"footnotes": 28}
    assert report["dropped"] == {"secret: OpenAI Token": 1}
    written = "".join(path.read_text() for path in (tmp_path / "data/mixes/all").iterdir())
    said = capfd.readouterr()
    assert not any(secret[:12] in text for text in (written, said.out, said.err))
    assert "[3]" not in written


# --- Thinking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<think>\nHm.\n</think>\n\nYes.", "Yes."),
        ("<think></think>Yes.", "Yes."),
        ("Hm.\n</think>\nYes.", "Yes."),
        ("<Thinking>a</Thinking><answer>Yes.</answer>", "Yes."),
        ("Well.\n<think>a\n\nb</think>\nYes.", "Well.\nYes."),
        ("Well.\n<reasoning>and so on", "Well."),
        ("[THINK]a[/THINK]Yes.", "Yes."),
        ("<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>Yes.<|end_of_solution|>", "Yes."),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Yes.", "Yes."),
        ("<think>\n```\n</div>\n```\n</think>\nYes.", "Yes."),
        ("The tag <think> starts it, and </think> ends it.", "The tag <think> starts it, and </think> ends it."),
        ("Write `<think>` first.", "Write `<think>` first."),
        ("So:\n```\n<think>\n```\nThat is all.", "So:\n```\n<think>\n```\nThat is all."),
        ("I think, therefore I am.", "I think, therefore I am."),
    ],
)
def test_thinking_goes_and_a_mention_of_its_tags_stays(text, wanted):
    assert cleaned(text, thinking=True) == wanted
    assert cleaned(wanted, thinking=True) == wanted


def test_a_response_that_is_all_thinking_makes_a_row_unusable():
    with pytest.raises(Unusable, match="empty after cleaning"):
        cleaned("<think>It never ends", thinking=True)


def test_thinking_is_looked_for_in_responses_only():
    row = seed(instruction="<think>Do I?</think>", response="<think>b</think>You do.")
    found = Cleaner(Cleaning(thinking=True))(row)
    assert (found.instruction, found.response) == ("<think>Do I?</think>", "You do.")


# --- Markup ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<p>One.</p><p>Two &amp; three.</p>", "One.\nTwo & three."),
        ('See <a href="https://x.y">here</a>.<br/>Now.', "See here.\nNow."),
        ("<!-- no -->Yes<script>alert(1)</script>.", "Yes."),
        ("A <b>bold</b> word&nbsp;here.", "A bold word here."),
        ("What does <b> do?", "What does <b> do?"),
        ("if a < b and c > d: x", "if a < b and c > d: x"),
        ("A List<String> of Map<K, V>.", "A List<String> of Map<K, V>."),
        ("```html\n<p>One.</p>\n```", "```html\n<p>One.</p>\n```"),
        ("Use `<p>a</p>`, not <p>b</p>", "Use `<p>a</p>`, not b"),
        ("AT&T and R&D; x=1&copy=2", "AT&T and R&D; x=1&copy=2"),
    ],
)
def test_markup_goes_and_code_and_mentions_stay(text, wanted):
    assert cleaned(text, markup=True) == wanted


@pytest.mark.parametrize("opening", ["<!--", "<script>", "<style a>", "eyJ"])
def test_what_is_opened_many_times_and_never_ends_is_read_once(opening):
    text, start = opening * 200_000, time.process_time()
    assert secrets.redacted(marks.without_markup(text), set()) == text
    assert time.process_time() - start < 20  # with a look for the end at each of them, minutes


def test_comments_scripts_and_styles_go_up_to_their_own_end():
    text = "a<!--<script>-->b<SCRIPT>-->\n</script>c<style>x</STYLE>d<!doctype html>\ne<!--f"
    assert cleaned(text, markup=True) == "abcde<!--f"


# --- Footnotes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It fell in 1989.[1] Then it rose.[2][3]", "It fell in 1989. Then it rose."),
        ("Its height[12] is known [citation needed].", "Its height is known."),
        ("So it is.[1, 2] And[4\u20136] more.", "So it is. And more."),
        ("So it is[^1].\n\n[^1]: A book.\nEnd.", "So it is.\n\nEnd."),
        ("As said.\u30104\u2020source\u3011 Yes.", "As said. Yes."),
        ("As said.\u00b2 The height\u00b9\u00b2 is known.", "As said. The height is known."),
        ("As said.<sup>[3]</sup> Yes.", "As said. Yes."),
        ("10 m\u00b2, 5 km\u00b2, 20 feet\u00b2, x\u00b2 + y\u00b9\u2070, 10<sup>5</sup>", None),
        ("The value a[1] is small.", None),
        ("Here rows[0] is the first, and rows[1] the next.", None),
        ("`rows[1]` and\n```\nrows[1]\n```", None),
        ("[1] is a list with one number. [1, 2] has two.", None),
        ("Pick [a] or [b], not [link](https://x.y).", None),
        ("\u3010\u6ce8\u610f\u3011\u8fd9\u662f\u4e00\u4e2a\u6807\u9898\u3002", None),
    ],
)
def test_footnote_marks_go_and_indices_units_and_powers_stay(text, wanted):
    assert cleaned(text, footnotes=True) == (text if wanted is None else wanted)


# --- Personal data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Write to jo.doe+x@example.co.uk.", "Write to [e-mail]."),
        ("Call +44 20 7946 0958 now.", "Call [telephone] now."),
        ("It is 8.8.4.4, or 2001:4860:4860::8888.", "It is [IP address], or [IP address]."),
        ("Card 4111 1111 1111 1111, please.", "Card [card number], please."),
        ("To DE89 3704 0044 0532 0130 00 at once.", "To [bank account] at once."),
        ("127.0.0.1, 10.0.0.7 and version 1.2.3", None),
        ("Order 4111 1111 1111 1112, pi is 3.14159265358979", None),
        ("@handle and decorators @cache(8) stay", None),
        ("In 1989 12 345 678 people lived there.", None),
    ],
)
def test_personal_data_is_redacted_by_kind(text, wanted):
    assert cleaned(text, personal="redact") == (text if wanted is None else wanted)


def test_telephone_numbers_of_a_country_need_its_name():
    text = "Call (650) 253-0000."
    assert cleaned(text, personal="redact") == text
    assert cleaned(text, personal="redact", phone_region="US") == "Call [telephone]."
    found: set[str] = set()
    personal.redacted(text, "US", found)
    assert found == {"personal: telephone"}


def test_a_row_with_personal_data_is_dropped_if_asked_for():
    with pytest.raises(Unusable, match=r"^personal: e-mail$"):
        cleaned("It's jo@example.org.", personal="drop")


# --- Language -------------------------------------------------------------------------------------------------------

ENGLISH = "The weather is nice today, and we are going for a walk along the river."
GERMAN = "Das Wetter ist heute sehr schön, und wir gehen am Fluss entlang spazieren."


def test_rows_in_other_languages_are_dropped_and_short_or_code_texts_stay():
    cleaner = Cleaner(Cleaning(languages=["en"]))
    assert cleaner(seed(ENGLISH, "Oui."))
    assert cleaner(seed(ENGLISH, f"```\n# {GERMAN}\n```"))
    with pytest.raises(Unusable, match=r"^language: de$"):
        cleaner(seed(ENGLISH, GERMAN))
    with pytest.raises(Unusable, match=r"^language: de$"):
        cleaner(seed(GERMAN, ENGLISH))
    assert Cleaner(Cleaning(languages=["en", "de"]))(seed(ENGLISH, GERMAN))


def test_a_language_that_nobody_can_tell_is_an_error():
    with pytest.raises(ValueError, match="xx"):
        Cleaner(Cleaning(languages=["xx"]))(seed(ENGLISH, ENGLISH))


def test_real_rows_in_english_are_english():
    if not REAL.is_dir():
        pytest.skip("the real samples aren't on this machine")
    cleaner, other = Cleaner(Cleaning(languages=["en"])), []
    names = {"dolly_sample": ("instruction", "response"), "flan_cot_sample": ("inputs", "targets")}
    names["hh_rlhf_harmless_sample"] = ("chosen", "rejected")
    for name, (first, second) in names.items():
        for line in (REAL / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            try:
                cleaner(seed(one[first], one[second]))
            except Unusable as reason:
                other.append(str(reason))
    assert len(other) <= 2, other  # of 920


# --- Rows -----------------------------------------------------------------------------------------------------------


def test_each_text_of_each_kind_of_row_is_cleaned_and_ids_stay():
    turns = [Message(role=role, content=f"{role}.[1] <b>x</b>") for role in ("system", "user", "assistant", "user")]
    pair = PreferenceRow(id="p", messages=turns, chosen="Yes.[2]", rejected="No.[3]", gold="Sure.[4]")
    chat = ChatRow(id="c", family="f", messages=turns[:3])
    cleaner = Cleaner(Cleaning(footnotes=True, markup=True))
    for row in (pair, chat, seed("Do.[1]", "Yes.[2]", "Text.[3]")):
        found = cleaner(row)
        assert found.id == row.id
        assert type(found) is type(row)
        assert len(list(texts_of(found))) == len(list(texts_of(row)))
        assert not any("[" in text or "<" in text for _, text in texts_of(found))
    assert cleaner.counts == {"footnotes": 3, "markup": 2}


def test_two_responses_that_become_equal_are_no_preference():
    turns = [Message(role="user", content="Say it.")]
    with pytest.raises(Unusable, match="equal after cleaning"):
        Cleaner(Cleaning(footnotes=True))(PreferenceRow(id="p", messages=turns, chosen="Yes.[1]", rejected="Yes."))


def test_a_context_may_become_empty_and_a_turn_may_not():
    cleaner = Cleaner(Cleaning(markup=True))
    assert cleaner(seed(context="<br>")).context == ""
    with pytest.raises(Unusable, match="empty after cleaning"):
        cleaner(seed(response="<br>"))


def test_cleaning_twice_changes_nothing_more_in_real_rows():
    if not REAL.is_dir():
        pytest.skip("the real samples aren't on this machine")
    for text in real_texts():
        for change in (marks.without_thinking, marks.without_footnotes):
            assert change(change(text)) == change(text)


def test_the_bytes_of_a_row_without_findings_stay(tmp_path):
    row = seed("  Spaces stay. ", "So\tdo tabs.\r\n\n\n\nAnd lines. ")
    cleaner = Cleaner(Cleaning(thinking=True, markup=True, footnotes=True, personal="redact", languages=["en"]))
    assert cleaner(row) is row
    write_rows(tmp_path / "rows.jsonl", [row])
    assert list(read_rows(tmp_path / "rows.jsonl", SeedRow)) == [row]


def test_the_block_reads_as_yaml():
    assert Cleaning.model_validate(yaml.safe_load("{secrets: null, languages: [en]}")).secrets is None
