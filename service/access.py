"""Who may ask for speech: the key that SPEAK_API_KEY sets."""

import hmac
from urllib.parse import parse_qsl

from starlette.requests import Request

from service.errors import Refusal


class Key:
    """The server's key, which no log and no error message ever shows."""

    def __init__(self, key: str) -> None:
        """The key; an empty one lets everybody in."""
        self._key = key.encode()

    def __repr__(self) -> str:
        return "Key(hidden)"

    def check(self, request: Request) -> None:
        """Raise where a key is set and the request does not show it."""
        if not self._key:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        shown = token.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
        if not shown:
            shown = dict(parse_qsl(request.scope["query_string"].decode("latin-1"))).get("key", "").encode()
        if not hmac.compare_digest(shown, self._key):
            message = "Missing or wrong key: send Authorization: Bearer KEY, or ?key=KEY."
            raise Refusal("unauthorized", message, headers={"WWW-Authenticate": "Bearer"})
