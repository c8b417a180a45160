"""Evaluations through a server that has loaded the checkpoint: answers and scores of a job that loads it itself."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from completions import ModelServer
from desk import KEY, addresses, block, ceilings, set_up

from bezoar import serving
from bezoar.blocks import Prompt
from bezoar.cache.folders import content_of
from bezoar.errors import InputError, Stopped
from bezoar.requests import dry_run, persistence
from bezoar.requests.base import Completion, Request
from bezoar.requests.index import ANSWERS
from bezoar.requests.openai import OpenAiBackend
from bezoar.requests.store import FOLDER, lines_of
from bezoar.serving import Address
from bezoar.steps.data.rows import QuestionRow, read_rows, write_rows
from bezoar.steps.evaluate import answers, harness, served_harness
from bezoar.steps.evaluate.mtbench import AnswerRow
from bezoar.steps.evaluate.served import served

WORDS = ["Name three rivers of Asia.", "Which of them is the longest?", "Why does it rain in spring? Say it twice."]
FREE = {"model": "student", **dict.fromkeys(("input", "cached", "written", "written_1h", "output"), 0.0)}
SYSTEM = Prompt(system="answer the user .")
GREEDY = {"temperatures": {"a": 0.0}, "top_p": 1.0, "max_new_tokens": 24, "single_turn": False}


@pytest.fixture(scope="module")
def student(tmp_path_factory: Any, random_llama: Any) -> Path:
    """A model directory with room for 256 tokens."""
    folder: Path = random_llama(tmp_path_factory.mktemp("weights") / "student", WORDS * 9, positions=256)
    return folder


@pytest.fixture
def server(student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    """Its server, at the address that the backend's variable names; waits take a hundredth of a second."""
    from desk import PRICE

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(persistence, "backoff", lambda _: 0.01)
    set_up(tmp_path, PRICE | FREE)
    with ModelServer(student, KEY) as running:
        for name, value in addresses(running.address).items():
            monkeypatch.setenv(name, value)
        yield running


def backend(**connection: Any) -> OpenAiBackend:
    """The backend of the student's server."""
    made = block("openai", connection, model="student", checkpoint="student", max_attempts=3)
    made._name = "student"
    assert isinstance(made, OpenAiBackend)
    return made


# --- answers ---------------------------------------------------------------------------------------------------------


def questions() -> list[QuestionRow]:
    """Questions of two turns; the prompt of the last one leaves no room for an answer."""
    texts = [*(f"{number}. {text}" for number, text in enumerate(WORDS)), "rain " * 200]
    turns = [[text, "Say more."] for text in texts]
    return [QuestionRow(question_id=number, category="a", turns=one) for number, one in enumerate(turns)]


def written(folder: Path) -> tuple[list[AnswerRow], list[Any]]:
    """Answers and the ends of their turns."""
    ends = [json.loads(line) for line in (folder / "turns.jsonl").read_text().splitlines()]
    return list(read_rows(folder / "answers.jsonl", AnswerRow)), ends


def through_server(student: Path, seed: int = 0, **values: Any) -> tuple[list[AnswerRow], list[Any]]:
    """What is written through the server."""
    write_rows(Path("questions.jsonl"), questions())
    out = Path(f"served-{len(list(Path().glob('served-*')))}", "student")
    asking = answers.Asking(**GREEDY | values)
    answers.write_answers(Path("questions.jsonl"), served(student, backend(), SYSTEM, seed, ceilings()), asking, out)
    return written(out)


def test_greedy_answers_of_a_server_are_those_of_a_job_that_loads_the_checkpoint(server, student):
    found = through_server(student)
    local = answers.Answering(**GREEDY, batch_size=2, dtype="float32")
    model = answers.loaded(student, local, SYSTEM, 0, "student")
    answers.write_answers(Path("questions.jsonl"), model, local, Path("local/student"))
    rows, ends = found
    own_rows, own_ends = written(Path("local/student"))
    assert rows == own_rows
    found_sums, own_sums = [[end.pop("logprob") for end in some] for some in (ends, own_ends)]
    assert found_sums == [pytest.approx(one, abs=1e-3) for one in own_sums]
    assert all(one < 0 for one, end in zip(own_sums, own_ends, strict=True) if end["tokens"])
    assert ends == own_ends
    assert {end["tokens"] for end in ends} == {24, 0}  # a random model doesn't end, and one question has no room
    assert all(row.choices[0].turns[0] for row in rows[:-1])
    assert rows[-1].choices[0].turns == ["", ""]
    assert {end["finish_reason"] for end in ends} == {"length"}  # a random model doesn't end, and one has no room
    assert len(server.asked) == 2 * len(WORDS)  # once each, though they are cut; not at all without room
    assert {path for path, _ in server.asked} == {"/v1/chat/completions"}
    assert server.asked[0][1]["messages"][0] == {"role": "system", "content": SYSTEM.system}


def test_answers_of_a_server_are_asked_for_once_and_again_for_other_weights(server, student, tmp_path):
    found = through_server(student)
    asked = len(server.asked)
    assert through_server(student) == found
    assert len(server.asked) == asked
    other = tmp_path / "other" / "student"
    other.mkdir(parents=True)
    for path in student.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"rope_theta": 5e4}))
    through_server(other)
    assert len(server.asked) == 2 * asked


def test_a_seed_draws_other_answers_only_where_they_are_drawn(server, student):
    for values, more in (({}, 0), ({"temperatures": {"a": 0.7}}, 2 * len(WORDS))):
        through_server(student, seed=0, **values)
        asked = len(server.asked)
        through_server(student, seed=1, **values)
        assert len(server.asked) - asked == more


def test_a_refused_request_is_no_empty_answer(server, student):
    server.refusal = (400, f"no room, says {KEY}")
    with pytest.raises(InputError, match=r"(?s)the server of student refuses requests.*3 of 4.*no room") as caught:
        through_server(student)
    assert KEY not in str(caught.value)
    assert not list(Path().glob("served-*/student/answers.jsonl"))


def test_the_whole_text_of_an_answer_is_kept_also_its_thinking(server, student, monkeypatch):
    monkeypatch.setattr(ModelServer, "written", lambda self, *_: (self.tokenizer.encode("<think>a</think>b"), "stop"))
    rows, ends = through_server(student)
    assert rows[0].choices[0].turns == ["<think>a</think>b"] * 2
    assert ends[0]["finish_reason"] == "stop"


# --- the harness -----------------------------------------------------------------------------------------------------

DATA = "dataset_path: json\ndataset_kwargs: {data_files: {test: ROWS}}\ntest_split: test\n"
TASKS = {
    "choices": "output_type: multiple_choice\ndoc_to_text: '{{question}}'\ndoc_to_choice: '{{choices}}'\n"
    "doc_to_target: answer\nmetric_list: [{metric: acc}, {metric: acc_norm}]\n",
    "texts": "output_type: generate_until\ndoc_to_text: '{{question}}'\ndoc_to_target: '{{reply}}'\n"
    "generation_kwargs: {until: ['e'], do_sample: false, temperature: 0.7, max_gen_toks: 8}\n"
    "metric_list: [{metric: exact_match}]\n",
    "whole": "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: '{{question}}'\n"
    "metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]\n",
}


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """Task files, and their rows."""
    folder, rows = tmp_path / "tasks", tmp_path / "rows.jsonl"
    folder.mkdir()
    row = {"choices": [" Yangtze, Lena, Ob", " no", " why ?"], "answer": 1, "reply": " no"}
    rows.write_text("".join(json.dumps({"question": text, **row}) + "\n" for text in WORDS * 2))
    for name, text in TASKS.items():
        (folder / f"{name}.yaml").write_text(f"task: {name}\n{DATA.replace('ROWS', str(rows))}{text}")
    return folder


def loaded(student: Path) -> Any:
    """The checkpoint, as a job loads it."""
    return harness.loaded(student, 2, 256, "float32")


def scores(model: Any, tasks: Path, task: str, *, chat_template: bool = False) -> dict[str, Any]:
    """What the harness finds, and all that it asked."""
    system = SYSTEM.system if chat_template else None
    asked = harness.Task(num_fewshot=1, chat_template=chat_template, system=system, limit=None, versions={}, data=[])
    result = harness.evaluated(model, task, asked, str(tasks), 0)
    return {name: one for name, one in result["results"][task].items() if not isinstance(one, str)}


@pytest.mark.parametrize(("task", "chat_template"), list(zip(TASKS, (False, True, False), strict=True)))
def test_scores_through_a_server_are_those_of_a_job_that_loads_the_checkpoint(
    server, student, tasks, task, chat_template
):
    wanted = scores(loaded(student), tasks, task, chat_template=chat_template)
    one = harness.Asking(max_length=256, task_folder=str(tasks))
    model = served_harness.asked(student, backend(concurrency=1), one, 0, ceilings())
    found = scores(model, tasks, task, chat_template=chat_template)
    assert found == pytest.approx(wanted, rel=1e-4)
    assert len(wanted) > 2
    assert {path for path, _ in server.asked} == {"/v1/completions"}
    assert list(lines_of(FOLDER, ANSWERS)) == []  # nothing of it is stored


@pytest.mark.parametrize("chat_template", [False, True])
def test_tokens_and_texts_are_those_of_a_loaded_checkpoint(server, student, tasks, chat_template):
    local, values = loaded(student), harness.Asking(max_length=256, task_folder=str(tasks))
    model = served_harness.asked(student, backend(), values, 0, ceilings())
    for one in (local, model):
        harness.through_template(one, chat_template=chat_template)
    start = local.tokenizer.bos_token
    for text in (*WORDS, f"{start}Why?", " a  b "):
        assert model.tok_encode(text) == local.tok_encode(text)
    assert model.tok_encode(tuple(WORDS)) == [local.tok_encode(text) for text in WORDS]
    requests = [SimpleNamespace(args=(text, {"until": ["e"], "max_gen_toks": 6, "do_sample": False})) for text in WORDS]
    assert model.generate_until(requests) == local.generate_until(requests)
    pairs = [SimpleNamespace(args=(text, " no")) for text in [*WORDS, ""]]
    wanted, found = local.loglikelihood(pairs), model.loglikelihood(pairs)
    assert [one for one, _ in found] == pytest.approx([one for one, _ in wanted], rel=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in wanted]


def one_score(student: Path, tasks: Path, made: OpenAiBackend) -> dict[str, Any]:
    """The score of one task through a server."""
    values = harness.Asking(max_length=256, task_folder=str(tasks))
    return scores(served_harness.asked(student, made, values, 0, ceilings()), tasks, "choices")


@pytest.mark.parametrize("status", [400, 401, 500])
def test_a_server_that_fails_ends_the_task_and_no_log_has_the_key(server, student, tasks, status, caplog, capfd):
    server.refusal = (status, f"out of order, says {KEY}")
    with caplog.at_level(logging.DEBUG), pytest.raises(Stopped, match="out of order") as caught:
        one_score(student, tasks, backend())
    assert "nothing of this task is stored" in str(caught.value)
    said = capfd.readouterr()
    assert KEY not in str(caught.value) + caplog.text + said.out + said.err


def test_a_server_without_log_probabilities_is_named(server, student, tasks, monkeypatch):
    monkeypatch.setattr(ModelServer, "logprobs", lambda *_: None)
    with pytest.raises(Stopped, match="an answer without what was asked for"):
        one_score(student, tasks, backend())


def test_a_server_that_comes_and_moves_is_found_by_its_address_and_secret(
    server, student, tasks, monkeypatch, tmp_path
):
    monkeypatch.delenv("OPENAI_URL")
    monkeypatch.setattr("bezoar.requests.server_locator.SECONDS_BETWEEN_LOOKS", 0.02)
    own = {"command": ["serve", "{checkpoint}", "{port}"], "start": 5.0}
    with ModelServer(student, "a secret") as second:
        address = Address(second.address, "node", 1, "now", None, os.getpid(), "a secret", content_of(student))
        serving.write_address("student", address)
        assert one_score(student, tasks, backend(server=own))
    assert second.asked
    assert server.asked == []
    serving.write_address("student", Address(server.address, "node", 1, "now", None, os.getpid(), KEY, "0" * 32))
    short = own | {"start": 0.2}
    with pytest.raises(Stopped, match="has loaded other weights"):
        one_score(student, tasks, backend(server=short))


def test_answers_that_aren_t_stored_have_to_be_free(server, student, tasks, monkeypatch):
    set_up(Path(), {**yaml.safe_load(Path("prices.yaml").read_text())["prices"][0], "output": 0.1})
    with pytest.raises(InputError, match=r"a price of student above 0"):
        one_score(student, tasks, backend())
    assert server.asked == []


def test_a_replay_and_a_plan_ask_no_server_for_the_harness(server, student, tasks, monkeypatch):
    monkeypatch.setenv("BEZOAR_REPLAY_ONLY", "1")
    with pytest.raises(InputError, match="BEZOAR_REPLAY_ONLY is set"):
        one_score(student, tasks, backend())
    monkeypatch.setenv(dry_run.VARIABLE, "counts")
    with pytest.raises(dry_run.Counted):
        one_score(student, tasks, backend())
    assert server.asked == []


def test_a_served_request_has_the_limit_that_there_is_room_for(student):
    class Asked:
        def complete(self, requests: list[Request], what: str) -> list[Completion]:
            self.requests = requests
            return [Completion("yes", "stop", "student")] * len(requests)

    from bezoar.blocks import Sampling
    from bezoar.steps.evaluate.served import Served

    client = Asked()
    model = Served(client, student, None, 0)
    room = 256 - len(
        model.tokenizer.apply_chat_template(
            [{"role": "user", "content": WORDS[0]}], add_generation_prompt=True
        ).input_ids
    )
    for limit in (8, 1000):
        model.complete([Request("a", (("user", WORDS[0]),), Sampling(max_new_tokens=limit))], "test")
        assert client.requests[0].sampling.max_new_tokens == min(limit, room)
