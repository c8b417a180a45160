"""`bezoar trace`: a row's way back to its seed and the calls that were paid for it, or to why it was left out."""

import json
import shutil
import unicodedata
from pathlib import Path

import pytest
import yaml
from tree import SHARDS

from bezoar.blocks import Sampling
from bezoar.cli import main
from bezoar.requests.base import ask
from bezoar.requests.calls import Call
from bezoar.requests.lookup import calls_with, messages_of
from bezoar.requests.store import ANSWERS, FOLDER, LEDGER, lines_of


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text().split("\n") if line]


def traced(capsys, text):
    assert main(["trace", text, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def _asks(line, row):
    return json.dumps(row["instruction"]).encode() in line


def evolved_row():
    """A training row of the scheme in its second round, and its part of the scheme."""
    for shard in SHARDS:
        kept = {row["id"]: row for row in rows_of(f"data/filtered/evol/{shard}/kept.jsonl")}
        for row in rows_of("data/mixes/all/train.jsonl"):
            if kept.get(row["id"], {}).get("round") == 2:
                return kept[row["id"]], shard
    raise AssertionError("no row of the second round is trained on")


def test_a_training_row_leads_to_its_seed_and_to_every_call(tree, capsys):
    row, shard = evolved_row()
    found = traced(capsys, row["id"])
    places = {(step["step"], step["name"]): step["place"] for step in found["steps"]}
    assert found["steps"][0]["step"] == "mix"
    assert places["mix", "all"].startswith("data/mixes/all/train.jsonl:")
    assert places["filter", "evol"].startswith(f"data/filtered/evol/{shard}/kept.jsonl:")
    for place in places.values():
        file, _, line = place.partition(":")
        assert rows_of(file)[int(line) - 1]["id"] == row["id"]
    assert not any(step["left_out"] for step in found["steps"] if step["name"] in ("all", "evol"))
    parent, seed = found["ancestors"]
    assert parent["row"]["id"] == row["parent_ids"][0] != row["seed_id"] == seed["row"]["id"]
    assert seed["place"].startswith("data/source/mine/rows.jsonl:")
    lines = Path("mine.jsonl").read_bytes().split(b"\n")
    number = next(at for at, line in enumerate(lines, start=1) if _asks(line, seed["row"]))
    assert seed["from"] == f"mine.jsonl:{number}"
    origin = found["steps"][0]["origin"]
    assert (origin["split"], origin["part"], origin["kind"]) == ("train", "evol", "scheme")
    assert f"{origin['file']}:{origin['line']}" == places["filter", "evol"]
    assert found["missing"] == []
    teacher, judge = found["calls"]
    assert teacher["messages"][-1] == ["user", row["instruction"]]
    assert row["response"] in judge["messages"][-1][1]
    for call, stage in ((teacher, "generate-evol"), (judge, "filter-evol")):
        path, _, line = call["place"].partition(":")
        record = rows_of(path)[int(line) - 1]
        assert path.startswith(f"{FOLDER}/{stage}/{shard}-")
        assert record["key"] == call["key"]
        ledger = [one for _, one in lines_of(FOLDER, LEDGER) if one.get("key") == call["key"]]
        assert call["dollars"] == sum(one["micro"] for one in ledger) / 1e6
    assert judge["dollars"] > teacher["dollars"] == 0
    assert (
        json.loads(rows_of(teacher["place"].split(":")[0])[int(teacher["place"].split(":")[1]) - 1]["response"])[
            "choices"
        ][0]["message"]["content"].strip()
        == row["response"]
    )


def test_a_key_is_that_of_the_call_that_was_sent(tree):
    row, shard = evolved_row()
    (call,) = calls_with(row["prompt_hash"], "generate-evol", shard)
    _, record = next((path, one) for path, one in lines_of(FOLDER, ANSWERS) if one["key"] == call.key)
    again = Call("openai", "/v1/chat/completions", None, record["request"], "0")
    assert again.key == call.key


def test_the_text_has_all_of_it(tree, capsys):
    row, _ = evolved_row()
    found = traced(capsys, row["id"])
    assert main(["trace", row["id"]]) == 0
    shown = capsys.readouterr().out
    for text in (
        *(step["place"] for step in (*found["steps"], *found["ancestors"])),
        *(call["key"] for call in found["calls"]),
        f"${found['calls'][1]['dollars']:.6f}",
        row["instruction"],
        f"rating {row['rating']}",
    ):
        assert text in shown


def test_a_quota_has_its_calls_in_a_stage_of_its_own(tree, capsys):
    row, shard = evolved_row()
    recipe = yaml.safe_load(Path("params.yaml").read_text())
    recipe["filters"]["evol"]["quota"] = 5
    Path("params.yaml").write_text(yaml.safe_dump(recipe))
    for name in ("quota-evol", "filter-other"):  # the same call of another scheme is another one's
        (FOLDER / name).mkdir()
        for path in (FOLDER / "filter-evol").glob(f"{shard}-*"):
            shutil.copy(path, FOLDER / name / path.name.replace(f"{shard}-", "0000-", 1))
    shutil.rmtree(FOLDER / "filter-evol")
    _, judge = traced(capsys, row["id"])["calls"]
    assert judge["place"].startswith(f"{FOLDER}/quota-evol/0000-")


def test_a_rejected_row_leads_to_its_reason(tree, capsys):
    rejected = next(
        row for row in rows_of("data/filtered/evol/0000/rejected.jsonl") if row["reason"].startswith("judge: ")
    )
    found = traced(capsys, rejected["row"]["id"][:10])
    (step,) = [step for step in found["steps"] if (step["step"], step["name"]) == ("filter", "evol")]
    assert step["left_out"] == {"reason": rejected["reason"], "detail": rejected["detail"]}
    assert [call["role"] for call in found["calls"]] == ["teacher", "judge"]


def test_a_candidate_without_an_id_is_found_by_its_place(tree, capsys):
    place = "data/generated/evol/0000/dropped.jsonl:1"
    dropped = rows_of("data/generated/evol/0000/dropped.jsonl")[0]
    found = traced(capsys, place)
    assert found["id"] is None
    assert found["steps"][0]["left_out"]["reason"] == dropped["reason"]
    assert found["ancestors"][0]["row"]["id"] == dropped["row"]["parent"]


def test_a_malformed_line_of_a_source_leads_to_its_file_and_line(tree, capsys):
    (step,) = traced(capsys, "data/source/mine/dropped.jsonl:1")["steps"]
    assert step["left_out"] == {"reason": "not JSON", "detail": "mine.jsonl:2"}
    assert step["row"] == {"value": '{"instruction": "a", "context": '}


def test_a_line_of_a_sources_file_leads_to_what_became_of_it(tree, capsys):
    (step,) = traced(capsys, "mine.jsonl:2")["steps"]
    assert (step["place"], step["left_out"]["reason"]) == ("data/source/mine/dropped.jsonl:1", "not JSON")
    row, place = (rows_of(f"data/source/more/{name}.jsonl")[3] for name in ("rows", "places"))
    found = traced(capsys, f"more.jsonl:{place['line']}")
    assert found["id"] == row["id"]
    assert found["steps"][-1]["place"] == "data/source/more/rows.jsonl:4"
    assert main(["trace", "more.jsonl:999"]) == main(["trace", f"other/more.jsonl:{place['line']}"]) == 1


def test_a_file_outside_of_the_project_is_known_by_the_last_part_of_its_path(tree, capsys):
    path = Path("data/source/more/places.jsonl")
    line = rows_of(path)[3]["line"]
    for name in ("../rows/more.jsonl", "/somewhere/else/more.jsonl", "~/more.jsonl"):
        assert traced(capsys, f"{name}:{line}")["steps"][-1]["place"] == "data/source/more/rows.jsonl:4"
    assert main(["trace", f"../evenmore.jsonl:{line}"]) == 1
    Path("data/source/more/dropped.jsonl").write_text(
        '{"reason": "empty", "detail": "../rows/more.jsonl:99", "row": {}}\n'
    )
    for name in ("../rows/more.jsonl", str(Path("../rows/more.jsonl").resolve()), "more.jsonl"):
        assert traced(capsys, f"{name}:99")["steps"][0]["left_out"]["reason"] == "empty"


def test_a_line_with_several_rows_is_an_error_that_names_them(tree, capsys):
    path = Path("data/source/more/places.jsonl")
    path.write_text("".join(json.dumps(row | {"line": 1, "item": n}) + "\n" for n, row in enumerate(rows_of(path), 1)))
    assert main(["trace", "more.jsonl:1"]) == 1
    assert "found:    data/source/more/rows.jsonl:1, data/source/more/rows.jsonl:2, " in capsys.readouterr().err


def test_a_row_of_a_baseline_has_no_call_of_its_own(tree, capsys):
    kept = {row["id"] for row in rows_of("data/filtered/evol/0000/kept.jsonl")}
    drawn = next(row for row in rows_of("data/filtered/evol_random/0000/kept.jsonl") if row["id"] not in kept)
    found = traced(capsys, drawn["id"])
    by_name = {step["name"]: step for step in found["steps"] if step["step"] == "filter"}
    assert by_name["evol"]["left_out"]
    assert by_name["evol_random"]["left_out"] is None


def test_what_is_not_here_is_said_and_the_rest_is_shown(tree, capsys):
    row, shard = evolved_row()
    shutil.rmtree("responses")
    shutil.rmtree(f"data/generated/evol/{shard}")
    found = traced(capsys, row["id"])
    assert found["calls"] == []
    assert any(f"data/generated/evol/{shard} isn't here" in text for text in found["missing"])
    assert sum("responses/ has no call" in text for text in found["missing"]) == 2
    assert f"row {row['parent_ids'][0]}, from which it was made, isn't here" in found["missing"]
    assert main(["trace", row["id"]]) == 0
    assert "note: responses/ has no call of the judge" in capsys.readouterr().out


def test_a_judge_that_is_no_api_has_no_calls(tree, capsys):
    params = Path("params.yaml")
    judge = next(line for line in params.read_text().split("\n") if line.startswith("  judge: {<<"))
    params.write_text(params.read_text().replace(judge, "  judge: {kind: verifier}"))
    missing = traced(capsys, evolved_row()[0]["id"])["missing"]
    assert "the judge, backend judge, is no API: it stores no calls and costs nothing" in missing


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ffffffffffffffff0", "no row here with an id that starts so\n  found:    ffffffffffffffff0"),
        ("", "more than one row with an id that starts so\n  found:    "),
        ("data/mixes/all/train.jsonl:999", "no row there"),
        ("/etc/passwd:1", "no row there"),
        ("params.yaml:1", "no row there"),
    ],
)
def test_a_row_that_is_none_or_several_is_an_error(tree, capsys, text, message):
    assert main(["trace", text]) == 1
    assert message in capsys.readouterr().err


def test_a_secret_of_a_row_is_not_shown(tree, capsys):
    secret = "ghp_" + "Ab1Cd2Ef3G" * 3 + "Hi4Jk5"
    path = Path("data/filtered/evol/0000/rejected.jsonl")
    row = rows_of(path)[0]
    response = f"{'word ' * 117}key {secret}.\n{secret}"  # where the text is cut, and behind what JSON writes as \\n
    row["row"] |= {"id": "feedfacefeedface", "response": response}
    row["reason"], row["detail"] = "judge: leak", f"The response has {secret}."
    path.write_text(path.read_text() + json.dumps(row) + "\n")
    for flags in ([], ["--json"]):
        assert main(["trace", "feedface", *flags]) == 0
        shown = capsys.readouterr().out
        assert "[secret]" in shown
        assert secret[:10] not in shown


def test_text_from_rows_and_servers_is_safe_for_a_terminal(tree, capsys):
    path = Path("data/filtered/evol/0000/rejected.jsonl")
    hostile = rows_of(path)[0]
    hostile["reason"], hostile["detail"] = "\x1b]0;title\x07", "\u202eback\x9b"
    hostile["row"] |= {"id": "feedfacefeedface", "response": "\x1b[2J\nnext \u200b"}
    path.write_text(path.read_text() + json.dumps(hostile) + "\n")
    assert main(["trace", "feedface"]) == 0
    shown = capsys.readouterr().out
    assert "\\x1b]0;title\\x07" in shown
    assert not [letter for letter in shown if letter != "\n" and not letter.isprintable()]


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, (("user", "a"),)),
        ({"system": "s", "messages": [{"role": "user", "content": "a"}]}, (("system", "s"), ("user", "a"))),
        ({"messages": 7}, ()),
        ({"messages": [7, {"role": 1, "content": []}]}, ()),
        ([], ()),
        (None, ()),
    ],
)
def test_messages_of_a_stored_request_are_checked(body, messages):
    assert messages_of(body) == messages


def test_a_prompt_is_found_whatever_form_of_unicode_it_had(tree):
    row, shard = evolved_row()
    (call,) = calls_with(row["prompt_hash"], "generate-evol", shard)
    path = Path(call.place.split(":")[0])
    path.write_text(path.read_text().replace("Tell me", "T\u00e9ll me"))  # as it would be stored
    asked = [
        ask("1", unicodedata.normalize(form, call.messages[0][1].replace("Te", "T\u00e9")), Sampling())
        for form in ("NFC", "NFD")
    ]
    assert asked[0].messages != asked[1].messages
    assert asked[0].prompt_hash == asked[1].prompt_hash != row["prompt_hash"]
    assert [one.key for one in calls_with(asked[1].prompt_hash, "generate-evol", shard)] == [call.key]


def test_a_store_with_broken_lines_is_read_past_them(tree):
    row, shard = evolved_row()
    (call,) = calls_with(row["prompt_hash"], "generate-evol", shard)
    path = Path(call.place.split(":")[0])
    path.write_bytes(b'{"key": 7, "request": {"messages": []}}\n[\n\xff\n' + path.read_bytes() + b'{"key":"torn')
    (again,) = calls_with(row["prompt_hash"], "generate-evol", shard)
    assert (again.key, again.sent) == (call.key, call.sent)
    assert calls_with("0" * 64, "generate-evol", shard) == []
