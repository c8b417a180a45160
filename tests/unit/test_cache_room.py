"""A job reads, writes and connects to what its rule declares, and gets a fixed environment."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bezoar.cache import CacheError, build, landlock, refusals, rights, room
from bezoar.cache.environment import environment_of
from bezoar.cache.job import Network, PlannedJob, Run, Step, Surroundings
from bezoar.cache.landlock import Right
from bezoar.cache.room import Mode
from bezoar.cache.running import run
from bezoar.serving import listeners

FOLDER = "data/mixes/all"
OUTPUTS = (f"{FOLDER}/rows.jsonl", "data/gates/all.json", "data/adapters/all")
closed = pytest.mark.skipif(not landlock.abi(), reason="this kernel has no Landlock: nothing can be refused")
OPEN: list[room.Room] = []
Attempt = Callable[..., "subprocess.CompletedProcess[str]"]


def job(command: list[str], network: Network | None = None, given: tuple[str, ...] = ()) -> PlannedJob:
    """A planned job with an input folder, an input file, and an output of each kind; other inputs that no job makes."""
    step = Step(
        rule="mix",
        block=("all",),
        parts=1,
        inputs=("data/rows.jsonl", "data/base", *given),
        form="",
        outputs=OUTPUTS,
        folder=FOLDER,
        outs=OUTPUTS,
        params={},
        values="",
        environment={},
        script="scripts/mix.py",
    )
    around = Surroundings((OUTPUTS[2],), ("logs/mix/all.log",), network, given)
    return PlannedJob(step, command, True, [], around)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project beside a secret."""
    root = tmp_path / "project"
    for path in ("data/rows.jsonl", "data/base/config.json", "data/other.jsonl", "scripts/mix.py", "params.yaml"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    (root / ".snakemake/bezoar").mkdir(parents=True)
    (root / ".snakemake/bezoar/params.yaml").write_text("seed: 1")
    (tmp_path / "secret").write_text("secret")
    monkeypatch.chdir(root)
    monkeypatch.delenv(room.VARIABLE, raising=False)
    yield root
    while OPEN:
        OPEN.pop().leave(succeeded=True)


def room_of(planned: PlannedJob, **more: str) -> room.Room:
    """The room of a job."""
    own = rights.of_job(planned, Run(".dvc/cache", ".snakemake/bezoar/params.yaml", False, {}, {}, {}, "run"), more)
    OPEN.append(own)
    return own


@pytest.fixture
def attempt(project: Path) -> Attempt:
    """Runs a Python program as a job."""

    def one(program: str, *words: str, network: Network | None = None) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", program, *words]
        own = room_of(job(command, network))
        return subprocess.run(
            command, env=own.environment, preexec_fn=room.enter(own), capture_output=True, text=True, check=False
        )

    return one


@closed
def test_a_job_reads_an_input_outside_of_the_project_with_what_its_links_lead_to_and_nothing_beside_it(project):
    cache, model = project.parent / "cache", project.parent / "models" / "mine"
    for path in (cache / "blobs/weights", cache / "blobs/other", model / "config.json", model.parent / "other.json"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    (model / "weights").symlink_to(cache / "blobs/weights")  # as in the cache of the Hugging Face hub
    (project / "linked").symlink_to(model)
    program = "import sys; print(open(sys.argv[1]).read())"
    for given in (str(model), "../models/mine", "linked"):
        own = room_of(job([sys.executable], given=(given,)))
        for path, readable in (
            (f"{given}/config.json", True),
            (f"{given}/weights", True),
            (f"{cache}/blobs/other", False),
            (f"{model.parent}/other.json", False),
        ):
            command = [sys.executable, "-c", program, path]
            done = subprocess.run(
                command, env=own.environment, preexec_fn=room.enter(own), capture_output=True, text=True, check=False
            )
            assert (done.returncode == 0) == readable, done.stderr
        assert Right.READ_DIR not in own.at(str(model.parent))


@closed
@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "params.yaml",
        "data/other.jsonl",
        "link",
        "data/base/link",
        "data/adapters/other/weights",
        "data/gates/other.json",
        "~/.config/settings",
    ],
)
def test_a_job_cannot_read_what_it_does_not_declare(project, attempt, path):
    home = project.parent / "home"
    place = home / path[2:] if path.startswith("~") else project / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.endswith("link"):
        place.symlink_to(project.parent / "secret")
    elif not place.exists():
        place.write_text("secret")
    done = attempt("import sys; print(open(sys.argv[1]).read())", str(place))
    assert "PermissionError" in done.stderr
    assert "secret" not in done.stdout


@closed
@pytest.mark.parametrize(
    "program",
    [
        "open('data/stray', 'w')",
        f"open('{FOLDER}/../stray', 'w')",
        "open('data/adapters/stray', 'w')",
        "open('data/rows.jsonl', 'a')",
        "open('scripts/mix.py', 'a')",
        "os.mkdir('data/adapters/other'); open('data/adapters/other/stray', 'w')",
        f"open('{FOLDER}/rows.jsonl', 'w').close(); os.rename('{FOLDER}/rows.jsonl', 'data/stray')",
        f"open('{FOLDER}/rows.jsonl', 'w').close(); os.link('{FOLDER}/rows.jsonl', 'data/stray')",
        f"os.symlink('../../..', '{FOLDER}/up'); open('{FOLDER}/up/stray', 'w')",
        "os.unlink('data/rows.jsonl')",
        "os.truncate('data/rows.jsonl', 0)",
    ],
)
def test_a_job_cannot_write_beside_its_outputs(project, attempt, program):
    done = attempt(f"import os; {program}")
    assert "PermissionError" in done.stderr or "OSError: [Errno 18]" in done.stderr  # a rename to another folder
    assert (project / "data/rows.jsonl").read_text() == "data/rows.jsonl"
    assert not list(project.rglob("stray"))


@closed
@pytest.mark.skipif(not landlock.limits_tcp(), reason="this kernel's Landlock can't refuse connections")
def test_a_job_connects_only_if_its_rule_says_so(attempt):
    program = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), timeout=5); print('in')"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert "PermissionError" in attempt(program, port).stderr
        assert attempt(program, port, network=Network()).stdout == "in\n"


@closed
def test_a_job_reads_and_writes_what_it_declares(project, attempt):
    done = attempt(
        "import os, tempfile; from pathlib import Path; from bezoar.files import artifact, whole, write_json\n"
        "text = open('data/rows.jsonl').read() + open('data/base/config.json').read() + open('scripts/mix.py').read()\n"
        "open('.snakemake/bezoar/params.yaml').read(); os.listdir('data/base')\n"
        f"with artifact('{FOLDER}') as out: (out / 'rows.jsonl').write_text(text)\n"
        "with artifact('data/adapters/all') as out: (out / 'sub').mkdir(); (out / 'sub/weights').write_text(text)\n"
        "write_json('data/gates/all.json', {}); open('data/gates/all.json').read()\n"
        "open('logs/mix/all.log', 'w').write('done')\n"
        "open('/dev/null', 'w').write('x')\n"
        "open('/dev/shm/bezoar-test', 'w').close(); os.unlink('/dev/shm/bezoar-test')\n"
        "Path('~/.cache/library').expanduser().mkdir(parents=True); Path('~/.config').expanduser().mkdir()\n"
        "with tempfile.TemporaryDirectory() as folder: Path(folder, 'x').write_text('x')\n"
    )
    assert done.returncode == 0, done.stderr
    assert (project / OUTPUTS[0]).exists()
    assert (project / OUTPUTS[2] / "sub/weights").exists()


@closed
def test_a_job_may_start_processes_and_other_programs(project, attempt):
    done = attempt(
        "import multiprocessing, subprocess\n"
        "from multiprocessing.managers import SharedMemoryManager\n"
        "for method in ('fork', 'spawn', 'forkserver'):\n"
        "    with multiprocessing.get_context(method).Pool(2) as pool: assert pool.map(len, ['a', 'bc']) == [1, 2]\n"
        "with SharedMemoryManager() as manager: manager.ShareableList([1])\n"
        "subprocess.run(['bash', '-c', f'sort data/rows.jsonl > data/mixes/all/rows.jsonl; mktemp'], check=True)\n"
        "bad = subprocess.run(['bash', '-c', 'cat ../secret'], capture_output=True, text=True)\n"
        "assert 'Permission denied' in bad.stderr, bad\n"
    )
    assert done.returncode == 0, done.stderr


@closed
def test_a_job_may_train_with_torch(attempt):
    done = attempt(
        "import torch\n"
        "from torch.utils.data import DataLoader\n"
        "model = torch.nn.Linear(2, 1); optimizer = torch.optim.AdamW(model.parameters())\n"
        "for rows in DataLoader(torch.ones(4, 2), batch_size=2, num_workers=1):\n"
        "    model(rows).sum().backward(); optimizer.step()\n"
        "torch.save(model.state_dict(), 'data/adapters/all/weights.pt'); torch.load('data/adapters/all/weights.pt')\n"
    )
    assert done.returncode == 0, done.stderr


@closed
def test_a_job_that_waits_for_a_server_knows_it_by_its_user(attempt):
    program = "import sys; from bezoar.serving import listeners; print(listeners.owned(sys.argv[1], int(sys.argv[2])))"
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert listeners.owned(url, os.getpid())
        assert attempt(program, url, str(os.getpid())).stdout == "True\n"
        assert attempt(program, url, str(2**22 + 1)).stdout == "False\n"


def test_the_environment_of_a_job_is_an_allow_list(project, monkeypatch):
    for name in list(os.environ):
        monkeypatch.delenv(name)
    kept = {"PATH": "/bin", "USER": "ann", "OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": "1", "BEZOAR_RUN": "r"}
    lost = dict.fromkeys(
        "MODE PYTHONPATH PYTHONSTARTUP PYTHONHASHSEED HOME TMPDIR HF_HOME XDG_CONFIG_HOME OPENAI_API_KEY HF_TOKEN "
        "https_proxy SSL_CERT_FILE BEZOAR_SERVER_SECRET LD_PRELOAD LANG TZ".split(),
        "x",
    )
    for name, value in (kept | lost).items():
        monkeypatch.setenv(name, value)
    found = room_of(job(["true"]), MORE="1").environment
    own = str(project / rights.JOBS)
    assert {name: value for name, value in found.items() if value == "x"} == {}
    assert kept.items() <= found.items()
    assert found["MORE"] == "1"
    assert found["LANG"] == found["LC_ALL"] == "C.UTF-8"
    assert found["TZ"] == "UTC"
    assert found["PYTHONHASHSEED"] == "0"
    assert found["HOME"].startswith(own)
    assert os.path.realpath(found["TMPDIR"]).startswith(own)


def test_keys_and_proxies_are_for_jobs_that_need_them(monkeypatch):
    for name in ("TEACHER_KEY", "JUDGE_KEY", "https_proxy", "HF_TOKEN"):
        monkeypatch.setenv(name, "x")

    def given(network: list[str] | None) -> set[str]:
        return {name for name, value in environment_of({}, network=network, folder="/job").items() if value == "x"}

    assert given(None) == set()
    assert given([]) == {"https_proxy"}
    assert given(["TEACHER_KEY"]) == {"https_proxy", "TEACHER_KEY"}


def test_only_downloads_share_the_folder_of_the_hub(project, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(project.parent / "hub"))
    alone = room_of(job(["true"]))
    online = room_of(job(["true"], Network(("HF_HOME",))))
    assert "HF_HOME" not in alone.environment
    assert alone.environment["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in online.environment
    assert not alone.at(f"{project.parent}/hub/x")
    assert online.at(f"{project.parent}/hub/x") == landlock.EVERYTHING
    assert f"{project.parent}/hub" in online.shared


def test_a_folder_that_jobs_share_stays_when_one_of_them_ends(project):
    first, second = (room_of(job(["true"], Network(writes=("responses",)))) for _ in range(2))
    first.leave(succeeded=True)
    Path("responses/answers").touch()
    assert second.at("responses/answers") == landlock.EVERYTHING
    assert os.path.isdir("responses")


def test_the_temporary_folder_has_a_short_path_for_sockets(project):
    own = room_of(job(["true"]))
    assert len(own.environment["TMPDIR"]) <= rights.LONGEST
    link = own.environment["TMPDIR"]
    own.leave(succeeded=True)
    assert not os.path.lexists(link)
    assert not os.path.exists(own.folder)


def test_after_a_failure_its_files_stay_and_are_named(project, capsys):
    own = room_of(job(["true"]))
    Path(own.folder, "tmp/half").write_text("x")
    own.leave(succeeded=False)
    assert f"its temporary files stay in {os.path.relpath(own.folder)}" in capsys.readouterr().err
    empty = room_of(job(["true"]))
    empty.leave(succeeded=False)
    assert not os.path.exists(empty.folder)
    assert capsys.readouterr().err == ""


def test_an_output_folder_is_there_and_an_unused_one_is_gone(project, capsys):
    command = [sys.executable, "-c", "import os; assert os.path.isdir('data/adapters/all')"]
    assert run(command, [OUTPUTS[2]], [], room_of(job(command))) == 1
    assert "didn't make data/adapters/all" in capsys.readouterr().err
    assert not (project / OUTPUTS[2]).exists()
    assert not list(project.rglob(".*.partial"))


def test_a_project_in_a_folder_of_the_system_is_not_readable_with_it(monkeypatch, tmp_path):
    system = tmp_path / "usr"
    for path in ("lib/libc", "src/secret", "src/project/params.yaml"):
        (system / path).parent.mkdir(parents=True, exist_ok=True)
        (system / path).touch()
    monkeypatch.chdir(system / "src/project")
    own = room.Room({}, False, {}, "")
    rights._allow_outside(own, str(system))
    assert Right.READ_FILE in own.at(str(system / "lib/libc"))
    assert not own.at("params.yaml")
    assert not own.at("../secret")


def test_the_mode_is_what_is_asked_for(monkeypatch):
    monkeypatch.delenv(room.VARIABLE, raising=False)
    monkeypatch.setattr(landlock, "abi", lambda: 7)
    assert room.mode() == Mode.ENFORCE
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    assert room.mode() == Mode.OBSERVE
    for wanted in Mode.OBSERVE, Mode.OFF:
        monkeypatch.setenv(room.VARIABLE, wanted)
        assert room.mode() == wanted
    monkeypatch.setenv(room.VARIABLE, "enforce")
    with pytest.raises(CacheError, match="system without Landlock"):
        room.mode()
    monkeypatch.setenv(room.VARIABLE, "on")
    with pytest.raises(CacheError, match="expected: enforce, observe, off"):
        room.mode()


def test_without_landlock_a_run_says_once_that_jobs_are_observed(project, monkeypatch, capsys):
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    own = room_of(job(["true"]))
    assert [own.restriction(), own.restriction()] == [None, None]
    assert capsys.readouterr().err.count("jobs are observed") == 1


@pytest.mark.parametrize("version", range(1, 10))
def test_only_rights_that_the_kernel_knows_are_handled(version):
    count = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)  # the numbers of LANDLOCK_ACCESS_FS_* in its header
    assert landlock.handled(version) == (1 << count) - 1


def test_a_refusal_names_the_file_and_the_line_to_add(project):
    own = room_of(job(["true"]))
    tried = [("read", "data/rows.jsonl"), ("read", str(project / "data/other.jsonl")), ("read", "no such file")]
    said = refusals.explain(tried, own, "mix")
    assert said
    assert said.startswith("rule mix reads data/other.jsonl, which it doesn't declare")
    assert said.endswith('hint: rule mix: input: extra="data/other.jsonl"')
    assert refusals.explain([("write", "data/stray")], own, "mix").endswith(
        'extra="data/stray", or write below $TMPDIR'
    )
    assert refusals.explain([("read", "data/base/config.json"), ("write", f"{FOLDER}/rows.jsonl")], own, "mix") is None


def test_a_refused_connection_names_the_argument_to_add(project):
    tried = [("connect", ["10.0.0.1", 443]), ("connect", "/run/socket")]
    said = refusals.explain(tried, room_of(job(["true"])), "mix")
    assert said
    assert "connects to 10.0.0.1:443" in said
    assert "/run/socket" not in said
    assert said.endswith('graph.attach(..., network={"mix": lambda wildcards: Network()})')
    assert refusals.explain(tried, room_of(job(["true"], Network())), "mix") is None


@closed
def test_what_is_explained_as_refused_is_what_the_kernel_refuses(project, attempt):
    tried = ["../secret", "data/rows.jsonl", "data/base/config.json", "data/other.jsonl", "params.yaml", "/etc/passwd",
             sys.executable, "scripts/mix.py", "/proc/self/status", "data", "data/base", "scripts", "."]  # fmt: skip
    program = (
        "import os, sys\n"
        "for path in sys.argv[1:]:\n"
        "    try: os.close(os.open(path, os.O_RDONLY)); print(path)\n"
        "    except PermissionError: pass"
    )
    own = room_of(job(["true"]))
    assert attempt(program, *tried).stdout.split() == [
        path for path in tried if not refusals.refused("read", path, own)
    ]


def test_a_new_run_leaves_the_values_of_a_killed_runs_jobs_as_the_same_file(project):
    values, old = project / ".snakemake/bezoar/params.yaml", project / ".snakemake/bezoar/jobs/data/old.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    before = values.stat().st_ino
    build._clear_but(
        Path(".snakemake/bezoar"), Path(".snakemake/bezoar/spent/run"), Path(".snakemake/bezoar/params.yaml")
    )
    assert values.stat().st_ino == before
    assert not old.exists()


CONNECT = """
import socket, sys
from contextlib import closing
with closing(socket.socket()) as listener:
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    with closing(socket.create_connection(listener.getsockname())):
        print("connected")
with closing(socket.socket()) as one:
    one.connect(("127.0.0.1", 443))
"""


@pytest.mark.skipif(not landlock.limits_tcp(), reason="this kernel can't refuse connections")
def test_processes_of_one_job_reach_each_other_and_no_service(attempt):
    done = attempt(CONNECT, network=Network(local=True))
    assert done.stdout == "connected\n"
    assert "PermissionError" in done.stderr  # 443 isn't given out
    assert "PermissionError" in attempt(CONNECT).stderr
    assert attempt(CONNECT).stdout == ""


def test_a_job_with_processes_of_its_own_gets_no_network_otherwise(project, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy")
    own = room_of(job(["true"], Network(local=True)))
    assert own.environment["HF_HUB_OFFLINE"] == "1"
    assert "HTTPS_PROXY" not in own.environment
    assert not refusals.refused("connect", ["127.0.0.1", 40_000], own)
    assert refusals.refused("connect", ["192.0.2.1", 40_000], own)
