"""A wheel also holds what a project takes from a checkout: rules, scripts, recipes and profiles (bezoar.installed)."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithProject(build_py):
    """Copies them beside the package; an editable install finds them in the checkout."""

    def run(self) -> None:
        super().run()
        target = Path(self.build_lib, "bezoar", "project")
        shutil.rmtree(target, ignore_errors=True)  # of an earlier build
        for name in ("profiles", "recipes", "rules", "scripts") * (not self.editable_mode):
            shutil.copytree(name, target / name, ignore=shutil.ignore_patterns("__pycache__"))


setup(cmdclass={"build_py": BuildWithProject})
