"""Progress: a bar where someone watches, lines in the log otherwise."""

import importlib.util
import logging
import os
import pty
import re
import select
import subprocess
import sys
import termios
from pathlib import Path

from bezoar import logs

COUNT = "from bezoar import logs; logs.setup(None); print(sum(logs.progress(range(4), 4, 'count rows')))"


def test_on_a_terminal_there_is_a_bar():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    done = subprocess.run([sys.executable, "-c", COUNT], stdout=subprocess.PIPE, stderr=theirs, check=True)
    os.set_blocking(ours, False)
    shown = os.read(ours, 4096)
    os.close(theirs)
    os.close(ours)
    assert done.stdout == b"6\n"  # 0 + 1 + 2 + 3
    assert "count rows:   0%|" in shown.decode()
    assert "\r" in shown.decode()


def test_a_bar_that_is_advanced_by_hand_shows_how_far_it_is_and_goes_in_the_end(monkeypatch):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(logs.sys, "stderr", terminal)
        with logs.Bar(4, "send requests") as bar:
            for _ in range(4):
                bar._tqdm.mininterval = 0  # show each step
                bar.advance()
        shown = ""
        while select.select([ours], [], [], 0.5)[0]:  # the kernel hands it over in parts
            shown += os.read(ours, 4096).decode()
    os.close(ours)
    assert bar.done == 4
    assert "send requests:   0%|" in shown
    assert "send requests: 100%|" in shown
    assert shown.endswith("\r")  # which leaves the line to what comes next


def test_without_a_terminal_there_is_no_bar():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"6\n", b"")


def test_long_work_without_a_terminal_logs_how_far_it_is(monkeypatch, caplog):
    clock = iter([0, 20, 30, 40, 60])  # seconds at the start and after each item; 15 between two lines at least
    monkeypatch.setattr(logs.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(logs, "on_terminal", lambda: False)
    with caplog.at_level(logging.INFO, logger="bezoar"):
        assert list(logs.progress("abcd", 4, "write")) == list("abcd")
    # after 20 s 1 of 4 is done: 3 more take 60 s; after 30 s it spoke 10 s ago; after 40 s 3 are done: 13.3 s for one
    assert caplog.messages == ["write: 1 of 4, 1.0 min left", "write: 3 of 4, 0.2 min left"]


def test_a_bar_without_a_terminal_logs_how_far_it_is_and_nothing_once_all_is_done(monkeypatch, caplog):
    clock = iter([0, 16, 20, 40])  # seconds at the start and after each of 3
    monkeypatch.setattr(logs.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(logs, "on_terminal", lambda: False)
    with caplog.at_level(logging.INFO, logger="bezoar"), logs.Bar(3, "send") as bar:
        for done in (1, 2, 3):
            bar.advance()
            assert bar.done == done
    # after 16 s 1 of 3 is done: 2 more take 32 s; after 20 s it spoke 4 s ago; after 40 s nothing is left
    assert caplog.messages == ["send: 1 of 3, 0.5 min left"]


def test_a_job_of_a_run_logs_how_far_it_is_also_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("BEZOAR_JOB", raising=False)
    assert logs.on_terminal()
    monkeypatch.setenv("BEZOAR_JOB", "train-sft/sft")
    assert not logs.on_terminal()


def test_the_log_goes_to_stderr_and_to_its_file_anew(tmp_path):
    path = tmp_path / "logs" / "filter.log"
    path.parent.mkdir()
    path.write_text("an older run\n")
    code = (
        f"import logging; from bezoar import logs; logs.setup({str(path)!r})\n"
        "logs.logger.info('kept 812 of 1,000 rows'); logging.getLogger('httpx').info('a request')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    facts, line = path.read_text().splitlines(keepends=True)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d on .*, \d+ cores, Python 3.*, bezoar .*\n", facts)
    for text in (line, done.stderr):
        assert re.fullmatch(r"\d\d:\d\d:\d\d kept 812 of 1,000 rows\n", text)
    assert done.stdout == ""


def test_a_link_in_the_place_of_a_log_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr(logs.logging, "basicConfig", lambda **options: None)
    (tmp_path / "thesis").write_text("mine")
    (tmp_path / "x.log").symlink_to(tmp_path / "thesis")
    logs.setup(tmp_path / "x.log")
    assert (tmp_path / "thesis").read_text() == "mine"
    assert "bezoar" in (tmp_path / "x.log").read_text()


def test_advice_to_install_a_package_that_downloads_code_is_not_logged_and_the_rest_is():
    spec = importlib.util.find_spec("bitsandbytes")
    assert spec
    assert spec.origin
    theirs = Path(spec.origin).with_name("backends") / "cpu/ops.py"
    assert f'"{logs.KERNEL}' in theirs.read_text()  # so that another text in a later version is seen
    code = f"logger = logging.getLogger({logs.KERNEL_LOGGER!r}); logger.warning({logs.KERNEL!r} + ': %s', 'none')"
    code = f"import logging; from bezoar import logs; logs.setup(None); {code}; logger.warning('no library')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line.partition(" ")[2] for line in done.stderr.splitlines()] == ["no library"]
