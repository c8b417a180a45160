"""Random edits of values, sources, code, rules and the environment; each returns what it did."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

from fuzzed import install
from fuzzing import Fuzz
from loaded import KINDS, release, version

NAMES = {  # what blocks are called, and where names stand in other blocks
    "sources": ["words", "terms"],
    "schemes": ["upper", "loud", "lower", "quiet"],
    "mixes": ["all", "both", "few", "some"],
    "stages": ["sft", "tuned", "dpo", "aligned"],
    "evals": ["score", "marks"],
}
REFERENCES = {
    "sources": {"source"},
    "schemes": {"schemes"},
    "mixes": {"mix"},
    "stages": {"stages", "init_from"},
    "evals": set[str](),
}
RATES = [0.1, 0.2, 0.25, 0.3, 0.5]
TYPES = {  # values that are equal for Python, or look alike
    "draws": [3, 3.0, 1, True, 1.0],
    "note": [0, 0.0, False, "0", None, "null", "", {1: "a"}, {"1": "a"}, [1], [1.0], [True], ["1"]],
    "seed": [0, 0.0, False],
}
CONSTANTS = {  # by module
    "END": ['"\\n"', '"\\r\\n"', '" \\n"'],
    "FIRST": ["0", "1", "291", "0x123"],
    "MOST": ["1000", "999", "5"],
    "BETWEEN": ['""', '"-"', '"_"'],
    "MODULUS": ["97", "89"],
    "STRETCH": ["1", "2", "2.0"],
    "FACTOR": ["2", "3", "2.0"],
    "PLUGIN": ['"plugs"', '"stretch"'],
    "SPARE": ["1", "2"],
}
RENAMED = [("letters", "alphabet"), ("helper", "common")]  # modules that scripts import
SHADOWS = {  # files beside the scripts that are found before a module of src/, of the environment, of Python
    "plugs": '"""In place of the one in src/."""\n\nSTRETCH = 5\n',
    "weights": "FACTOR = 7\n",
    "outer": 'NAME = "not outer"\n',
    "inner": 'NAME = "not inner"\n',
    "colorsys": "ONE_THIRD = 3\n",
    "wave": "UNUSED = 1\n",  # no job loads it
    "unknown": "UNUSED = 2\n",
}
VERSIONS = {
    "outer": ["1.0", "1.1", "1.0+local"],
    "inner": ["0.1.dev3+gaaa", "0.1.dev3+gbbb", "0.2+cpu", "0.2+cu130"],
    "unused": ["1.0", "2.0"],
}


# Values


def change_a_value(run: Fuzz) -> str:
    params = run.graph.params()
    kind = run.choose(["rate", "decay", "suffix", "case", "drop", "seed", "draws"])
    if kind == "seed":
        params["seed"] = run.chance.randrange(4)
    else:
        place = {"rate": "stages", "decay": "stages", "drop": "sources", "draws": "evals"}.get(kind, "schemes")
        block = params[place][run.choose(params[place])]
        values = {"suffix": ["!", "?", "#", "é"], "case": ["upper", "lower", "title"], "drop": ["x", "xe", "B"]}
        block[kind] = run.chance.choice(values.get(kind, [2, 3, 4] if kind == "draws" else RATES))
    run.write_params(params)
    return kind


def change_a_type(run: Fuzz) -> str:
    params = run.graph.params()
    kind = run.choose(TYPES)
    place = {"draws": "evals", "note": "mixes"}.get(kind)
    block = params[place][run.choose(params[place])] if place else params
    block[kind] = run.chance.choice([one for one in TYPES[kind] if repr(one) != repr(block.get(kind))])
    run.write_params(params)
    return f"{kind}: {block[kind]!r}"


def swap_two_values(run: Fuzz) -> str:
    params = run.graph.params()
    name = run.choose(params["stages"])
    block = params["stages"][name]
    block["rate"], block["decay"] = block["decay"], block["rate"]
    one, other = (params["schemes"][name] for name in sorted(params["schemes"]))
    if run.chance.random() < 0.5:
        one["suffix"], other["suffix"] = other["suffix"], one["suffix"]
    run.write_params(params)
    return str(name)


def go_back_to_earlier_values(run: Fuzz) -> None:
    run.write("params.yaml", run.chance.choice(run.earlier))


def rename_a_block(run: Fuzz) -> str:
    params = run.graph.params()
    kind = run.choose(NAMES)
    old = run.choose(params[kind])
    new = run.choose(set(NAMES[kind]) - set(params[kind]))
    params[kind] = {new if name == old else name: block for name, block in params[kind].items()}

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(one) for one in value]
        return new if value == old else value

    for blocks in (params[kind] for kind in NAMES):
        for block in blocks.values():
            block |= {field: renamed(block[field]) for field in REFERENCES[kind] & block.keys()}
    run.write_params(params)
    return f"{kind} {old} -> {new}"


def reorder_a_list(run: Fuzz) -> None:
    params = run.graph.params()
    for block in (*params["mixes"].values(), *params["evals"].values()):
        run.chance.shuffle(block.get("schemes", block.get("stages")))
    run.write_params(params)


def reorder_a_map(run: Fuzz) -> None:
    params = run.graph.params()
    items = list(params.items())
    run.chance.shuffle(items)
    run.write_params(dict(items))


def rewire(run: Fuzz) -> str:
    params = run.graph.params()
    block = params["mixes"][run.choose(params["mixes"])]
    block["schemes"] = run.chance.sample(sorted(params["schemes"]), run.chance.choice([1, 2]))
    run.write_params(params)
    return str(block["schemes"])


def change_the_shards(run: Fuzz) -> str:
    params = run.graph.params()
    params["shards"] = run.chance.choice([2, 3, 4])
    run.write_params(params)
    return str(params["shards"])


# Sources


def edit_the_words(run: Fuzz) -> str:
    words = run.choose(run.files("words.txt") or [run.graph.root / "words.txt"])
    data = words.read_bytes()
    rows = data.splitlines(keepends=True)
    place = run.chance.randrange(len(rows) + 1)
    kind = run.choose(["add", "bytes", "blank", "remove", "ends", "mark", "order"])
    if kind == "remove" and len(rows) > 3:
        rows.pop(place - 1)
    elif kind in ("add", "bytes", "blank"):
        row = "".join(run.chance.choices("aBcxyz é", k=5)).encode() + b"\n"
        rows.insert(place, {"add": row, "bytes": b"\xe9mile\xff\n", "blank": b" \n"}[kind])
    elif kind == "order":
        run.chance.shuffle(rows)
    data = b"".join(rows)
    if kind == "ends":
        data = data.replace(b"\r\n", b"\n") if b"\r\n" in data else data.replace(b"\n", b"\r\n")
    if kind == "mark":
        data = data.removeprefix(b"\xef\xbb\xbf") if data.startswith(b"\xef\xbb\xbf") else b"\xef\xbb\xbf" + data
    words.write_bytes(data)
    return str(kind)


def swap_file_and_folder(run: Fuzz) -> str:
    """Put a folder with the rows of a source in two files in its place, or one file in that of a folder."""
    words = run.graph.root / "words.txt"
    data = b"".join(path.read_bytes() for path in run.files("words.txt")) or words.read_bytes()
    was_folder = words.is_dir()
    remove(words)
    if was_folder:
        words.write_bytes(data)
        return "to a file"
    words.mkdir()
    end = data.find(b"\n") + 1
    (words / "part-0.txt").write_bytes(data[:end])
    (words / "part-1.txt").write_bytes(data[end:])
    return "to a folder"


def link_a_source(run: Fuzz) -> str:
    """Put a link to the same content in the place of a source, or the content in the place of the link."""
    words, away = run.graph.root / "words.txt", run.graph.root / f"more/words-{len(run.story)}"
    if words.is_symlink():
        target = words.resolve()
        words.unlink()
        shutil.copytree(target, words) if target.is_dir() else shutil.copyfile(target, words)
        return "to what it names"
    words.rename(away)
    words.symlink_to(away.relative_to(run.graph.root))
    return "to a link"


def edit_a_mate(run: Fuzz) -> str:
    path = run.choose(run.files("mates"))
    path.write_text(run.chance.choice(["one 0\n", "two 0\n", "three\n"]))
    return str(path.relative_to(run.graph.root))


def edit_the_notes(run: Fuzz) -> None:
    """Which jobs can read where they are only observed."""
    run.write("notes.txt", run.chance.choice(["one", "two"]))


# Code


def modules(run: Fuzz) -> list[str]:
    found = [path for folder in ("scripts", "src", "own") for path in run.files(folder) if path.suffix == ".py"]
    return [str(path.relative_to(run.graph.root)) for path in found]


def edit_a_comment(run: Fuzz) -> str:
    path = run.choose(modules(run))
    text = run.text(path)
    text = re.sub('^"""', '"""Now: ', text) if run.chance.random() < 0.5 else f"{text}\n\n# more\n"
    run.write(path, text)
    return str(path)


def edit_a_meaning(run: Fuzz) -> str:
    constant = run.choose(CONSTANTS)
    line = re.compile(rf"^{constant} = .*$", re.MULTILINE)
    path = run.choose(path for path in modules(run) if line.search(run.text(path)))
    value, found = run.chance.choice(CONSTANTS[constant]), (run.graph.root / path).stat()
    run.write(path, line.sub(lambda _: f"{constant} = {value}", run.text(path)))
    kept = run.chance.random() < 0.3
    if kept:  # as rsync and archives do: Python takes a module's bytecode by its time in seconds and its size
        os.utime(run.graph.root / path, ns=(found.st_atime_ns, found.st_mtime_ns))
    return f"{path}: {constant} = {value}{', as old as before' * kept}"


def add_unused_code(run: Fuzz) -> str:
    """To a module, or as a module of its own: jobs that don't load it don't run."""
    number = len(run.story)
    path = run.choose([*modules(run), f"scripts/unused_{number}.py"])
    kind = run.choose([f"class Unused{number}:\n    pass\n", f"def unused_{number}():\n    import spare\n"])
    before = f"{run.text(path)}\n\n" if (run.graph.root / path).exists() else ""
    run.write(path, before + kind)
    return f"{path}: {kind.splitlines()[0]}"


def rename_a_module(run: Fuzz) -> str:
    """With the imports of it, so that nothing but names changes."""
    pair = run.choose(RENAMED)
    old, new = pair if (run.graph.root / f"scripts/{pair[0]}.py").exists() else pair[::-1]
    (run.graph.root / f"scripts/{old}.py").rename(run.graph.root / f"scripts/{new}.py")
    for path in modules(run):
        run.write(path, re.sub(rf"^from {old} ", f"from {new} ", run.text(path), flags=re.MULTILINE))
    return f"{old} -> {new}"


def shadow_a_module(run: Fuzz) -> str:
    """Put a module beside the scripts that hides another one, or remove it."""
    name = run.choose(SHADOWS)
    path = run.graph.root / f"scripts/{name}.py"
    if path.exists():
        path.unlink()
        return f"no {path.name}"
    path.write_text(SHADOWS[name])
    return path.name


# Rules


def edit_rules(run: Fuzz, kind: str, old: str, new: str) -> None:
    """Replace text in a rule."""
    text = run.code().rules[kind].text
    assert old in text
    run.write("Snakefile", run.text("Snakefile").replace(text, text.replace(old, new)))


def other_name(name: str) -> str:
    return name.removesuffix("_again") if name.endswith("_again") else f"{name}_again"


def rename_a_rule(run: Fuzz) -> str:
    old = run.code().rules[run.choose(KINDS)].name
    text = re.sub(rf"^rule {old}:", f"rule {other_name(old)}:", run.text("Snakefile"), flags=re.MULTILINE)
    run.write("Snakefile", text.replace(f'"{old}": {{"file"', f'"{other_name(old)}": {{"file"'))
    return f"{old} -> {other_name(old)}"


def rename_a_script(run: Fuzz) -> str:
    kind = run.choose(KINDS)
    old = run.code().rules[kind].script
    new = f"scripts/{other_name(Path(old).stem)}.py"
    (run.graph.root / old).rename(run.graph.root / new)
    edit_rules(run, kind, old, new)
    return f"{old} -> {new}"


def edit_a_command(run: Fuzz) -> str:
    """What a command expands to: roles and order of inputs, a value outside of `values`, a global."""
    what = run.choose(["roles", "order", "params", "global"])
    text = run.text("Snakefile")
    if what == "roles":
        swapped = 'one="mates/two/' in text
        for role, other in (("one", "two"), ("two", "one")):
            now, then = (other, role) if swapped else (role, other)
            edit_rules(run, "generate", f'{role}="mates/{now}/', f'{role}="mates/{then}/')
    elif what == "order":
        stages = 'stage=config["evals"][w.eval]["stages"])'
        old, new = f"{stages},\n", f"{stages}[::-1],\n"
        edit_rules(run, "score", *((old, new) if old in text else (new, old)))
    elif what == "params":
        flags = ["-B", "-BB", "-O", ""]
        run.write("Snakefile", re.sub('flag=".*"', f'flag="{run.chance.choice(flags)}"', text))
    else:
        run.write("more/flags.smk", f'FLAGS = "{run.chance.choice(["-B", "-BB", "-u", ""])}"\n')
    return str(what)


def edit_rules_in_vain(run: Fuzz) -> str:
    """What no result depends on: comments, resources, threads, messages, and a rule that no result needs."""
    kind = run.choose(KINDS)
    name, _, _, text = run.code().rules[kind]
    what = run.choose(["comment", "threads", "priority", "message"])
    line = {"comment": "    # more\n", "threads": "    threads: 2\n", "priority": "    priority: 2\n"}
    line |= {"message": f'    message: "{name}"\n'}
    new = text.replace(line[what], "") if line[what] in text else line[what] + text
    run.write("Snakefile", run.text("Snakefile").replace(text, new))
    return f"{name}: {what}"


# The environment


def set_a_variable(run: Fuzz) -> str:
    """One that is declared, or one that isn't."""
    name = run.choose(["MODE", "LEVEL", "LEVEL"])
    values = {"MODE": ["fast", "slow"], "LEVEL": ["1", "2"]}[name]
    run.graph.environment[name] = values[values[0] == run.graph.environment[name]]
    return f"{name}={run.graph.environment[name]}"


def install_a_version(run: Fuzz) -> str:
    site = Path(run.graph.environment["PYTHONPATH"].split(":")[0])
    name = run.choose(VERSIONS)
    was = version(site / f"{name}.py") if (site / f"{name}.py").exists() else "none"
    new = run.chance.choice([one for one in VERSIONS[name] if one != was])
    texts = {"outer": "from inner import NAME\n", "inner": f'NAME = "{release(new)}"\n'}
    install(site, name, new, texts.get(name, ""))
    return f"{name} {was} -> {new}"


def remove(path: Path) -> None:
    """Remove a file, a link or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
