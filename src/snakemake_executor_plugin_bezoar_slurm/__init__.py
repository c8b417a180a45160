"""Snakemake's executor for SLURM that looks for proofs first: proven jobs are restored here, the others submitted.

`--executor bezoar-slurm`, as profiles/slurm has it. It is a subclass of snakemake-executor-plugin-slurm's executor,
with the same settings.
"""

from dataclasses import dataclass, field
from typing import NoReturn

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import AbstractExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from bezoar.errors import problem

try:
    from snakemake_executor_plugin_slurm import common_settings

    from snakemake_executor_plugin_bezoar_slurm.executor import Executor, ExecutorSettings

    __all__ = ["Executor", "ExecutorSettings", "common_settings"]
except ModuleNotFoundError as error:  # Snakemake imports every plugin that it finds, used or not
    if error.name != "snakemake_executor_plugin_slurm":
        raise
    common_settings = CommonSettings(non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False)

    UNUSED = {"help": "Only with Snakemake's plugin for SLURM, which `pip install 'bezoar[slurm]'` brings."}

    @dataclass
    class ExecutorSettings(ExecutorSettingsBase):  # type: ignore[no-redef]
        """The settings in profiles/slurm; without them Snakemake would only complain that they are unknown."""

        init_seconds_before_status_checks: int = field(default=5, metadata=UNUSED)
        requeue: bool = field(default=False, metadata=UNUSED)
        group_cores: int = field(default=4, metadata=UNUSED)

    class Executor(AbstractExecutor):  # type: ignore[no-redef]
        """Says what is missing if the plugin for SLURM isn't installed."""

        def __new__(cls, *_: object) -> NoReturn:
            raise WorkflowError(
                problem(
                    "this profile needs Snakemake's plugin for SLURM",
                    found="no snakemake-executor-plugin-slurm",
                    expected="that plugin in the environment of Snakemake",
                    hint="`make slurm`, or `pip install --constraint constraints.txt --editable '.[slurm]'`",
                )
            )
