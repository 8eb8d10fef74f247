"""A local server with the endpoints of the Hugging Face hub that a push uses; it can misbehave."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from typing import Any


class Hub:
    """repositories: name -> path -> content. large: names that go through LFS. asked: (method, path) of each request.
    delay: seconds before each answer. status: refuse everything with this code."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, str] = {}
        self.large: tuple[str, ...] = ()
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.delay = 0.0
        self.status: int | None = None
        handler = type("Handler", (_Handler,), {"hub": self})
        self.http = _Http(("127.0.0.1", 0), handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        files = self.repositories[repo]
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]


class _Http(http.server.ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """Nothing to tell: the client may hang up before all is sent."""


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        if not self._allowed():
            return
        repo = "/".join(self.path.removeprefix("/api/models/").split("?")[0].split("/")[:2])
        if self.path.startswith("/api/models/") and repo in self.hub.repositories:
            files = [{"rfilename": name} for name in self.hub.repositories[repo]]
            self._answer({"id": repo, "modelId": repo, "sha": "0" * 40, "siblings": files, "tags": []})
            return
        parts = self.path.split("/")
        files = self.hub.repositories.get("/".join(parts[1:3]), {})
        if parts[3:4] == ["resolve"] and (name := "/".join(parts[5:])) in files:
            self._send(files[name])
            return
        self._refuse(404, "RepoNotFound")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._allowed():
            return
        path = self.path.split("?")[0]
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.hub.repositories.setdefault(name, {".gitattributes": b""})
            self.hub.private[name] = asked["visibility"]
            self._answer({"url": f"{self.hub.url}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            mode = {True: "lfs", False: "regular"}
            files = [
                {
                    "path": one["path"],
                    "uploadMode": mode[one["path"].endswith(self.hub.large or "\0")],
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            self._answer({"files": files})
        elif path.endswith("/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{self.hub.url}/objects/{one['oid']}", "header": {}}}}
                for one in json.loads(body)["objects"]
            ]
            self._answer({"transfer": "basic", "objects": objects})
        elif path.endswith("/commit/main"):
            repo = "/".join(path.split("/")[3:5])
            self.hub.commit(repo, [json.loads(line) for line in body.splitlines()])
            self._answer({"success": True, "commitOid": "1" * 40, "commitUrl": f"{self.hub.url}/{repo}/commit/1"})
        else:
            self._refuse(404, "RepoNotFound")

    def do_PUT(self) -> None:
        self.hub.asked.append(("PUT", self.path))
        self.hub.objects[self.path.rpartition("/")[2]] = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(b"")

    def _allowed(self) -> bool:
        self.hub.asked.append((self.command, self.path))
        time.sleep(self.hub.delay)
        if self.hub.status is not None:
            self._refuse(self.hub.status)
        elif self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self._refuse(401)
        else:
            return True
        return False

    def _answer(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _send(self, content: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: int, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass
