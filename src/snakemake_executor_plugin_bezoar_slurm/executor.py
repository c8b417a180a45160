"""The executor; in its own module, since it needs Snakemake's plugin for SLURM."""

import os
import shlex
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import snakemake_executor_plugin_slurm as plugin
from snakemake_executor_plugin_slurm.job_status_query import query_job_status
from snakemake_executor_plugin_slurm.submit_string import get_submit_command
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from bezoar.cache import CacheError
from bezoar.cache.execute import is_proven
from bezoar.cluster.submitted import Submission, ask, cancel, plans, under_way
from snakemake_executor_plugin_bezoar_slurm.servers import PREFIX, Servers

NOTICE = 300  # seconds before its time limit when a job gets the signal to save its state
LINES = 30  # of a failed job's log that are shown
LONGEST_PAUSE = 60  # seconds between two queries of SLURM


async def _states(command: str, logger: Any) -> tuple[dict[str, str], float]:
    """The state of each job as one word: version 2.8 of the plugin doesn't know sacct's "CANCELLED by 1000"."""
    states, seconds = await query_job_status(command, logger)
    # without an answer from SLURM, no job's state changes; the plugin itself would forget all jobs
    return {number: state.partition(" ")[0] for number, state in (states or {}).items()}, seconds or 0.0


def _submission(job: Any, params: Any, settings: Any = None, failed_nodes: Any = None) -> str:
    """The command that submits a job; it requests a notice before the time limit, if the job is long enough for one."""
    line: str = get_submit_command(job, params, settings, failed_nodes)
    minutes = job.resources.get("runtime") or 0
    return f"{line} --signal=B:USR1@{NOTICE}" if minutes * 60 >= 3 * NOTICE else line


@dataclass
class ExecutorSettings(plugin.ExecutorSettings):
    """The settings of Snakemake's executor for SLURM, and our own."""

    group_cores: int = field(
        default=4, metadata={"help": "Cores of one group of jobs; more jobs of a group run one after the other."}
    )


class Executor(plugin.Executor):
    """Submits jobs without a proof, continues with jobs of a killed run, and needs a proof of every success."""

    # When a job was last submitted or ended. The thread that queries SLURM reads it before __post_init__ has finished.
    changed = time.monotonic()

    def __post_init__(self, test_mode: bool = False) -> None:
        plugin.query_job_status, plugin.get_submit_command = (
            _states,
            _submission,
        )  # set here, so that the plain plugin is unchanged
        super().__post_init__(test_mode)
        os.environ.setdefault("SBATCH_OPEN_MODE", "append")  # a requeued job continues its log
        with _shown():
            earlier = self._adopt(under_way())
        self.servers = Servers(self, (one for one in earlier if _is_server(one)))
        self.earlier = [one for one in earlier if not _is_server(one)]

    def get_python_executable(self) -> str:
        """The command that runs Snakemake on a node, wrapped by bezoar.cluster.node."""
        python = shlex.quote(sys.executable)
        return f"exec {python} -m bezoar.cluster.node {python}"

    def format_job_exec(self, job: Any) -> str:
        """The command of a job, with the cores that it requested: `all` would be those of the node."""
        text: str = super().format_job_exec(job)
        assert f"--cores {self.cores} " in text
        return text.replace(f"--cores {self.cores} ", f"--cores {job.threads} ", 1)

    def additional_general_args(self) -> str:
        """A node runs its jobs itself: by srun, each would start another Snakemake."""
        return "--executor local"

    def run_jobs(self, jobs: list[Any]) -> None:
        """Skip proven jobs, wait for jobs of an earlier run, and submit the rest."""
        unproven = []
        for job in jobs:
            earlier = next((one for one in self.earlier if one.makes(plans(_outputs(job)))), None)
            if all(_is_proven(output) for output in _outputs(job)):  # in order: an output may be the next one's input
                self.logger.info(f"proven, not submitted: {', '.join(_outputs(job))}")
                _make_benchmarks(job)
                self.report_job_success(SubmittedJobInfo(job))
            elif earlier:
                self.logger.info(f"SLURM job {earlier.number} of an earlier run makes {', '.join(_outputs(job))}")
                self.earlier.remove(earlier)  # if it fails, the next try is a new job
                aux = {"slurm_logfile": Path(earlier.log)}
                super().report_job_submission(SubmittedJobInfo(job, external_jobid=earlier.number, aux=aux))
            else:
                unproven.append(job)
        self._failed_nodes.discard("None assigned")  # sacct says this of a waiting job, and sbatch refuses it
        self.servers.look_after(unproven)
        super().run_jobs(unproven)

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncIterator[SubmittedJobInfo]:
        """Ask SLURM which jobs have ended; the pauses grow to a tenth of the time without news."""
        still = [job_info async for job_info in super().check_active_jobs(active_jobs)]
        if still:
            self.servers.look_after(job_info.job for job_info in still)
        for job_info in still:
            yield job_info
        first = self.workflow.executor_settings.init_seconds_before_status_checks
        quiet = time.monotonic() - self.changed
        self.next_seconds_between_status_checks = max(first, min(LONGEST_PAUSE, quiet / 10))

    def report_job_submission(self, job_info: SubmittedJobInfo, register_job: bool = True) -> None:
        """Record what was submitted before anything else can go wrong."""
        self.changed = time.monotonic()
        try:
            made, log = plans(_outputs(job_info.job)), str(job_info.aux["slurm_logfile"])
            Submission(self.run_uuid, str(job_info.external_jobid), made, log).record()
        except (CacheError, OSError) as error:
            self.logger.warning(f"job {job_info.external_jobid} can't be recorded: {error}")
        super().report_job_submission(job_info, register_job=register_job)

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Report success if there is a proof; on a shared file system it may arrive a little later."""
        self.changed = time.monotonic()
        patience = self.changed + self.workflow.execution_settings.latency_wait
        while unproven := [output for output in _outputs(job_info.job) if not _is_proven(output, forced=True)]:
            if time.monotonic() > patience:
                break
            time.sleep(1)
        else:
            super().report_job_success(job_info)
            return
        what = (
            f"SLURM says that job {job_info.external_jobid} succeeded, but there is no proof of {', '.join(unproven)}."
        )
        self.report_job_error(job_info, msg=what)

    def report_job_error(self, job_info: SubmittedJobInfo, msg: str | None = None, **details: Any) -> None:
        """Report a failed job with the end of its log, unless it was done by then."""
        self.changed = time.monotonic()
        if all(_is_proven(output) for output in _outputs(job_info.job)):
            super().report_job_success(job_info)
            return
        if log := (job_info.aux or {}).get("slurm_logfile"):  # none if it wasn't submitted
            with suppress(OSError):
                text = Path(log).read_text(encoding="utf-8", errors="replace")
                msg = "\n".join([msg or "", *text.splitlines()[-LINES:], ""])
        if msg and job_info.job.is_group():
            self.logger.error(msg)  # Snakemake doesn't show it for a group
        super().report_job_error(job_info, msg=msg, **details)

    def shutdown(self) -> None:
        """End the run's servers, then everything else."""
        self.servers.end()
        super().shutdown()

    def cancel(self) -> None:
        """Cancel all jobs of the run, also those that are being queried or submitted at the moment."""
        super().cancel()
        with suppress(CacheError):
            ask(["scancel", "--name", self.run_uuid])

    def _adopt(self, submissions: list[Submission]) -> list[Submission]:
        """The jobs of a killed run that this one continues with; the others are cancelled."""
        dag = self.workflow.dag
        wanted = [plans(_outputs(job)) for job in {dag.get_job_group(job) or job for job in dag.needrun_jobs()}]
        outputs = {output for made in wanted for output in made}
        useful = [one for one in submissions if _is_server(one) or any(made and one.makes(made) for made in wanted)]
        useful = [one for one in useful if one.name == useful[0].name]
        # a running job for another target may continue; a waiting one can't, since its plan is gone
        cancel(one.number for one in submissions if one not in useful and (not one.plans or outputs & one.plans.keys()))
        if useful:
            self.run_uuid = useful[0].name  # SLURM's jobs are queried by this name
            self.logger.info(f"{len(useful)} jobs of an earlier run are still in the queue")
        return useful


@contextmanager
def _shown() -> Iterator[None]:
    """Turn our errors into Snakemake's."""
    try:
        yield
    except CacheError as error:
        raise WorkflowError(str(error)) from error


def _is_server(submission: Submission) -> bool:
    return any(key.startswith(PREFIX) for key in submission.plans)


def _jobs(job: Any) -> list[Any]:
    """A job, or those of a group in the order of building."""
    return [one for level in job.toposorted for one in level] if job.is_group() else [job]


def _outputs(job: Any) -> list[str]:
    """The first output of each step of a job or a group of jobs, in the order of building."""
    return [str(one.output[0]) for one in _jobs(job) if one.output]


def _make_benchmarks(job: Any) -> None:
    """Make the benchmark files that Snakemake expects: empty ones, since a job that doesn't run takes no time."""
    for path in (Path(one.benchmark) for one in _jobs(job) if one.benchmark):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def _is_proven(output: str, *, forced: bool = False) -> bool:
    try:
        return is_proven(output, forced=forced)
    except (CacheError, OSError):  # the job gets the same error, and logs it
        return False
