"""Who may ask for speech: the key that SPEAK_API_KEY sets."""

import hmac
from urllib.parse import parse_qsl

from starlette.requests import Request

from service.errors import Refusal

HEADERS = ("x-api-key", "api-key")
"""The headers in which clients of vits-simple-api and of Azure send a key."""
QUERY_NAMES = ("key", "api_key")
"""The query parameters that hold a key: this server's own, and that of vits-simple-api."""


class Key:
    """The server's key, which no log and no error message ever shows."""

    def __init__(self, key: str) -> None:
        """A key that every request must have; with an empty one no request needs a key."""
        self._key = key.encode()

    def __repr__(self) -> str:
        return "Key(hidden)"

    def check(self, request: Request) -> None:
        """Raise if there is a key and the request does not have it."""
        if not self._key:
            return
        if not hmac.compare_digest(shown_key(request), self._key):
            message = "Missing or wrong key: send Authorization: Bearer KEY, or ?key=KEY."
            raise Refusal("unauthorized", message, headers={"WWW-Authenticate": "Bearer"})


def shown_key(request: Request) -> bytes:
    """The key that a request shows, in the first of the places where clients put one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    in_headers = [token.strip() if scheme.lower() == "bearer" else "", *(request.headers.get(name) for name in HEADERS)]
    query = dict(parse_qsl(request.scope["query_string"].decode("latin-1")))
    shown = [*((key or "").encode("latin-1") for key in in_headers), *(query.get(n, "").encode() for n in QUERY_NAMES)]
    return next(filter(None, shown), b"")
