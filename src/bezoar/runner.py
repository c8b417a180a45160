"""The one way in which rules start their command."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "PYTHONHASHSEED": "0",  # no order of a set may reach an artifact
    "TOKENIZERS_PARALLELISM": "false",
}


def execute(outputs: list[str], command: list[str]) -> int:
    """Run a command that makes the outputs, and return its exit status.

    The command's environment has telemetry off. SIGTERM is passed on, so that the command can save its state. A
    command that ends well without its outputs counts as failed.
    """
    environment = {**ENVIRONMENT, **os.environ}
    started: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        for process in started:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, lambda number, frame: None)  # a terminal sends it to the command as well
    with subprocess.Popen(command, env=environment) as process:
        started.append(process)
        status = process.wait()
    if status != 0:
        return status if status > 0 else 128 - status  # killed by a signal: as a shell reports it
    missing = [output for output in outputs if not Path(output).exists()]
    if missing:
        print(f"the command ended well, but made no {', '.join(missing)}: {' '.join(command)}", file=sys.stderr)
        return 1
    return 0
