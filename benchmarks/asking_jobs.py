"""What one job of a run costs that asks a model, as the run has more and more of them.

`python benchmarks/asking_jobs.py 1000 4000` starts the server of the tests, and does as many jobs, one after the other,
each with a client of its own and all in one process, so that starts of Python don't hide the difference. It prints the
CPU time of a job in each tenth of the run, and of real processes before and after it.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
CALLS = 10  # of a job


def ask(part: int) -> None:
    """One job: all that a script does between its start and its end."""
    from desk import SAMPLING, block, ceilings

    from bezoar.requests.base import ask as request

    os.environ["BEZOAR_JOB"] = f"generate-bench/{part:05d}"
    client = block("openai", {}).open(checkpoint=None, system="", seed=0, budget=ceilings(1000.0))
    found = client.complete([request(f"{part}:{n}", f"row {part} {n}", SAMPLING) for n in range(CALLS)], "bench")
    assert all(one.text == f"answer to row {part} {n}" for n, one in enumerate(found))


def process(part: int) -> float:
    """CPU seconds of a process with one job."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, __file__, "--job", str(part)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(jobs: int, address: str) -> None:
    """Do the jobs in a folder of their own, and print what they cost."""
    from desk import RUN, addresses, set_up

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        set_up(Path(folder))
        os.environ.update(addresses(address) | {"BEZOAR_RUN": RUN})
        ask(90_000)  # imports
        first = statistics.median(process(91_000 + number) for number in range(3))
        cpu, wall = [], time.perf_counter()
        for part in range(jobs):
            began = time.process_time()
            ask(part)
            cpu.append(1000 * (time.process_time() - began))
        wall = time.perf_counter() - wall
        last = statistics.median(process(92_000 + number) for number in range(3))
        tenths = [statistics.mean(cpu[jobs * n // 10 : jobs * (n + 1) // 10]) for n in range(10)]
        print(f"{jobs:,} jobs: {wall:.0f} s; CPU ms of a job by tenths: {' '.join(f'{one:.1f}' for one in tenths)}; "
              f"CPU s of a process before and after: {first:.2f}, {last:.2f}")  # fmt: skip
        os.chdir(ROOT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", type=int, nargs="*")
    parser.add_argument("--job", type=int)
    args = parser.parse_args()
    if args.job is not None:
        ask(args.job)
        return
    server = subprocess.Popen([sys.executable, ROOT / "tests" / "faults.py"], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    try:
        address = server.stdout.readline().strip()
        for jobs in args.jobs:
            measure(jobs, address)
    finally:
        server.kill()


if __name__ == "__main__":
    main()
