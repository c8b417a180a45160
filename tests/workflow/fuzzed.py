"""The small graph, furnished with all that a job can depend on: what the fuzz edits and the oracle reads.

| a job of | depends also on |
|---|---|
| source | a file, or all files of a folder |
| generate | two files of its shard under two roles; `MODE`, which is declared, and never `LEVEL`, which isn't |
| mix | a value of its rule outside of `values`; own/weights.py, which the environment finds |
| train | the module of src/ that `PLUGIN` names, and its docstring |
| score | the distribution `outer`, and `inner`, which that imports; colorsys; a global of an included file |
| | the order of its inputs; notes.txt, if jobs are only observed |
| any | scripts/helper.py, which names scripts/spare.py in a function that no one calls |
"""

import shutil
from pathlib import Path

from graph import Graph

FILES = {
    "more/flags.smk": 'FLAGS = "-B"\n',
    "own/weights.py": '"""Found by PYTHONPATH."""\n\nFACTOR = 2\n',
    "src/plugs.py": '"""A module that no import statement names."""\n\nSTRETCH = 1\n',
    "src/stretch.py": '"""Another one."""\n\nSTRETCH = 3\n',
    "scripts/spare.py": '"""Never loaded."""\n\nSPARE = 1\n',
    "notes.txt": "one",
    **{f"mates/{role}/{shard:04d}.txt": f"{role} {shard}\n" for role in ("one", "two") for shard in range(4)},
}
EDITS = {
    "Snakefile": [
        ("SHARDS = [", 'include: "more/flags.smk"\n\n\nSHARDS = ['),
        ("    parts={", '    environment=["MODE"],\n    parts={'),
        (
            "        seeds=lambda w: f",
            '        one="mates/one/{shard}.txt",\n        two="mates/two/{shard}.txt",\n        seeds=lambda w: f',
        ),
        ("--inputs {input.seeds:q}", "--inputs {input.seeds:q} {input.one:q} {input.two:q}"),
        ('"shards", "seed"]),\n', '"shards", "seed"]),\n        flag="-B",\n'),
        ("python {input.script:q} --params mixes", "python {params.flag} {input.script:q} --params mixes"),
        ("python {input.script:q} --params evals", "python {FLAGS} {input.script:q} --params evals"),
    ],
    "scripts/source.py": [
        (
            "rows = [row.strip() for row in lines(args.inputs[0]) if row.strip()][:MOST]",
            "files = sorted(path for path in args.inputs[0].rglob('*') if path.is_file()) or [args.inputs[0]]\n"
            "rows = [row.strip() for path in files for row in lines(path) if row.strip()][:MOST]",
        )
    ],
    "scripts/helper.py": [
        ("def add(log", "def unused():\n    import spare\n\n    return spare.SPARE\n\n\ndef add(log"),
    ],
    "scripts/generate.py": [
        ("from helper", "import os\n\nfrom helper"),
        ("[len(rows)]", '[len(rows), os.environ["MODE"], os.environ.get("LEVEL"), *map(lines, args.inputs[1:])]'),
    ],
    "scripts/mix.py": [
        ("import random\n\n", "import random\n\nimport weights\n"),
        ("[len(rows)]", "[len(rows) * weights.FACTOR]"),
    ],
    "scripts/train.py": [
        ("import json\n", "import importlib\nimport json\nimport sys\n"),
        ("MODULUS = 97\n", 'MODULUS = 97\nPLUGIN = "plugs"\n'),
        ("args, (block", 'sys.path.append("src")\nplugin = importlib.import_module(PLUGIN)\nargs, (block'),
        (
            'write(args.out / "weights"',
            'weight *= plugin.STRETCH\nwrite(args.out / "about.txt", [plugin.__doc__])\nwrite(args.out / "weights"',
        ),
    ],
    "scripts/score.py": [
        ("import json\n\n", "import colorsys\nimport json\nimport os\nfrom pathlib import Path\n\nimport outer\n"),
        (
            "write(args.out",
            'notes = Path("notes.txt").read_text() if os.environ.get("BEZOAR_ISOLATION") == "observe" else ""\n'
            "used = [outer.NAME, colorsys.ONE_THIRD, notes, *(path.name for path in args.inputs)]\nwrite(args.out",
        ),
        ('{"scores": scores}', '{"scores": scores, "used": used}'),
    ],
}  # fmt: skip


def furnish(graph: Graph, *, observed: bool = False) -> Graph:
    """The same graph with all that, in an environment of its own.

    Args:
        graph: A graph with nothing built.
        observed: Whether its jobs are observed only, so that they may read what their rules don't declare.
    """
    for path, text in FILES.items():
        (graph.root / path).parent.mkdir(parents=True, exist_ok=True)
        (graph.root / path).write_text(text)
    for path, edits in EDITS.items():
        for old, new in edits:
            graph.edit(path, old, new)
    site = graph.root.parent / "lib/site-packages"
    install(site, "outer", "1.0", "from inner import NAME\n")
    install(site, "inner", "0.1.dev3+gaaa", 'NAME = "0.1.dev3+gaaa"\n')
    more = {"PYTHONPATH": f"{site}:{graph.root / 'own'}", "MODE": "fast", "LEVEL": "1"}
    graph.environment = {**graph.environment, **more, **({"BEZOAR_ISOLATION": "observe"} if observed else {})}
    graph.commit()
    return graph


def install(site: Path, name: str, version: str, text: str) -> None:
    """Install a distribution with one module, in place of another version."""
    for old in site.glob(f"{name}-*.dist-info"):
        shutil.rmtree(old)
    record = site / f"{name}-{version}.dist-info"
    record.mkdir(parents=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (record / "RECORD").write_text(f"{name}.py,,\n{record.name}/METADATA,,\n{record.name}/RECORD,,\n")
    (site / f"{name}.py").write_text(text)
