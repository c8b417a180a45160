"""Seconds that each rule's jobs took in the last build, from the benchmark files that Snakemake leaves in logs/.

$ python benchmarks/wall_by_rule.py [LOGS]
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path


def seconds_by_rule(logs: Path) -> dict[str, list[float]]:
    """Wall seconds of each job, by rule, the slowest rule first."""
    found: dict[str, list[float]] = defaultdict(list)
    for path in sorted(logs.rglob("*.benchmark.tsv")):
        with path.open() as file:
            found[path.relative_to(logs).parts[0]] += [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]
    return dict(sorted(found.items(), key=lambda item: -sum(item[1])))


def main() -> None:
    logs = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("logs")
    rules = seconds_by_rule(logs)
    print("| rule | jobs | seconds together | slowest job |\n|---|---|---|---|")
    for rule, seconds in rules.items():
        print(f"| {rule} | {len(seconds)} | {sum(seconds):.0f} | {max(seconds):.0f} |")
    print(f"| all | {sum(map(len, rules.values()))} | {sum(map(sum, rules.values())):.0f} | |")


if __name__ == "__main__":
    main()
