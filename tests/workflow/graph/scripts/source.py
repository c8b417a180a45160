"""Rows of a file, without those that begin with a letter."""

from helper import lines, start, write

MOST = 1000

args, (block,) = start()
rows = [row.strip() for row in lines(args.inputs[0]) if row.strip()][:MOST]
write(args.out / "rows.txt", [row for row in rows if not row.startswith(block["drop"])])
write(args.out / "dropped.txt", [row for row in rows if row.startswith(block["drop"])])
