"""The executor itself; apart, since it can only be imported where the plugin for SLURM is installed."""

import os
import sys
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_slurm import Executor as Slurm
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from bezoar.cache import CacheError
from bezoar.cache.execute import is_proven
from bezoar.cluster.submitted import Submission, cancel, plans, under_way

NOTICE = "B:USR1@180"  # seconds before its time limit that a job is told to save its state


class Executor(Slurm):
    """Submits jobs that have no proof, goes on with those that a killed run submitted, and believes no job unproven."""

    def __post_init__(self, test_mode: bool = False) -> None:
        super().__post_init__(test_mode)
        os.environ.pop("SNAKEMAKE_PROFILE", None)  # of this run, and not of Snakemake on a node
        os.environ.setdefault("SBATCH_SIGNAL", NOTICE)
        os.environ.setdefault("SBATCH_OPEN_MODE", "append")  # a job that is queued again goes on in its log
        try:
            self.earlier = self._adopt(under_way())
        except CacheError as error:
            raise WorkflowError(str(error)) from error

    def get_python_executable(self) -> str:
        """Python that runs Snakemake on a node, under our watch."""
        return f"exec {sys.executable} -m bezoar.cluster.node {sys.executable}"

    def additional_general_args(self) -> str:
        """Have a node run its jobs itself: by srun, each would take another Snakemake to start."""
        return "--executor local"

    def run_jobs(self, jobs: list[Any]) -> None:
        """Answer what is proven, go on with what is under way, and submit the rest."""
        unproven = []
        for job in jobs:
            earlier = next((one for one in self.earlier if one.makes(plans(_outputs(job)))), None)
            if all(_is_proven(output) for output in _outputs(job)):  # in order: an output may be the next one's input
                self.logger.info(f"proven, so nothing is submitted: {', '.join(_outputs(job))}")
                self.report_job_success(SubmittedJobInfo(job))
            elif earlier:
                self.logger.info(f"SLURM job {earlier.number} of an earlier run makes {', '.join(_outputs(job))}")
                aux = {"slurm_logfile": Path(earlier.log)}
                super().report_job_submission(SubmittedJobInfo(job, external_jobid=earlier.number, aux=aux))
            else:
                unproven.append(job)
        super().run_jobs(unproven)

    def report_job_submission(self, job_info: SubmittedJobInfo, register_job: bool = True) -> None:
        """Write down what was submitted, before anything else can go wrong."""
        made, log = plans(_outputs(job_info.job)), str(job_info.aux["slurm_logfile"])
        Submission(self.run_uuid, str(job_info.external_jobid), made, log).record()
        super().report_job_submission(job_info, register_job=register_job)

    def report_job_success(self, job_info: SubmittedJobInfo) -> None:
        """Believe that a job ended well if there is a proof."""
        unproven = [output for output in _outputs(job_info.job) if not _is_proven(output, forced=True)]
        if not unproven:
            super().report_job_success(job_info)
            return
        log = job_info.aux.get("slurm_logfile")
        what = f"SLURM says that job {job_info.external_jobid} ended well, but nothing proves {', '.join(unproven)}."
        self.report_job_error(job_info, msg=what, aux_logs=[str(log)] if log else [])

    def _adopt(self, submissions: list[Submission]) -> list[Submission]:
        """The jobs of a killed run that this one can go on with; the others are cancelled."""
        dag = self.workflow.dag
        wanted = [plans(_outputs(job)) for job in {dag.get_job_group(job) or job for job in dag.needrun_jobs()}]
        useful = [one for one in submissions if any(made and one.makes(made) for made in wanted)]
        cancel([one for one in submissions if one not in useful])
        if useful:
            self.run_uuid = useful[0].name  # by which SLURM is asked how they are
            self.logger.info(f"{len(useful)} jobs of an earlier run are still under way")
        return [one for one in useful if one.name == self.run_uuid]


def _outputs(job: Any) -> list[str]:
    """The first output of each step that a job, or a group of jobs, makes, in an order in which they can be made."""
    jobs = [one for level in job.toposorted for one in level] if job.is_group() else [job]
    return [str(one.output[0]) for one in jobs if one.output]


def _is_proven(output: str, *, forced: bool = False) -> bool:
    try:
        return is_proven(output, forced=forced)
    except CacheError:  # the job meets the same, and says so in its log
        return False
