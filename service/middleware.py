"""What every request passes through: counting, headers for browsers, cross-origin access, and unforeseen errors."""

import asyncio
import logging
import time
import traceback
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ErrorAnswers, Refusal
from service.metrics import Metrics

log = logging.getLogger("uvicorn.error")

ORIGINS = (r"\*|[a-z][a-z0-9+.-]*://[^/\s*]+", 'a list of origins such as "https://example.org", or ["*"]')
"""What cors_origins may hold: a regular expression, and in words."""
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every answer that does not set them otherwise."""
EXPOSED_HEADERS = (
    "Accept-Ranges",
    "Content-Length",
    "Content-Range",
    "ETag",
    "Retry-After",
    "X-Cache",
    "X-Dropped",
    "X-Dropped-Count",
    "X-Duration",
    "X-Ignored",
    "X-Sample-Rate",
    "X-Seed",
    "X-Voice",
)
"""The headers that scripts of other origins may read where cors_origins allows them."""


def middleware(metrics: Metrics, cors_origins: Sequence[str], answers: ErrorAnswers) -> list[Middleware]:
    """All middleware, the outermost first."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=cors_origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=("*",),  # Clients' libraries send headers of their own, and none of them means anything here.
        expose_headers=EXPOSED_HEADERS,
    )
    return [
        Middleware(Measured, metrics),
        Middleware(SafeHeaders),
        *([cors] if cors_origins else []),
        Middleware(LastResort, answers),
    ]


class Measured:
    """Middleware that counts every answer, and takes the time until its first sound."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Around `app`."""
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()
        status, x_cache, complete = "", None, False

        async def measured_send(message: Message) -> None:
            nonlocal status, x_cache, complete
            if message["type"] == "http.response.start":
                status, x_cache = str(message["status"]), Headers(raw=message["headers"]).get("x-cache")
            elif x_cache is not None and message.get("body") and scope["method"] != "HEAD":
                self.metrics.first_sound_s.labels(x_cache).observe(time.perf_counter() - started)
                x_cache = None
            await send(message)
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        try:
            await self.app(scope, receive, measured_send)
        finally:
            route = scope["route"].path if "route" in scope else "unknown"
            code = scope.get("error_code", "" if complete else "cut")
            self.metrics.requests.labels(route, status, code).inc()


class SafeHeaders:
    """Middleware that tells browsers to take every answer as what it says it is, and to keep it out of frames."""

    def __init__(self, app: ASGIApp) -> None:
        """Around `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class LastResort:
    """Middleware that answers unforeseen errors with a 500, and logs where they happened but not what was said."""

    def __init__(self, app: ASGIApp, answers: ErrorAnswers) -> None:
        """Around `app`."""
        self.app = app
        self.answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        async def refuse(code: str, message: str) -> None:
            if not started:
                await self.answers.response(scope, Refusal(code, message))(scope, receive, send)

        try:
            await self.app(scope, receive, watched_send)
        except asyncio.CancelledError:
            # The time that a stop gives to requests under way is over.
            await refuse("stopping", "The server is stopping.")
        except Exception as error:
            # The message of an exception may quote the text, so the log gets its type and its place alone.
            place = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s in %s\n%s", type(error).__name__, scope.get("path"), place)
            await refuse("internal_error", "Something went wrong on the server; its log says where.")
