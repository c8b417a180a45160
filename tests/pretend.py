"""A program: makes this folder look as if all were built, with a proof for each job.

An output has one line, or the content of the file of the same path in the folder that the program is given.
"""

import sys
from pathlib import Path

from bezoar.cache.graph import loaded
from bezoar.cache.proofs import Proof
from bezoar.cache.trace import Module, Trace


def pretend(given: Path | None = None) -> None:
    with loaded() as attached:
        build = attached.build
        made: dict[str, str] = {}
        for step in build.steps:
            for path in map(Path, step.outputs):
                file = path if path.suffix else path / "file.txt"  # checkpoints and adapters are folders
                file.parent.mkdir(parents=True, exist_ok=True)
                known = given / file if given else file
                file.write_bytes(known.read_bytes() if given and known.is_file() else f"{path}\n".encode())
            outputs = {path: build.hasher.content(path) for path in step.outputs}
            inputs = {path: made.get(path) or build.hasher.content(path).md5 for path in step.inputs}
            made |= {path: content.md5 for path, content in outputs.items()}
            code = Module(build.verifier.meanings.digest(step.script, ""))
            for path, content in outputs.items() if given else ():
                build.objects.store(path, content)
            build.proofs.add(Proof(step.action(inputs), outputs, Trace({step.script: code})))
        build.hasher.save()


if __name__ == "__main__":
    pretend(*map(Path, sys.argv[1:]))
