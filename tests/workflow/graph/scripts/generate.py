"""Rows in upper or lower case."""

from helper import lines, start, write

BETWEEN = ""

args, (block,) = start()
rows = [getattr(row, block["case"])() + BETWEEN + block["suffix"] for row in lines(args.inputs[0])]
write(args.out / "rows.txt", rows)
write(args.out / "report.txt", [len(rows)])
