"""A directory of numbers that depend on rows, rate, decay and the directory before."""

import json

from helper import chance, lines, start, write
from letters import number

MODULUS = 97

args, (block,) = start()
weight = float(lines(args.inputs[1] / "weights" / "weight.txt")[0]) if len(args.inputs) > 1 else 0.0
weight += chance(args.out)
losses = []
for row in lines(args.inputs[0]):
    weight = weight * (1 - block["decay"]) + block["rate"] * (number(row) % MODULUS)
    losses.append(weight)
write(args.out / "weights" / "weight.txt", [f"{weight:.6f}"])
write(args.out / "history.json", [json.dumps([{"step": n, "loss": loss} for n, loss in enumerate(losses)])])
