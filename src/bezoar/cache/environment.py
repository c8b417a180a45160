"""The environment variables of a job: an allow-list, so that no result depends on whose shell started the build."""

import os
import site
import sys
from collections.abc import Iterable

NO_BARS = {"TQDM_DISABLE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # glibc returns the memory of large tensors to the system after each training step and requests it again for the
    # next one: a quarter of a small training's CPU time. Both variables are needed (docs/appendix/benchmarks.md).
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "OMP_WAIT_POLICY": "passive",  # a waiting thread that spins takes the core from the thread that it waits for
    "TOKENIZERS_PARALLELISM": "false",
}
FIXED = {
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # the order of a set must not affect an artifact
    "TZ": "UTC",
}
THREADS = tuple(  # set by Snakemake for a job's command; sums of floats depend on them
    f"{name}_THREADS" for name in ("OMP_NUM", "GOTO_NUM", "OPENBLAS_NUM", "MKL_NUM", "VECLIB_MAXIMUM", "NUMEXPR_NUM")
)
SECRET = "BEZOAR_SERVER_SECRET"  # of a server, not of its clients
SIGNING_KEY = "BEZOAR_SIGNING_KEY"  # of the process that writes records: a job doesn't sign
MACHINE = frozenset(  # where programs, libraries and devices are, and which of them this job may use
    "PATH LD_LIBRARY_PATH VIRTUAL_ENV CONDA_PREFIX CC CXX USER LOGNAME TERM "
    "MASTER_ADDR MASTER_PORT RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE PYTORCH_CUDA_ALLOC_CONF "
    "HIP_VISIBLE_DEVICES ROCM_PATH ROCR_VISIBLE_DEVICES".split()
)
MACHINE_PREFIXES = ("BEZOAR_", "CUDA_", "GLOO_", "NCCL_", "NVIDIA_", "OMPI_", "PMI_", "PMIX_", "SLURM_")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
NETWORK = (
    *CERTIFICATES,
    *(name for proxy in ("http", "https", "all", "no") for name in (f"{proxy}_proxy", f"{proxy}_proxy".upper())),
)
HUB_HOME = "HF_HOME"
HUB_FOLDERS = (HUB_HOME, "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_XET_CACHE")
HUB = (*HUB_FOLDERS, "HF_TOKEN", "HF_ENDPOINT")  # what a job that downloads from the hub needs


def allowed(name: str) -> bool:
    """Whether each job gets a variable if it is set."""
    return name not in (SECRET, SIGNING_KEY) and (
        name in MACHINE or name in THREADS or name.startswith(MACHINE_PREFIXES)
    )


def environment_of(
    more: dict[str, str], *, network: Iterable[str] | None = None, folder: str | None = None
) -> dict[str, str]:
    """The environment of a command that makes artifacts.

    Args:
        more: Additional variables, such as those that a rule declares.
        network: Names of the variables that the job needs to reach others: keys, addresses; None without a network.
        folder: The job's own folder, its HOME: libraries keep their caches below it, and find no settings there.
    """
    online = {*NETWORK, *network} if network is not None else set()
    kept = {name: value for name, value in os.environ.items() if allowed(name) or name in online}
    if HUB_HOME in online:
        kept[HUB_HOME] = hub_home()
    if network is None:
        kept["HF_HUB_OFFLINE"] = "1"  # else libraries ask the hub about files that they have
    if site.ENABLE_USER_SITE:
        kept["PYTHONUSERBASE"] = site.getuserbase()  # packages are found by HOME otherwise
    bars = {} if sys.stderr.isatty() else NO_BARS
    return {**ENVIRONMENT, **bars, **kept, **places(folder), **FIXED, **more}


def places(folder: str | None) -> dict[str, str]:
    """The variables for a job's own files; for a command outside of a job, those of the person who starts it."""
    if folder is None:
        names = ("HOME", "TMPDIR", "XDG_CACHE_HOME")
        return {name: os.environ[name] for name in names if name in os.environ}
    return {"HOME": folder, "TMPDIR": f"{folder}/tmp", "XDG_CACHE_HOME": f"{folder}/cache", "BEZOAR_SCRATCH": folder}


def hub_home() -> str:
    """The folder of this user's downloads from the hub, which outlive a job."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.environ.get(HUB_HOME) or os.path.join(caches, "huggingface")
