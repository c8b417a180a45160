"""`bezoar serve`: a self-hosted server, from its start to its end."""

import ipaddress
import os
import secrets
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from bezoar import serving
from bezoar.cache import CacheError
from bezoar.cache.hashing import Hasher
from bezoar.errors import BezoarError, problem
from bezoar.logs import logger
from bezoar.requests.blocks import BackendBlock, Connection, ManagedServer
from bezoar.serving import Address, listeners
from bezoar.serving.neutral import neutral

HOST = "BEZOAR_SERVER_HOST"
LOOPBACK = "127.0.0.1"
OWN_NAME = "hostname"  # as that variable's value: this machine's name
SECRETS = (
    "BEZOAR_SERVER_SECRET",
    "VLLM_API_KEY",
    "LLAMA_API_KEY",
)  # in the server's environment: ours, vLLM's, llama.cpp's
OWN_KEY = "--api-key"  # a command with this flag sets its key itself
QUIET = {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1"}
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_LINES = 15.0
SECONDS_BETWEEN_CHECKS = 5.0  # of the weights
SECONDS_TO_END = 20.0  # from SIGTERM to SIGKILL; SLURM itself kills after 30
LAST_LINES = 20  # of a server's log, in the message about its end
ENDINGS = {
    signal.SIGTERM: ("received SIGTERM", 143),  # with the exit statuses that a shell reports
    signal.SIGHUP: ("its terminal was closed", 129),
    signal.SIGINT: ("interrupted", 0),
}


class Ended(BezoarError):
    """The end of a server; its status is the exit status of `bezoar serve`, 0 for a normal end."""


class Changed(BezoarError):
    """The checkpoint that a server has loaded was made again."""


def serve(backend: str, backends: Mapping[str, BackendBlock], folder_of: Callable[[str], str]) -> int:
    """Serve a backend of a recipe until it isn't needed any more; the exit status.

    Args:
        backend: The backend's name.
        backends: All backends of the recipe.
        folder_of: The model directory of a checkpoint.
    """
    try:
        server = server_of(backend, backends)
        checkpoint = backends[backend].weights
        Serving(backend, server, folder_of(checkpoint) if checkpoint else None).run()
    except Ended as ended:
        (logger.error if ended.status else logger.info)(f"serve {backend}: {ended}")
        return ended.status


def server_of(backend: str, backends: Mapping[str, BackendBlock]) -> ManagedServer:
    """The server of a backend.

    Raises:
        Ended: It has none, or its clients use another address.
    """
    found: dict[str, Connection | None] = {name: getattr(block, "connection", None) for name, block in backends.items()}
    known = {name: one for name, one in found.items() if one and one.server}
    if backend not in known:
        names = ", ".join(known) or "a backend with a server; this recipe has none"
        raise Ended(
            problem(
                "no such server",
                found=backend,
                expected=names,
                hint="backends.<name>.connection.server says how one is started",
            )
        )
    connection = known[backend]
    assert connection.server
    if not connection.self_hosted:
        variable = connection.base_url_env
        raise Ended(
            problem(
                "no job would use this server",
                found=f"{variable} is set, and jobs use that address",
                expected="that it isn't set",
                hint=f"unset {variable}",
            )
        )
    return connection.server


class Serving:
    """Starts a server and watches it.

    Args:
        backend: The backend's name.
        server: How to start it.
        folder: Model directory that it loads; None for weights from outside of the recipe.

    Raises:
        Ended: The machine's name can't be resolved.
    """

    def __init__(self, backend: str, server: ManagedServer, folder: str | None = None) -> None:
        self.backend, self.server, self.folder = backend, server, folder
        self._signal: int | None = None  # received
        self._hasher = Hasher()
        self._looked = 0.0  # when the weights were checked
        self._take_port()

    def _take_port(self) -> None:
        host = os.environ.get(HOST) or LOOPBACK
        self.host = socket.gethostname() if host == OWN_NAME else host
        self.port = _free_port(self.host)
        self.url = f"http://{self.host}:{self.port}"
        own_key = any(word.startswith(OWN_KEY) for word in self.server.command)
        self.secret = "" if own_key else secrets.token_urlsafe(32)
        self.weights = ""  # MD5 of the model directory as it is loaded
        self.address: Address | None = None  # once it is ready
        self._listening: set[int] = set()  # its sockets at the last check

    def run(self) -> NoReturn:
        """Start it, publish its address, and watch it; again if its weights are made again. Always ends by `Ended`."""
        if not listeners.known():
            raise Ended(
                problem(
                    "the owner of a port can't be determined here",
                    found="no /proc/net/tcp",
                    expected="Linux",
                    hint="start the server by hand, and set the backend's base_url_env to its address",
                )
            )
        self._refuse_second()
        for number in ENDINGS:
            signal.signal(number, self._note_signal)
        while True:
            try:
                self._run_once()
            except Changed as changed:
                logger.info(f"serve {self.backend}: {changed}; it starts again")
                self._take_port()

    def _run_once(self) -> NoReturn:
        self.weights = self._wait_for_weights()
        with self._started() as process:
            seconds = self._wait_until_ready(process)
            self._refuse_second()  # another may have started at the same time
            self._check_weights(0.0)  # what it has loaded is what was read before
            own = self._publish()
            logger.info(
                f"serve {self.backend}: ready at {self.url} after {seconds:.0f} s{_reach(self.host)}; "
                f"it stops after {self.server.idle:g} s without a client"
            )
            self._watch(process, own)

    def _wait_for_weights(self) -> str:
        """The MD5 of the model directory, once it is there; empty for weights from outside of the recipe."""
        began = spoken = time.monotonic()
        while (found := self._content()) is None:
            self._check_signal()
            now = time.monotonic()
            if now - began > self.server.start:
                raise Ended(
                    problem(
                        "the server's checkpoint isn't there",
                        found=f"no {self.folder} in {self.server.start:g} s",
                        expected="the model directory that it loads",
                        hint=f"make it by `snakemake --cores all {self.folder}`",
                    )
                )
            if spoken == began or now - spoken > SECONDS_BETWEEN_LINES:
                spoken = now
                logger.info(f"serve {self.backend}: waiting for {self.folder}, {now - began:.0f} s so far")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        self._hasher.save()
        return found

    def _content(self) -> str | None:
        """MD5 of the model directory as it is now; None if it isn't there."""
        self._looked = time.monotonic()
        if self.folder is None:
            return ""
        with suppress(CacheError):  # such as a file that was removed meanwhile
            content = self._hasher.content(self.folder)
            return content.md5 if content and content.files else None
        return None

    def _check_weights(self, seconds: float = SECONDS_BETWEEN_CHECKS) -> None:
        """Raise Changed if the model directory has other content than at the start; once in so many seconds."""
        if time.monotonic() - self._looked >= seconds and self._content() != self.weights:
            raise Changed(f"{self.folder} was made again")

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal = number

    def _refuse_second(self) -> None:
        other = serving.read_address(self.backend)
        if other and other.url != self.url and serving.answers(other.url + self.server.health):
            job = f"SLURM job {other.job}" if other.job else f"process {other.pid} of {other.host}"
            raise Ended(
                problem(
                    "a server of this backend is running already",
                    found=f"{other.url}, since {other.started}, {job}",
                    expected="no server that answers",
                    hint="use it, or stop it first",
                )
            )

    @contextmanager
    def _started(self) -> Iterator["subprocess.Popen[bytes]"]:
        """The server's process; at the end its address is withdrawn, then it is stopped."""
        loaded = neutral(Path(self.folder), serving.FOLDER / f"{self.backend}.model") if self.folder else ""
        slots = (("{host}", self.host), ("{port}", str(self.port)), ("{checkpoint}", str(loaded)))
        words = self.server.command
        for slot, text in slots:
            words = [word.replace(slot, text) for word in words]
        log = serving.log_path(self.backend)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            file.write(f"--- {_now()} on {socket.gethostname()}: {shlex.join(words)}\n".encode())
            file.flush()
            self._said = file.tell()
            try:
                process = subprocess.Popen(
                    words, env=self._environment(), stdout=file, stderr=file, start_new_session=True
                )
            except OSError as error:
                raise Ended(
                    problem(
                        "the server's command can't be started",
                        found=f"{words[0]}: {error.strerror}",
                        expected="a program on PATH, or its whole path",
                        hint="vLLM usually has its own environment: write the whole path, such as …/vllm/bin/vllm",
                    )
                ) from error
        try:
            yield process
        finally:
            self._withdraw()
            _stop(process)

    def _environment(self) -> dict[str, str]:
        """The server's environment, with its secret; the file of its address is the only other place that has it."""
        secret = dict.fromkeys(SECRETS, self.secret) if self.secret else {}
        return {**QUIET, **os.environ, **secret}

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> float:
        """Wait; the seconds that it took."""
        began = spoken = time.monotonic()
        logger.info(f"serve {self.backend}: starting at {self.url}; its log is {serving.log_path(self.backend)}")
        while not (self._listens(process) and serving.answers(self.url + self.server.health)):
            self._look(process, f"an answer at {self.url}{self.server.health}")
            now = time.monotonic()
            if now - began > self.server.start:
                raise Ended(
                    problem(
                        "the server isn't ready",
                        found=f"no answer in {self.server.start:g} s at {self.url}{self.server.health}; its log ends "
                        f"with:\n{self._last_words()}",
                        expected="status 200",
                        hint=f"raise backends.{self.backend}.connection.server.start if it needs longer",
                    )
                )
            if now - spoken > SECONDS_BETWEEN_LINES:
                spoken = now
                logger.info(f"serve {self.backend}: not ready yet, {now - began:.0f} of {self.server.start:g} s")
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return time.monotonic() - began

    def _listens(self, process: "subprocess.Popen[bytes]") -> bool:
        """Whether the server's process, or one that it started, listens on its port.

        Raises:
            Ended: Another program does. It may answer 200 to everything, and would get all prompts.
        """
        found = listeners.listeners(self.port)
        if found.keys() != self._listening:
            strangers = found.keys() - listeners.sockets(listeners.family(process.pid))
            if strangers & listeners.listeners(self.port).keys():  # else it has closed meanwhile
                users = ", ".join(sorted({f"user {found[one]}" for one in strangers}))
                raise Ended(
                    problem(
                        f"another program listens on port {self.port}",
                        found=f"a socket of {users}, which this server didn't open",
                        expected="only sockets of the server's process and its children",
                        hint="start it again, it takes another port; a server in a Docker container can't be checked",
                    )
                )
            self._listening = set(found)
        return bool(found)

    def _publish(self) -> Address:
        """Write the address where clients look for it, also over a dead server's."""
        job = os.environ.get("SLURM_JOB_ID") or None
        self.address = Address(self.url, self.host, self.port, _now(), job, os.getpid(), self.secret, self.weights)
        serving.write_address(self.backend, self.address)
        return self.address

    def _watch(self, process: "subprocess.Popen[bytes]", own: Address) -> NoReturn:
        lease = _Lease(self.backend)
        while True:
            self._look(process, "a server that runs until it isn't needed any more")
            self._listens(process)
            self._hold_address(own)
            if lease.idle() > self.server.idle:
                self._withdraw()  # first: a client touches the lease before it reads the address
                if lease.idle() > self.server.idle:
                    raise Ended(f"no client for {self.server.idle:g} s", 0)
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _look(self, process: "subprocess.Popen[bytes]", expected: str) -> None:
        """Raise Ended if the server's process has ended, or got a signal to end; Changed if its weights changed."""
        self._check_signal()
        self._check_weights()
        status = process.poll()
        if status is not None:
            raise Ended(
                problem(
                    "the server's process has ended",
                    found=f"status {status}; its log ends with:\n{self._last_words()}",
                    expected=expected,
                    hint=f"its whole log is {serving.log_path(self.backend)}",
                ),
                (status if status > 0 else 128 - status) if status else 1,
            )

    def _check_signal(self) -> None:
        if self._signal is not None:
            raise Ended(*ENDINGS[signal.Signals(self._signal)])

    def _hold_address(self, own: Address) -> None:
        """Keep the address where clients look for it, unless another server has written its own there since."""
        found = serving.read_address(self.backend)
        if found is None:
            serving.write_address(self.backend, own)
        elif found != own:
            raise Ended(f"the server at {found.url} has taken its place", 0)

    def _withdraw(self) -> None:
        if self.address and serving.read_address(self.backend) == self.address:
            serving.address_path(self.backend).unlink(missing_ok=True)

    def _last_words(self) -> str:
        with serving.log_path(self.backend).open("rb") as file:
            file.seek(self._said)
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-LAST_LINES:]) or "    nothing"


class _Lease:
    """When a client last needed the server: by changes of a file's time, as machines' clocks differ."""

    def __init__(self, backend: str) -> None:
        self._path = serving.lease_path(backend)
        self._seen, self._since = self._time(), time.monotonic()

    def idle(self) -> float:
        """Seconds since then."""
        found = self._time()
        if found != self._seen:
            self._seen, self._since = found, time.monotonic()
        return time.monotonic() - self._since

    def _time(self) -> int | None:
        with suppress(OSError), self._path.open("rb") as file:  # opening makes a network file system ask its server
            return os.fstat(file.fileno()).st_mtime_ns
        return None


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server and its children: SIGTERM first, SIGKILL later."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)


def _free_port(host: str) -> int:
    try:
        with socket.socket() as one:
            one.bind((host, 0))
            return int(one.getsockname()[1])
    except OSError as error:
        raise Ended(
            problem(
                "a server can't listen at this address",
                found=f"{host}: {error.strerror}",
                expected="a name or address of this machine",
                hint=f"{HOST}=<name at which other machines reach this one>",
            )
        ) from error


def _reach(host: str) -> str:
    """A remark if only this machine can reach a host."""
    with suppress(OSError):
        if ipaddress.ip_address(socket.gethostbyname(host)).is_loopback:
            return f" (from this machine only; {HOST}={OWN_NAME} opens it to others)"
    return ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
