"""vits-simple-api's protocol (github.com/Artrajz/vits-simple-api), which the bots and readers of the VITS world speak.

Tolerant as that server is: what it would read as a default is one here, and is named in X-Ignored.
"""

import math
import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.audio import EVERY_FORMAT
from service.errors import Refusal
from service.host import Host, ProtocolRoute, VoiceEntry, ignored_headers, silent
from service.parameters import (
    JSON_CHARACTER_BYTES,
    body_type,
    json_body,
    limited_body,
    read_parameters,
)
from vits.limits import RANGES, as_language

PREFIX = "/voice/"
"""The paths of this protocol, whose errors have its shape."""
FAMILY = "VITS"
OTHER_FAMILIES = ("HUBERT-VITS", "W2V2-VITS", "BERT-VITS2", "GPT-SOVITS")
"""The families of models that vits-simple-api knows and this server does not."""
FORMATS = {"wav": "wav", "ogg": "opus", "mp3": "mp3", "flac": "flac", "silk": "silk", "amr": "amr"}
"""What /speak calls a format of this protocol; the first is the default."""
STREAMED = "mp3"
"""The format of every stream, as from vits-simple-api."""
SCALES = {"length": "length_scale", "noise": "noise_scale", "noisew": "noise_scale_w"}
"""What /speak calls a number of this protocol."""
SEGMENTS = ("segment_size", "max")
"""The longest part that a text is cut into, by its name and its former one. Here texts are cut by sentences."""
PARAMETERS = ("text", "id", "format", "lang", *SCALES, "streaming", *SEGMENTS)
KEYS = ("api_key", "key")
"""Where the query may have a key; service/access.py reads it."""
DETECTED = ("auto", "mix")
"""Values that name no single language: it is found by script, or by tags in the text such as [ZH]...[ZH]."""
NOTHING = ("", None)
"""The values that count as absent."""
SWITCHES = {"true": True, "1": True, "false": False, "0": False}
FORM_OVERHEAD_BYTES = 4096
"""The size of everything in a form except the text."""
MAX_FIELDS = 64
"""The most fields of a form."""
SEGMENT_SIZE = 50
"""vits-simple-api's default, which clients may show to people."""


@dataclass
class Reading:
    """What a request gives, and what of it is passed over."""

    given: Mapping[str, object]
    """The parameters that are not absent."""
    ignored: list[str] = field(default_factory=list)
    """The names of those that have no meaning here, or not the value that was asked for."""


def routes(host: Host) -> list[Route]:
    """The routes of this protocol."""

    async def vits(request: Request) -> Response:
        """The text as sound, by the same way as /speak's."""
        host.admit(request)
        reading = Reading(await given_parameters(request, host.max_text_chars))
        parameters = read_parameters(translated(host, reading), host.max_text_chars, formats=EVERY_FORMAT)
        kind = "attachment" if parameters.stream else "inline"
        name = next(name for name, ours in FORMATS.items() if ours == parameters.format)
        headers = {"Content-Disposition": f"{kind}; filename=speech.{name}"}
        return await host.answer(request, parameters, headers | ignored_headers(reading.ignored))

    async def speakers(request: Request) -> Response:
        """All loaded speakers."""
        host.require_ready()
        rows = [speaker_row(voice) for voice in host.voices()]
        return JSONResponse({FAMILY: rows, **{family: [] for family in OTHER_FAMILIES}})

    async def check(request: Request) -> Response:
        """Whether there is a speaker of that id."""
        host.admit(request)
        voice = checked_voice(host, await given_parameters(request, host.max_text_chars))
        return JSONResponse({"status": "success", **speaker_row(voice)})

    async def default_parameter(request: Request) -> Response:
        """What a request gets that names only a text."""
        host.require_ready()
        return JSONResponse({"vits_config": default_parameters(default_voice(host))})

    methods = ["GET", "POST"]
    return [
        ProtocolRoute("/voice", vits, methods=methods),
        ProtocolRoute("/voice/vits", vits, methods=methods),
        ProtocolRoute("/voice/speakers", speakers, methods=methods),
        ProtocolRoute("/voice/check", check, methods=methods),
        ProtocolRoute("/voice/default_parameter", default_parameter, methods=methods),
    ]


def speaker_row(voice: VoiceEntry) -> dict[str, object]:
    """One speaker, as this protocol lists it."""
    return {"id": voice.number, "lang": voice.languages, "name": voice.id}


def default_parameters(voice: VoiceEntry) -> dict[str, object]:
    """What a request gets that names only a text, if this speaker speaks."""
    return {
        "id": voice.number,
        "format": next(iter(FORMATS)),
        "lang": "auto",
        **{name: voice.defaults[ours] for name, ours in SCALES.items()},
        "segment_size": SEGMENT_SIZE,
        "use_streaming": False,
    }


def checked_voice(host: Host, given: Mapping[str, object]) -> VoiceEntry:
    """The speaker that a check asks for, by the family of its model and its id."""
    family = str(given.get("model_type", given.get("model", ""))).upper()
    if family in OTHER_FAMILIES:
        raise Refusal("bad_request", f"{family} not loaded")
    if family != FAMILY:
        raise Refusal("unknown_path", f"model {family[:64]} does not exist")
    number = as_integer(given.get("id"))
    if number is None:
        raise Refusal("bad_request", "id must be a whole number.")
    return voice_of(host.voices(), number)


def default_voice(host: Host) -> VoiceEntry:
    """Who speaks where a request names no speaker."""
    default = host.voice(None)
    assert default is not None
    return default


def voice_of(voices: Sequence[VoiceEntry], number: int) -> VoiceEntry:
    """The speaker of an id: all count, in the order of models.toml; those that come later get the ids that follow."""
    # Where no model came or went while the server ran, the ids are the places in the list.
    if 0 <= number < len(voices) and voices[number].number == number:
        return voices[number]
    for voice in voices:
        if voice.number == number:
            return voice
    most = max(voice.number for voice in voices)
    message = f"id {str(number)[:20]} does not exist; the ids are 0 to {most}, see /voice/speakers"
    raise Refusal("bad_request", message)


# The parameters, wherever they are


async def given_parameters(request: Request, max_text_chars: int) -> dict[str, object]:
    """The parameters of the query and of the body, which comes first; what counts as absent is left out."""
    given: dict[str, object] = form_values(request.scope["query_string"])
    for name in KEYS:
        given.pop(name, None)
    if request.method == "POST":
        given |= await body_parameters(request, max_text_chars)
    return {name: value for name, value in given.items() if value not in NOTHING}


async def body_parameters(request: Request, max_text_chars: int) -> Mapping[str, object]:
    """The parameters of a body: a JSON object or either kind of form."""
    kind = body_type(request)
    if kind == "application/json":
        return await json_body(request, max_text_chars)
    # A form spends no more on a character than JSON: four bytes, each percent-encoded.
    body = await limited_body(request, JSON_CHARACTER_BYTES * max_text_chars + FORM_OVERHEAD_BYTES)
    if kind == "multipart/form-data":
        return await multipart_values(request, body)
    if kind in ("application/x-www-form-urlencoded", "") or not body:
        return form_values(body)
    message = "The body must be a form or a JSON object: Content-Type: application/x-www-form-urlencoded, for example."
    raise Refusal("unsupported_media_type", message)


def form_values(encoded: bytes) -> dict[str, object]:
    """The fields of a query or of a form that is encoded like one."""
    try:
        pairs = parse_qsl(encoded.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        message = f"The query and the form must be percent-encoded UTF-8, with at most {MAX_FIELDS} fields."
        raise Refusal("bad_request", message) from None
    return first_values(pairs)


async def multipart_values(request: Request, body: bytes) -> dict[str, object]:
    """The fields of a multipart form, which may hold no files."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers, whole(), max_files=0, max_fields=MAX_FIELDS, max_part_size=max(1, len(body))
    )
    try:
        body.decode()  # Starlette would read what is no UTF-8 as Latin-1.
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError):
        message = f"The body must be multipart/form-data in UTF-8, of at most {MAX_FIELDS} fields and without files."
        raise Refusal("bad_request", message) from None
    return first_values((name, value) for name, value in form.multi_items())


def first_values(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """The pairs as a dict; of a name that is given twice the first counts, as on that server."""
    values: dict[str, object] = {}
    for name, value in pairs:
        values.setdefault(name, value)
    return values


# Their meaning


def translated(host: Host, reading: Reading) -> dict[str, object]:
    """The parameters of /speak that mean the same."""
    given, ignored = reading.given, reading.ignored
    ignored += (name for name in given if name not in PARAMETERS or name in SEGMENTS)
    voice = asked_voice(host, reading)
    parameters: dict[str, object] = {"speaker": voice.id}
    if "text" in given:
        parameters["text"] = given["text"]
    for name, ours in SCALES.items():
        if name in given:
            parameters.update(asked_scale(name, ours, reading))
    if "lang" in given:
        parameters["lang"] = asked_language(voice.languages, reading)
    stream = asked_switch("streaming", reading)
    return {**parameters, "format": asked_format(stream, reading), "stream": stream, **silent(given.get("text"))}


def asked_voice(host: Host, reading: Reading) -> VoiceEntry:
    """Who speaks: the speaker of the id; the default one where it is no number."""
    number = as_integer(reading.given.get("id"))
    if number is None:
        if "id" in reading.given:
            reading.ignored.append("id")
        return default_voice(host)
    return voice_of(host.voices(), number)


def asked_scale(name: str, ours: str, reading: Reading) -> dict[str, object]:
    """A number, or the nearest one within the range; nothing where it is no number."""
    number = as_number(reading.given[name])
    if number is None:
        reading.ignored.append(name)
        return {}
    low, high = RANGES[ours]
    within = min(max(number, low), high)
    if within != number:
        reading.ignored.append(name)
    return {ours: within}


def asked_language(languages: Sequence[str], reading: Reading) -> str:
    """The one language that is asked for, or auto. Of several, those count that the speaker has."""
    lang = reading.given["lang"]
    parts = lang if isinstance(lang, list) else re.split(r"[,，\s]+", str(lang))
    named = {str(part).strip().lower() for part in parts} - {""}
    asked = set(map(as_language, named))
    known = asked & set(languages)
    if asked & set(DETECTED) or len(languages) == 1:
        met = asked <= {*DETECTED, *languages}
    else:
        met = asked == known and len(known) in (1, len(languages))
    if not met:
        reading.ignored.append("lang")
    if len(languages) == 1:
        return languages[0]
    return known.pop() if len(known) == 1 and not asked & set(DETECTED) else "auto"


def asked_switch(name: str, reading: Reading) -> bool:
    """Whether a switch is on."""
    value = str(reading.given.get(name, False)).lower()
    if value not in SWITCHES:
        reading.ignored.append(name)
    return SWITCHES.get(value, False)


def asked_format(stream: bool, reading: Reading) -> str:
    """The format by its name in /speak."""
    asked = str(reading.given.get("format", STREAMED if stream else next(iter(FORMATS)))).lower()
    if asked not in FORMATS:
        raise Refusal("bad_request", "format must be one of " + ", ".join(FORMATS), parameter="format")
    if stream and asked != STREAMED:
        reading.ignored.append("format")
        asked = STREAMED
    return FORMATS[asked]


def as_number(value: object) -> float | None:
    """A finite number, if the value is one or spells one."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_integer(value: object) -> int | None:
    """A whole number, if the value is one or spells one."""
    try:
        return int(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        return None


def error_shape(refusal: Refusal) -> Mapping[str, object]:
    """The body of an error, as clients of this protocol read it."""
    message = refusal.message
    if refusal.code == "unknown_path" and message == "Not Found":
        message = (
            "There is no such route: this server has VITS voices alone, at /voice/vits. /docs describes all routes."
        )
    return {"status": "error", "message": message}
