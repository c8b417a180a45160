"""The cache's size, what goes first when it gets smaller, what stays, and what a kill leaves."""

import hashlib
import json
import os
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
import zc.lockfile

from bezoar.cache import CacheError, gc, history, locks, scrub
from bezoar.cache.gc import Chooser, Limit, drop, limit, steps_of
from bezoar.cache.hashing import Content, Hasher
from bezoar.cache.inventory import DOLLAR, Inventory, amount
from bezoar.cache.needs import Needs, Refs, stages_of
from bezoar.cache.objects import Objects, remove
from bezoar.cli import main

CACHE = ".dvc/cache"
DAY = 86400
NOW = time.time()
OLD = NOW - 100 * DAY


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("")
    return tmp_path


def write(path, data):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data if isinstance(data, bytes) else data.encode())


def stored(data, name="made"):
    """Store a file with these bytes, or a directory of texts by name; its content."""
    objects = Objects(CACHE, Hasher(None))
    if isinstance(data, dict):
        for part, text in data.items():
            write(f"{name}/{part}", text)
    else:
        write(name, data)
    content = objects.hasher.content(name)
    objects.store(name, content)
    remove(name)
    return content


def job(name, data, seconds=1.0, inputs=(), *, folder="proofs", nested=False, dollars=None, trace=None, out=None):
    """A proof of a job that has made one output; its path and the output's content.

    Args:
        nested: Whether it stands in a folder of its action, as one of several.
    """
    content = data if isinstance(data, Content) else stored(data)
    action = hashlib.sha256(name.encode()).hexdigest()
    cost = {} if seconds is None else {"seconds": seconds} | ({} if dollars is None else {"dollars": dollars})
    key = {"inputs": {str(number): one.md5 for number, one in enumerate(inputs)}}
    path = f"{CACHE}/{folder}/{action[:2]}/{action}" + (f"/{trace or 'f' * 64}.json" if nested else ".json")
    proof = {"key": key, "outputs": {out or f"data/{name}": content}, "cost": cost}
    write(path, json.dumps(proof | ({"trace": trace} if trace else {})))
    return path, content


def lock(*contents, path="dvc.lock", deps=()):
    """Write a dvc.lock whose stages made these contents."""
    stages = {
        f"stage-{number}": {
            "cmd": "make",
            "deps": [{"path": "dep", "md5": one.md5} for one in deps],
            "outs": [{"path": f"out-{number}", "md5": one.md5, "size": one.size}],
        }
        for number, one in enumerate(contents)
    }
    write(path, yaml.safe_dump({"schema": "2.0", "stages": stages}))


def age(*paths, when=OLD):
    """Files that were last used then."""
    for path in paths:
        os.utime(path, (when, when))


def everything_is_old():
    age(*(path for path in Path(CACHE).rglob("*") if path.is_file()))


def chosen(keep, refs=None, *, shared=False, hasher=None):
    """The inventory and what would go."""
    inventory = Inventory(CACHE)
    needs = Needs(inventory, refs)
    return inventory, Chooser(inventory, needs, hasher or Hasher(None), shared=shared, now=NOW).choose(limit(keep))


def collect(keep, refs=None, *, shared=False):
    """Drop, and return the paths of the files that went."""
    before = held()
    inventory, choice = chosen(keep, refs, shared=shared)
    assert len(list(drop(choice, inventory, shared=shared))) == steps_of(choice)
    return before - held()


def held():
    return {str(path) for path in Path(CACHE).rglob("*") if path.is_file()}


def path_of(content):
    return Objects(CACHE, Hasher(None)).path(content.md5)


def order(choice):
    return [next(iter(record.outputs)).removeprefix("data/") for record, _ in choice.jobs]


def git(*words):
    own = {f"GIT_{role}_{what}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-c", "init.defaultBranch=main", *words]
    subprocess.run(command, check=True, env=os.environ | own, capture_output=True)


# --- limits and sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", Limit(size=0)),
        ("0B", Limit(size=0)),
        ("50GB", Limit(size=50 * 10**9)),
        ("1.5 gib", Limit(size=1.5 * 2**30)),
        ("200kB", Limit(size=200_000)),
        ("30d", Limit(seconds=30 * DAY)),
        ("12h", Limit(seconds=DAY / 2)),
        ("2w", Limit(seconds=14 * DAY)),
    ],
)
def test_a_limit_is_a_size_or_a_time(text, expected):
    assert limit(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "50", "-1GB", "3m", "1e9B", "1PB", "ten days", "1GB 2d", "inf"])
def test_a_limit_without_a_clear_unit_is_refused(text):
    with pytest.raises(CacheError, match="no size and no time"):
        limit(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (5e12, "5.0 TB")],
)
def test_sizes_for_people(size, text):
    assert amount(size) == text


def test_the_size_is_that_of_all_files_by_kind():
    job("a", "x" * 10)
    job("b", {"1": "y" * 20, "2": "z" * 30}, nested=True, trace="e" * 64)
    write(f"{CACHE}/traces/ee/{'e' * 64}.json", "{}")
    write(f"{CACHE}/files/md5/aa/{'b' * 30}.0123456789ab.partial", "half")
    write(f"{CACHE}/notes.txt", "the user's own")
    inventory = Inventory(CACHE)
    count = {kind: len(entries) for kind, entries in inventory.kinds.items() if entries}
    assert count == {"files": 3, "directory lists": 1, "proofs": 2, "traces": 1, "damaged and unfinished": 1}
    assert sum(one.size for one in inventory.kinds["files"]) == 10 + 20 + 30
    assert inventory.size == sum(os.path.getsize(path) for path in held() - {f"{CACHE}/notes.txt"})


def test_all_versions_of_a_stages_outputs_count_for_it():
    _, now = job("a", "x" * 10, out="out-0/0001/rows")
    job("b", "x" * 100, out="out-0/0001/rows")
    job("c", "x" * 1000, out="elsewhere")
    stored("x" * 10000)
    lock(now)
    assert stages_of(Inventory(CACHE)) == {
        "(unknown origin)": 10000,
        "(stages that dvc.lock doesn't have)": 1000,
        "stage-0": 110,
    }


def test_a_proof_with_an_absolute_path_is_of_no_stage():
    job("a", "x" * 10, out="/etc/passwd")
    lock()
    assert stages_of(Inventory(CACHE)) == {"(stages that dvc.lock doesn't have)": 10}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"outputs": 1}', '{"outputs": {"a": ["../../etc", 1, 0]}}', '{"outputs": {}, "cost": 7}']
)
def test_a_record_that_can_not_be_read_is_reported_and_stays(text):
    path = f"{CACHE}/proofs/aa/{'a' * 64}.json"
    write(path, text)
    job("a", "x")
    inventory = Inventory(CACHE)
    assert [next(iter(one.outputs)) for one in inventory.proofs] == ["data/a"]
    assert list(inventory.unreadable) == [path]
    assert path not in collect("0B")


def test_reading_the_cache_is_no_use_of_it():
    path, content = job("a", {"1": "x"})
    everything_is_old()
    _, choice = chosen("30d")
    assert dict(scrub.wrong(Inventory(CACHE))) == dict.fromkeys(Inventory(CACHE).objects, "")
    assert order(choice) == ["a"]
    assert {os.stat(one).st_atime for one in (path, path_of(content))} == {OLD}


# --- what goes first ------------------------------------------------------------------------------------------------


def test_the_cheapest_go_first_and_of_equal_ones_the_largest():
    job("dear", "d" * 100, 1000)
    job("cheap and small", "c" * 10, 1)
    job("cheap and large", "l" * 100, 1)
    job("unknown", "u" * 100, None)
    job("medium", "m" * 100, 10)
    _, choice = chosen("0B")
    assert order(choice) == ["cheap and large", "cheap and small", "medium", "dear", "unknown"]


def test_no_more_goes_than_has_to():
    for number in range(10):
        job(str(number), f"{number}" * 1000, number)
    size = Inventory(CACHE).size
    _, choice = chosen(f"{size - 2500}B")
    assert order(choice) == ["0", "1", "2"]  # 1,000 bytes each, and a proof of less than 500
    assert not chosen(f"{size}B")[1].jobs


def test_dollars_count_as_time():
    job("an hour", "a" * 10, 3600)
    job("a second and three dollars", "b" * 10, 1, dollars=3)  # 1 + 3 * 1800 seconds
    job("a second and a dollar", "c" * 10, 1, dollars=1)
    assert DOLLAR == 1800
    assert order(chosen("0B")[1]) == ["a second and a dollar", "an hour", "a second and three dollars"]


def test_a_job_gets_dearer_when_what_it_depends_on_has_gone():
    _, before = job("before", "b" * 100, 50)
    _, between = job("between", "w" * 100, 60, [before])
    job("after", "a" * 100, 70, [between])
    job("other", "o" * 100, 100)
    # 50 goes first; to make `between` again then costs 60 + 50 > 100, and `after` 70: it is next. Then `other`
    assert order(chosen("0B")[1]) == ["before", "after", "other", "between"]


def test_an_input_that_was_lost_before_makes_a_job_dearer_at_once():
    _, before = job("before", "b" * 100, 50)
    job("after", "a" * 100, 10, [before])
    job("other", "o" * 100, 55)
    os.unlink(path_of(before))
    assert order(chosen("0B")[1]) == ["other", "after"]


def test_an_object_goes_with_the_last_proof_that_names_it():
    one, same = job("one", "s" * 1000, 1)
    other, _ = job("other", same, 100)
    size = Inventory(CACHE).size
    assert collect(f"{size - 1}B") == {one, other, path_of(same)}  # the first one alone would free nothing


def test_a_proof_stays_if_all_of_its_objects_stay():
    one, same = job("one", "s" * 1000, 1)
    _, big = job("big", "b" * 1000, 2)
    other, _ = job("other", same, 100)
    size = Inventory(CACHE).size
    assert path_of(big) in collect(f"{size - 1}B")
    assert {one, other, path_of(same)} <= held()


def test_proofs_of_one_action_share_its_cost():
    _, made = job("one", "1" * 10, 100)
    job("one", made, None, folder="imported")  # of a commit's dvc.lock, which has no costs
    job("two", "2" * 10, 1000)
    job("three", "3" * 10, 10, nested=True, trace="a" * 64)
    job("three", "4" * 10, None, nested=True, trace="b" * 64)
    assert order(chosen("0B")[1]) == ["three", "three", "one", "one", "two"]


def test_objects_of_unknown_origin_go_last():
    loose = stored("l" * 1000)
    job("dear", "d" * 1000, None)
    size = Inventory(CACHE).size
    assert path_of(loose) not in collect(f"{size - 100}B")
    assert path_of(loose) in collect("0B")


def test_what_killed_processes_and_scrubs_left_goes_first():
    job("cheap", "c" * 10, 0)
    left = [f"{CACHE}/damaged/{'a' * 32}", f"{CACHE}/files/md5/aa/{'b' * 30}.0123456789ab.partial"]
    for path in left:
        write(path, "x" * 10)
    assert collect("1GB") == set(left)


# --- by time --------------------------------------------------------------------------------------------------------


def test_what_was_not_used_for_so_long_goes_whatever_it_cost():
    old, first = job("old", "o" * 10, 1_000_000)
    loose = stored("l" * 10)
    everything_is_old()
    new, second = job("new", "n" * 10, 1)
    assert collect("30d") == {old, path_of(first), path_of(loose)}
    assert held() == {new, path_of(second)}
    assert not collect("200d")


def test_a_use_of_the_proof_or_of_an_object_is_a_use_of_both():
    one, first = job("one", "1" * 10)
    two, second = job("two", "2" * 10)
    everything_is_old()
    os.utime(one, (NOW, OLD))  # read now
    os.utime(path_of(second), (NOW, OLD))
    assert not collect("30d")
    assert held() == {one, two, path_of(first), path_of(second)}


# --- what stays -----------------------------------------------------------------------------------------------------


def test_what_dvc_lock_needs_stays_with_its_proofs():
    kept, content = job("kept", {"0001/rows": "r", "0001/deep/x": "x", "0002/rows": "s"})
    part, _ = job("part", {"rows": "r", "deep/x": "x"}, out="out-0/0001")  # a shard: DVC stores the folder around it
    gone, other = job("gone", "g" * 10)
    dep = stored("the input")
    lock(content, deps=[dep])
    assert collect("0B") == {gone, path_of(other)}
    assert {kept, part, path_of(dep)} <= held()
    everything_is_old()
    assert not collect("0h")


def test_what_was_added_by_hand_stays():
    paid = stored({"a.jsonl": "paid", "b.jsonl": "answers"}, "responses")
    write("responses.dvc", yaml.safe_dump({"outs": [{"path": "responses", "md5": paid.md5}]}))
    before = held()
    assert not collect("0B")
    os.rename("responses.dvc", "kept.txt")
    assert collect("0B") == before


def test_what_named_branches_tags_and_commits_need_stays():
    git("init", "--quiet")
    names = {"main": ("checkout", "--detach"), "tagged": ("tag", "v1"), "side": ("branch", "side")}
    for name in ("main", "tagged", "side", "commit", "head", "now"):
        lock(job(name, name * 10)[1])
        if name != "now":  # that of the workspace isn't committed
            git("add", "dvc.lock")
            git("commit", "--quiet", "--message", name)
            git(*names.get(name, ("status",)))

    def gone(**refs):
        return set(order(chosen("0B", Refs(**refs))[1]))

    assert gone() == {"main", "tagged", "side", "commit", "head"}
    assert gone(branches=["side", "main"]) == {"tagged", "commit", "head"}
    assert gone(tags=["v1"]) == {"main", "side", "commit", "head"}
    assert gone(revisions=["HEAD~1"]) == {"main", "tagged", "side", "head"}
    assert gone(all_branches=True) == {"tagged", "commit", "head"}
    assert gone(all_tags=True, all_branches=True, revisions=["HEAD"]) == {"commit"}
    for refs in (Refs(branches=["v1"]), Refs(tags=["side"]), Refs(revisions=["--all"]), Refs(branches=["nope"])):
        with pytest.raises(CacheError, match=r"no (branch|tag|revision) "):
            refs.commits()


def test_a_dvc_lock_that_can_not_be_read_stops_it():
    job("a", "a")
    write("dvc.lock", "<<<<<<< ours\nstages: {}\n")
    with pytest.raises(CacheError, match="so what it needs is unknown\n  found:    a merge conflict"):
        chosen("0B")


def test_a_proof_of_sound_outputs_on_disk_stays_without_its_objects():
    on_disk, content = job("a", {"x": "x" * 10})
    altered, other = job("b", "y" * 10)
    write("data/a/x", "x" * 10)
    write("data/b", "z" * 10)
    assert collect("0B") == {path_of(content), altered, path_of(other), *files_of({"x": "x" * 10})}
    assert held() == {on_disk}


def files_of(texts):
    """Paths of the objects of texts."""
    return {path_of(Content(hashlib.md5(text.encode()).hexdigest(), 0)) for text in texts.values()}


def test_proofs_without_objects_go_once_they_are_older_than_all_that_stays():
    lost, content = job("lost", "l" * 10)
    os.unlink(path_of(content))
    kept, _ = job("kept", "k" * 10)
    age(lost, when=NOW - 2 * DAY)
    age(kept, path_of(Content(hashlib.md5(b"k" * 10).hexdigest(), 0)), when=NOW - 3 * DAY)
    assert not collect("1GB")  # a remote may still have its outputs
    age(lost, when=NOW - 4 * DAY)
    assert collect("1GB") == {lost}


def test_traces_code_and_runs_that_nothing_names_go():
    _, content = job("kept", "k" * 10, nested=True, trace="1" * 64)
    job("gone", "g" * 10, nested=True, trace="2" * 64)
    lock(content)
    write("code.lock", f"scripts:\n  mix: {'3' * 32}\n")
    traces = [f"{CACHE}/traces/{one}{one}/{one * 64}.json" for one in "12"]
    code = [f"{CACHE}/code/{one * 32}.json" for one in "34"]
    for path in (*traces, *code):
        write(path, "{}")
    runs = []
    for number, one in enumerate((content, Content("5" * 32, 1))):
        runs.append(f"{CACHE}/runs/aa/{'a' * 64}/{number:064}")
        write(runs[-1], yaml.safe_dump({"cmd": "x", "outs": [{"path": "data", "md5": one.md5}]}))
    assert {traces[1], code[1], runs[1]} <= collect("0B")
    assert {traces[0], code[0], runs[0]} <= held()


# --- shared caches and other processes ------------------------------------------------------------------------------


def test_a_cache_that_others_use_needs_a_word(tmp_path):
    assert not gc.is_shared(CACHE)
    os.makedirs(CACHE)
    os.chmod(CACHE, 0o2775)
    assert gc.is_shared(CACHE)
    assert gc.is_shared(str(tmp_path.parent / "cache"))
    with pytest.raises(CacheError, match="others may use the cache"):
        gc.check_allowed(CACHE, shared=True, allowed=False)
    gc.check_allowed(CACHE, shared=True, allowed=True)


def test_in_a_shared_cache_a_day_of_rest_counts_and_unknown_objects_go_by_time_only():
    old, content = job("old", "o" * 10)
    loose = stored("l" * 10)
    everything_is_old()
    job("new", "n" * 10)
    assert collect("0B", shared=True) == {old, path_of(content)}
    assert collect("30d", shared=True) == {path_of(loose)}
    assert not collect("0h", shared=True)


def test_a_command_of_dvc_stops_it_and_the_other_way_round():
    os.makedirs(".dvc/tmp")
    dvc = zc.lockfile.LockFile(".dvc/tmp/lock")  # as DVC takes it
    with pytest.raises(CacheError, match="found:    a command of DVC"):
        locks.no_run().__enter__()
    dvc.close()
    with locks.no_run(), pytest.raises(zc.lockfile.LockError):
        zc.lockfile.LockFile(".dvc/tmp/lock")


def test_it_waits_for_no_run_and_says_so():
    with locks.no_run():
        pass
    with locks.forget_killed_runs(), pytest.raises(CacheError, match="found:    a run, or a command of one"):
        locks.no_run().__enter__()
    held_locks = locks.hold("data/a")
    held_locks[0].close()  # as on a node of a cluster
    with pytest.raises(CacheError, match="found:    a job of an earlier run"):
        locks.no_run().__enter__()
    for one in held_locks:
        one.close()
    with locks.no_run():
        pass


# --- kills ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """A kill, as far as a test can stage one in its own process."""


@pytest.mark.parametrize("after", range(5))
def test_a_kill_at_any_file_leaves_a_sound_cache_and_the_next_call_goes_on(after, monkeypatch):
    _, kept = job("kept", {"1": "a", "2": "b"}, 1)
    rest = held()
    job("cheap", {"1": "c" * 5000, "2": "d" * 5000, "3": "a"}, 1)
    cheap = held() - rest
    dear, costly = job("dear", "e" * 1000, 1000)
    lock(kept)
    most = Inventory(CACHE).size - 9000
    inventory, choice = chosen(f"{most}B")
    assert order(choice) == ["cheap"]
    unlink, removed = os.unlink, []

    def fail(path):
        if len(removed) == after:
            raise Killed
        removed.append(path)
        unlink(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", fail)
        with suppress(Killed):
            list(drop(choice, inventory, shared=False))
    assert removed == [path for path in removed if path in cheap]
    assert len(removed) == after <= len(cheap) == 4  # two files, their list, and the proof at the end
    objects = Objects(CACHE, Hasher(None))
    assert not objects.missing(kept.md5)
    assert not objects.missing(costly.md5)
    for record in Inventory(CACHE).proofs:
        lost = [md5 for md5 in record.contents if objects.missing(md5)]
        assert bool(lost) == (record.outputs.keys() == {"data/cheap"} and after > 0)
    collect(f"{most}B")
    assert Inventory(CACHE).size <= most
    assert os.path.exists(dear)
    assert not objects.missing(costly.md5)


def test_a_file_that_can_not_be_removed_is_a_clear_error(monkeypatch):
    job("a", "a" * 10)
    inventory, choice = chosen("0B")

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(CacheError, match="the cache can't be written to\n  found:    Permission denied"):
        list(drop(choice, inventory, shared=False))


# --- scrub, the record of runs, and the commands --------------------------------------------------------------------


def test_a_scrub_reads_every_byte_and_names_what_is_wrong():
    _, sound = job("sound", "s" * 10)
    _, damaged = job("damaged", {"1": "d" * 10})
    file = hashlib.md5(b"d" * 10).hexdigest()
    path = Path(Objects(CACHE, Hasher(None)).path(file))
    found = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"e" * 10)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))  # bits rot without a trace
    stray = Content(hashlib.md5(b'[{"md5": 1}]').hexdigest() + ".dir", 0)
    write(path_of(stray), '[{"md5": 1}]')
    inventory = Inventory(CACHE)
    wrong = {md5: why for md5, why in scrub.wrong(inventory) if why}
    assert wrong == {
        file: f"bytes with MD5 {hashlib.md5(b'e' * 10).hexdigest()}",
        stray.md5: "not a list of a directory's files",
    }
    scrub.move_away(inventory, file)
    assert Path(CACHE, "damaged", file).read_bytes() == b"e" * 10
    assert Objects(CACHE, Hasher(None)).missing(damaged.md5) == [file]
    assert not Objects(CACHE, Hasher(None)).missing(sound.md5)


def test_a_scrub_names_proofs_and_traces_that_can_not_be_read():
    write(f"{CACHE}/proofs/aa/{'a' * 64}.json", "{")
    write(f"{CACHE}/traces/bb/{'b' * 64}.json", "[]")
    write(f"{CACHE}/traces/cc/{'c' * 64}.json", "{}")
    found = scrub.unreadable(Inventory(CACHE))
    assert [(Path(path).parent.parent.name, why.partition(":")[0]) for path, why in found.items()] == [
        ("proofs", "no proof"),
        ("traces", "no trace"),
    ]


def test_the_record_keeps_the_last_hundred_runs():
    for number in range(105):
        history.record(Counter(run=number), run=str(number), by="snakemake")
    runs = history.last()
    assert [one["run"] for one in runs] == list(range(5, 105))
    with open(history.RUNS, "a") as file:
        file.write('{"time": "2026"')  # of a process that was killed
    assert history.last() == runs


def test_stages_of_one_dvc_repro_are_one_run():
    history.record(Counter(restored=3), run="a", by="dvc")
    history.record(Counter(run=1, up_to_date=2), run="a", by="dvc")
    history.record(Counter(run=1), run="b", by="dvc")
    for _ in range(2):
        history.record(Counter(run=1), run="b", by="snakemake")
    assert [[one[name] for name in history.COUNTS] for one in history.last()] == [
        [1, 3, 2],
        [1, 0, 0],
        [1, 0, 0],
        [1, 0, 0],
    ]


def test_a_job_counts_once_and_as_run_if_it_ran():
    write(history.OUTCOMES, "")
    for output, outcome in (("a", history.RESTORED), ("b", history.RUN), ("b", history.RESTORED), ("c", history.RUN)):
        history.note(output, outcome)
    assert history.outcomes() == {history.RESTORED: 1, history.RUN: 2}


def test_the_command_says_what_goes_and_asks_first(capsys):
    _, content = job("a", "a" * 2000, 65)
    job("b", "b" * 1000, None)
    assert main(["gc", "--keep", "0B", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "needed by the workspace" in said
    assert "outputs of jobs  2  3.0 kB" in said
    assert "to make it again: about 1 min 5 s, and 1 jobs of unknown cost" in said
    assert main(["gc", "--keep", "0B"]) == 1
    assert "found:    no terminal to ask at" in capsys.readouterr().err
    assert os.path.exists(path_of(content))
    assert main(["gc", "--keep", "0B", "--force"]) == 0
    assert not held()
    assert main(["gc", "--keep", "0B", "--yes"]) == 0
    assert "drops nothing" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["gc"])


def test_the_command_scrubs(capsys):
    _, content = job("a", "a" * 10)
    assert main(["cache", "--scrub"]) == 0
    os.chmod(path_of(content), 0o644)
    write(path_of(content), "b" * 10)
    assert main(["cache", "--scrub"]) == 1
    shown = capsys.readouterr()
    assert f"object {content.md5}: bytes with MD5 " in shown.err
    assert "1 objects read, 10 B: 1 damaged" in shown.out
    assert main(["cache", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kinds"]["damaged and unfinished"] == {"files": 1, "bytes": 10}
