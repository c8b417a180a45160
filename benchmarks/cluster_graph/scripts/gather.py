"""Join all shards in one file."""

import sys
from pathlib import Path

out = Path(sys.argv[2])
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text("\n".join(path.read_text() for path in sorted(Path(sys.argv[1]).glob("*/rows.txt"))))
