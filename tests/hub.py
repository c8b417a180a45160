"""A look-alike of the Hugging Face hub's HTTP interface, for what its clients ask when they fetch a repository."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

REPOSITORY = re.compile(r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?")
FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class Hub:
    """Serves `root/{models,datasets}/<owner>/<name>/<file>` on loopback; every revision is the same commit."""

    commit = "c" * 40

    def __init__(self, root: Path) -> None:
        self.root = root
        handler = type("Handler", (_Handler,), {"hub": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, query = unquote(urlsplit(self.path).path), urlsplit(self.path).query
        if found := REPOSITORY.fullmatch(path):
            self._repository(*found.groups(), query=query, body=body)
        elif found := FILE.fullmatch(path):
            self._file(*found.groups())
        else:
            self._missing("EntryNotFound")

    do_HEAD = do_POST = do_GET

    def _repository(
        self, kind: str, name: str, what: str | None, revision: str | None, below: str | None, query: str, body: bytes
    ) -> None:
        folder = self.hub.root / kind / name
        if not folder.is_dir():
            return self._missing("RepoNotFound")
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        if what in (None, "revision"):
            siblings = [{"rfilename": file} for file in files]
            return self._json({"id": name, "sha": self.hub.commit, "private": False, "tags": [], "siblings": siblings})
        if what == "paths-info":
            wanted = json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode())["paths"]
            return self._json([self._entry(folder, file) for file in files if file in wanted])
        start = f"{below}/" if below else ""
        inside = [file for file in files if file.startswith(start)]
        if below and not inside:
            return self._missing("EntryNotFound")
        if "recursive=true" in query.lower():
            return self._json([self._entry(folder, file) for file in inside])
        parts = sorted({start + file.removeprefix(start).split("/")[0] for file in inside})
        return self._json([self._entry(folder, part) for part in parts])

    def _entry(self, folder: Path, name: str) -> dict[str, Any]:
        path = folder / name
        kind = "directory" if path.is_dir() else "file"
        size = path.stat().st_size if path.is_file() else 0
        return {"type": kind, "oid": hashlib.sha1(name.encode()).hexdigest(), "size": size, "path": name}

    def _file(self, datasets: str | None, name: str, revision: str, file: str) -> None:
        path = self.hub.root / ("datasets" if datasets else "models") / name / file
        if not path.is_file():
            return self._missing("EntryNotFound")
        content = path.read_bytes()
        return self._send(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"')

    def _missing(self, code: str) -> None:
        self._send(404, b'{"error": "not found"}', **{"X-Error-Code": code})

    def _json(self, data: Any) -> None:
        self._send(200, json.dumps(data).encode(), **{"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("X-Repo-Commit", self.hub.commit)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet."""
