"""A look-alike of the Hugging Face hub's HTTP interface, for clients that fetch or upload a repository."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

REPOSITORY = re.compile(
    r"/api/(datasets|models)/([^/]+/[^/]+)(?:/(revision|tree|paths-info|preupload|commit)/([^/]+)(?:/(.*))?)?"
)
CREATE, OF_YAML = "/api/repos/create", "/api/validate-yaml"
LFS = re.compile(r"/(?:datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")
STORE = re.compile(r"/lfs/([0-9a-f]{64})")
FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class Hub:
    """Serves `root/{models,datasets}/<owner>/<name>/<file>` on loopback; every revision is the same commit.

    Attributes:
        token: What those need who write; without it nobody may.
        private: Repositories that were made as private ones.
        uploads: Requests that changed something.
    """

    commit = "c" * 40

    def __init__(self, root: Path, token: str = "") -> None:
        self.root, self.token = root, token
        self.private: set[str] = set()
        self.uploads: list[str] = []
        self.objects: dict[str, bytes] = {}
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
        found = REPOSITORY.fullmatch(path)
        if self.command in ("POST", "PUT") and not (found and found[3] == "paths-info"):
            if answer := self._written(path, body):
                self._json(answer)
        elif found:
            self._repository(*found.groups(), query=query, body=body)
        elif found := FILE.fullmatch(path):
            self._file(*found.groups())
        else:
            self._missing("EntryNotFound")

    do_HEAD = do_POST = do_PUT = do_GET

    def _written(self, path: str, body: bytes) -> Any:
        """The answer to a request that uploads; None if one was sent already."""
        if (given := STORE.fullmatch(path)) and hashlib.sha256(body).hexdigest() == given[1]:
            self.hub.objects[given[1]] = body  # its address is the right to write it
            return {"stored": True}
        if path == OF_YAML:
            return {"errors": [], "warnings": []}
        if not self.hub.token or self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._send(401, b'{"error": "Invalid username or password."}')
        if path == CREATE:
            return self._created(json.loads(body))
        if found := LFS.fullmatch(path):
            address = f"http://{self.headers['Host']}/lfs"
            return {
                "transfer": "basic",
                "objects": [
                    {**one, "actions": {"upload": {"href": f"{address}/{one['oid']}", "header": {}}}}
                    for one in json.loads(body)["objects"]
                ],
            }
        if (found := REPOSITORY.fullmatch(path)) and found[3] == "preupload":
            files = json.loads(body)["files"]
            modes = ((one["path"], "lfs" if one["path"].endswith(".safetensors") else "regular") for one in files)
            return {"files": [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in modes]}
        if found and found[3] == "commit":
            return self._committed(self.hub.root / found[1] / found[2], body)
        return self._missing("EntryNotFound")

    def _created(self, wanted: dict[str, Any]) -> Any:
        name = "/".join(filter(None, (wanted.get("organization"), wanted["name"])))
        folder = self.hub.root / f"{wanted.get('type') or 'model'}s" / name
        if folder.is_dir():
            answer = {"error": "You already created this repo", "url": f"http://{self.headers['Host']}/{name}"}
            return self._send(409, json.dumps(answer).encode())
        folder.mkdir(parents=True)
        self.hub.uploads.append(f"create {name}")
        if wanted.get("private") or wanted.get("visibility") == "private":
            self.hub.private.add(name)
        return {"url": f"http://{self.headers['Host']}/{name}"}

    def _committed(self, folder: Path, body: bytes) -> Any:
        for line in map(json.loads, body.splitlines()):
            about = line["value"]
            if line["key"] == "header":
                self.hub.uploads.append(f"commit {about['summary']}")
                continue
            regular = line["key"] == "file"
            content = base64.b64decode(about["content"]) if regular else self.hub.objects[about["oid"]]
            (folder / about["path"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / about["path"]).write_bytes(content)
        url = f"http://{self.headers['Host']}/{folder.parent.name}/{folder.name}/commit/{self.hub.commit}"
        return {"success": True, "commitOid": self.hub.commit, "commitUrl": url}

    def _repository(
        self, kind: str, name: str, what: str | None, revision: str | None, below: str | None, query: str, body: bytes
    ) -> None:
        folder = self.hub.root / kind / name
        if not folder.is_dir():
            return self._missing("RepoNotFound")
        files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        if what in (None, "revision"):
            siblings = [{"rfilename": file} for file in files]
            return self._json(
                {
                    "id": name,
                    "sha": self.hub.commit,
                    "private": name in self.hub.private,
                    "tags": [],
                    "siblings": siblings,
                }
            )
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
