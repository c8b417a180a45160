"""The scripts, loaded by their paths: no folder of theirs is on the path of imports."""

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

SCRIPTS = Path(__file__).parents[1] / "scripts"


@cache
def script(name: str) -> ModuleType:
    """A script as a module.

    Args:
        name: Its path below `scripts`, such as `data/mix`.
    """
    spec = importlib.util.spec_from_file_location(f"scripts.{name.replace('/', '.')}", SCRIPTS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
