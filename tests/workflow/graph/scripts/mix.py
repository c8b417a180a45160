"""Rows of all parts, in an order that a seed decides."""

import random

from helper import lines, start, write

args, (block, shards, seed) = start()
parts = [args.inputs[0] / scheme / f"{n:04d}" / "rows.txt" for scheme in block["schemes"] for n in range(shards)]
rows = sorted(row for part in parts for row in lines(part))
random.Random(seed).shuffle(rows)
write(args.out / "rows.txt", rows)
write(args.out / "report.txt", [len(rows)])
