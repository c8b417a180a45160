"""The filter: cheap rules in their order, a judge's verdict read without guessing, and every row accounted for."""

import json
from collections import Counter

import pytest

import filter as rule  # the script is named like the rule, and so like a builtin
from bezoar.backends import Completion
from bezoar.contamination import EvaluationItems
from bezoar.params.blocks import Sampling
from bezoar.params.data import Filter
from bezoar.rows import GeneratedRow, row_id

TEXTS = rule.FilterPrompts(
    system="Judge.", user="{criteria}\n{instruction}\n{response}", criteria={"factual": "It is true.", "safe": "It is."}
)
USER = "{criteria} {instruction} {response}"
ACCEPT = {"reasons": [], "reason": "fine", "rating": 8, "status": "accept"}
ITEMS = EvaluationItems(["How many legs does a spider have in all?"])


class ParrotJudge:
    """Gives the answers of a table by attempt, and otherwise accepts; keeps every request."""

    def __init__(self, *answers):
        self.answers = answers
        self.requests = []

    def complete(self, requests, what):
        self.requests += requests
        return [Completion(self.answer(request), "stop", "parrot-2") for request in requests]

    def answer(self, request):
        attempt = int(request.key.split(":")[2])
        return self.answers[attempt] if attempt < len(self.answers) else json.dumps(ACCEPT)


def block(**changes):
    values = {
        "judge": "judge",
        "prompts": "filter.yaml",
        "sampling": Sampling(temperature=0, top_p=1, max_new_tokens=100),
        "attempts": 1,
        "refusal_phrases": ["as an AI"],
        "leaked_markers": ["<|answer|>"],
        "most_repetition": 0.5,
        "avoid": [],
        "most_unjudged": 0.0,
    }
    return Filter(**values | changes)


def made(instruction="Name a fruit.", response="An apple.", finish_reason="stop", system=None):
    name = row_id(instruction, response, finish_reason, system or "")
    columns = dict.fromkeys(("seed_id", "operation", "category")) | {"parent_ids": [], "topics": [], "round": 0}
    return GeneratedRow(
        id=name,
        scheme="evol",
        root_id=name,
        system=system,
        instruction=instruction,
        response=response,
        teacher="parrot",
        prompt_hash="0",
        finish_reason=finish_reason,
        **columns,
    )


def run(rows, judge=None, **changes):
    return rule.filtered(rows, judge or ParrotJudge(), block(**changes), TEXTS, ITEMS)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (made(response=""), "empty response", ""),
        (made(finish_reason="length"), "finish reason length", ""),
        (made(finish_reason="refusal"), "finish reason refusal", ""),
        (made(response="NAME a fruit."), "echo of the instruction", ""),
        (made(response="An apple. <|answer|>"), "leaked marker", "<|answer|>"),
        (made(instruction="<|answer|> Name one."), "leaked marker", "<|answer|>"),
        (made(response="AS AN AI I have none."), "refusal", "as an AI"),
        # 14 words are 12 triples; of `a b` over and over 2 differ, so 10 of 12 = 83 % stood before
        (made(response="a b " * 7), "repetition", "83% of word triples repeated"),
        (made(instruction="So: how many legs does a spider have, in all?"), "evaluation item", ""),
        (made(response="How many legs does a spider have in all"), "evaluation item", ""),
    ],
)
def test_each_cheap_rule_rejects_a_row_and_asks_no_judge(row, reason, detail):
    judge = ParrotJudge()
    kept, rejected = run([row], judge)
    assert (kept, judge.requests) == ([], [])
    assert [(one.reason, one.detail, one.row["id"]) for one in rejected] == [(reason, detail, row.id)]


def test_cheap_rules_come_in_their_order():
    # each row breaks its own rule and all later ones that it can break as well
    loop = "as an ai <|answer|> " * 8
    rows = [
        made(response="", finish_reason="length"),
        made(instruction=loop, response=loop, finish_reason="length"),
        made(instruction=loop, response=loop),
        made(response=loop),
        made(response="as an ai " * 8),
        made(response="a b " * 8 + "how many legs does a spider have in all"),
    ]
    expected = [
        "empty response",
        "finish reason length",
        "echo of the instruction",
        "leaked marker",
        "refusal",
        "repetition",
    ]
    assert [row.reason for row in run(rows)[1]] == expected


def test_of_two_rows_with_the_same_texts_the_first_stays():
    rows = [made(), made(response="an APPLE."), made(system="Be brief.")]
    kept, rejected = run(rows)
    assert [row.id for row in kept] == [rows[0].id, rows[2].id]
    assert [(row.reason, row.row["id"]) for row in rejected] == [("duplicate", rows[1].id)]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("a a a a a a a a a a a a a", 0.0),  # 13 words are 11 triples: too few to say
        ("a a a a a a a a a a a a a a", 11 / 12),
        ("a b c d e f g h i j k l m n", 0.0),
        ("a b c d e f g a b c d e f g", 5 / 12),  # of 12 triples 7 are new: those that start with a to g
    ],
)
def test_repetition_is_the_share_of_triples_that_stood_before(text, share):
    assert rule.repetition(text) == pytest.approx(share)


def test_repetition_at_the_limit_is_kept():
    text = "a b c d e f g a b c d e f g"
    assert len(run([made(response=text)], most_repetition=5 / 12)[0]) == 1
    assert len(run([made(response=text)], most_repetition=0.4)[0]) == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps(ACCEPT), "fine"),
        (f"I looked {{closely}}.\n```json\n{json.dumps(ACCEPT, indent=1)}\n```\nThat is all.", "fine"),
        (json.dumps(ACCEPT | {"reason": 'a } and {x} and {"y": 1}'}), 'a } and {x} and {"y": 1}'),
        (json.dumps(ACCEPT | {"reason": "draft"}) + json.dumps(ACCEPT | {"reason": "last"}), "last"),
        (json.dumps(ACCEPT | {"more": {"nested": {}}}), "fine"),
        (json.dumps(ACCEPT) + " {not json}", "fine"),
    ],
)
def test_the_last_object_is_the_verdict(text, reason):
    assert rule.read_verdict(text).reason == reason


@pytest.mark.parametrize(
    "text",
    [
        "",
        "accept",
        "{}",
        "{" * 50,
        json.dumps([1, 2]),
        json.dumps(ACCEPT)[:-1],
        json.dumps({name: value for name, value in ACCEPT.items() if name != "status"}),
        json.dumps({name: value for name, value in ACCEPT.items() if name != "reasons"}),
        json.dumps(ACCEPT | {"status": "maybe"}),
        json.dumps(ACCEPT | {"status": "accepted"}),
        json.dumps(ACCEPT | {"rating": 0}),
        json.dumps(ACCEPT | {"rating": 11}),
        json.dumps(ACCEPT | {"reasons": None}),
        # the format that the judge was shown, and then a verdict that can't be read: the example is none
        f"Format: {json.dumps(ACCEPT)}\nVerdict: {json.dumps(ACCEPT | {'status': 'unsure'})}",
    ],
)
def test_what_is_no_verdict_is_never_taken_for_one(text):
    assert rule.read_verdict(text) is None


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (ACCEPT, None),
        (ACCEPT | {"rating": 1}, None),  # the rating is kept, and is no gate
        (ACCEPT | {"status": "reject"}, "judge: status"),
        (ACCEPT | {"reasons": ["safe"]}, "judge: safe"),
        (ACCEPT | {"status": "reject", "reasons": ["safe", "factual", "safe"]}, "judge: factual, safe"),
    ],
)
def test_a_row_is_kept_only_without_an_unmet_criterion_and_with_status_accept(verdict, reason):
    kept, rejected = run([made()], ParrotJudge(json.dumps(verdict)))
    assert len(kept) == (reason is None)
    assert [row.reason for row in rejected] == ([reason] if reason else [])


def test_a_kept_row_carries_its_verdict():
    judge = ParrotJudge()
    (row,), _ = run([made()], judge)
    assert (row.status, row.rating, row.reason, row.judge) == ("accept", 8.0, "fine", "parrot-2")
    assert row.judge_prompt_hash == judge.requests[0].prompt_hash
    assert made().model_dump().items() <= row.model_dump().items()


def test_the_judge_sees_criteria_instruction_and_response_as_they_are():
    judge = ParrotJudge()
    run([made(instruction="Fill {response}.", response="{criteria}")], judge)
    (request,) = judge.requests
    assert request.system == "Judge."
    assert request.turns == ["- factual: It is true.\n- safe: It is.\nFill {response}.\n{criteria}"]
    assert (request.subject.turns, request.subject.response) == (("Fill {response}.",), "{criteria}")
    assert request.schema["properties"]["reasons"]["items"]["enum"] == ["factual", "safe"]
    assert list(request.schema["properties"]) == ["reasons", "reason", "rating", "status"]


def test_an_unreadable_verdict_is_asked_again_with_a_new_draw():
    judge = ParrotJudge("hm", "hm")
    kept, rejected = run([made()], judge, attempts=3)
    assert (len(kept), rejected) == (1, [])
    assert [request.key for request in judge.requests] == [f"judge:{made().id}:{attempt}" for attempt in range(3)]


def test_a_readable_rejection_is_not_asked_again():
    judge = ParrotJudge(json.dumps(ACCEPT | {"status": "reject"}))
    assert len(run([made()], judge, attempts=3)[1]) == 1
    assert len(judge.requests) == 1


def test_too_many_rows_without_a_verdict_are_an_error():
    rows = [made(response=f"Apple {number}.") for number in range(4)]
    message = r"found:    4 of 4 rows without a verdict, such as 'hm'\n  expected: at most a share of 0\.5"
    with pytest.raises(ValueError, match=message):
        run(rows, ParrotJudge("hm"), most_unjudged=0.5)


def test_rows_without_a_verdict_are_rejected_as_such_where_they_are_few():
    class Moody(ParrotJudge):
        def answer(self, request):
            return "hm" if request.subject.response == "Apple 0." else json.dumps(ACCEPT)

    rows = [made(response=f"Apple {number}.") for number in range(4)]
    kept, rejected = run(rows, Moody(), most_unjudged=0.25)  # 1 of 4 is a share of 0.25
    assert (len(kept), [(row.reason, row.detail) for row in rejected]) == (3, [("unjudged", "hm")])
    with pytest.raises(ValueError, match="1 of 4 rows"):
        run(rows, Moody(), most_unjudged=0.24)


def test_counts_add_up():
    class Strict(ParrotJudge):
        def answer(self, request):
            return json.dumps(ACCEPT | {"reasons": [] if int(request.subject.response.split()[1]) % 2 else ["safe"]})

    rows = [made(response=f"Apple {number} is good.") for number in range(10)] + [made(response="")] * 1
    rows += [made(response="Apple 1 is good."), made(response="as an ai 1")]
    kept, rejected = run(rows, Strict())
    assert len(kept) == 5
    expected = {"judge: safe": 5, "empty response": 1, "duplicate": 1, "refusal": 1}
    assert Counter(row.reason for row in rejected) == expected
    assert len(kept) + len(rejected) == len(rows) == 13


def test_no_rows_are_no_error():
    assert run([]) == ([], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"system: s\nuser: '{USER.replace('{response}', '')}'\ncriteria: {{a: b}}\n",
            ": user: the slots are not those that this method fills\n  found:    {criteria}, {instruction}\n"
            "  expected: {criteria}, {instruction}, {response}",
        ),
        (f"system: s\nusr: '{USER}'\ncriteria: {{a: b}}\n", ":2: usr: no such key\n  found:    usr\n  expected: "),
        (f"user: '{USER}'\ncriteria: {{a: b}}\n", ":1: system: the key is missing\n  found:    nothing"),
        (f"system: s\nuser: '{USER}'\ncriteria: {{}}\n", ":3: criteria: the value does not fit\n  found:    {}"),
        ("system: [\n", ":2: not YAML\n  found:    "),
    ],
)
def test_a_prompt_file_that_does_not_fit_is_told_with_file_and_key(tmp_path, text, message):
    path = tmp_path / "filter.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="found: ") as caught:
        rule.filter_prompts(path)
    assert str(caught.value).startswith(f"{path}{message}")
