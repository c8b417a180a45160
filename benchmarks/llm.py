"""What model requests cost and save, against a local server with a fixed latency and against other packages.

$ python benchmarks/llm.py speed

Each subcommand starts one benchmarks/llm_server.py for all its sides, runs each measurement in a process and a folder
of its own, and prints a table in Markdown below the command that made it. The peers are those of peers/README.md.
"""

import argparse
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from llm_work import CARRIERS, LOOKUPS, OURS, fill
from timing import seconds, table

Found = dict[str, Any]
HERE = Path(__file__).resolve()
ROWS = 1000
IN_FLIGHT = 50
LATENCY = 0.2
LIMIT = 100  # calls a second, of the storm
MANY = 100_000  # rows, for memory
STORED = 1_000_000  # answers, for the store
PEERS = ("distilabel", "curator")


class Server:
    """A local model server."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        self.process, self.address = process, process.stdout.readline().strip()

    def ask(self, path: str, method: str = "GET") -> Found:
        """Its counts."""
        with urllib.request.urlopen(urllib.request.Request(self.address + path, method=method)) as answer:
            return dict(json.load(answer))


@contextmanager
def server(latency: float = LATENCY, limit: int = 0) -> Iterator[Server]:
    """A server that stops at the end of the block."""
    command = [sys.executable, str(HERE.with_name("llm_server.py")), f"--latency={latency}", f"--limit={limit}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            process.kill()


def measured(at: Server, folder: Path, command: list[str], **environment: str) -> Found:
    """A command's last line as JSON, with its seconds, CPU seconds and the server's counts."""
    folder.mkdir(parents=True, exist_ok=True)
    at.ask("/reset", "POST")
    start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with (folder / "log").open("a") as log:
        done = subprocess.run(
            command, cwd=folder, env=os.environ | environment, stdout=subprocess.PIPE, stderr=log, text=True
        )
    wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)} failed:\n{(folder / 'log').read_text()[-3000:]}")
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return {**json.loads(done.stdout.splitlines()[-1]), "wall": wall, "cpu": cpu, "server": at.ask("/stats")}


def command_of(what: str, **options: Any) -> list[str]:
    """The command of a measuring process."""
    script = str(HERE.with_name("llm_work.py"))
    return [sys.executable, script, what, *(f"--{name}={value}" for name, value in options.items() if value)]


def environment_of(at: Server, job: str = "generate-bench/0") -> dict[str, str]:
    """Its environment, as `bezoar exec` sets it."""
    return {"BENCH_URL": f"{at.address}/v1", "BENCH_KEY": "dummy", "BEZOAR_JOB": job}


def ours(at: Server, folder: Path, job: str = "generate-bench/0", **options: Any) -> Found:
    """Requests for rows by our layer."""
    return measured(at, folder, command_of("work", **options), **environment_of(at, job))


def peer(name: str, at: Server, folder: Path, edit: int = 0) -> Found:
    """Requests for rows by another package."""
    script = HERE.parent / "peers" / f"{name}_rows.py"
    python = HERE.parents[1] / "scratch" / "peers" / name / "bin" / "python"
    command = [str(python), str(script), f"--address={at.address}/v1", "--work=work"]
    return measured(at, folder, [*command, f"--rows={ROWS}", f"--concurrency={IN_FLIGHT}", f"--edit={edit}"])


def speed(args: argparse.Namespace) -> str:
    """1,000 prompts, by requests in flight and by the package that carries them."""
    sides = [(flying, carrier) for flying in (IN_FLIGHT, 4 * IN_FLIGHT) for carrier in (OURS, *CARRIERS)]
    found: dict[tuple[int, str], list[Found]] = {side: [] for side in sides}
    with server() as at:
        for number in range(args.rounds):
            for flying, carrier in sides[:: -1 if number % 2 else 1]:
                folder = args.folder / f"speed-{flying}-{carrier.replace(' ', '-')}-{number}"
                found[flying, carrier].append(ours(at, folder, rows=ROWS, concurrency=flying, carrier=carrier))
    rows = []
    for (flying, carrier), ones in found.items():
        rates = sorted(ROWS / one["seconds"] for one in ones)
        spread = f"{median(rates):.0f} ({rates[0]:.0f} to {rates[-1]:.0f})"
        numbers = [_middle(ones, "seconds"), _middle(ones, "cpu_inside"), _middle(ones, "wall"), _middle(ones, "cpu")]
        rows.append([str(flying), carrier, f"{flying / LATENCY:,.0f}", spread, *numbers])
    head = ["in flight", "carried by", "ideal, rows/s", "rows/s", "`complete`, s", "CPU s", "process, s", "CPU s"]
    return table(head, rows)


def peers(args: argparse.Namespace) -> str:
    """The same prompts by us and by the peers: from nothing, again, and with one row edited."""
    names = ("bezoar", *PEERS)
    found: dict[str, list[list[Found]]] = {name: [] for name in names}
    with server() as at:
        for number in range(args.rounds):
            for name in names[:: -1 if number % 2 else 1]:
                folder = args.folder / f"peers-{name}-{number}"
                mine = partial(ours, at, folder, rows=ROWS, concurrency=IN_FLIGHT)
                runs = [mine(edit=edit) if name == "bezoar" else peer(name, at, folder, edit) for edit in (0, 0, 1)]
                found[name].append(runs)
    rows = []
    for name in names:
        for place, label in enumerate(("from nothing", "once more", "one row edited")):
            ones = [runs[place] for runs in found[name]]
            rates = f"{median(one['server']['calls'] / max(one['seconds'], 1e-9) for one in ones):.0f}"
            times = [_middle(ones, key) for key in ("seconds", "wall", "cpu")]
            counts = [_range([one["server"]["calls"] for one in ones]), _range([one["current"] for one in ones])]
            rows.append([name, label, *times, "" if place else rates, *counts])
    head = ["", "", "inside, s", "process, s", "CPU s", "rows/s", "calls", f"current answers of {ROWS:,}"]
    return table(head, rows)


def edits(args: argparse.Namespace) -> str:
    """Calls that the server got after edits of a row and of one scheme's template."""
    rows = []
    with server() as at:
        one = partial(ours, at, args.folder / "edits", rows=ROWS + 1, concurrency=IN_FLIGHT)
        two = partial(ours, at, args.folder / "schemes", rows=ROWS // 2, concurrency=IN_FLIGHT)
        a, b = (partial(two, job=f"generate-{name}/0") for name in "ab")
        steps = [
            ("1,001 rows, from nothing", lambda: one(), ROWS + 1),
            ("once more", lambda: one(), 0),
            ("one row edited", lambda: one(edit=1), 1),
            ("scheme a, 500 rows, from nothing", lambda: a(template=1), ROWS // 2),
            ("scheme b, 500 rows, in the same store", lambda: b(template=2), ROWS // 2),
            ("template of b edited: a", lambda: a(template=1), 0),
            ("template of b edited: b", lambda: b(template=3), ROWS // 2),
            ("and back: b", lambda: b(template=2), 0),
        ]
        for label, step, expected in steps:
            found = step()
            numbers = [found["server"]["calls"], expected, found["current"]]
            rows.append([label, *map("{:,}".format, numbers), seconds(found["seconds"])])
    return table(["", "calls", "expected", "current answers", "`complete`, s"], rows)


def kill(args: argparse.Namespace) -> str:
    """SIGKILL during a run, then a second run: repeated calls, and whether answers equal those of a clean run."""
    rows = []
    with server() as at:
        clean = ours(at, args.folder / "clean", rows=ROWS, concurrency=IN_FLIGHT)
        for number in range(args.rounds):
            folder = args.folder / f"kill-{number}"
            before = _killed(at, folder, 300 + 100 * number)
            after = ours(at, folder, rows=ROWS, concurrency=IN_FLIGHT)
            calls, stored = after["server"]["calls"], ROWS - after["server"]["calls"]
            same = "yes" if after["digest"] == clean["digest"] else "no"
            rows.append([*map("{:,}".format, (before, stored, calls, before + calls - ROWS)), same])
    head = ["calls at the kill", "answers kept", "calls after it", "calls twice", "same answers as a clean run"]
    return table(head, rows)


def _killed(at: Server, folder: Path, calls: int) -> int:
    """Start a run, kill it after a number of calls, and return the calls that the server received."""
    folder.mkdir(parents=True)
    at.ask("/reset", "POST")
    environment = os.environ | environment_of(at)
    options = command_of("work", rows=ROWS, concurrency=IN_FLIGHT)
    with subprocess.Popen(options, cwd=folder, env=environment, stderr=subprocess.DEVNULL) as process:
        while at.ask("/stats")["calls"] < calls:
            time.sleep(0.01)
        process.kill()
    time.sleep(2 * LATENCY)
    return int(at.ask("/stats")["calls"])


def storm(args: argparse.Namespace) -> str:
    """1,000 prompts at a server that takes 100 calls a second, by us and once by the peers."""
    rows = []
    with server(limit=LIMIT) as at:
        sides = [("bezoar, 50 in flight", IN_FLIGHT)] * args.rounds + [("bezoar, 200 in flight", 4 * IN_FLIGHT)]
        for number, (label, flying) in enumerate(sides):
            found = ours(at, args.folder / f"storm-{number}", rows=ROWS, concurrency=flying)
            rows.append(_stormed(label, found))
        for name in PEERS:
            rows.append(_stormed(f"{name}, 50 in flight", peer(name, at, args.folder / f"storm-{name}")))
    head = ["", "inside, s", f"ideal {ROWS / LIMIT:.0f} s, times", "first to last call, s", "calls above the limit"]
    return table([*head, "answers"], rows)


def _stormed(label: str, found: Found) -> list[str]:
    refused, taken = found["server"]["above_limit"], found["server"]["seconds"]
    times = [seconds(found["seconds"]), f"{found['seconds'] / (ROWS / LIMIT):.2f}", seconds(taken)]
    return [label, *times, f"{refused:,}", f"{found['answers']:,}"]


def ledger(args: argparse.Namespace) -> str:
    """Our ledger's calls and tokens against the server's own count."""
    from bezoar.requests.ledger import totals

    rows = []
    for label, limit, calls in (("clean", 0, 0), ("storm", LIMIT, 0), ("killed, run again", 0, ROWS // 2)):
        folder = args.folder / f"ledger-{limit}-{calls}"
        with server(limit=limit) as at:
            if calls:
                _killed(at, folder, calls)
            before = at.ask("/stats")
            after = ours(at, folder, rows=ROWS, concurrency=IN_FLIGHT)["server"]
        names = ("calls", "above_limit", "prompt_tokens", "completion_tokens")
        counted = [before[name] + after[name] for name in names]
        total = totals(folder / "responses")["generate-bench"]
        own = [sum(total.outcomes.values()), total.outcomes["rate"], total.prompt_tokens, total.completion_tokens]
        for name, theirs, mine in zip(names, counted, own, strict=True):
            rows.append([label, name.replace("_", " "), f"{theirs:,}", f"{mine:,}", f"{theirs - mine:,}"])
    return table(["run", "", "server", "ledger", "difference"], rows)


def memory(args: argparse.Namespace) -> str:
    """Memory and time of many rows at 500 in flight, and of a second run."""
    folder = args.folder / "memory"
    with server(0.02) as at:
        empty = ours(at, args.folder / "empty", rows=1, concurrency=500)
        runs = [("asked", ours(at, folder, rows=MANY, concurrency=500))]
        runs.append(("once more", ours(at, folder, rows=MANY, concurrency=500)))
    rows = [["1 row", "1", seconds(empty["seconds"]), seconds(empty["cpu_inside"]), f"{empty['rss']:.0f}", ""]]
    for label, one in runs:
        times = [seconds(one["seconds"]), seconds(one["cpu_inside"])]
        above = one["rss"] - empty["rss"]
        calls = f"{one['server']['calls']:,}"
        rows.append([f"{MANY:,} rows, {label}", calls, *times, f"{one['rss']:.0f}", f"{above:.0f}"])
    return table(["", "calls", "`complete`, s", "CPU s", "peak, MiB", "above one row's, MiB for 100,000"], rows)


def store(args: argparse.Namespace) -> str:
    """Opening a million stored answers, and finding a thousand of them."""
    folder, rows = args.folder / "store", []
    for sessions, indexed in ((100, True), (100, False), (10_000, True)):
        if indexed:
            shutil.rmtree(folder, ignore_errors=True)
            fill(folder, sessions, STORED)
        else:
            for path in folder.glob("*/*.index"):
                path.unlink()
        size = sum(path.stat().st_size for path in folder.glob("*/*"))
        command = command_of("lookups", folder=folder, rows=MANY)
        found = [json.loads(subprocess.check_output(command)) for _ in range(args.rounds)]
        assert all(one["found"] == LOOKUPS for one in found), found
        times = [_middle(found, key) for key in ("open", "lookups")]
        beside = f"{sessions:,} sessions, {'with indexes' if indexed else 'without indexes: killed'}"
        rows.append([beside, *times, f"{size / 1e6:,.0f}", f"{median(one['rss'] for one in found):.0f}"])
    shutil.rmtree(folder)
    return table([f"{STORED:,} answers", "open, s", f"{LOOKUPS:,} lookups, s", "MB on disk", "MiB of memory"], rows)


def _middle(found: list[Found], key: str) -> str:
    return seconds(median(one[key] for one in found))


def _range(values: list[int]) -> str:
    return f"{min(values):,}" + (f" to {max(values):,}" if min(values) < max(values) else "")


COMMANDS = {  # with rounds of each side
    "speed": (speed, 5),
    "peers": (peers, 3),
    "edits": (edits, 1),
    "kill": (kill, 5),
    "storm": (storm, 2),
    "ledger": (ledger, 1),
    "memory": (memory, 1),
    "store": (store, 3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (what, rounds) in COMMANDS.items():
        command = commands.add_parser(name, help=what.__doc__)
        command.add_argument("--folder", type=Path, default=Path("scratch/llm"), help="default: %(default)s")
        command.add_argument("--rounds", type=int, default=rounds, help="runs of each side; default: %(default)s")
    args = parser.parse_args()
    args.folder = args.folder.resolve()
    shutil.rmtree(args.folder, ignore_errors=True)
    before = os.getloadavg()[0]
    found = COMMANDS[args.command][0](args)
    shutil.rmtree(args.folder, ignore_errors=True)
    loads = f"load average {before:.1f} before and {os.getloadavg()[0]:.1f} after"
    print(f"`python benchmarks/llm.py {shlex.join(sys.argv[1:])}`, {loads}:\n\n{found}")


if __name__ == "__main__":
    main()
