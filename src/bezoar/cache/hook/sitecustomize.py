"""Writes down what a Python process uses: modules, packages and files. Python imports it at the start of each process.

`bezoar exec` puts this folder into PYTHONPATH and the path of a log into BEZOAR_TRACE (bezoar.cache.trace). The log has
a JSON list in each line:

    ["start", pid]                    a process has started
    ["path", id, [folder, ...]]       a state of sys.path
    ["module", file, name, id]        code was loaded; the name is empty for a script; id of sys.path at that moment
    ["site", folder, component]       something below a site-packages was opened: a package, or a module's file
    ["read", file], ["write", file]   another file was opened
    ["word", file]                    a command had the name of a file as a word
    ["connect", "host:port"]          a connection was tried

It is called at each audit event, must be fast, and never changes what the process does, but for one thing: bytecode
that may be older than its source isn't loaded, since the trace has the source.
"""

import os
import sys

PROGRAMS = frozenset("subprocess.Popen os.exec os.posix_spawn os.system".split())
EVENTS = PROGRAMS | frozenset("open import socket.connect os.rename os.link os.truncate ctypes.dlopen".split())
LOADERS = frozenset([("runpy", "_get_code_from_file"), ("zipimport", "_read_directory")])  # beside importlib's
PACKAGES = ("/site-packages/", "/dist-packages/")
OWN = ("bezoar",)  # packages that are code of the project wherever they are installed
# Files about distributions, which some packages read of all; and modules that only set up Python.
NO_CODE = (".dist-info", ".egg-info", ".egg-link", ".pth", "_distutils_hack", "_virtualenv.py")
SYSTEM = tuple(
    f"{root}/{name}/" for root in ("", "/usr", "/usr/local") for name in "bin etc lib lib32 lib64 sbin".split()
)
SYSTEM += ("/dev/", "/proc/", "/run/", "/sys/", "/usr/share/")
DEPTH = 4  # of namespace packages
BREAKS = str.maketrans(dict.fromkeys("'\"`;|&<>()$", " "))  # between words in a shell's command


def install(log: str) -> None:
    """Watch this process. All names are local: those of a module are gone at the end of a process."""
    open_, write_, close, abspath, exists, isfile = (
        os.open,
        os.write,
        os.close,
        os.path.abspath,
        os.path.exists,
        os.path.isfile,
    )
    fspath, fsdecode, getpid, getframe, system = os.fspath, os.fsdecode, os.getpid, sys._getframe, sys
    library = os.path.dirname(os.__file__) + "/"
    scratch = os.environ.get("BEZOAR_SCRATCH")
    ignored = SYSTEM + tuple({f"{one}/bin/" for one in (sys.prefix, sys.base_prefix)})
    ignored += (abspath(scratch) + "/",) if scratch else ()
    loaders, events, packages, own, no_code, depth, breaks = LOADERS, EVENTS, PACKAGES, OWN, NO_CODE, DEPTH, BREAKS
    endings = tuple(one[:-1] for one in PACKAGES)
    accessed, written, created = os.O_ACCMODE, os.O_WRONLY, os.O_TRUNC | os.O_EXCL
    seen: set[object] = set()
    paths: dict[tuple[str, ...], str] = {}
    components: set[str] = set()
    known: set[str] = set()  # folders of which nothing more is to be said
    pending: list[str] = []
    last: list[object] = [None, ""]  # sys.path, and its id

    def quote(text: str) -> str:
        if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
            return f'"{text}"'
        units = text.encode("utf-16-be", "surrogatepass").hex()
        return '"' + "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)) + '"'

    def write(*words: str) -> None:
        lines = [*pending, "[" + ", ".join(words) + "]\n"]
        pending.clear()
        try:
            file = open_(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                write_(file, "".join(lines).encode())
            finally:
                close(file)
        except Exception:  # too many open files: with the next line
            pending.extend(lines)

    def note(kind: str, path: str) -> None:
        if (kind, path) not in seen:
            write(f'"{kind}"', quote(path))
            seen.add((kind, path))

    def state() -> str:
        """The id of sys.path as it is, written once."""
        path_list = system.path  # a script may bind it to another list
        if path_list != last[0]:
            entries = tuple(abspath(fsdecode(one)) for one in path_list if isinstance(one, str | bytes))
            if entries not in paths:
                name = f'"{getpid()}.{len(paths)}"'
                write('"path"', name, "[" + ", ".join(map(quote, entries)) + "]")
                paths[entries] = name
            last[:] = [list(path_list), paths[entries]]
        return str(last[1])

    def ended(path: str) -> None:
        folder = path.rpartition("/")[0]
        if not folder.endswith(endings):
            known.update((folder, f"{folder}/__pycache__"))

    def component(path: str, at: int, inside: int) -> None:
        """The package or module below a site-packages that a path belongs to, written once."""
        parts = path[inside:].split("/")
        if parts[0].endswith(no_code) or path[:inside] + parts[0] in components:
            ended(path)
            return
        length = 1
        while length < min(len(parts), depth) and not exists(f"{path[:inside]}{'/'.join(parts[:length])}/__init__.py"):
            length += 1
        found = path[:inside] + "/".join(parts[:length])
        if length < len(parts):
            ended(path)
        if found not in components:
            write('"site"', quote(path[:at]), quote(found[inside:]))
            components.add(found)

    def file(kind: str, path: str, name: str = "") -> None:
        """A file that is used: as a module, for reading, or for writing."""
        if kind == "write":
            if "/__pycache__/" in path:
                return
        elif path.endswith(".pyc"):
            path = source(path)
        if path.startswith(library) and not any(one in path for one in packages):
            ended(path)
            return
        for one in packages:
            at = path.find(one)
            if at > 0:
                inside = at + len(one)
                if path[inside:].partition("/")[0] not in own:
                    if kind != "write":
                        component(path, at + len(one) - 1, inside)
                    return
                break
        else:
            if path.startswith(ignored) or path == log:
                return
        if kind != "module":
            note(kind, path)
        elif ("module", path) not in seen:
            write('"module"', quote(path), quote(name), state())
            seen.add(("module", path))

    def source(path: str) -> str:
        """The source of a file with compiled code."""
        folder, _, name = path.rpartition("/")
        if sys.pycache_prefix and folder.startswith(sys.pycache_prefix):
            return f"{folder[len(sys.pycache_prefix) :]}/{name.split('.')[0]}.py"
        return (
            f"{folder.removesuffix('/__pycache__')}/{name.split('.')[0]}.py"
            if folder.endswith("/__pycache__")
            else path
        )

    def loads() -> str | None:
        """The name of the module that is loaded at this moment; empty for a script, None if data is read."""
        frame = getframe(3).f_back
        if frame is None:
            return None
        caller, outer = frame.f_code.co_name, frame.f_back
        if caller == "get_data" and outer and outer.f_code.co_name == "get_code":
            return str(outer.f_locals.get("fullname", ""))
        module = frame.f_globals.get("__name__")
        return "" if (module, caller) in loaders else None

    def shown() -> bool:
        """Whether a source is read to show a line of it in a warning or a traceback."""
        frame = getframe(3).f_back
        while frame is not None:
            if frame.f_globals.get("__name__") in ("warnings", "traceback"):
                return True
            frame = frame.f_back
        return False

    def opened(path: object, mode: object, flags: int) -> None:
        if isinstance(path, int):
            return
        text = fsdecode(fspath(path))  # type: ignore[call-overload]
        if text == log:
            return
        if mode is None and not flags & accessed and not isfile(text):
            return  # by os.open: a folder, or a name in a folder that is open, as by shutil.rmtree
        text = abspath(text)
        how = flags & accessed
        if how and ("write", text) not in seen:
            file("write", text)
        if how == 0 or (how != written and not flags & created):
            name = "" if mode == "rb" and flags == 0 else loads()  # Python opens its script in C
            if name is not None:
                file("module", text, name)
            elif ("read", text) not in seen and not (text.endswith(".py") and shown()):
                file("read", text)

    def words(command: object, folder: object = None) -> None:
        """The files that a command names."""
        given = [command] if isinstance(command, str | bytes) else list(command)  # type: ignore[call-overload]
        base = fsdecode(fspath(folder)) if folder else ""  # type: ignore[call-overload]
        for one in given:
            word = fsdecode(fspath(one))
            parts = {word, *word.translate(breaks).split()}
            for part in parts | {part.partition("=")[2] for part in parts}:
                path = abspath(os.path.join(base, part)) if part and len(part) < 4096 and "\0" not in part else ""
                if path and ("word", path) not in seen and isfile(path):
                    file("word", path)

    def handle(event: str, args: tuple[object, ...]) -> None:
        if event == "open":
            opened(*args)  # type: ignore[arg-type]
        elif event == "import":
            if args[1] is not None:
                file("module", abspath(fsdecode(args[1])), str(args[0]))  # type: ignore[arg-type]
            elif system.path != last[0]:
                state()
        elif event == "socket.connect":
            if isinstance(args[1], tuple):
                note("connect", f"{args[1][0]}:{args[1][1]}")
        elif event == "subprocess.Popen":
            words(args[1], args[2])
        elif event in ("os.exec", "os.posix_spawn"):
            words([args[0], *args[1]])  # type: ignore[misc]
        elif event == "os.system":
            words(args[0])
        elif event == "os.truncate":
            opened(args[0], None, written)
        elif event == "ctypes.dlopen":
            if args[0] and "/" in str(args[0]):
                opened(args[0], None, 0)
        else:  # os.rename, os.link
            if event == "os.link":
                opened(args[0], None, 0)
            opened(args[1], None, written)

    def watch(event: str, args: tuple[object, ...]) -> None:
        if event in events:
            if event == "open" and type(args[0]) is str and args[0].rpartition("/")[0] in known:
                return
            try:  # noqa: SIM105 (contextlib takes long to import)
                handle(event, args)
            except Exception:  # the process goes on as without it
                pass

    write('"start"', str(getpid()))
    sys.addaudithook(watch)
    for module in list(sys.modules.values()):  # loaded by .pth files
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and module.__name__ != __name__:
            file("module", abspath(path), module.__name__)


def distrust_old_bytecode() -> None:
    """Compile a module of the project anew if it was edited since, though its time in seconds and its size are equal.

    Python looks at these two only. Tools such as rsync keep a file's time, but nothing can set that of its last change.
    """
    external = sys.modules.get("_frozen_importlib_external")
    validate = getattr(external, "_validate_timestamp_pyc", None)
    stat, installed, library = os.stat, PACKAGES, os.path.dirname(os.__file__) + "/"

    def checked(data: object, mtime: object, size: object, name: str, details: dict[str, str]) -> None:
        validate(data, mtime, size, name, details)  # type: ignore[misc]
        path = details["path"]
        folder, _, file = path.rpartition("/")
        if (
            folder.endswith("/__pycache__")
            and not path.startswith(library)
            and not any(one in path for one in installed)
        ):
            source = f"{folder.removesuffix('/__pycache__')}/{file.partition('.')[0]}.py"
            if stat(source).st_ctime_ns >= stat(path).st_mtime_ns:
                raise ImportError(f"bytecode that may be older than {source}", name=name, path=path)

    if validate:
        external._validate_timestamp_pyc = checked  # type: ignore[union-attr]


def continue_with_next() -> None:
    """Import the sitecustomize that this one hides, if there is one."""
    own = sys.modules.pop(__name__)
    try:
        __import__(__name__)
    except ModuleNotFoundError as error:
        if error.name != __name__:
            raise
    finally:
        sys.modules.setdefault(__name__, own)


sys.path[:] = [one for one in sys.path if one != os.path.dirname(os.path.abspath(__file__))]
if os.environ.get("BEZOAR_TRACE"):
    install(os.environ["BEZOAR_TRACE"])
    distrust_old_bytecode()
if __name__ == "sitecustomize":
    continue_with_next()
