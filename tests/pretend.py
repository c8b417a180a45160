"""A program: makes this folder look as if all were built, with an output of one line and a proof for each job."""

from pathlib import Path

from bezoar.cache.graph import loaded
from bezoar.cache.proofs import Proof
from bezoar.cache.trace import Module, Trace


def pretend() -> None:
    with loaded() as attached:
        build = attached.build
        made: dict[str, str] = {}
        for step in build.steps:
            for path in map(Path, step.outputs):
                file = path if path.suffix else path / "file.txt"  # checkpoints and adapters are folders
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"{path}\n")
            outputs = {path: build.hasher.content(path) for path in step.outputs}
            inputs = {path: made.get(path) or build.hasher.content(path).md5 for path in step.inputs}
            made |= {path: content.md5 for path, content in outputs.items()}
            code = Module(build.verifier.meanings.digest(step.script, ""))
            build.proofs.add(Proof(step.action(inputs), outputs, Trace({step.script: code})))
        build.hasher.save()


if __name__ == "__main__":
    pretend()
