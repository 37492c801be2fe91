"""The pages and data of the viewer as a Starlette application. It serves its own static files and one study."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ildfv.errors import InputError, MissingPackageError
from ildfv.parsing import parse_json, read_bytes
from ildfv.viewer.guard import POLICY, Guard
from ildfv.viewer.images import Cached
from ildfv.viewer.scan import ViewedScan
from ildfv.viewer.sections import Volume, Volumes
from ildfv.viewer.study import Study

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
BINARY = "application/octet-stream"
MAX_COUNT = 8  # maximum number of planes per request
BODY = 4096  # maximum bytes of a correction
START = b"<!-- start -->"  # placeholder in index.html for `_start`
MAX_REPORT_BYTES = 256 << 20  # maximum bytes of a report page
REPORT_SCRIPT = b'<link rel="icon" href="static/icon.svg"><script type="module" src="static/report.js"></script>'
# The page that `ildfv report` writes has inline styles. REPORT_SCRIPT is the only script in the served page.
REPORT_POLICY = POLICY.replace("style-src 'self'", "style-src 'unsafe-inline'")


def application(study: Study, token: str, hosts: set[str]) -> Guard:
    """The ASGI application. token: the first part of every path. hosts: accepted Host headers, with the port."""
    served = _Served(study)
    routes = [
        Route("/", served.page),
        Route("/static/{name}", served.static),
        Route("/report", served.report),
        Route("/api/alive", served.alive),
        Route("/api/scan/{scan:int}", served.scan_document),
        Route("/api/scan/{scan:int}/slice/{z:int}", served.slice),
        Route("/api/scan/{scan:int}/sections", served.sections),
        Route("/api/scan/{scan:int}/coronal/{index:int}", served.coronal),
        Route("/api/scan/{scan:int}/sagittal/{index:int}", served.sagittal),
        Route("/api/scan/{scan:int}/labels/{z:int}", served.labels),
        Route("/api/scan/{scan:int}/map/{number:int}", served.map_document),
        Route("/api/scan/{scan:int}/map/{number:int}/{z:int}", served.map),
        Route("/api/scan/{scan:int}/similar/{z:int}", served.similar),
        Route("/api/scan/{scan:int}/corrections", served.corrections, methods=["GET"]),
        Route("/api/scan/{scan:int}/corrections/{z:int}", served.correct, methods=["POST"]),
    ]
    handlers: Any = {InputError: _unreadable, MissingPackageError: _unreadable, OSError: _unreadable}
    handlers[HTTPException] = _refused
    return Guard(Starlette(routes=routes, exception_handlers=handlers), token, hosts)


class _Served:
    """Request handlers. Handlers that are not coroutines run in threads, so slow files do not block other requests."""

    def __init__(self, study: Study):
        self.study, self.cached = study, Cached()
        self.volumes = Volumes(self.cached.exclusive)
        folder = resources.files("ildfv.viewer") / "static"
        # The names are listed at start-up, so that no path from a request reaches the file system.
        self.files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}

    def page(self, request: Request) -> Response:
        return HTMLResponse(self.files["index.html"].replace(START, self._start(), 1))

    def _start(self) -> bytes:
        """A script element with the JSON that the page shows first.

        The JSON contains the study, and the first scan with predictions (the first scan if none has any) with its
        number. Without them, the page would have to make two requests, one after the other, before it can request a
        slice.
        """
        scans = self.study.scans
        number = next((i for i, scan in enumerate(scans) if scan.scored()), 0)
        values = {"study": self.study.document(), "number": number, "scan": scans[number].document()}
        text = bytes(JSONResponse(values).body).replace(b"<", b"\\u003c")  # so that no value can end the element
        return b'<script type="application/json" id="start">' + text + b"</script>"

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.files:
            raise HTTPException(404, "no such file")
        return Response(self.files[name], media_type=TYPES["." + name.rpartition(".")[2]])

    def report(self, request: Request) -> Response:
        if self.study.report is None:
            raise HTTPException(404, "the workspace has no report: run `ildfv report`")
        page = read_bytes(self.study.report, MAX_REPORT_BYTES)
        page = page.replace(b"</body>", REPORT_SCRIPT + b"</body>", 1) if b"</body>" in page else page + REPORT_SCRIPT
        return Response(page, media_type="text/html", headers={"content-security-policy": REPORT_POLICY})

    async def alive(self, request: Request) -> Response:
        saved = self.study.corrections
        return JSONResponse({"corrections": 0 if saved is None else saved.version})

    def scan_document(self, request: Request) -> Response:
        return JSONResponse(self._scan(request).document())

    def slice(self, request: Request) -> Response:
        images = self._scan(request).images
        if images is None:
            raise HTTPException(404, "the scan of this prediction was not given: run `ildfv view PREDICTION SCAN`")
        return self._plane(request, "slice", images.read)

    def labels(self, request: Request) -> Response:
        labels = self._scan(request).labels
        if labels is None:
            raise HTTPException(404, "this scan has no label map")
        return self._plane(request, "labels", labels.read)

    def sections(self, request: Request) -> Response:
        return JSONResponse(self._volume(request).describe())

    def coronal(self, request: Request) -> Response:
        return self._section(request, "rows", Volume.coronal)

    def sagittal(self, request: Request) -> Response:
        return self._section(request, "columns", Volume.sagittal)

    def map_document(self, request: Request) -> Response:
        return JSONResponse(self._map(request).describe())

    def map(self, request: Request) -> Response:
        map_ = self._map(request)
        return self._plane(request, f"map{request.path_params['number']}", map_.read)

    def similar(self, request: Request) -> Response:
        if self.study.similar is None:
            raise HTTPException(404, "the workspace has no encoding to search: run `ildfv encode`")
        self._place(request)
        return JSONResponse(self.study.similar.of(self._number(request), request.path_params["z"]))

    def corrections(self, request: Request) -> Response:
        saved = self.study.corrections
        rows = {} if saved is None else saved.of_scan(self._number(request))
        return JSONResponse({str(z): values for z, values in rows.items()})

    async def correct(self, request: Request) -> Response:
        if self.study.corrections is None:
            raise HTTPException(404, "corrections are not saved: start the viewer with --corrections FILE")
        if request.headers.get("content-type") != "application/json":
            raise HTTPException(415, "the content type of a correction must be application/json")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > BODY:
                raise HTTPException(413, f"a correction must have at most {BODY} bytes")
        values = parse_json(body, "a correction")
        if not isinstance(values, list | None):
            raise InputError(f"a correction must be a list of values or null, got {values!r:.80}")
        self.study.corrections.set(self._number(request), request.path_params["z"], values)
        return JSONResponse({"file": self.study.corrections.path.name})

    def _number(self, request: Request) -> int:
        number = request.path_params["scan"]
        if number >= len(self.study.scans):
            raise HTTPException(404, f"scan must be below {len(self.study.scans)}, got {number}")
        return number

    def _scan(self, request: Request) -> ViewedScan:
        return self.study.scans[self._number(request)]

    def _place(self, request: Request) -> tuple[ViewedScan, int]:
        scan, z = self._scan(request), request.path_params["z"]
        if z >= len(scan):
            raise HTTPException(404, f"slice must be below {len(scan)}, got {z}")
        return scan, z

    def _volume(self, request: Request) -> Volume:
        return self.volumes.of(self._number(request), self._scan(request))

    def _section(self, request: Request, count: str, section: Callable[[Volume, int], np.ndarray]) -> Response:
        volume, index = self._volume(request), request.path_params["index"]
        most = volume.describe()[count]
        if index >= most:
            raise HTTPException(404, f"section must be below {most}, got {index}")
        data = np.ascontiguousarray(section(volume, index), "<i2").tobytes()
        return Response(data, media_type=BINARY)

    def _map(self, request: Request):
        maps, number = self._scan(request).maps, request.path_params["number"]
        if number >= len(maps):
            raise HTTPException(404, f"map must be below {len(maps)}, got {number}")
        return maps[number]

    def _plane(self, request: Request, layer: str, read: Callable[[int], np.ndarray]) -> Response:
        """The concatenated planes of `count` consecutive slices from slice z on."""
        scan, first = self._place(request)
        count = request.query_params.get("count", "1")
        most = min(MAX_COUNT, len(scan) - first)
        if not count.isdecimal() or not 1 <= int(count) <= most:
            raise HTTPException(404, f"count must be from 1 to {most}, got {count}")
        places = range(first, first + int(count))
        number = request.path_params["scan"]
        data = b"".join(self.cached.get((number, layer, z), partial(read, z)) for z in places)
        return Response(data, media_type=BINARY)


def _unreadable(request: Request, error: Exception) -> Response:
    path = getattr(error, "filename", None)  # the file name only, because the folder may identify a patient
    text = f"{Path(path).name}: {error.strerror}" if isinstance(error, OSError) and path else str(error)
    return JSONResponse({"error": text}, status_code=422)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=error.headers)
