"""Rules, scripts, recipes, profiles and pages of the package, for every project.

Each has its name in a checkout, such as `scripts/train/sft.py`. A wheel has them in `bezoar/project`, an editable
install in the checkout. A project's own file of the same name has priority. Keys, code.lock and dvc.yaml contain the
names only, not where a file is.
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).parent
_WHEELS = _PACKAGE / "project"  # setup.py writes it
ROOT = _WHEELS if _WHEELS.is_dir() else _PACKAGE.parents[1]


def find(name: str) -> str:
    """The path of a file or folder in the project, else in the package; its name if it doesn't exist."""
    packaged = ROOT / name
    return str(packaged) if not os.path.lexists(name) and packaged.exists() else name


def name_of(path: str) -> str:
    """The name of a file of the project or the package."""
    return os.path.relpath(path, ROOT) if Path(path).is_relative_to(ROOT) else path
