"""Split rows into shards by their letters."""

from helper import lines, start, write
from letters import number

args, (shards,) = start()
for shard in range(shards):
    write(args.out / f"{shard:04d}.txt", [row for row in lines(args.inputs[0]) if number(row) % shards == shard])
