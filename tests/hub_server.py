"""A Hugging Face hub on this machine's loopback, as small as uploading and fetching a model need it.

It speaks: create a repository or branch, `preupload` (every file "regular", so that content comes inside
the commit), commit, model info, the tree of a commit, and files. It keeps repositories in memory, asks for a token
where it is told to, and knows nothing of large-file storage.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]
_ID = r"(?P<repo>[\w.-]+/[\w.-]+)"


class Hub:
    """Repositories by id: commits by their sha, branches by name."""

    def __init__(self, *, gated: str = "", token: str = "") -> None:
        self.commits: dict[str, dict[str, Files]] = {}
        self.branches: dict[str, dict[str, str]] = {}
        self.private: dict[str, bool] = {}
        self.messages: list[str] = []
        self.asked: list[str] = []
        self.gated, self.token = gated, token

    def commit(self, repo: str, branch: str, files: Files) -> str:
        sha = hashlib.sha1(json.dumps(sorted((k, hash(v)) for k, v in files.items())).encode()).hexdigest()
        self.commits.setdefault(repo, {})[sha] = files
        self.branches.setdefault(repo, {})[branch] = sha
        return sha

    def sha(self, repo: str, revision: str) -> str | None:
        revision = unquote(revision)
        return self.branches[repo].get(revision, revision if revision in self.commits[repo] else None)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._route("GET")

    def do_HEAD(self) -> None:
        self._route("GET")

    def do_POST(self) -> None:
        self._route("POST")

    def _route(self, method: str) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {path}")
        for pattern, wanted, answer in _ROUTES:
            if wanted == method and (found := re.fullmatch(pattern, path)):
                return answer(self, **found.groupdict())
        return self.send(404, {"error": f"no such page: {path}"})

    def send(self, status: int, content: Any, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def is_let_in(self, repo: str) -> bool:
        """Whether the repository is there for this caller; answers if not."""
        if repo not in self.hub.branches:
            self.send(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        elif repo == self.hub.gated:
            self.send(403, {"error": "Access is restricted"}, X_Error_Code="GatedRepo")
        else:
            return True
        return False

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def _create(call: _Handler) -> None:
    asked = json.loads(call.body)
    repo = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
    if call.headers.get("Authorization") != f"Bearer {call.hub.token}":
        return call.send(401, {"error": "Invalid username or password."})
    if repo in call.hub.branches:
        return call.send(409, {"error": "You already created this model repo", "url": f"/{repo}"})
    call.hub.private[repo] = bool(asked.get("private")) or asked.get("visibility") == "private"
    call.hub.commit(repo, "main", {".gitattributes": b""})
    return call.send(200, {"url": f"http://{call.headers['Host']}/{repo}"})


def _branch(call: _Handler, repo: str, revision: str) -> None:
    branches = call.hub.branches[repo]
    if revision in branches:
        return call.send(409, {"error": "Reference already exists"})
    branches[revision] = branches["main"]
    return call.send(200, {})


def _preupload(call: _Handler, repo: str, revision: str) -> None:
    files = json.loads(call.body)["files"]
    call.send(200, {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]})


def _commit(call: _Handler, repo: str, revision: str) -> None:
    sha = call.hub.sha(repo, revision)
    assert sha is not None
    files = dict(call.hub.commits[repo][sha])
    for record in map(json.loads, call.body.splitlines()):
        value = record["value"]
        if record["key"] == "header":
            call.hub.messages.append(value["summary"])
        elif record["key"] == "deletedFile":
            del files[value["path"]]
        else:
            assert record["key"] == "file", record
            files[value["path"]] = base64.b64decode(value["content"])
    new = call.hub.commit(repo, unquote(revision), files)
    call.send(200, {"commitUrl": f"http://{call.headers['Host']}/{repo}/commit/{new}", "commitOid": new})


def _info(call: _Handler, repo: str, revision: str = "main") -> None:
    if not call.is_let_in(repo):
        return None
    if (sha := call.hub.sha(repo, revision)) is None:
        return call.send(404, {"error": f"Invalid rev id: {revision}"}, X_Error_Code="RevisionNotFound")
    names = [{"rfilename": name} for name in call.hub.commits[repo][sha]]
    return call.send(200, {"_id": "0", "id": repo, "modelId": repo, "sha": sha, "siblings": names})


def _tree(call: _Handler, repo: str, revision: str) -> None:
    sha = call.hub.sha(repo, revision)
    assert sha is not None
    listed = call.hub.commits[repo][sha].items()
    call.send(200, [{"type": "file", "path": k, "size": len(v), "oid": _oid(v)} for k, v in listed])


def _file(call: _Handler, repo: str, revision: str, path: str) -> None:
    sha = call.hub.sha(repo, revision)
    content = call.hub.commits[repo].get(sha or "", {}).get(unquote(path))
    if content is None:
        return call.send(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
    return call.send(200, content, ETag=f'"{_oid(content)}"', X_Repo_Commit=sha or "")


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("/api/repos/create", "POST", _create),
    ("/api/validate-yaml", "POST", lambda call: call.send(200, {"errors": [], "warnings": []})),
    (f"/api/models/{_ID}/branch/(?P<revision>.+)", "POST", _branch),
    (f"/api/models/{_ID}/preupload/(?P<revision>.+)", "POST", _preupload),
    (f"/api/models/{_ID}/commit/(?P<revision>.+)", "POST", _commit),
    (f"/api/models/{_ID}/revision/(?P<revision>.+)", "GET", _info),
    (f"/api/models/{_ID}/tree/(?P<revision>[^/]+)/?", "GET", _tree),
    (f"/api/models/{_ID}", "GET", _info),
    (f"/{_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "GET", _file),
]


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """The address at which `hub` answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
