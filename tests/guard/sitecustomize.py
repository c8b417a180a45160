"""Keeps a process on this machine: with this folder in PYTHONPATH, Python imports it at its start."""

import sys

attempts: list[object] = []


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse connections that leave this machine, and remember them: a library may swallow the refusal."""
    if event == "socket.connect" and isinstance(address := arguments[1], tuple):
        host = str(address[0])
        if not (host.startswith("127.") or host in ("::1", "localhost")):
            attempts.append(address)
            raise PermissionError(f"tests stay on this machine, and this one connects to {host}")


sys.addaudithook(watch)
