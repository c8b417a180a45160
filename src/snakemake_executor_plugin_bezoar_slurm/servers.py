"""The self-hosted servers of a run, as SLURM jobs: submitted when needed, watched, cancelled at the end."""

import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Any

import snakemake_executor_plugin_slurm as plugin
from snakemake_executor_plugin_slurm.submit_string import get_submit_command

from bezoar.cache import CacheError
from bezoar.cache.job import read_run
from bezoar.cluster.servers import Server
from bezoar.cluster.submitted import Submission, ask, cancel
from bezoar.errors import problem
from bezoar.serving.command import HOST, OWN_NAME

PREFIX = "server-"  # of a server's name in the record and in a profile's set-resources
MOST_STARTS = 5  # in one run; something is wrong with a server that ends more often


class Asked(dict[str, Any]):
    """Resources that the plugin can read by name or by attribute."""

    __getattr__ = dict.__getitem__


class ServerJob:
    """A job as the plugin's functions for sbatch's command line expect it."""

    def __init__(self, server: Server, resources: dict[str, Any]) -> None:
        self.name, self.threads = f"{PREFIX}{server.name}", server.cpus
        self.resources = Asked(resources)

    def is_group(self) -> bool:
        """A server is one job."""
        return False


class Servers:
    """The servers of a run.

    Args:
        executor: The executor, which submits.
        earlier: Servers of a killed run that still run.
    """

    def __init__(self, executor: Any, earlier: Iterable[Submission]) -> None:
        self.executor = executor
        self.submissions = {key.removeprefix(PREFIX): one for one in earlier for key in one.plans}
        self.starts: Counter[str] = Counter()
        self._lock = Lock()  # shared by the scheduler's thread and the one that queries SLURM

    def look_after(self, jobs: Iterable[Any]) -> None:
        """Submit each server that jobs need, unless it is in SLURM's queue; a failure is tried again next time."""
        needed = {server.name: server for job in jobs for server in self._servers_of(job)}
        with self._lock:
            try:
                alive = self._alive() if needed else set()
                for server in needed.values():
                    self._see_to(server, alive)
            except CacheError as error:
                self.executor.logger.warning(str(error))

    def end(self) -> None:
        """Cancel all running servers."""
        with self._lock:
            try:
                cancel(self._alive() & {one.number for one in self.submissions.values()})
            except CacheError as error:
                self.executor.logger.warning(f"{error}\nservers may still run: see `squeue`")
            self.submissions.clear()

    def _see_to(self, server: Server, alive: set[str]) -> None:
        earlier = self.submissions.get(server.name)
        if earlier and earlier.number in alive and earlier.plans == _plans(server):
            return
        if earlier:
            cancel(alive & {earlier.number})  # it was started for another command or checkpoint
        self._start(server)

    def _servers_of(self, job: Any) -> list[Server]:
        attached = self.executor.workflow.dag.attached
        found = (
            attached.servers[one.rule.name](one.wildcards)
            for one in (job if job.is_group() else [job])
            if one.rule.name in attached.servers
        )
        return [server for server in found if server]

    def _alive(self) -> set[str]:
        if not self.submissions:
            return set()
        return set(ask(["squeue", "--noheader", "--name", self.executor.run_uuid, "--format", "%i"]).split())

    def _start(self, server: Server) -> None:
        if self.starts[server.name] >= MOST_STARTS:
            if self.submissions.get(server.name):  # once
                last = self.submissions.pop(server.name).log
                self.executor.logger.error(f"the server of {server.name} has ended {MOST_STARTS} times: see {last}")
            return
        command, log = self._command(server)
        environment = {HOST: OWN_NAME, **os.environ, "BEZOAR_PARAMS": os.path.abspath(read_run().params)}
        done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CacheError(
                problem(
                    f"the server of {server.name} can't be submitted",
                    found=done.stderr.strip(),
                    expected="a job that SLURM accepts",
                    hint=f"see profiles/slurm/config.yaml; the command was {command}",
                )
            )
        number = done.stdout.strip().partition(";")[0]
        self.starts[server.name] += 1
        self.submissions[server.name] = Submission(self.executor.run_uuid, number, _plans(server), str(log))
        self.submissions[server.name].record()
        said = f"The server of {server.name} has been submitted with SLURM jobid {number} (log: {log})."
        self.executor.logger.info(said)

    def _command(self, server: Server) -> tuple[str, Path]:
        """The shell line that submits a server, quoted by the plugin, and the path of its log."""
        job = ServerJob(server, self._resources(server))
        log = self.executor.slurm_logdir / job.name / "%j.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        params = {
            "run_uuid": self.executor.run_uuid,
            "slurm_logfile": log,
            "comment_str": job.name,
            "account": next(self.executor.get_account_arg(job)),
            "partition": self.executor.get_partition_arg(job),
            "workdir": self.executor.workflow.workdir_init,
        }
        settings = self.executor.workflow.executor_settings
        line = get_submit_command(job, params, settings=settings) + plugin.set_gres_string(job)
        bezoar = shlex.quote(str(Path(sys.executable).with_name("bezoar")))
        return f'{line} --signal=B:TERM@60 --wrap="exec {bezoar} serve {server.name}"', log

    def _resources(self, server: Server) -> dict[str, Any]:
        """Resources, later ones win: the profile's defaults, the recipe, the profile's for servers and for this one."""
        settings = self.executor.workflow.resource_settings
        overwritten = settings._parsed_overwrite_resources
        own = {"mem_mb": server.mem_mb, "runtime": server.minutes, "gpu": server.gpus}
        found = _values(settings._parsed_default_resources) | own
        for rule in ("server", f"{PREFIX}{server.name}"):
            found |= _values(overwritten.get(rule, {}))
        return found


def _plans(server: Server) -> dict[str, str]:
    """A server's entry in the record of submissions."""
    return {f"{PREFIX}{server.name}": server.digest}


def _values(resources: Any) -> dict[str, Any]:
    """The values of a profile's resources for a job without input files."""
    given: dict[str, Any] = {
        "wildcards": None,
        "input": [],
        "threads": 1,
        "attempt": 1,
        "rulename": "server",
        "async_run": None,
    }
    return {
        name: resource.evaluate(**given).value if resource.is_evaluable() else resource.value
        for name, resource in resources.items()
        if name not in ("mem", "disk", "tmpdir")  # Snakemake's own defaults, by sizes of inputs
    }
