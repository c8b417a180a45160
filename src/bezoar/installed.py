"""What the package brings to every project: rules, scripts, recipes and profiles.

Each has the name that it has in a checkout, such as `scripts/train/sft.py`. A wheel holds them in `bezoar/project`; an
editable install finds them in the checkout. A project's own file of the same name comes first. Keys, code.lock and
dvc.yaml hold the names alone, wherever a file lies.
"""

import os
from pathlib import Path

_PACKAGE = Path(__file__).parent
_WHEELS = _PACKAGE / "project"  # setup.py writes it
ROOT = _WHEELS if _WHEELS.is_dir() else _PACKAGE.parents[1]


def find(name: str) -> str:
    """Where a file or folder is: in the project of this folder, else in the package; its own name if it is nowhere."""
    packaged = ROOT / name
    return str(packaged) if not os.path.lexists(name) and packaged.exists() else name


def name_of(path: str) -> str:
    """The name of a file, whether the project has it or the package."""
    return os.path.relpath(path, ROOT) if Path(path).is_relative_to(ROOT) else path
