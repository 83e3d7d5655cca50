"""Errors as clients get them: one table from code to status, and one place that turns an error into an answer."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

STATUS_OF: Mapping[str, int] = {
    "missing_text": 400,
    "empty_text": 400,
    "unspeakable_text": 400,
    "bad_number": 400,
    "bad_request": 400,
    "unknown_parameter": 400,
    "unknown_language": 400,
    "unauthorized": 401,
    "unknown_path": 404,
    "unknown_speaker": 404,
    "speaker_not_loaded": 404,
    "model_not_found": 404,
    "method_not_allowed": 405,
    "text_too_long": 413,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "unsatisfiable_range": 416,
    "audio_too_long": 422,
    "preparation_too_long": 422,
    "runaway_length": 422,
    "internal_error": 500,
    "missing_library": 501,
    "broken_model": 503,
    "out_of_memory": 503,
    "busy": 503,
    "loading": 503,
    "stopping": 503,
}
"""The HTTP status of every error code; docs/api.md and openapi.json say when each is answered."""

CODE_OF_STATUS = {404: "unknown_path", 405: "method_not_allowed"}
"""The codes of errors that Starlette's router raises; its others are bad_request."""


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, code: str, message: str, *, parameter: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        """An error for the client.

        Args:
            code: one of STATUS_OF.
            message: what is wrong, what was expected and what to do. It may quote the client, so it is never logged.
            parameter: the parameter of /speak that is at fault, if it is a single one.
            headers: further headers of the answer.

        """
        super().__init__(message)
        self.code = code
        self.message = message
        self.parameter = parameter
        self.headers = headers

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS_OF[self.code]


Shape = Callable[[Refusal], Mapping[str, object]]
"""What makes the JSON body of an error."""
Handler = Callable[[Request, Exception], Awaitable[Response]]


def plain_shape(refusal: Refusal) -> Mapping[str, object]:
    """The body of an error where a protocol has no shape of its own."""
    return {"error": {"code": refusal.code, "message": refusal.message}}


class ErrorAnswers:
    """Turns errors into answers, in the shape that the clients of a path expect."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        """Every error is in `plain_shape`, but at and under each path of `shapes`, which end in "/", in that one."""
        self.shapes = shapes

    def response(self, scope: Scope, refusal: Refusal, status: int | None = None) -> Response:
        """The answer to a request that was refused; `status` overrides that of the code."""
        scope["error_code"] = refusal.code
        path = scope["path"].removeprefix(scope.get("root_path", "")).removesuffix("/") + "/"
        shape = next((shape for prefix, shape in self.shapes.items() if path.startswith(prefix)), plain_shape)
        headers = {"Cache-Control": "no-store", **(refusal.headers or {})}
        return JSONResponse(shape(refusal), status or refusal.status, headers)

    def handlers(self, library_error: type[Exception]) -> dict[Any, Handler]:
        """The exception handlers of an application.

        Args:
            library_error: the base of the library's errors, whose attribute `code` is one of STATUS_OF.

        """

        async def of_refusal(request: Request, error: Exception) -> Response:
            assert isinstance(error, Refusal)
            return self.response(request.scope, error)

        async def of_http_exception(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            code = CODE_OF_STATUS.get(error.status_code, "bad_request")
            refusal = Refusal(code, error.detail, headers=error.headers)
            return self.response(request.scope, refusal, error.status_code)

        async def of_library(request: Request, error: Exception) -> Response:
            code: str = error.code  # type: ignore[attr-defined]  # the library's errors have one
            if STATUS_OF[code] >= 500 and code != "missing_library":
                raise error  # No request is to blame, so the log must say where it happened.
            return self.response(request.scope, Refusal(code, str(error)))

        async def of_disconnect(request: Request, error: Exception) -> Response:
            return Response(status_code=499)  # The connection is closed, so no client gets this.

        return {
            HTTPException: of_http_exception,
            Refusal: of_refusal,
            ClientDisconnect: of_disconnect,
            library_error: of_library,
        }
