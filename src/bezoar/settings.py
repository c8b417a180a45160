"""Every `BEZOAR_*` variable, in one table; `make format` writes docs/reference/settings.md from it.

Code names a variable where it reads it. It doesn't import this table, so that a change of a text here is no change of
any step's code; a test compares the two.
"""

from typing import NamedTuple

from bezoar.text import show

PAGE = """\
# Settings

For everybody who runs a build. The environment variables that Bezoar reads. All of them are optional, and none is part
of a key: they change how a build runs, never what it makes. Credentials of servers have names of your own, in a
backend's `api_key_env` and `base_url_env` ([Model requests](../explanation/requests.md)).

This page is written by `make format` from `src/bezoar/settings.py`.
"""


class Setting(NamedTuple):
    """A variable, its meaning, and the default behaviour."""

    name: str
    meaning: str
    default: str


YOURS = (
    Setting(
        "BEZOAR_APPROVE",
        "Dollars that this run may cost. A run needs it above `budget.approve_above` where there is no terminal to ask "
        "at ([Before you spend](../how-to/plan.md#before-you-spend))",
        "Bezoar asks at a terminal, and stops without one",
    ),
    Setting(
        "BEZOAR_REPLAY_ONLY",
        "`1`: sends no model request. A stored answer is used, a missing one is an error",
        "missing answers are requested",
    ),
    Setting("BEZOAR_OFFLINE", "`1`: leaves the DVC remote alone", "what the cache lacks is fetched from the remote"),
    Setting(
        "BEZOAR_NO_LOOKUP",
        "`1`: runs a stage that is up to date, too, as in `BEZOAR_NO_LOOKUP=1 dvc repro --force --single-item STAGE`",
        "a stage that is up to date is restored",
    ),
    Setting(
        "BEZOAR_RUN",
        "A name for the run. Builds with one name share the ceilings of `budget`",
        "each `snakemake` and each `dvc repro` is a run",
    ),
    Setting(
        "BEZOAR_SERVER_HOST",
        "The name or address that a self-hosted server listens at; `hostname` stands for this machine's name",
        "`127.0.0.1`, or `hostname` for a server that a run submits to SLURM",
    ),
    Setting(
        "BEZOAR_BATCH_POLL",
        "Seconds between two looks at a provider's batch",
        "30",
    ),
    Setting(
        "BEZOAR_ISOLATION",
        "`enforce`: a job can't read, write or connect to what its rule doesn't declare. `observe`: what it opened is "
        "reported. `off`: neither",
        "`enforce` where the kernel has Landlock, `observe` elsewhere; each node of a cluster decides for itself",
    ),
    Setting(
        "BEZOAR_SIGNING_KEY",
        "The private key, a file outside the repository, that signs the records of what is built here, and "
        "attestations ([Signatures](../how-to/public-cache.md#signatures))",
        "nothing is signed",
    ),
    Setting(
        "BEZOAR_REQUIRE_SIGNED",
        "`imported`: a record that comes with a commit counts only if a key in `trusted.keys` has signed it. It can "
        "only be stricter than the policy in that file",
        "the policy in `trusted.keys`, else `never`",
    ),
    Setting(
        "BEZOAR_PARAMS",
        "The file that a script takes its values from. A run sets it to its own copy for its jobs",
        "`params.resolved.yaml`, or `params.yaml` if that doesn't exist",
    ),
)
INTERNAL = (
    Setting("BEZOAR_JOB", "Stage and part of a job, for its spending and its share of the budget", "run by hand"),
    Setting(
        "BEZOAR_FOLDERS",
        "The MD5s of a job's input folders, so that it doesn't read a served checkpoint to name it",
        "the job reads it",
    ),
    Setting("BEZOAR_LAUNCHED", "Set for the processes of one training on several devices", "the job is one process"),
    Setting("BEZOAR_COSTS", "The file that a job writes its tokens and dollars to", "costs aren't recorded"),
    Setting("BEZOAR_TOGETHER", "The jobs that share a process, and what it has done", "a process has one job"),
    Setting("BEZOAR_STAGE", "The stage that `bezoar build` makes for DVC", "no DVC stage"),
    Setting("BEZOAR_DRY_RUN", "The file that a job of `bezoar plan` counts its requests in", "requests are sent"),
    Setting("BEZOAR_ON_NODE", "Set for jobs that SLURM runs on a node", "the job runs where the run does"),
    Setting(
        "BEZOAR_SCRATCH", "A job's own folder for temporary files and caches, which aren't traced", "no such folder"
    ),
    Setting("BEZOAR_SERVER_SECRET", "The secret of a self-hosted server, in the server's own environment", "no secret"),
    Setting("BEZOAR_TRACE", "The log to which a job's Python processes write what they use", "nothing is traced"),
)


def page() -> str:
    """docs/reference/settings.md."""
    parts = [
        PAGE,
        _table("Set by you", YOURS),
        _table("Set by Bezoar for its own processes", INTERNAL),
    ]
    return "\n".join(parts)


def _table(title: str, settings: tuple[Setting, ...]) -> str:
    rows = [f"| `{one.name}` | {one.meaning} | {one.default} |" for one in settings]
    return "\n".join([f"## {title}\n", "| Variable | Meaning | Without it |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    show(page(), end="")
