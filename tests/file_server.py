"""A local http server for the tests of fetching, which can misbehave, and archives in memory."""

from __future__ import annotations

import http.server
import io
import stat
import tarfile
import threading
import time
import zipfile
from typing import Any


class Server:
    """Serves `files`; `asked` are the requests as (path, Range header). What it does wrong is set by attributes."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.ranges = True
        self.lengths = True
        self.status: dict[str, int] = {}
        self.break_after: list[int] = []  # of the next responses: close the connection after so many bytes
        self.tag = '"one"'
        self.obeys_if_range = True
        self.drip: tuple[int, float] | None = None  # bytes at a time, and seconds between them, without an end
        handler = type("Handler", (_Handler,), {"server_state": self})
        self.http = _Http(("127.0.0.1", 0), handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}/{name}"


class _Http(http.server.ThreadingHTTPServer):
    def handle_error(self, *args: Any) -> None:
        """Nothing to tell: the client may hang up before all is sent."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server_state: Server

    def do_GET(self) -> None:
        state, name, wanted = self.server_state, self.path[1:], self.headers.get("Range")
        state.asked.append((name, wanted))
        if name in state.status or name not in state.files:
            self.send_error(state.status.get(name, 404))
            return
        content, start = state.files[name], 0
        same = not state.obeys_if_range or self.headers.get("If-Range") in (None, state.tag)
        if wanted and state.ranges and same:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if state.tag:
            self.send_header("ETag", state.tag)
        if state.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = start + state.break_after.pop(0) if state.break_after else len(content)
        while state.drip:
            self.wfile.write(b"x" * state.drip[0])
            self.wfile.flush()
            time.sleep(state.drip[1])
        self.wfile.write(content[start:stop])
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


def tarred(members: dict[str, bytes], *extra: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], **modes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = modes.get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()
