"""Where a result is made: facts that proofs show, and that aren't part of what was asked."""

import os
import pwd
import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from bezoar.cache.meanings import VERSION
from bezoar.cache.trace.distributions import normal
from bezoar.cache.trace.places import Places

GPUS = Path("/proc/driver/nvidia/gpus")
PROCESSORS = Path("/proc/cpuinfo")


def provenance() -> dict[str, str]:
    """Host, user, Python's minor version, machine, and where they are known, processor and GPUs."""
    found = {
        "host": os.uname().nodename,
        "user": _user(),
        "python": VERSION,
        "machine": os.uname().machine,
        "processor": _field("model name", PROCESSORS),
        "gpus": ", ".join(_field("Model", path) for path in sorted(GPUS.glob("*/information"))),
    }
    return {name: text for name, text in found.items() if text}


def builds(names: Collection[str]) -> dict[str, str]:
    """Versions as installed, of those distributions whose versions name a build: `torch`: `2.13.0+cpu`."""
    places = Places()
    found = places.sites.builds()
    places.sites.save()
    return {name: found[one] for name in sorted(names) if (one := normal(name)) in found}


def _user() -> str:
    with suppress(KeyError):  # a container may have no name for its user
        return pwd.getpwuid(os.getuid()).pw_name
    return str(os.getuid())


def _field(name: str, path: Path) -> str:
    with suppress(OSError):
        found = re.search(rf"^{name}\s*:\s*(.+)$", path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        return " ".join(found[1].split()) if found else ""
    return ""
