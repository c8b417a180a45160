"""A wheel also holds what projects take from a checkout: rules, scripts, recipes, profiles, docs (bezoar.installed)."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithProject(build_py):
    """Copies them beside the package; an editable install finds them in the checkout."""

    def run(self) -> None:
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)  # what an earlier build left isn't part of this one
        super().run()
        for name in ("docs", "profiles", "recipes", "rules", "scripts"):
            copy = Path(self.build_lib, "bezoar", "project", name)
            shutil.copytree(name, copy, ignore=shutil.ignore_patterns("__pycache__", "*.png", "*.svg"))


setup(cmdclass={"build_py": BuildWithProject})
