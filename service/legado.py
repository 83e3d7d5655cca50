"""Legado (github.com/gedoor/legado), a reader of novels: a source of speech for it, and its QR code."""

import hashlib
import io
import json
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.errors import Refusal
from service.host import Host, ProtocolRoute, VoiceEntry
from service.parameters import query_parameters, read_string, refuse_unknown
from vits.limits import RANGES

PARAMETERS = ("speaker", "key")
TEXT = "{{java.encodeURI(speakText)}}"
"""The part of a source's address that Legado replaces by the text, percent-encoded."""
SPEED = "{{{{Math.max({:g}, Math.min({:g}, speakSpeed / 10))}}}}".format(*RANGES["speed"])
"""The same for the speed, by JavaScript: its speakSpeed is 5 to 50, and 10 is the voice's own speed (as it treats
Android's own engines). It must never leave our range, since Legado pauses after five errors."""
LONGEST_LINK = 1000
"""More characters make a QR code too fine for cameras, and soon none at all; they also take long to draw."""
ID_BITS = 52
"""A source's id must be a whole number that JavaScript and Kotlin's Long can hold."""


def routes(host: Host) -> list[Route]:
    """The routes of this protocol."""

    async def source(request: Request) -> Response:
        """A speaker as a source of speech (HttpTTS.kt)."""
        voice, key = asked(host, request)
        query = f"text={TEXT}&speaker={quote(voice.id, safe='')}&speed={SPEED}&format=mp3&empty=silence"
        url = f"{request.base_url}speak?{query}"
        number = int.from_bytes(hashlib.sha256(f"{request.base_url}{voice.id}".encode()).digest()[:8]) >> 64 - ID_BITS
        rows = {"id": number, "name": f"vits-speak {voice.id}", "url": url, "contentType": "audio/mpeg"}
        header = {"header": json.dumps({"Authorization": f"Bearer {key}"})} if key else {}
        return JSONResponse(rows | header, headers={"Cache-Control": "no-store"})

    async def code(request: Request) -> Response:
        """The link that imports this source, as a QR code."""
        import segno

        voice, key = asked(host, request)
        parameters = {"speaker": voice.id} | ({"key": key} if key else {})
        link = import_link(f"{request.base_url}legado.json?{urlencode(parameters)}")
        if len(link) > LONGEST_LINK:
            raise Refusal("bad_request", "The address, the speaker and the key are too long for a QR code.")
        drawing = io.BytesIO()
        segno.make(link, micro=False, error="m").save(drawing, kind="svg", scale=4, border=4, light="#fff", dark="#000")
        return Response(drawing.getvalue(), media_type="image/svg+xml", headers={"Cache-Control": "no-store"})

    return [ProtocolRoute("/legado.json", source), ProtocolRoute("/legado.svg", code)]


def asked(host: Host, request: Request) -> tuple[VoiceEntry, str]:
    """The speaker that is asked for, and the key that the request shows in its query."""
    host.admit(request)
    given = query_parameters(request.scope["query_string"])
    refuse_unknown(given, PARAMETERS)
    name = read_string(given, "speaker")
    voice = host.voice(name)
    if voice is None:
        raise Refusal("unknown_speaker", f"There is no speaker {name!r}; /speakers lists them.", parameter="speaker")
    return voice, read_string(given, "key") or ""


def import_link(source: str) -> str:
    """The link by which Legado imports the source at this address."""
    return f"legado://import/httpTTS?src={quote(source, safe='')}"
