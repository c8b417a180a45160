"""Deal the words of a file to shards; lines that begin with # are no words."""

import sys
from pathlib import Path

words = [line for line in Path(sys.argv[1]).read_text().splitlines() if not line.startswith("#")]
shards = int(sys.argv[2])
for number in range(shards):
    out = Path(sys.argv[3], f"{number:04d}.txt")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(words[number::shards]))
