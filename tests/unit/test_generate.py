"""The three schemes: what a teacher is asked, what of its answers is dropped and why, and that nothing gets lost."""

import json
import random
from collections import Counter

import pytest

from bezoar.blocks import Sampling
from bezoar.files import files_in
from bezoar.requests.base import Completion
from bezoar.steps.data.rows import DroppedRow, GeneratedRow, SeedRow, read_rows, row_id
from bezoar.steps.generate import evol, lamini, orca
from bezoar.steps.generate.evol import Evol
from bezoar.steps.generate.lamini import Lamini
from bezoar.steps.generate.orca import Orca
from bezoar.steps.generate.scheme import write_shard
from bezoar.steps.generate.templates import OPERATIONS

SAMPLING = Sampling(temperature=1.0, top_p=0.95, max_new_tokens=64)


class ParrotTeacher:
    """Answers with a function of the prompt, by default the prompt itself, and keeps every request.

    The function gives a text, or a completion that ends in another way.
    """

    def __init__(self, answer=lambda request: request.turns[-1]):
        self.answer = answer
        self.requests = []

    def complete(self, requests, what):
        self.requests += requests
        found = [self.answer(request) for request in requests]
        return [one if isinstance(one, Completion) else Completion(one, "stop", "parrot") for one in found]

    def asked(self, prefix):
        """The keys of requests that start with a prefix."""
        return [request.key for request in self.requests if request.key.startswith(prefix)]


# What a teacher gives if it gives nothing that can be used, and the reason and detail of its row then.
CUT = Completion("Half of", "length", "parrot")
FAULTS = [
    (CUT, "failed: length", "Half of"),
    (Completion("", "length", "parrot"), "failed: length", ""),
    (Completion("I can't.", "refusal", "parrot"), "failed: refusal", "I can't."),
    (Completion("", "refusal", "parrot"), "failed: refusal", ""),
    (Completion("", "stop", "parrot"), "failed: empty", ""),
    (Completion("", "error", "parrot", "HTTP 400: too long"), "failed: error", "HTTP 400: too long"),
]
every_fault = pytest.mark.parametrize(("fault", "reason", "detail"), FAULTS)


def seed_row(name, **columns):
    empty = dict.fromkeys(("context", "response", "category"))
    return SeedRow(**{"id": row_id(name), "instruction": name} | empty | columns)


# --- LaMini ---------------------------------------------------------------------------------------------------------

LISTING = {
    "example_guided": "{examples} {count}",
    "topic_guided": "{examples} {topics} {count}",
    "answer_system": "Short.",
}


def lamini_block(**changes):
    values = {
        "method": "lamini",
        "seeds": "seeds",
        "teacher": "teacher",
        "prompts": "lamini.yaml",
        "sampling": SAMPLING,
        "max_failed_share": 0.0,
        "topics": None,
        "topic_share": 0.5,
        "calls": 40,
        "examples_per_prompt": 2,
        "topics_per_prompt": 3,
        "instructions_per_call": 4,
        "min_instructions": 1,
        "max_attempts": 3,
        "max_words": 5,
    }
    return Lamini(**values | changes)


SEEDS = [seed_row(f"seed {number}") for number in range(10)]
TOPICS = ["art", "bees", "chess", "dance"]


def listing(number, seeds, topics=()):
    examples = [lamini.Example(id=row.id, instruction=row.instruction) for row in seeds]
    return lamini.ListingCall(number=number, examples=tuple(examples), topics=topics)


CALL = listing(7, (seed_row("Name a fruit."), seed_row("Sing.")))


def tagged(*items):
    return "\n".join(f"<example>{item}</example>" for item in items)


@pytest.mark.parametrize(
    ("text", "kept", "dropped"),
    [
        (tagged("One.", " Two.\n"), ["One.", "Two."], []),
        (tagged("One.") + "<example>Tw", ["One."], [("unclosed", "<example>Tw")]),
        ("<example>On<example>Two.</example>", ["Two."], [("unclosed", "On")]),
        ("One.\nTwo.", [], []),
        (tagged(" ", "1."), [], [("empty", " "), ("empty", "1.")]),
        (tagged("name  a FRUIT."), [], [("echo of an example", "name  a FRUIT.")]),
        (tagged("2. Name a fruit."), [], [("echo of an example", "Name a fruit.")]),
        (tagged("one two three four five"), ["one two three four five"], []),
        (tagged("one two three four five six"), [], [("too many words", "one two three four five six")]),
    ],
)
def test_only_whole_new_and_short_items_are_read(text, kept, dropped):
    assert lamini.listed(text, CALL, max_words=5) == (kept, dropped)


@pytest.mark.parametrize("numbering", ["1. ", "12) ", " 3: ", "- ", "* ", "• ", "1 . ", "1."])
def test_numbering_is_taken_away(numbering):
    assert lamini.listed(tagged(f"{numbering}Sing a song."), CALL, 5)[0] == ["Sing a song."]


@pytest.mark.parametrize("text", ["3.5 is what?", "7:30 is when?", "-2 plus 3?", "2 plus 3?", "*Bold* or not?"])
def test_a_number_that_belongs_to_an_instruction_stays(text):
    assert lamini.listed(tagged(text), CALL, 5)[0] == [text]


def calls_of(seeds=SEEDS, topics=TOPICS, seed=0, **changes):
    return list(lamini.calls_of(seeds, topics, lamini_block(**changes), seed))


@pytest.mark.parametrize(("share", "guided"), [(0.0, 0), (0.25, 10), (0.5, 20), (0.9, 36), (1.0, 40)])
def test_topics_guide_exactly_their_share_of_calls(share, guided):
    calls = calls_of(topic_share=share)
    assert sum(bool(call.topics) for call in calls) == guided
    assert [call.number for call in calls] == list(range(40))
    assert all(len(call.topics) in (0, 3) and len(set(call.topics)) == len(call.topics) for call in calls)


def test_without_topics_no_call_is_guided():
    assert not any(call.topics for call in calls_of(topics=[], topic_share=1.0))


def test_a_call_has_the_same_draws_however_many_calls_there_are():
    few = calls_of(calls=5)
    assert calls_of(calls=40)[:5] == few
    assert calls_of(calls=5, seed=1) != few


def test_without_seeds_there_is_no_call():
    assert calls_of([]) == []


def test_a_new_seed_changes_the_calls_that_draw_it_and_no_other():
    values = {"calls": 2000, "examples_per_prompt": 3}
    before, after = calls_of(**values), calls_of([seed_row("new"), *reversed(SEEDS)], **values)
    new = row_id("new")
    drawn = [new in [row.id for row in call.examples] for call in after]
    assert [one == two for one, two in zip(before, after, strict=True)] == [not one for one in drawn]
    assert 480 < sum(drawn) < 610  # 3 of 11 in each: 545


def test_each_seed_is_drawn_as_often_as_another_and_at_each_place():
    calls = calls_of(calls=3000, examples_per_prompt=3)
    places = [Counter(call.examples[place].id for call in calls) for place in range(3)]
    assert all(len(counts) == 10 and min(counts.values()) > 240 and max(counts.values()) < 360 for counts in places)
    assert all(len({row.id for row in call.examples}) == 3 for call in calls)


@pytest.mark.parametrize("shards", [1, 2, 64, 400])
def test_all_calls_are_dealt_whatever_the_number_of_shards(shards):
    dealt = list(lamini.dealt(SEEDS, TOPICS, lamini_block(calls=150), 0, shards))
    assert [call for _, _, call in dealt] == calls_of(calls=150)
    sizes = Counter(shard for shard, _, _ in dealt)
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert len(sizes) == min(shards, 150)


def test_examples_topics_and_count_are_shown():
    call = listing(0, (seed_row("Name {count}."), seed_row("Sing.")), ("art", "bees"))
    expected = "<example>Name {count}.</example>\n<example>Sing.</example> art, bees 4"
    assert lamini.listing_prompt(call, lamini_block(), LISTING) == expected


def test_a_call_that_yields_too_few_is_asked_again_and_then_given_up():
    teacher = ParrotTeacher(lambda request: tagged("Only one."))
    items, dropped, seen = lamini.list_instructions([CALL], teacher, lamini_block(min_instructions=2), LISTING)
    assert items == []
    assert [row.reason for row in dropped] == ["asked again", "of too few"] * 2 + ["too few instructions", "of too few"]
    assert (seen, teacher.asked("")) == (6, ["list:7:0", "list:7:1", "list:7:2"])
    assert [request.sample for request in teacher.requests] == ["0", "1", "2"]  # of one text, which is drawn anew
    assert len({request.messages for request in teacher.requests}) == 1
    assert not any(row.failed for row in dropped)


@every_fault
def test_a_call_whose_last_answer_can_not_be_used_has_failed(fault, reason, detail):
    teacher = ParrotTeacher(lambda request: fault if request.key.endswith(":2") else "nothing")
    items, dropped, seen = lamini.list_instructions([CALL], teacher, lamini_block(), LISTING)
    assert items == []
    expected = [("asked again", "nothing"), ("asked again", "nothing"), (reason, detail)]
    assert [(row.reason, row.detail) for row in dropped] == expected
    assert ([row.failed for row in dropped], seen) == ([False, False, True], 3)


@every_fault
def test_a_call_that_is_answered_after_a_fault_has_not_failed(fault, reason, detail):
    teacher = ParrotTeacher(lambda request: tagged("One.") if request.key.endswith(":1") else fault)
    items, dropped, seen = lamini.list_instructions([CALL], teacher, lamini_block(), LISTING)
    if reason == "failed: error":  # for good: it isn't asked again
        assert (items, [(row.reason, row.detail) for row in dropped], seen) == ([], [(reason, detail)], 1)
        return
    assert [item.instruction for item in items] == ["One."]
    assert ([(row.reason, row.failed) for row in dropped], seen) == ([("asked again", False)], 2)


def test_whole_items_of_a_list_that_was_cut_are_kept():
    teacher = ParrotTeacher(lambda request: Completion(tagged("One.") + "<example>Tw", "length", "parrot"))
    items, dropped, seen = lamini.list_instructions([CALL], teacher, lamini_block(), LISTING)
    assert [item.instruction for item in items] == ["One."]
    assert ([row.reason for row in dropped], seen, len(teacher.requests)) == (["unclosed"], 2, 1)


def test_a_call_that_yields_enough_the_second_time_is_not_asked_a_third_time():
    teacher = ParrotTeacher(lambda request: tagged("One.", "Two.") if request.key.endswith(":1") else "nothing")
    items, dropped, seen = lamini.list_instructions([CALL], teacher, lamini_block(), LISTING)
    assert [item.instruction for item in items] == ["One.", "Two."]
    assert ([row.reason for row in dropped], seen, len(teacher.requests)) == (["asked again"], 3, 2)


def test_no_instruction_is_listed_twice_and_candidates_add_up():
    calls = [CALL.model_copy(update={"number": number}) for number in range(3)]
    answers = {0: tagged("One.", "Two.", "Sing."), 1: tagged("ONE.", "Three.") + "<example>F", 2: "nothing"}
    teacher = ParrotTeacher(lambda request: answers[int(request.key.split(":")[1])])
    items, dropped, seen = lamini.list_instructions(calls, teacher, lamini_block(max_attempts=1), LISTING)
    assert [item.instruction for item in items] == ["One.", "Two.", "Three."]
    expected = {"echo of an example": 1, "duplicate": 1, "unclosed": 1, "too few instructions": 1}
    assert Counter(row.reason for row in dropped) == expected
    assert seen == len(items) + len(dropped) == 7


def test_a_listed_instruction_is_answered_and_knows_where_it_comes_from():
    call = listing(0, SEEDS[:2], ("art",))
    teacher = ParrotTeacher(lambda request: f"{request.system} {request.turns[-1]}")
    (row,), failed = lamini.answered([lamini.Listed("Paint.", call)], teacher, lamini_block(), LISTING, "lamini")
    assert failed == []
    assert (row.instruction, row.response, row.teacher) == ("Paint.", "Short. Paint.", "parrot")
    assert (row.operation, row.topics) == ("self_instruct_with_topic", ["art"])
    assert row.parent_ids == [SEEDS[0].id, SEEDS[1].id]
    assert row.root_id == row.id
    assert (row.seed_id, row.system) == (None, None)


@every_fault
def test_a_listed_instruction_without_a_usable_answer_has_failed(fault, reason, detail):
    items = [lamini.Listed(text, CALL) for text in ("Paint.", "Draw.")]
    teacher = ParrotTeacher(lambda request: fault if request.turns[-1] == "Paint." else "Done.")
    rows, failed = lamini.answered(items, teacher, lamini_block(), LISTING, "lamini")
    assert [row.instruction for row in rows] == ["Draw."]
    assert [(row.reason, row.detail, row.failed) for row in failed] == [(reason, detail, True)]
    assert failed[0].row == {"instruction": "Paint.", "call": 7}


# --- Evol-Instruct --------------------------------------------------------------------------------------------------

REWRITE = dict.fromkeys(OPERATIONS, "evolve {instruction}") | {"equal": "{first} / {second}"}


def evol_block(**changes):
    values = {
        "method": "evol",
        "seeds": "seeds",
        "teacher": "teacher",
        "prompts": "evol.yaml",
        "sampling": SAMPLING,
        "max_failed_share": 0.0,
        "operations": ["constraint", "deepen", "breadth"],
        "rounds": 1,
        "max_characters": 100,
        "forbidden_words": ["#Given Prompt#"],
        "refusal_words": 4,
    }
    return Evol(**values | changes)


def member(text):
    return evol.Instruction(row_id(text), text, row_id(text), None)


class EvolTeacher(ParrotTeacher):
    """Rewrites, answers and compares by a table each; without an entry, in a way that stands."""

    def __init__(self, rewrites=None, answers=None, verdicts=None):
        super().__init__(self.reply)
        self.rewrites, self.answers, self.verdicts = rewrites or {}, answers or {}, verdicts or {}

    def reply(self, request):
        kind, text = request.key.split(":")[0], request.turns[-1]
        if kind == "evolve":
            text = text.removeprefix("evolve ")
            return self.rewrites.get(text, f"{text}+")
        if kind == "answer":
            return self.answers.get(text, "A good answer.")
        return self.verdicts.get(text, "Not Equal")


def evolved(texts, teacher, **changes):
    return evol.evolve([member(text) for text in texts], teacher, evol_block(**changes), REWRITE, 0, "evol")


def test_a_child_that_stands_becomes_a_row_of_its_tree():
    (row,), dropped = evolved(["Sing."], EvolTeacher())
    assert dropped == []
    assert (row.instruction, row.response, row.round) == ("Sing.+", "A good answer.", 1)
    assert row.root_id == row.seed_id == row.parent_ids[0] == member("Sing.").id
    assert row.operation in ("constraint", "deepen", "breadth")


@pytest.mark.parametrize(
    ("table", "reason", "answers", "checks"),
    [
        # the cheap rules come first: what they drop costs no answer, and no comparison
        ({"rewrites": {"Sing.": ""}}, "failed: empty", 0, 0),
        ({"rewrites": {"Sing.": "  sing.\n"}}, "equals its parent", 0, 0),
        ({"rewrites": {"Sing.": "Rewrite the #given prompt# now"}}, "copies the prompt's words", 0, 0),
        ({"rewrites": {"Sing.": "x" * 101}}, "too long", 0, 0),
        ({"answers": {"Sing.+": "Sorry, I can't."}}, "says sorry", 1, 0),
        ({"answers": {"Sing.+": "It is, and so on?!"}}, "only stop words", 1, 0),
        ({"answers": {"Sing.+": ""}}, "failed: empty", 1, 0),
        ({"answers": {"Sing.+": "..."}}, "only stop words", 1, 0),
        ({"verdicts": {"Sing. / Sing.+": "EQUAL."}}, "adds nothing to its parent", 1, 1),
        ({"verdicts": {"Sing. / Sing.+": "I would sing."}}, "no equality verdict", 1, 1),
        ({"verdicts": {"Sing. / Sing.+": ""}}, "failed: empty", 1, 1),
    ],
)
def test_each_elimination_rule_drops_a_child(table, reason, answers, checks):
    teacher = EvolTeacher(**table)
    rows, dropped = evolved(["Sing."], teacher)
    assert (rows, [row.reason for row in dropped]) == ([], [reason])
    assert [row.failed for row in dropped] == [reason.startswith("failed: ")]
    assert (len(teacher.asked("answer:")), len(teacher.asked("equal:"))) == (answers, checks)


PLACES = [("rewrites", "Sing.", (2, 1, 1)), ("answers", "Sing.+", (2, 2, 1)), ("verdicts", "Sing. / Sing.+", (2, 2, 2))]


@pytest.mark.parametrize(
    ("table", "key", "asked", "fault", "reason", "detail"),
    [(*place, *fault) for place in PLACES for fault in FAULTS if place[0] != "verdicts" or "length" not in fault[1]],
)
def test_a_child_without_a_usable_text_response_or_verdict_has_failed(table, key, asked, fault, reason, detail):
    teacher = EvolTeacher(**{table: {key: fault}})
    rows, dropped = evolved(["Sing.", "Dance."], teacher)
    assert [row.instruction for row in rows] == ["Dance.+"]
    assert [(row.reason, row.detail, row.failed) for row in dropped] == [(reason, detail, True)]
    assert dropped[0].row["parent"] == member("Sing.").id
    assert dropped[0].row["instruction"] == (fault.text if table == "rewrites" else "Sing.+")
    assert tuple(len(teacher.asked(prefix)) for prefix in ("evolve:", "answer:", "equal:")) == asked


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("Not Equal, since the", []),
        ("Equal", ["adds nothing to its parent"]),
        ("They", ["no equality verdict"]),
        ("", ["failed: length"]),  # it was still thinking
    ],
)
def test_a_verdict_that_was_cut_is_read_as_far_as_it_goes(text, reasons):
    teacher = EvolTeacher(verdicts={"Sing. / Sing.+": Completion(text, "length", "parrot")})
    rows, dropped = evolved(["Sing."], teacher)
    assert (len(rows), [row.reason for row in dropped]) == (1 - len(reasons), reasons)


def test_sorry_in_a_long_response_is_no_refusal():
    # "I'm sorry to hear" has 4 words, as many as refusal_words; 3 words are fewer
    assert evol.fault_of_response("I'm sorry to hear", 4) is None
    assert evol.fault_of_response("I'm sorry to", 4) == "says sorry"
    assert evol.fault_of_response("A sorryful song", 4) is None


@pytest.mark.parametrize(
    ("verdict", "fault"),
    [
        ("Not Equal", None),
        ("**Not equal**, they differ.", None),
        ("The two are not\tequal. Equal would be odd", None),
        ("These aren't equal", None),
        ("Equal .", "adds nothing to its parent"),
        ("Yes, the two are equal. Not equal in length.", "adds nothing to its parent"),
        ("They are unequal", "no equality verdict"),  # another word
        ("They differ.\nEqual", "no equality verdict"),  # not in the first sentence
        ("", "no equality verdict"),
    ],
)
def test_an_equality_verdict_is_read_from_its_first_sentence_without_guessing(verdict, fault):
    assert evol.fault_of_verdict(verdict) == fault


def test_another_backend_may_compare_rewrites_and_does_nothing_else():
    teacher, judge = EvolTeacher(), EvolTeacher(verdicts={"Sing. / Sing.+": "Equal"})
    pool = [member("Sing."), member("Dance.")]
    rows, dropped = evol.evolve(pool, teacher, evol_block(), REWRITE, 0, "evol", judge)
    assert [row.instruction for row in rows] == ["Dance.+"]
    assert [row.reason for row in dropped] == ["adds nothing to its parent"]
    assert (len(judge.asked("equal:")), len(judge.requests)) == (2, 2)
    assert teacher.asked("equal:") == []


@pytest.mark.parametrize(
    ("parent", "rewrite", "kept"),
    [
        ("Why is it blue?", "Why is it red?", True),
        ("Why is it blue?", '"Why is it red?"', True),
        ("Why is it blue?", "It is blue because of the light.", False),
        ("Name a sea.", "Name a warm sea.", True),  # no question, so its rewrite needs to be none
    ],
)
def test_a_rewrite_of_a_question_may_have_to_be_a_question(parent, rewrite, kept):
    rows, dropped = evolved([parent], EvolTeacher(rewrites={parent: rewrite}), keep_questions=True)
    assert ([row.instruction for row in rows], [row.reason for row in dropped]) == (
        ([rewrite], []) if kept else ([], ["no question"])
    )
    assert len(evolved([parent], EvolTeacher(rewrites={parent: rewrite}))[0]) == 1


def test_without_an_equality_check_rewrites_stand_by_the_rules_and_nobody_is_asked():
    teacher = EvolTeacher(rewrites={"Sing.": "SING"}, verdicts={"Dance. / Dance.+": "Equal"})
    rows, dropped = evolved(["Sing.", "Dance."], teacher, equality_check=False)
    assert [row.instruction for row in rows] == ["Dance.+"]
    assert [row.reason for row in dropped] == ["equals its parent"]
    assert teacher.asked("equal:") == []
    assert evol_block(equality_check=False).requests_of_a_shard(10, 1) == 20
    with pytest.raises(ValueError, match="null with equality_check: false"):
        evol_block(equality_check=False, equality_judge="other")


def test_a_member_that_is_too_long_is_never_asked_and_counts_in_every_round():
    fits, long = "x" * 96, "y" * 101  # a rewrite adds one character a round: 96 and 3 are within 100
    teacher = EvolTeacher()
    rows, dropped = evolved([fits, long], teacher, rounds=3)
    assert [len(row.instruction) for row in rows] == [97, 98, 99]
    assert [(row.reason, row.detail, row.row["round"]) for row in dropped] == [
        ("too long", "101 characters", number) for number in (1, 2, 3)
    ]
    assert len(teacher.asked("evolve:")) == 3
    assert len(rows) + len(dropped) == 2 * 3


def test_a_rewrite_that_is_too_long_leaves_its_parent_in_the_pool():
    rows, dropped = evolved(["x" * 99], EvolTeacher(), rounds=2)  # 100 fit, and 101 do not
    assert [len(row.instruction) for row in rows] == [100]
    assert [(row.reason, row.row["parent"]) for row in dropped] == [("too long", rows[0].id)]


def test_the_scaffold_is_looked_at_before_the_response_and_the_response_before_the_verdict():
    everything_wrong = EvolTeacher(
        rewrites={"Sing.": "#Given Prompt# Sing."},
        answers={"#Given Prompt# Sing.": "sorry"},
        verdicts={"Sing. / #Given Prompt# Sing.": "Equal"},
    )
    assert [row.reason for row in evolved(["Sing."], everything_wrong)[1]] == ["copies the prompt's words"]
    two_wrong = EvolTeacher(answers={"Sing.+": "sorry"}, verdicts={"Sing. / Sing.+": "Equal"})
    assert [row.reason for row in evolved(["Sing."], two_wrong)[1]] == ["says sorry"]


def test_the_comparison_is_asked_without_chance_and_for_a_few_tokens():
    teacher = EvolTeacher()
    evolved(["Sing."], teacher)
    temperatures = {request.key.split(":")[0]: request.sampling.temperature for request in teacher.requests}
    assert temperatures == {"evolve": 1.0, "answer": 1.0, "equal": 0.0}
    lengths = {request.key.split(":")[0]: request.sampling.max_new_tokens for request in teacher.requests}
    assert lengths == {"evolve": 64, "answer": 64, "equal": evol.VERDICT_TOKENS}


def test_the_parent_of_a_failed_child_is_evolved_again_in_the_next_round():
    sing, dance = member("Sing."), member("Dance.")
    teacher = EvolTeacher(rewrites={"Dance.": ""})
    rows, dropped = evolved(["Sing.", "Dance."], teacher, rounds=2)
    child = rows[0]
    assert [row.instruction for row in rows] == ["Sing.+", "Sing.++"]
    assert rows[1].parent_ids == [child.id]
    assert rows[1].root_id == sing.id
    assert [row.row["parent"] for row in dropped] == [dance.id, dance.id]
    expected = [f"evolve:{sing.id}:1", f"evolve:{dance.id}:1", f"evolve:{child.id}:2", f"evolve:{dance.id}:2"]
    assert teacher.asked("evolve:") == expected


def test_every_member_of_every_round_is_a_row_or_dropped():
    texts = [f"Task {number}." for number in range(9)]
    teacher = EvolTeacher(rewrites=dict.fromkeys(texts[:3], ""), answers={"Task 5.+": "Sorry."})
    rows, dropped = evolved(texts, teacher, rounds=3)
    assert len(rows) + len(dropped) == 9 * 3
    assert len({row.id for row in rows}) == len(rows)


def test_the_operation_depends_on_root_and_round_and_not_on_order():
    texts = [f"Task {number}." for number in range(30)]
    shuffled = random.Random(1).sample(texts, 30)
    forward, _ = evolved(texts, EvolTeacher(), rounds=2)
    backward, _ = evolved(shuffled, EvolTeacher(), rounds=2)
    alone, _ = evolved(texts[:1], EvolTeacher(), rounds=2)

    def by_id(rows):
        return {row.id: row for row in rows}

    assert by_id(forward) == by_id(backward)
    assert by_id(alone).items() <= by_id(forward).items()
    assert {row.operation for row in forward} == {"constraint", "deepen", "breadth"}


# --- Orca -----------------------------------------------------------------------------------------------------------


def orca_block(**changes):
    values = {
        "method": "orca",
        "seeds": "seeds",
        "teacher": "teacher",
        "prompts": "orca.yaml",
        "sampling": SAMPLING,
        "max_failed_share": 0.0,
        "templates": ["zs_opt", "zs_noopt"],
        "shares": None,
        "candidates": None,
        "max_characters": 100,
    }
    return Orca(**values | changes)


def query(name, source="CoT", task="task", template="zs_opt"):
    return seed_row(name, response="the target", task_source=source, task_name=task, template_type=template)


def message(name, text="Explain.", applies_to=("CoT",), multiple_choice_only=False):
    return orca.SystemMessage(
        id=name, text=text, applies_to=list(applies_to), multiple_choice_only=multiple_choice_only
    )


def test_a_message_goes_to_its_collections_only():
    messages = [message("cot"), message("t0", applies_to=["T0"]), message("both", applies_to=["CoT", "T0"])]
    queries = [query(f"query {number}") for number in range(50)]
    assert {orca.message_of(row, messages, 0).id for row in queries} == {"cot", "both"}


def test_a_collection_without_a_message_is_an_error():
    with pytest.raises(ValueError, match="no system message applies to a row\n  found:    source NIV2\n"):
        orca.message_of(query("?", source="NIV2"), [message("cot")], 0)


@pytest.mark.parametrize(
    ("text", "with_options"),
    [
        ("Which?\nOPTIONS:\n- a\n- b", True),
        ("Which? Options: (a) (b)", True),
        ("Which? option : a", True),
        ("What options are there?", False),
        ("Which adoptions: many?", False),
    ],
)
def test_multiple_choice_messages_need_options_in_the_query(text, with_options):
    messages = [message("plain"), message("choice", multiple_choice_only=True)]
    drawn = {orca.message_of(query(f"{number} {text}"), messages, 0).id for number in range(50)}
    assert drawn == ({"plain", "choice"} if with_options else {"plain"})


def test_the_message_of_a_row_depends_on_row_and_seed_alone():
    messages = [message(str(number)) for number in range(16)]
    queries = [query(f"query {number}") for number in range(40)]
    drawn = {row.id: orca.message_of(row, messages, 0).id for row in queries}
    assert {row.id: orca.message_of(row, messages, 0).id for row in reversed(queries)} == drawn
    assert {row.id: orca.message_of(row, messages, 1).id for row in queries} != drawn


def test_the_teacher_sees_message_and_query_and_never_the_target():
    teacher = ParrotTeacher()
    (row,), _ = orca.explained([query("Why?")], [message("plain")], teacher, orca_block(), 0, "orca")
    assert teacher.requests[0].messages == (("system", "Explain."), ("user", "Why?"))
    assert (row.system, row.instruction, row.operation, row.category) == ("Explain.", "Why?", "plain", "task")
    assert "the target" not in row.model_dump_json()


@every_fault
def test_a_query_without_a_usable_answer_has_failed(fault, reason, detail):
    teacher = ParrotTeacher(lambda request: fault if request.turns[-1] == "Why?" else "Because.")
    queries = [query("Why?"), query("How?")]
    rows, dropped = orca.explained(queries, [message("plain")], teacher, orca_block(), 0, "orca")
    assert [row.instruction for row in rows] == ["How?"]
    assert [(row.reason, row.detail, row.failed) for row in dropped] == [(reason, detail, True)]
    assert dropped[0].row == {"seed_id": queries[0].id, "operation": "plain"}


def test_the_empty_message_is_not_sent():
    teacher = ParrotTeacher()
    (row,), _ = orca.explained([query("Why?")], [message("none", text="")], teacher, orca_block(), 0, "orca")
    assert teacher.requests[0].messages == (("user", "Why?"),)
    assert row.system is None


def test_a_query_that_is_too_long_is_dropped_and_never_sent():
    # "Explain." has 8 characters, so 92 are left of 100
    teacher = ParrotTeacher()
    rows, dropped = orca.explained(
        [query("x" * 92), query("y" * 93)], [message("plain")], teacher, orca_block(), 0, "orca"
    )
    assert [row.instruction for row in rows] == ["x" * 92]
    assert [(row.reason, row.detail) for row in dropped] == [("too long", "101 characters")]
    assert len(teacher.requests) == 1


def drawn(rows, seed=0, **changes):
    """The rows that are drawn."""
    by_id = {row.id: row for row in rows}
    return [by_id[one.id] for one in orca.drawn([orca.Query.of(row) for row in rows], orca_block(**changes), seed)]


def test_only_wanted_templates_are_drawn():
    rows = [query("a"), query("b", template="fs_opt"), query("c", template="zs_noopt")]
    assert drawn(rows) == [rows[0], rows[2]]


def test_shares_hold_and_tasks_come_in_turn():
    rows = [
        query(f"{source} {task} {number}", source, task)
        for source in ("CoT", "T0", "Flan2021")
        for task, count in (("large", 50), ("small", 3), ("middle", 9))
        for number in range(count)
    ]
    values = {"candidates": 20, "shares": {"CoT": 0.5, "T0": 0.25, "Flan2021": 0.25, "NIV2": 0.0}}
    found = drawn(random.Random(0).sample(rows, len(rows)), **values)
    # 10 of CoT, 5 of T0; three tasks in turn: 4 + 3 + 3 of 10, 2 + 2 + 1 of 5
    assert Counter(row.task_source for row in found) == {"CoT": 10, "T0": 5, "Flan2021": 5}
    assert Counter(row.task_name for row in found[:10]) == {"large": 4, "middle": 3, "small": 3}
    assert Counter(row.task_name for row in found[10:15]) == {"large": 2, "middle": 2, "small": 1}
    assert [row.task_name for row in found[:3]] == ["large", "middle", "small"]
    assert drawn(rows, **values) == found


@pytest.mark.parametrize("total", [*range(1, 60), 5520])
def test_the_numbers_of_collections_sum_to_the_candidates_and_are_within_one_of_their_shares(total):
    shares = {"CoT": 0.0295, "NIv2": 0.0864, "Flan2021": 0.4912, "P3": 0.3929}
    numbers = orca.numbers_of(total, shares)
    assert sum(numbers.values()) == total
    assert all(abs(numbers[name] - total * share) < 1 for name, share in shares.items())
    assert list(numbers) == list(shares)
    assert sum(orca.numbers_of(total, {"a": 0.333, "b": 0.333, "c": 0.333}).values()) == total


def test_the_paper_draws_163_rows_of_its_smallest_collection():
    shares = {"CoT": 0.0295, "NIv2": 0.0864, "Flan2021": 0.4912, "P3": 0.3929}
    assert orca.numbers_of(5520, shares) == {"CoT": 163, "NIv2": 477, "Flan2021": 2711, "P3": 2169}


def test_a_new_row_changes_one_of_the_drawn_rows_at_most():
    rows = [query(f"{task} {number}", task=task) for task in "ab" for number in range(30)]
    before = {row.id for row in drawn(rows, candidates=20)}
    for number in range(20):
        after = {row.id for row in drawn([*rows, query(f"new {number}", task="a")], candidates=20)}
        assert len(before - after) == len(after - before) <= 1


def test_a_collection_with_too_few_rows_gives_all_of_them():
    rows = [query(f"query {number}") for number in range(3)]
    assert len(drawn(rows, candidates=10, shares={"CoT": 1.0})) == 3


def test_a_collection_that_no_row_has_is_an_error():
    rows = [query("a"), query("b", source="P3")]
    message = "no row is of the collection T0\n  found:    CoT, P3\n  expected: rows of T0, 5 of them\nhint: "
    with pytest.raises(ValueError, match=message):
        drawn(rows, candidates=10, shares={"CoT": 0.5, "T0": 0.5})


@pytest.mark.parametrize(
    ("rows", "shares"),
    [
        ([query("a")], {"CoT": 0.96, "T0": 0.04}),  # 0.4 of 10 queries: none
        ([query("a"), query("b", source="T0", template="fs_opt")], {"CoT": 0.5, "T0": 0.5}),  # no wanted template
    ],
)
def test_a_collection_may_be_missing_where_it_need_not_give_a_query(rows, shares):
    assert drawn(rows, candidates=10, shares=shares, max_missing_share=0.9) == rows[:1]


def test_system_messages_are_checked(tmp_path):
    path = tmp_path / "orca.yaml"
    path.write_text("messages:\n  - {id: a, text: x, applies_to: [CoT], multiple_choise_only: true}\n")
    with pytest.raises(ValueError, match="did you mean `multiple_choice_only`") as caught:
        orca.system_messages(path)
    assert str(caught.value).startswith(f"{path}:2: messages.0.multiple_choise_only: no such key\n  found:    ")
    path.write_text("system: Explain.\n")
    with pytest.raises(ValueError, match="messages: the key is missing\n  found:    nothing"):
        orca.system_messages(path)


# --- The shard ------------------------------------------------------------------------------------------------------


def shard_folder(folder):
    return folder / "evol" / "0003"


def written(out):
    """A shard's report, and how many rows its files hold."""
    report = json.loads((out / "report.json").read_text())
    rows, dropped = read_rows(out / "rows.jsonl", GeneratedRow), read_rows(out / "dropped.jsonl", DroppedRow)
    return report, len(list(rows)), len(list(dropped))


def test_a_shard_holds_all_candidates_and_says_how_many(tmp_path):
    teacher = EvolTeacher(rewrites={"Dance.": "dance.", "Draw.": ""}, answers={"Paint.+": FAULTS[2][0]})
    rows, dropped = evolved(["Sing.", "Dance.", "Draw.", "Paint."], teacher)
    out = shard_folder(tmp_path)
    write_shard(out, rows, dropped, candidates=4, block=evol_block(max_failed_share=0.5))
    names = [path.name for path in files_in(out)]
    assert names == ["dropped.jsonl", "report.json", "rows.jsonl"]
    expected = {
        "candidates": 4,
        "rows": 1,
        "dropped": {"equals its parent": 1},
        "failed": {"failed: empty": 1, "failed: refusal": 1},
        "operations": {rows[0].operation: 1},
    }
    assert written(out) == (expected, 1, 3)


@pytest.mark.parametrize("copies", [1, 3])
def test_a_shard_that_lost_or_doubled_rows_is_not_written(tmp_path, copies):
    (row,), _ = evolved(["Sing."], EvolTeacher())
    out = shard_folder(tmp_path)
    with pytest.raises(ValueError, match="rows got lost\n  found:    "):
        write_shard(out, [row] * copies, [], candidates=max(2, copies), block=evol_block(max_failed_share=1.0))
    assert not out.parent.exists()


def test_failed_rows_are_no_lost_rows_and_lost_rows_no_failed_ones(tmp_path):
    rows, dropped = evolved(["Sing.", "Draw."], EvolTeacher(rewrites={"Draw.": ""}))
    out = shard_folder(tmp_path)
    with pytest.raises(ValueError, match=r"rows got lost\n  found:    3 in, 1 out, 1 counted \(1 failed: empty\)"):
        write_shard(out, rows, dropped, candidates=3, block=evol_block(max_failed_share=1.0))
    write_shard(out, rows, dropped, candidates=2, block=evol_block(max_failed_share=1.0))


@pytest.mark.parametrize(("candidates", "refused"), [(3, True), (4, False), (5, False)])
def test_a_shard_bears_a_share_of_failed_candidates(tmp_path, candidates, refused):
    texts = ["Draw.", *(f"Task {number}." for number in range(1, candidates))]
    rows, dropped = evolved(texts, EvolTeacher(rewrites={"Draw.": Completion("", "error", "parrot", "HTTP 400: no")}))
    out = shard_folder(tmp_path)
    if refused:  # 1 of 3 is more than a quarter, 1 of 4 is one
        message = (
            r"the teacher failed too often\n  found:    1 of 3 candidates, such as failed: error: 'HTTP 400: no'\n"
            r"  expected: at most a share of 0\.25"
        )
        with pytest.raises(ValueError, match=message):
            write_shard(out, rows, dropped, candidates, evol_block(max_failed_share=0.25))
        assert not out.parent.exists()
    else:
        write_shard(out, rows, dropped, candidates, evol_block(max_failed_share=0.25))
        report, *counts = written(out)
        assert (report["failed"], report["dropped"]) == ({"failed: error": 1}, {})
        assert counts == [candidates - 1, 1]


def test_what_is_dropped_for_its_own_sake_is_no_failure(tmp_path):
    texts = ["Sing.", "Dance."]
    rows, dropped = evolved(texts, EvolTeacher(rewrites={text: text for text in texts}))
    out = shard_folder(tmp_path)
    write_shard(out, rows, dropped, candidates=2, block=evol_block(max_failed_share=0.0))
    report, *counts = written(out)
    assert (report["dropped"], report["failed"], counts) == ({"equals its parent": 2}, {}, [0, 2])


def test_a_shard_without_candidates_is_no_failure(tmp_path):
    out = shard_folder(tmp_path)
    write_shard(out, [], [], candidates=0, block=evol_block(max_failed_share=0.0))
    assert written(out)[0]["failed"] == {}
