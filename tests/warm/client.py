"""A program: asks the server of this folder to become the command that it is called as, and ends as that ends."""

import json
import os
import signal
import sys
from socket import AF_UNIX, send_fds, socket

folder = os.path.dirname(os.path.abspath(sys.argv[0]))
with socket(AF_UNIX) as server:
    server.connect(os.path.join(folder, "server"))
    environment = dict(os.environ)
    path = os.path.join(folder, os.path.basename(sys.argv[0]))
    request = {"argv": [path, *sys.argv[1:]], "folder": os.getcwd(), "environment": environment}
    data = json.dumps(request).encode("utf-8", "surrogateescape")
    send_fds(server, [len(data).to_bytes(8, "little")], [0, 1, 2])
    server.sendall(data)
    answer = server.recv(64)
status = int(answer or b"70")
if status < 0:  # killed, and so is this
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
