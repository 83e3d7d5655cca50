"""The pages of the service and the files that they load, read once and served from memory."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles

WEB = Path(__file__).resolve().parent / "web"
DOCUMENTS: Mapping[str, str] = {"/": "page.html", "/docs": "docs.html", "/openapi.json": "openapi.json"}
"""The files with a route of their own, by path."""
ASSETS = ("page.css", "words.js", "page.js", "docs.css", "docs.js")
"""The files that the pages load from /web/. No other file is served."""
MEDIA_TYPES: Mapping[str, str] = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
}
"""By suffix. The system's own table may differ, and nosniff makes browsers take each type as it stands."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self' blob:; "
    "img-src data: 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the pages: only files of this server, and no inline scripts or styles."""
CONDITIONS = StaticFiles()
"""Starlette's rules for If-None-Match. It has no folder, so it serves no file itself."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file of service/web, ready to be sent."""

    content: bytes
    media_type: str
    headers: Mapping[str, str]

    def response(self, request: Request) -> Response:
        """The file, or a 304 for a client that already has it."""
        # Not a FileResponse: its ETag is made from time and size, which two versions can share in a reproducible
        # build, and it answers an invalid Range with an error in plain text instead of the service's JSON.
        if CONDITIONS.is_not_modified(Headers(self.headers), request.headers):
            return NotModifiedResponse(Headers(self.headers))
        return Response(self.content, headers=self.headers, media_type=self.media_type)


def read_file(name: str) -> WebFile:
    """A file of service/web with its headers; the ETag is a digest of its content."""
    path = WEB / name
    content = path.read_bytes()
    # no-cache lets browsers keep the file, but they ask each time whether it has changed.
    headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"', "Cache-Control": "no-cache"}
    if path.suffix == ".html":
        headers["Content-Security-Policy"] = POLICY
    return WebFile(content, MEDIA_TYPES[path.suffix], headers)


def routes() -> list[Route]:
    """The routes of the pages. The files are read now, so a missing file stops the start."""
    documents = {path: read_file(name) for path, name in DOCUMENTS.items()}
    assets = {name: read_file(name) for name in ASSETS}

    async def document(request: Request) -> Response:
        return documents[request.scope["route"].path].response(request)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in assets:
            raise HTTPException(404)
        return assets[name].response(request)

    return [*(Route(path, document) for path in documents), Route("/web/{name}", asset)]
