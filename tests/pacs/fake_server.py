"""A small HTTP server that answers like a DICOMweb server, with valid or invalid answers, and records the requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeServer:
    """Answers with `answer(method, path, body) -> (status, type, bytes)`; requests: (method, path, headers, body)."""

    def __init__(self, answer: Callable):
        self.requests: list[tuple[str, str, dict, bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def handle_one(handler) -> None:
                body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
                self.requests.append((handler.command, handler.path, dict(handler.headers), body))
                status, kind, content = answer(handler.command, handler.path, body)
                handler.send_response(status)
                handler.send_header("Content-Type", kind)
                handler.send_header("Content-Length", str(len(content)))
                handler.end_headers()
                handler.wfile.write(content)

            do_GET = do_POST = do_DELETE = handle_one

            def log_message(handler, *arguments) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.web = f"127.0.0.1:{self._server.server_address[1]}/dicom-web"

    def __enter__(self) -> FakeServer:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def dicom_json(*datasets) -> tuple[int, str, bytes]:
    """An answer with these datasets."""
    return 200, "application/dicom+json", json.dumps([one.to_json_dict() for one in datasets]).encode()


def multipart(*files: bytes) -> tuple[int, str, bytes]:
    """An answer with these DICOM files."""
    parts = b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in files)
    return 200, 'multipart/related; type="application/dicom"; boundary=x', parts + b"--x--\r\n"
