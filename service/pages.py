"""The pages that come with the service and what they load, read once and answered from memory."""

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
"""The files that have a path of their own."""
ASSETS = ("page.css", "words.js", "page.js", "docs.css", "docs.js")
"""The files that the pages load from /web/. No other file can be asked for."""
MEDIA_TYPES: Mapping[str, str] = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
}
"""By suffix. They are not left to the system's own table: browsers are told to take a type as it stands (nosniff)."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self' blob:; "
    "img-src data: 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the pages: files of this server alone, and no inline script or style."""
CONDITIONS = StaticFiles()
"""Starlette's reading of If-None-Match; it has no folder, so it serves nothing itself."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file of service/web, as it is answered."""

    content: bytes
    media_type: str
    headers: Mapping[str, str]

    def answer(self, request: Request) -> Response:
        """The file, or a 304 to a client that has it already."""
        # FileResponse is not used: its tag is the file's time and size, which a new version can share with the old one,
        # and it answers a Range that it cannot read with an error in plain text.
        if CONDITIONS.is_not_modified(Headers(self.headers), request.headers):
            return NotModifiedResponse(Headers(self.headers))
        return Response(self.content, headers=self.headers, media_type=self.media_type)


def read_file(name: str) -> WebFile:
    """A file of service/web; its tag is a digest of its content."""
    path = WEB / name
    content = path.read_bytes()
    # Browsers may keep it, but ask each time whether it has changed.
    headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"', "Cache-Control": "no-cache"}
    if path.suffix == ".html":
        headers["Content-Security-Policy"] = POLICY
    return WebFile(content, MEDIA_TYPES[path.suffix], headers)


def routes() -> list[Route]:
    """The pages' routes; the files are read now, so a missing one ends the start."""
    documents = {path: read_file(name) for path, name in DOCUMENTS.items()}
    assets = {name: read_file(name) for name in ASSETS}

    async def document(request: Request) -> Response:
        return documents[request.scope["route"].path].answer(request)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in assets:
            raise HTTPException(404)
        return assets[name].answer(request)

    return [*(Route(path, document) for path in documents), Route("/web/{name}", asset)]
