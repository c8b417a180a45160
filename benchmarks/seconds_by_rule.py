"""Wall and CPU seconds that each rule's jobs took, by the proofs of the last build.

$ python benchmarks/seconds_by_rule.py [CACHE]
"""

import json
import sys
from collections import defaultdict
from pathlib import Path


def costs_by_rule(cache: Path) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of each job, by rule, the most expensive rule first."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in (cache / "proofs").rglob("*.json"):
        proof = json.loads(path.read_text())
        found[proof["action"]["rule"]].append((proof["cost"]["seconds"], proof["cost"]["cpu_seconds"]))
    return dict(sorted(found.items(), key=lambda item: -sum(cpu for _, cpu in item[1])))


def main() -> None:
    rules = costs_by_rule(Path(sys.argv[1] if len(sys.argv) > 1 else ".dvc/cache"))
    print("| rule | jobs | wall s | CPU s | slowest job, wall s |\n|---|---|---|---|---|")
    rules["all"] = [job for jobs in rules.values() for job in jobs]
    for rule, jobs in rules.items():
        walls, cpus = [wall for wall, _ in jobs], [cpu for _, cpu in jobs]
        print(f"| {rule} | {len(jobs)} | {sum(walls):.0f} | {sum(cpus):.0f} | {max(walls):.0f} |")


if __name__ == "__main__":
    main()
