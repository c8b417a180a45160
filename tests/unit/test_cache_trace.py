"""What a job used is what its trace says, and a trace holds as long as a job would find and use the same."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from bezoar.cache import CacheError, foreign, trace
from bezoar.cache.hashing import Hasher
from bezoar.cache.trace import Distribution, Module, Trace, Verifier, places
from bezoar.cache.trace.distributions import exact, look, normal

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
BASE = getattr(sys, "_base_executable", sys.executable)
SITE = f"../env/lib/python{VERSION}/site-packages"
INSIDE = "import sys; sys.path.insert(1, 'lib')\n"


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """An empty project, and an empty environment."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    write("../env/pyvenv.cfg", f"home = {os.path.dirname(BASE)}\ninclude-system-site-packages = false\n")
    os.makedirs("../env/bin")
    os.symlink(BASE, "../env/bin/python")
    os.makedirs(SITE)
    monkeypatch.setattr(places, "_sites", lambda: [str(tmp_path / SITE.removeprefix("../"))])
    monkeypatch.delenv("PYTHONPATH", raising=False)


def write(path, text=""):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def job(text, *command, declared=(), **environment):
    """What a script was seen to use."""
    write("scripts/job.py", text)
    variables = {**os.environ, **environment, "BEZOAR_TRACE": ""}
    variables |= trace.variables(".log/job", variables)
    subprocess.run(["../env/bin/python", *(command or ["scripts/job.py"])], env=variables, check=True, timeout=60)
    return trace.read(".log/job", Hasher(None), [".log", *declared])


def changes(seen):
    found = seen.trace if isinstance(seen, trace.Seen) else seen
    return {(one.kind, one.name) for one in Verifier(Hasher(None)).changes(found)}


def modules(seen):
    return set(seen.trace.modules)


def distribution(name, version, files=(), folder=SITE, **direct):
    """Install a scratch distribution."""
    info = Path(folder, f"{name}-{version}.dist-info")
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for path in files:
        write(Path(folder, path), "x = 1\n")
    write(info / "RECORD", "".join(f"{path},sha256={hash(path)},6\n" for path in (*files, f"{info.name}/METADATA")))
    if direct:
        write(info / "direct_url.json", json.dumps(direct))


# What is seen


@pytest.mark.parametrize(
    "text",
    [
        "import helper",
        "import importlib; importlib.import_module('hel' + 'per')",
        "import runpy; runpy.run_path('scripts/helper.py')",
        "import sys, runpy; sys.path.insert(0, 'scripts'); runpy.run_module('helper')",
        "import subprocess, sys; subprocess.run([sys.executable, 'scripts/helper.py'], check=True)",
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import helper'], cwd='scripts', check=True)",
        "import os, sys; os.system(f'cd scripts && {sys.executable} -m helper')",
        "import os, sys; os.execv(sys.executable, ['python', 'scripts/helper.py'])",
        "import threading; t = threading.Thread(target=__import__, args=('helper',)); t.start(); t.join()",
    ],
)
def test_a_module_is_seen_however_it_is_loaded(text):
    write("scripts/helper.py", "x = 1\n")
    seen = job(text)
    assert modules(seen) == {"scripts/job.py", "scripts/helper.py"}
    assert changes(seen) == set()
    write("scripts/helper.py", "x = 2\n")
    assert changes(seen) == {("module", "scripts/helper.py")}
    os.unlink("scripts/helper.py")
    assert changes(seen) == {("module", "scripts/helper.py")}


@pytest.mark.parametrize("way", ["fork", "spawn", "forkserver"])
def test_what_a_child_loads_before_it_ends_by_force_is_seen(way):
    write("scripts/helper.py", "x = 1\n")
    write("scripts/early.py", "x = 1\n")
    write("table.csv", "1\n")
    text = (
        "import early, multiprocessing, os\n"
        "def work():\n    import helper; open('table.csv').read(); os._exit(0)\n"
        "if __name__ == '__main__':\n"
        f"    child = multiprocessing.get_context('{way}').Process(target=work); child.start(); child.join()\n"
        "    assert child.exitcode == 0\n"
    )
    seen = job(text)
    assert modules(seen) == {"scripts/job.py", "scripts/early.py", "scripts/helper.py"}
    assert seen.undeclared_reads == ["table.csv"]
    assert changes(seen) == set()


def test_compiled_code_counts_as_its_source():
    write("scripts/helper.py", "x = 1\n")
    before = job("import helper", PYTHONDONTWRITEBYTECODE="")
    assert list(Path("scripts/__pycache__").glob("helper.*.pyc"))
    assert job("import helper").trace == before.trace
    elsewhere = {"PYTHONPYCACHEPREFIX": os.path.abspath("../compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    assert job("import helper", **elsewhere).trace == before.trace
    assert job("import helper", **elsewhere).trace == before.trace


def test_comments_and_layout_of_a_module_do_not_count():
    write("scripts/helper.py", "x = 1\n")
    seen = job("import helper")
    write("scripts/helper.py", '"""A docstring."""\n# A comment.\nx  =  1\n')
    assert changes(seen) == set()


def test_a_script_that_is_executed_as_text_counts_by_its_bytes():
    write("scripts/helper.py", "x = 1\n")
    seen = job("exec(open('scripts/helper.py').read())")
    assert seen.undeclared_reads == ["scripts/helper.py"]
    write("scripts/helper.py", "x = 1  # a comment\n")
    assert changes(seen) == {("read", "scripts/helper.py")}


def test_the_source_in_a_warning_or_a_traceback_does_not_count():
    write("scripts/helper.py", "import warnings\nwarnings.warn('old')\n")
    seen = job("import helper, traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.format_exc()\n")
    assert (seen.trace.reads, seen.undeclared_reads) == ({}, [])


def test_an_extension_module_counts_by_its_bytes():
    library = Path(os.__file__).with_name("lib-dynload")
    found = sorted(library.glob("_lsprof*.so"))
    if not found:
        pytest.skip("this Python has no extension modules in files")
    write("lib/a")
    Path("lib", found[0].name).write_bytes(found[0].read_bytes())
    seen = job(INSIDE + "import _lsprof")
    assert f"lib/{found[0].name}" in modules(seen)
    assert changes(seen) == set()
    Path("lib", found[0].name).write_bytes(found[0].read_bytes() + b"\0")
    assert changes(seen) == {("module", f"lib/{found[0].name}")}


def test_a_script_in_another_language_is_a_read():
    write("tools/convert.sh", "true\n")
    text = "import subprocess\nsubprocess.run('sh tools/convert.sh > /dev/null', shell=True, check=True)\n"
    seen = job(text)
    assert seen.undeclared_reads == ["tools/convert.sh"]
    write("tools/convert.sh", "false\n")
    assert changes(seen) == {("read", "tools/convert.sh")}


def test_reads_and_writes_are_compared_with_what_is_declared():
    for name in ("in.txt", "folder/part.txt", "other.txt", "../secret.txt"):
        write(name, "1\n")
    text = (
        "import os, pathlib\n"
        "for name in ('in.txt', 'folder/part.txt', 'other.txt', '../secret.txt'): open(name).read()\n"
        "os.close(os.open('other.txt', os.O_RDONLY))\n"
        "pathlib.Path('out.txt').write_text('1'); pathlib.Path('stray.txt').write_text('1')\n"
        "open('partial', 'w').close(); os.rename('partial', 'renamed.txt')\n"
        "open('gone.txt', 'w').close(); os.unlink('gone.txt')\n"
        "import shutil; os.makedirs('tmp/below'); shutil.rmtree('tmp')\n"  # it opens names in open folders
        "open('stray.txt').read(); open('folder/log', 'a').close()\n"
    )
    seen = job(text, declared=["in.txt", "folder", "out.txt"])
    assert seen.undeclared_reads == [os.path.abspath("../secret.txt"), "other.txt"]
    assert seen.undeclared_writes == ["renamed.txt", "stray.txt"]
    assert set(seen.trace.reads) == {"other.txt"}


def test_an_input_behind_a_link_is_declared():
    write("../disk/data/rows.txt", "1\n")
    os.symlink(os.path.abspath("../disk/data"), "data")
    text = "import os\nopen('data/rows.txt').read(); open(os.path.realpath('data/rows.txt')).read()\n"
    assert job(text, declared=["data/rows.txt"]).undeclared_reads == []


def test_a_file_that_a_job_looked_for_counts_when_it_appears():
    seen = job("try:\n    open('override.json')\nexcept FileNotFoundError:\n    pass\n")
    assert (seen.trace.reads, seen.undeclared_reads) == ({"override.json": "absent"}, [])
    assert changes(seen) == set()
    write("override.json", "{}")
    assert changes(seen) == {("read", "override.json")}


def test_temporary_files_are_not_traced():
    text = "import os\nopen(os.environ['BEZOAR_SCRATCH'] + '/a', 'w').close()\n"
    write("scratch/b")
    assert job(text, BEZOAR_SCRATCH=os.path.abspath("scratch")).undeclared_writes == []


def test_names_of_files_may_be_any():
    name = 'a "quoted" \\ ñame\n\U0001f9ee.txt'
    write(name, "1\n")
    seen = job(f"open({name!r}).read()")
    assert seen.undeclared_reads == [name]
    assert Trace.from_json(json.loads(json.dumps(seen.trace.to_json()))) == seen.trace


def test_a_name_that_is_not_utf_8_stops_nothing():
    seen = job("open(b'\\xff.txt', 'w').close(); open(b'\\xfe.txt', 'a+').read()")
    assert changes(seen) == set()


def test_code_that_changes_during_a_job_is_named():
    write("scripts/helper.py", "x = 1\n")
    seen = job("import helper, os, time; time.sleep(0.02); os.utime('scripts/helper.py')")
    assert seen.changed == [os.path.abspath("scripts/helper.py")]
    assert job("import helper").changed == []
    os.utime("scripts/helper.py", (4_000_000_000, 4_000_000_000))  # a clock that is wrong, or an archive
    assert job("import helper").changed == []


def test_code_that_runs_is_that_of_the_text_though_its_time_and_size_are_those_of_before():
    for number in (1, 2):
        write("scripts/helper.py", f"x = {number}\n")
        os.utime("scripts/helper.py", (1_000_000_000, 1_000_000_000))
        job(f"import helper; assert helper.x == {number}", PYTHONDONTWRITEBYTECODE="")
        assert list(Path("scripts/__pycache__").iterdir())


def test_a_process_without_the_hook_is_counted_as_none():
    assert job("", "-I", "scripts/job.py").processes == 0
    assert job("").processes == 1


def test_the_next_sitecustomize_is_imported(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.path.abspath("../site"))
    write("../site/sitecustomize.py", "import os\nos.environ['SEEN'] = 'yes'\n")
    text = (
        "import os, sys, sitecustomize\nassert os.environ['SEEN'] == 'yes'\nassert 'site/' in sitecustomize.__file__\n"
    )
    seen = job(text)
    assert modules(seen) == {"scripts/job.py", "~sitecustomize.py"}


def test_the_hook_leaves_no_trace_in_a_process():
    text = "import sys, sitecustomize\nassert not any(one.endswith('hook') for one in sys.path), sys.path\n"
    write("plain.py", "import os\nassert 'BEZOAR_TRACE' in os.environ\n")
    assert job(text + "import subprocess; subprocess.run([sys.executable, 'plain.py'], check=True)").processes == 2


def test_the_hook_never_stops_a_process():
    text = (
        "import os, resource\n"
        "files = [open('/dev/null') for _ in range(20)]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/dev/fd')) - 1, 4096))\n"
        "try:\n    open('first.txt')\nexcept OSError as error:\n    assert error.errno == 24\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096)); open('second.txt').read()\n"
    )
    write("first.txt")
    write("second.txt")
    assert job(text).undeclared_reads == ["first.txt", "second.txt"]  # the first is written with the second


def test_a_log_that_is_none_is_an_error():
    job("")
    for line in ("garbage", "[]", '["what", 1]', '["module", 1, 2, 3]', '["read"]', "[" * 5000):
        write(".log/job", line + "\n")
        with pytest.raises(CacheError, match=r"\.log/job: not the log of what a job uses\n  found: "):
            trace.read(".log/job", Hasher(None), [])


# How modules are found


@pytest.mark.parametrize(
    "new",
    [
        "scripts/helper.py",
        "scripts/helper/__init__.py",
        f"scripts/helper{sysconfig.get_config_var('EXT_SUFFIX')}",
        "lib/helper/__init__.py",
        f"lib/helper{sysconfig.get_config_var('EXT_SUFFIX')}",
    ],
)
def test_a_file_that_would_be_found_first_is_a_change(new):
    write("lib/helper.py", "x = 1\n")
    seen = job(INSIDE + "import helper")
    assert seen.trace.modules["lib/helper.py"][1:] == (("scripts",), "lib")
    assert changes(seen) == set()
    write(new)
    assert changes(seen) == {("found", "lib/helper.py")}


def test_a_file_that_would_be_found_later_is_none():
    write("scripts/helper.py", "x = 1\n")
    seen = job(INSIDE + "import helper")
    write("lib/helper.py", "x = 2\n")
    assert changes(seen) == set()


@pytest.mark.parametrize("new", ["scripts/random.py", "lib/random/__init__.py", "scripts/sqlite3.py"])
def test_a_file_that_hides_the_standard_library_is_a_change(new):
    write("lib/helper.py", "x = 1\n")
    write("scripts/token.py", "x = 1\n")
    seen = job(INSIDE + "import helper, random")
    assert seen.trace.unused == ("scripts/token.py",)  # it hid one already
    assert changes(seen) == set()
    write(new)
    assert changes(seen) == {("found", new.split("/")[1].removesuffix(".py"))}


def test_a_module_that_hides_the_standard_library_is_one_like_others():
    write("scripts/random.py", "x = 1\n")
    seen = job("import random")
    assert modules(seen) == {"scripts/job.py", "scripts/random.py"}
    assert changes(seen) == set()
    os.unlink("scripts/random.py")
    assert changes(seen) == {("module", "scripts/random.py")}


def test_a_package_of_a_namespace_is_found_anew_when_it_becomes_a_package():
    write("lib/space/helper.py", "x = 1\n")
    seen = job(INSIDE + "import space.helper")
    assert changes(seen) == set()
    write("lib/space/__init__.py")
    assert changes(seen) == {("found", "lib/space/helper.py")}


def test_a_namespace_of_the_environment_is_found_again(monkeypatch):
    write("../lib/space/helper.py", "x = 1\n")
    monkeypatch.setenv("PYTHONPATH", os.path.abspath("../lib"))
    seen = job("import space.helper")
    assert changes(seen) == set()
    write("../lib/space/helper.py", "x = 2\n")
    assert changes(seen) == {("module", "~space/helper.py")}


def test_packages_are_seen_with_their_parents():
    write("lib/pack/__init__.py")
    write("lib/pack/sub/__init__.py", "from . import leaf\n")
    write("lib/pack/sub/leaf.py", "x = 1\n")
    seen = job(INSIDE + "import pack.sub")
    assert modules(seen) == {
        "scripts/job.py",
        "lib/pack/__init__.py",
        "lib/pack/sub/__init__.py",
        "lib/pack/sub/leaf.py",
    }
    assert changes(seen) == set()
    os.unlink("lib/pack/__init__.py")
    assert changes(seen) == {("module", "lib/pack/__init__.py")}
    write("lib/pack/__init__.py")
    write("lib/pack/sub/leaf/__init__.py", "x = 1\n")
    assert changes(seen) == {("found", "lib/pack/sub/leaf.py")}


def test_a_search_path_that_a_script_replaces_is_the_one_that_counts():
    write("libs/extra.py", "x = 1\n")
    seen = job("import sys; sys.path = ['other', 'libs', *sys.path]\nimport extra\n")
    assert changes(seen) == set()
    write("other/extra.py", "x = 2\n")
    assert {kind for kind, _ in changes(seen)} == {"found"}


def test_a_module_after_the_environment_is_hidden_by_an_installed_one():
    write("lib/helper.py", "x = 1\n")
    seen = job("import sys; sys.path.append('lib')\nimport helper\n")
    assert seen.trace.modules["lib/helper.py"].before == ("scripts", "site")
    assert changes(seen) == set()
    distribution("other", "1.0", ["helper.py"])
    assert changes(seen) == {("found", "lib/helper.py")}


def test_modules_of_pythonpath_are_found_wherever_that_leads(monkeypatch):
    write("../one/helper.py", "x = 1\n")
    write("../two/helper.py", "x = 1\n")
    monkeypatch.setenv("PYTHONPATH", os.path.abspath("../one"))
    seen = job("import helper")
    assert seen.trace.modules["~helper.py"].before == ("scripts",)
    monkeypatch.delenv("PYTHONPATH")
    assert changes(seen) == {("module", "~helper.py")}
    for folder in ("../one", "../two"):
        monkeypatch.setenv("PYTHONPATH", os.path.abspath(folder))
        assert changes(seen) == set()
    write("../two/helper.py", "x = 2\n")
    assert changes(seen) == {("module", "~helper.py")}
    monkeypatch.setenv("PYTHONPATH", os.path.abspath("../one"))
    write("../one/random.py")
    assert changes(seen) == {("found", "random")}


def test_a_module_of_another_folder_is_known_by_its_path():
    write("../tools/helper.py", "x = 1\n")
    seen = job("import sys; sys.path.insert(0, '../tools')\nimport helper\n")
    assert modules(seen) == {"scripts/job.py", f"~~{os.path.abspath('../tools/helper.py')}"}
    assert changes(seen) == set()
    write("../tools/helper.py", "x = 2\n")
    assert changes(seen) == {("module", f"~~{os.path.abspath('../tools/helper.py')}")}


def test_two_worktrees_with_one_editable_install_use_one_of_them(monkeypatch):
    for tree in ("../first", "../second"):
        write(f"{tree}/src/mine/__init__.py", "from mine import part\n")
        write(f"{tree}/src/mine/part.py", "x = 1\n")
        write(f"{tree}/src/mine/words.txt", "a\n")
    distribution("mine", "1.0", ["__editable__.mine.pth"], dir_info={"editable": True}, url="file:///first")
    write(f"{SITE}/__editable__.mine.pth", os.path.abspath("../first/src") + "\n")
    monkeypatch.chdir("../second")
    seen = job("import mine\n" + "open(mine.__path__[0] + '/words.txt').read()\n")
    assert modules(seen) == {"scripts/job.py", "~mine/__init__.py", "~mine/part.py"}
    assert (seen.trace.distributions, set(seen.trace.reads)) == ({}, {"~mine/words.txt"})
    assert changes(seen) == set()
    write("../second/src/mine/part.py", "x = 2\n")  # Python loads the other one
    assert changes(seen) == set()
    monkeypatch.chdir("../first")
    write("scripts/job.py", Path("../second/scripts/job.py").read_text())
    assert changes(seen) == set()  # a trace says nothing of where trees are
    write("../first/src/mine/part.py", "x = 2\n")
    write("../first/src/mine/words.txt", "b\n")
    assert changes(seen) == {("module", "~mine/part.py"), ("read", "~mine/words.txt")}


def test_the_package_itself_is_found_where_python_finds_it(monkeypatch):
    folder = str(Path(foreign.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", folder)
    seen = job("import bezoar.errors")
    assert modules(seen) == {"scripts/job.py", "~bezoar/__init__.py", "~bezoar/errors.py", "~bezoar/text.py"}
    assert changes(seen) == set()


def test_the_package_in_a_wheel_is_code_like_others():
    for name in ("bezoar/__init__.py", "bezoar/errors.py"):
        write(f"{SITE}/{name}", "x = 1\n")
    distribution("bezoar", "0.1.0")
    seen = job("import bezoar.errors\n")
    assert modules(seen) == {"scripts/job.py", "~bezoar/__init__.py", "~bezoar/errors.py"}
    assert seen.trace.distributions == {}
    assert changes(seen) == set()
    write(f"{SITE}/bezoar/errors.py", "x = 2\n")
    assert changes(seen) == {("module", "~bezoar/errors.py")}


# Distributions


def test_what_a_job_loaded_of_distributions_counts_and_nothing_else():
    distribution("One_Dist", "1.0", ["one/__init__.py", "one/data.txt"])
    distribution("two", "2.0+cpu", ["two.py"])
    distribution("part", "3.0", ["space/part/__init__.py"])
    distribution("other-part", "3.0", ["space/other/__init__.py"])
    distribution("unused", "4.0", ["unused/__init__.py"])
    seen = job("import one, two, space.part\n")
    assert seen.trace.distributions == {
        "one-dist": Distribution("1.0", ("one",)),
        "two": Distribution("2.0", ("two",)),
        "part": Distribution("3.0", ("space/part",)),
    }
    assert changes(seen) == set()
    replace("two", "2.0+cpu", "2.0+cu130")
    replace("unused", "4.0", "5.0")
    replace("other-part", "3.0", "4.0")
    assert changes(seen) == set()
    replace("One_Dist", "1.0", "1.1")
    replace("two", "2.0+cu130", "2.1")
    assert changes(seen) == {("distribution", "one-dist"), ("distribution", "two")}


def replace(name, was, now):
    """Upgrade a scratch distribution."""
    old, new = (Path(f"{SITE}/{name}-{version}.dist-info") for version in (was, now))
    os.rename(old, new)
    write(new / "METADATA", f"Name: {name}\nVersion: {now}\n")
    write(new / "RECORD", (new / "RECORD").read_text().replace(old.name, new.name))


def test_a_package_that_another_distribution_owns_is_a_change():
    distribution("one", "1.0", ["shared/__init__.py"])
    distribution("two", "1.0", ["two.py"])
    seen = job("import shared\n")
    write(f"{SITE}/one-1.0.dist-info/RECORD", "one.py,,\n")
    write(f"{SITE}/two-1.0.dist-info/RECORD", "shared/__init__.py,,\n")
    write(f"{SITE}/new.txt")  # as every installation changes the folder
    assert changes(seen) == {("distribution", "shared")}


def test_an_installed_module_may_be_hidden_by_one_beside_the_script():
    distribution("one", "1.0", ["one/__init__.py"])
    seen = job("import one\n")
    assert changes(seen) == set()
    write("scripts/one.py")
    assert changes(seen) == {("found", "one")}


def test_installed_files_of_no_distribution_count_by_their_content():
    write(f"{SITE}/stray/__init__.py", "x = 1\n")
    write(f"{SITE}/lone.py", "x = 1\n")
    seen = job("import stray, lone\n")
    assert set(seen.trace.distributions) == {"site/stray", "site/lone.py"}
    assert changes(seen) == set()
    write(f"{SITE}/lone.py", "x = 22\n")
    assert changes(seen) == {("distribution", "site/lone.py")}


def test_parts_of_a_build_for_an_accelerator_do_not_count():
    distribution("tensors", "2.13.0+cu130", ["tensors/__init__.py"])
    distribution("triton", "3.6.0", ["triton/__init__.py"])
    distribution("nvidia-cublas-cu13", "13.1", ["nvidia/cublas/__init__.py"])
    seen = job("import tensors, triton, nvidia.cublas\n")
    assert seen.trace.distributions == {"tensors": Distribution("2.13.0", ("tensors",))}
    assert trace.builds(["tensors", "triton"]) == {"tensors": "2.13.0+cu130"}


@pytest.mark.parametrize(
    ("version", "direct", "found"),
    [
        ("2.13.0", {}, "2.13.0"),
        ("2.13.0+cu130", {}, "2.13.0"),
        ("2.13.0rc1+cpu", {}, "2.13.0rc1"),
        ("0.1.dev3+gaaa", {}, "0.1.dev3+gaaa"),
        ("0.1+cpu", {"vcs_info": {"commit_id": "a" * 40}}, f"0.1+cpu@{'a' * 40}"),
    ],
)
def test_versions_are_exact_but_for_the_build_of_a_release(version, direct, found):
    assert exact(version, direct, []) == found


def test_a_distribution_from_a_folder_or_an_archive_counts_by_its_files():
    direct = {"url": "file:///somewhere", "dir_info": {}}
    one, other = (exact("1.0", direct, [f"a.py,sha256={one},1", "x-1.0.dist-info/RECORD,,"]) for one in "ab")
    assert one != other
    assert one == exact("1.0", {**direct, "url": "file:///elsewhere"}, ["a.py,sha256=a,1"])


def test_metadata_that_is_damaged_or_old_is_read_as_far_as_it_goes():
    folder = Path(SITE)
    write(folder / "damaged-1.0.dist-info/RECORD", "a.py,,\n")
    write(folder / "old-1.0-py3.11.egg-info/PKG-INFO", "Name: old\nVersion: 1.0\n")
    write(folder / "old-1.0-py3.11.egg-info/top_level.txt", "old\n")
    write(folder / "direct-1.0.dist-info/METADATA", "Name: direct\nVersion: 1.0\n")
    write(folder / "direct-1.0.dist-info/direct_url.json", "[[")
    found = look(str(folder))
    assert (found.versions, found.owners) == ({"old": "1.0", "direct": "1.0"}, {"old": ["old"]})
    assert normal("A.B__c") == "a-b-c"


def test_the_environment_is_looked_at_once(monkeypatch):
    distribution("one", "1.0", ["one/__init__.py"])
    seen = job("import one\n")
    with monkeypatch.context() as patch:
        patch.setattr("bezoar.cache.trace.distributions.look", lambda folder: pytest.fail("looked again"))
        assert changes(seen) == set()
    for garbage in ("", "[]", '{"a": 1}', json.dumps({os.path.abspath(SITE): [1, 2]})):
        write(f".dvc/tmp/bezoar-distributions-{VERSION}.json", garbage)
        assert changes(seen) == set()


# Docstrings


def test_a_docstring_counts_for_the_module_that_reads_it():
    write("scripts/helper.py", '"""Old."""\nx = 1\n')
    seen = job('"""Old."""\nimport helper\nprint(__doc__)\n')
    write("scripts/helper.py", '"""New."""\nx = 1\n')
    assert changes(seen) == set()
    write("scripts/job.py", '"""New."""\nimport helper\nprint(__doc__)\n')
    assert changes(seen) == {("module", "scripts/job.py")}


@pytest.mark.parametrize(
    ("reads", "kind"),
    [
        ("helper.f.__doc__", "all"),
        ("getattr(helper.f, '__doc__')", "all"),
        ("inspect.getdoc(helper.f)", "all"),
        ("inspect.getsource(helper.f)", "source"),
    ],
)
def test_docstrings_count_everywhere_if_a_module_reads_those_of_others(reads, kind):
    write("scripts/helper.py", 'def f():\n    """Old."""\n')
    seen = job(f"import helper, inspect\nprint({reads})\n")
    assert seen.trace.docstrings == kind
    assert changes(seen) == set()
    write("scripts/helper.py", 'def f():\n    """New."""\n')
    assert ("module", "scripts/helper.py") in changes(seen)


# Traces as data


TRACE = Trace(
    modules={"scripts/a.py": Module("0" * 32), "~b/__init__.py": Module("1" * 32, ("scripts", "site", "."), "~")},
    distributions={"numpy": Distribution("2.4.6", ("numpy",))},
    reads={"a/b.json": "2" * 32, "c": "absent"},
    folders=(".", "scripts"),
    unused=("scripts/token.py",),
    docstrings="all",
)


def test_a_trace_is_the_same_after_a_journey():
    again = Trace.from_json(json.loads(json.dumps(TRACE.to_json())))
    assert (again, again.digest) == (TRACE, TRACE.digest)
    assert TRACE.digest != Trace().digest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("modules", []),
        ("modules", {"../a.py": ["0" * 32, [], ""]}),
        ("modules", {"/a.py": ["0" * 32, [], ""]}),
        ("modules", {"a//b.py": ["0" * 32, [], ""]}),
        ("modules", {"a.py": ["0" * 31, [], ""]}),
        ("modules", {"a.py": ["0" * 32, ["../up"], ""]}),
        ("modules", {"a.py": ["0" * 32, [], "../up"]}),
        ("modules", {"a.py": ["0" * 32, [], 0]}),
        ("modules", {"a.py": ["0" * 32, []]}),
        ("modules", {"a\0.py": ["0" * 32, [], ""]}),
        ("distributions", {"numpy": "2.4.6"}),
        ("distributions", {"numpy": ["2.4.6", ["../up"]]}),
        ("distributions", {"numpy": [2, []]}),
        ("reads", {"a": "present"}),
        ("reads", {"a/../../b": "2" * 32}),
        ("folders", [""]),
        ("folders", ["/"]),
        ("unused", [1]),
        ("docstrings", "own"),
        ("docstrings", None),
        ("more", []),
    ],
)
def test_what_is_no_trace_is_refused(name, value):
    with pytest.raises(foreign.Malformed):
        Trace.from_json({**TRACE.to_json(), name: value})


def test_a_trace_of_others_reads_no_endless_file():
    hostile = Trace(modules={"~~/proc/kcore": Module("0" * 32)}, reads={"~~/dev/zero": "2" * 32})
    assert changes(hostile) == {("module", "~~/proc/kcore"), ("read", "~~/dev/zero")}


def test_a_result_says_where_it_was_made():
    found = trace.provenance()
    assert found["python"] == VERSION
    assert {"host", "user", "machine"} <= found.keys()
