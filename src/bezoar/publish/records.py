"""What the records say of a recipe's artifacts: which are up to date, with their bytes here."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bezoar.cache import CacheError
from bezoar.cache.attest import subjects_of
from bezoar.cache.build import Build
from bezoar.errors import InputError, problem
from bezoar.files import files_in, sha256
from bezoar.recipe.recipe import Recipe

Kind = Literal["model", "dataset"]
CARD = "README.md"


@dataclass(frozen=True)
class File:
    """A file to publish; its name is its path in the folder."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Published:
    """A stage's checkpoint, or the folder of a mix."""

    kind: Kind
    name: str
    folder: Path
    files: tuple[File, ...] = ()

    @property
    def goal(self) -> str:
        """What Snakemake makes it by."""
        return f"{self.folder}/{CARD}" if self.kind == "dataset" else str(self.folder)


class Records:
    """Artifacts of a recipe, as far as their records hold."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.makers = {path: step.name for step in build.steps for path in step.outputs}

    def read(self, path: str) -> Any:
        """The content of a JSON file that is up to date and here; None if it isn't."""
        for output, maker in self.makers.items():
            if not f"{path}/".startswith(f"{output}/"):
                continue
            proof = self.build.decision.proofs.get(maker)
            sound = proof and self.build.hasher.holds(output, proof.outputs[output].md5)
            return json.loads(Path(path).read_text(encoding="utf-8")) if sound and Path(path).is_file() else None
        return None

    def checked(self, target: Published) -> Published:
        """An artifact with the files to publish, after all of its files were compared with their record.

        Raises:
            CacheError: It has no proof, its files aren't here, or they aren't those that were made.
        """
        made = {one["name"]: one["digest"]["sha256"] for one in subjects_of(str(target.folder), self.build)}
        here = {str(path): path for path in files_in(target.folder)}
        altered = sorted(name for name in {*made, *here} if name not in here or sha256(here[name]) != made.get(name))
        if altered:
            raise CacheError(
                problem(
                    f"{target.folder} isn't what was made",
                    found=f"{', '.join(altered[:3])}{' and more' if len(altered) > 3 else ''} differ from the record",
                    expected="the recorded files, and no others",
                    hint=f"`snakemake {target.goal}` restores it",
                )
            )
        files = (
            File(str(path.relative_to(target.folder)), path.stat().st_size, made[name]) for name, path in here.items()
        )
        return replace(target, files=tuple(files))


def target_of(text: str, recipe: Recipe) -> Published:
    """The artifact of a name or a folder.

    Raises:
        InputError: There is no such stage or mix, or there are both.
    """
    known = [
        *(Published("model", name, Path(recipe.folder_of(name))) for name in recipe.stages),
        *(Published("dataset", name, Path("data/datasets", name)) for name in recipe.mixes),
    ]
    found = [one for one in known if text.rstrip("/") in (one.name, str(one.folder))]
    if len(found) == 1:
        return found[0]
    raise InputError(
        problem(
            f"{text}: {'no' if not found else 'more than one'} checkpoint or mix of this name",
            found=", ".join(str(one.folder) for one in found) or text,
            expected="one of them" if found else ", ".join(str(one.folder) for one in known) or "a stage or a mix",
        )
    )
