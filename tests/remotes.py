"""Real servers for DVC remotes, and graphs that are shared through them."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from graph import Graph

from bezoar.cache.hashing import md5_of

LAB = Path(__file__).parent / "cluster" / "lab"
PASSWORD = "lab-password-of-nobody"
WRITTEN = ("local", "ssh", "s3", "webdav", "rclone")  # rclone: a second server for WebDAV
SERVED = tuple(kind for kind in WRITTEN if kind != "local")
LARGE = 200_000_000  # bytes of the heavy graph's one large file
FLOWING = 8_000_000  # bytes after which a transfer is in the middle


@dataclass
class Lab:
    """The servers of tests/cluster/lab, with their state in a folder of the test's."""

    folder: Path
    port: int

    def call(self, script: str, *arguments: str) -> None:
        """Run one of the lab's scripts."""
        environment = {"REMOTES_LAB": str(self.folder), "REMOTES_PORT": str(self.port), "REMOTES_PASSWORD": PASSWORD}
        subprocess.run([str(LAB / script), *arguments], env={**os.environ, **environment}, check=True)

    def up(self, kind: str) -> None:
        """Start a server, if it isn't running."""
        self.call("remotes", "up", kind)

    def kill(self, kind: str) -> None:
        """End a server at once."""
        self.call("remotes", "kill", kind)

    def port_of(self, kind: str) -> int:
        """Where a server listens."""
        return self.port + {"ssh": 22, "s3": 80, "webdav": 81, "rclone": 82, "http": 83}[kind]

    def wait_for_bytes(self, kind: str, process: "subprocess.Popen[bytes]") -> None:
        """Wait until a transfer by a process is in the middle."""
        end = time.monotonic() + 120
        while self.transferred(kind) < FLOWING:
            assert process.poll() is None, "the transfer ended before it could be broken off"
            assert time.monotonic() < end
            time.sleep(0.002)

    def transferred(self, kind: str) -> int:
        """Bytes that went over the connections to a server that are open now, whichever way."""
        command = ["ss", "--tcp", "--info", "--numeric", "--no-header", f"dport = :{self.port_of(kind)}"]
        said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
        counts = [word.split(":") for word in said.split() if word.startswith(("bytes_acked:", "bytes_received:"))]
        return sum(int(number) for _, number in counts)


@dataclass
class Remote:
    """A DVC remote on one of the servers.

    Attributes:
        shared: Options that `.dvc/config` holds.
        private: Options that only `.dvc/config.local` holds.
        wrong: The same, of somebody whom the server doesn't know.
        environment: Credentials that the environment holds.
        folder: Where the server keeps the objects as files; None if it doesn't.
    """

    kind: str
    lab: Lab
    url: str
    shared: dict[str, str] = field(default_factory=dict)
    private: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def secrets(self) -> list[str]:
        """What no output and no commit may hold."""
        return [*self.private.values(), *self.environment.values(), *self.wrong.values()]

    def add(self, graph: Graph) -> None:
        """Make it the default remote of a repository, and commit that."""
        graph.run("dvc", "remote", "add", "--quiet", "--force", "--default", "shared", self.url)
        for option, value in self.shared.items():
            graph.run("dvc", "remote", "modify", "--quiet", "shared", option, value)
        self.log_in(graph)
        graph.commit()

    def log_in(self, graph: Graph) -> None:
        """Give a repository the credentials."""
        self._tell(graph, self.private)
        graph.environment |= self.environment

    def log_in_wrongly(self, graph: Graph) -> None:
        """Give a repository another user's credentials."""
        if self.environment:
            names = zip(self.environment, self.wrong.values(), strict=True)
            graph.environment |= dict(names)
        else:
            self._tell(graph, self.wrong)

    def _tell(self, graph: Graph, options: dict[str, str]) -> None:
        for option, value in options.items():
            graph.run("dvc", "remote", "modify", "--quiet", "--local", "shared", option, value)

    def clone(self, graph: Graph, root: Path) -> Graph:
        """A clone of a repository, with the credentials."""
        clone = graph.clone(root)
        self.log_in(clone)
        return clone

    def damage(self, md5: str) -> None:
        """Replace the bytes of an object."""
        if self.folder:
            path = self.folder / "files/md5" / md5[:2] / md5[2:]
            path.chmod(0o644)
            path.write_bytes(b"other bytes")
            path.chmod(0o444)  # or DVC looks at it: a folder's objects are trusted by their mode
        else:
            key = f"{self.url.partition('/bezoar/')[2]}/files/md5/{md5[:2]}/{md5[2:]}"
            client(self).put_object(Bucket="bezoar", Key=key, Body=b"other bytes")

    def unsound(self) -> list[str]:
        """Objects whose bytes aren't what their name says; none where files can't be reached."""
        return unsound(self.folder / "files/md5") if self.folder else []

    @contextmanager
    def with_room_for(self, size: int) -> Iterator[None]:
        """Limit the server's disk space to a number of bytes until the block ends."""
        if self.folder:
            self.lab.call("remotes", "full", str(self.folder), str(size))
            yield
            subprocess.run(["mount", "-o", "remount,size=1G", str(self.folder)], check=True)
        else:
            self.lab.call("s3", "quota", str(size))
            yield
            self.lab.call("s3", "quota", "0")


def client(remote: Remote) -> Any:
    """An S3 client of the remote's owner."""
    import botocore.session

    key, secret = remote.environment.values()
    return botocore.session.get_session().create_client(
        "s3",
        endpoint_url=remote.shared["endpointurl"],
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


def unsound(folder: Path) -> list[str]:
    """Objects below a folder whose bytes aren't what their name says; what has no object's name isn't one."""
    files = [path for path in folder.glob("??/*") if path.is_file()]
    named = [(path, path.parent.name + path.name.removesuffix(".dir")) for path in files]
    return [name for path, name in named if len(name) == 32 and md5_of(str(path)) != name]


def remote_of(lab: Lab, kind: str, name: str) -> Remote:
    """A remote on a server, which is started; its folder is there and empty."""
    folder = lab.folder / "data" / kind / name
    if kind == "local":
        return Remote(kind, lab, str(folder), folder=folder)
    lab.up(kind)
    at = f"127.0.0.1:{lab.port_of(kind)}"
    if kind == "s3":
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        return Remote(
            kind,
            lab,
            f"s3://bezoar/{name}",
            shared={"endpointurl": f"http://{at}"},
            wrong={"access_key_id": "labaccess", "secret_access_key": "nobodys-secret"},
            environment=dict(zip(names, ("labaccess", PASSWORD), strict=True)),
        )
    if kind == "ssh":
        keys = lab.folder / "ssh"
        return Remote(
            kind,
            lab,
            f"ssh://{at}{folder}",
            shared={"user": "root"},
            private={"keyfile": str(keys / "id")},
            wrong={"keyfile": str(keys / "stranger")},
            folder=folder,
        )
    # DVC doesn't make the first folder
    made = ["--request", "MKCOL", "--user", f"dvc:{PASSWORD}", f"http://{at}/{name}/"]
    subprocess.run(["curl", "--silent", "--fail", "--output", "/dev/null", *made], check=True)
    return Remote(
        kind,
        lab,
        f"webdav://{at}/{name}",
        shared={"user": "dvc"},
        private={"password": PASSWORD},
        wrong={"password": "nobodys-secret"},
        folder=folder,
    )


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The servers, each started when a test needs it; all end with the tests."""
    made = Lab(tmp_path_factory.mktemp("remotes"), int(os.environ.get("REMOTES_PORT", "17700")))
    yield made
    made.call("remotes", "down")


@pytest.fixture
def remote(servers: Lab, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Remote]:
    """A remote of the kind that the test is parametrised with, empty."""
    made = remote_of(servers, request.param, tmp_path.name)
    yield made
    if made.folder:
        servers.call("remotes", "free", str(made.folder))
        shutil.rmtree(made.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def once_heavy(template: Graph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """The small graph with a large file in one artifact, built and committed, to be copied."""
    folder = tmp_path_factory.mktemp("heavy")
    shutil.copytree(template.root, folder / "graph")
    made = Graph(folder / "graph", dict(template.environment))
    script = made.root / "scripts/train.py"
    script.write_text(
        script.read_text()
        + "\nif args.out.name == 'sft':\n    import hashlib\n"
        + f"    (args.out / 'large.bin').write_bytes(hashlib.shake_128(b'large').digest({LARGE}))\n"
    )
    made.build()
    made.ran()
    made.commit()
    yield made
    shutil.rmtree(folder)


@pytest.fixture
def heavy(once_heavy: Graph, tmp_path: Path) -> Iterator[Graph]:
    """The small graph with a large file in one artifact, built and committed; all that a test makes is removed."""
    yield once_heavy.copy(tmp_path)
    shutil.rmtree(tmp_path)


def broken_off(remote: Remote, graph: Graph, *command: str) -> str:
    """Run a program whose server is killed while bytes flow; what it said. The server is up again afterwards."""
    log = graph.root.with_name(f"{graph.root.name}.log")
    process = graph.start(*command, log=log)
    try:
        remote.lab.wait_for_bytes(remote.kind, process)
        remote.lab.kill(remote.kind)
        status = process.wait(timeout=180)
    finally:
        if process.poll() is None:
            process.kill()
        remote.lab.up(remote.kind)
    said = log.read_text(errors="replace")
    assert status != 0, said[-4000:]
    return said


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)
