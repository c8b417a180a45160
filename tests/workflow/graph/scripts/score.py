"""A score of each directory."""

import json

from helper import lines, start, write

args, (block,) = start()
scores = {path.name: float(lines(path / "weights" / "weight.txt")[0]) * block["draws"] for path in args.inputs}
write(args.out, [json.dumps({"scores": scores}, sort_keys=True)])
