"""A shard in upper case."""

import sys
from pathlib import Path

out = Path(sys.argv[2])
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(Path(sys.argv[1]).read_text().upper())
