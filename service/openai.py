"""OpenAI's speech API (platform.openai.com/docs/api-reference/audio), as far as its clients use it.

Tolerant as the servers are that its clients know: what has no meaning here is passed over, and named in X-Ignored.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from service.audio import EVERY_FORMAT
from service.errors import Refusal
from service.host import Host, ProtocolRoute, VoiceEntry, ignored_headers, listed, silent
from service.parameters import json_body, query_parameters, read_choice, read_parameters, read_string
from service.recordings import Playback
from vits.limits import RANGES

PREFIX = "/v1/"
"""The paths of this protocol, whose errors have its shape."""
MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")
"""The models that OpenAI's clients have built in; where one is asked for, the voice alone decides who speaks."""
VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable"),
    *("marin", "nova", "onyx", "sage", "shimmer", "verse"),
)
"""The voices that OpenAI's clients have built in; here each is an alias of a loaded speaker."""
NAMES = {"input": "text", "voice": "speaker", "response_format": "format"}
"""What /speak calls a parameter of OpenAI's."""
FORMATS = {"mp3": "mp3", "opus": "opus", "aac": "aac", "flac": "flac", "wav": "wav", "pcm": "pcm24k"}
"""What /speak calls a format of OpenAI's; the first is the default. Its pcm has 24 kHz, on which its clients rely."""
STREAM_FORMATS = ("audio", "sse")
REQUIRED = ("input",)
PARAMETERS = (
    *("model", "input", "voice", "response_format", "speed", "stream_format"),
    *("lang", "noise_scale", "noise_scale_w", "seed", "replace"),
)
"""OpenAI's, and those of /speak that it has nothing for (its Python client sends them as extra_body)."""


@dataclass
class Translation:
    """A request of OpenAI's in the words of /speak."""

    parameters: dict[str, object]
    """The parameters of /speak."""
    events: bool
    """Whether the sound is wanted as server-sent events."""
    ignored: list[str] = field(default_factory=list)
    """What has no meaning here, or not the value that was asked for."""


def routes(host: Host) -> list[Route]:
    """The routes of this protocol."""

    async def speech(request: Request) -> Response | SpeechEvents:
        """The text as sound, by the same way as /speak's."""
        host.admit(request)
        query = query_parameters(request.scope["query_string"])
        translation = translated(host, await json_body(request, host.max_text_chars))
        parameters = read_parameters(translation.parameters, host.max_text_chars, formats=EVERY_FORMAT)
        ignored = [*translation.ignored, *(name for name in query if name != "key")]
        answer = await host.answer(request, parameters, ignored_headers(ignored))
        return SpeechEvents(answer, len(parameters.text)) if translation.events else answer

    async def models(request: Request) -> Response:
        """The loaded models."""
        return JSONResponse({"object": "list", "data": model_rows(host)})

    async def model(request: Request) -> Response:
        """One loaded model."""
        rows = model_rows(host)
        name = request.path_params["id"]
        for row in rows:
            if row["id"] == name:
                return JSONResponse(row)
        there_is = listed(str(row["id"]) for row in rows)
        raise Refusal("model_not_found", f"model {name!r} does not exist; there is {there_is}", parameter="model")

    async def audio_models(request: Request) -> Response:
        """The loaded models, as Open WebUI asks for them."""
        return JSONResponse({"models": [{"id": row["id"], "name": row["id"]} for row in model_rows(host)]})

    async def voices(request: Request) -> Response:
        """All loaded speakers and aliases, as programs list them that let their users choose a voice."""
        host.require_ready()
        return JSONResponse({"voices": voice_rows(host)})

    return [
        ProtocolRoute("/v1/audio/speech", speech, methods=["POST"]),
        ProtocolRoute("/v1/audio/voices", voices),
        ProtocolRoute("/v1/audio/models", audio_models),
        ProtocolRoute("/v1/models", models),
        ProtocolRoute("/v1/models/{id}", model),
    ]


def model_rows(host: Host) -> list[dict[str, object]]:
    """The loaded models, as OpenAI's API lists them."""
    host.require_ready()
    created_s = {voice.model: voice.created_s for voice in host.voices()}
    return [
        {"id": model, "object": "model", "created": created, "owned_by": "vits-speak"}
        for model, created in created_s.items()
    ]


def voice_rows(host: Host) -> list[dict[str, object]]:
    """The loaded speakers, then the aliases of them; a speaker's own name comes before an alias."""
    rows = [voice_row(voice.id, voice) for voice in host.voices()]
    for alias, name in aliases(host).items():
        target = host.voice(name)
        if target is not None and host.voice(alias) is None:
            rows.append({**voice_row(alias, target), "alias_of": target.id})
    return rows


def voice_row(name: str, voice: VoiceEntry) -> dict[str, object]:
    """One speaker, under one of its names."""
    return {"id": name, "name": name, "model": voice.model, "languages": voice.languages}


def aliases(host: Host) -> dict[str, str]:
    """Whom each alias means: OpenAI's voices, spread over the speakers, and those of models.toml."""
    default = host.voice(None)
    return {**(spread(host.voices(), default) if default else {}), **host.aliases}


def spread(voices: Sequence[VoiceEntry], first: VoiceEntry) -> dict[str, str]:
    """OpenAI's voices over the speakers of the default voice's language: the default one first, then in their order.

    Clients have these names built in and send any text by them, so none may lead to a voice that cannot say it.
    """
    others = (voice for voice in voices if voice.id != first.id and {*first.languages[:1]} <= {*voice.languages})
    ids = [first.id, *(voice.id for voice in others)]
    return {alias: ids[index % len(ids)] for index, alias in enumerate(VOICES)}


def translated(host: Host, body: Mapping[str, object]) -> Translation:
    """The parameters of /speak that mean the same as OpenAI's; null counts as absent."""
    given = {name: value for name, value in body.items() if value is not None}
    ignored = [name for name in given if name not in PARAMETERS]
    parameters = {NAMES.get(name, name): given[name] for name in PARAMETERS if name in given}
    if "text" not in parameters:
        raise Refusal("missing_text", "input is missing.", parameter="text")
    speaker = speaker_of(host, parameters.pop("model", ""), parameters.pop("speaker", ""), ignored)
    if speaker is not None:
        parameters["speaker"] = speaker
    form = read_choice(parameters, "format", tuple(FORMATS))
    stream_format = read_choice(parameters, "stream_format", STREAM_FORMATS)
    # WAV and FLAC store their length in the header, so they are sent complete unless a stream is asked for.
    stream = given.get("stream_format") == "audio" or form not in ("wav", "flac")
    if "speed" in parameters:
        speed = clamped(parameters["speed"], *RANGES["speed"])
        if speed != parameters["speed"]:
            parameters["speed"] = speed
            ignored.append("speed")
    parameters.pop("stream_format", None)
    parameters |= {"format": FORMATS[form], "stream": stream, **silent(parameters["text"])}
    return Translation(parameters, stream_format == "sse", ignored)


def clamped(value: object, low: float, high: float) -> object:
    """A number within the range; what is no number stays what it is, and is refused as such."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return min(max(value, low), high)


def speaker_of(host: Host, model: object, voice: object, ignored: list[str]) -> str | None:
    """Who speaks, as /speak calls them; None leaves it to the server. What is passed over is added to `ignored`."""
    if isinstance(voice, dict) and set(voice) == {"id"}:
        voice = voice["id"]
    asked: dict[str, object] = {"model": model, "speaker": voice}
    model, voice = read_string(asked, "model") or None, read_string(asked, "speaker") or None
    if model in {entry.model for entry in host.voices()} or model in host.unloaded:
        return speaker_within(host, str(model), voice, ignored)
    if model is not None and voice is None and host.voice(model):
        return model  # Clients of LocalAI send the voice as the model.
    if model is not None and model not in MODELS:
        ignored.append("model")
    return voice if voice is None or host.voice(voice) else aliases(host).get(voice, voice)


def speaker_within(host: Host, model: str, voice: str | None, ignored: list[str]) -> str:
    """Who speaks where one of our models is asked for, which has its own voices."""
    if voice is None or voice == model or voice.startswith(f"{model}/"):
        return voice or model
    known = aliases(host)
    if host.voice(f"{model}/{voice}") or voice not in known:
        return f"{model}/{voice}"
    if known[voice] == model or known[voice].startswith(f"{model}/"):
        return known[voice]
    # Clients send a voice of OpenAI's with any model.
    ignored.append("voice")
    return model


class SpeechEvents:
    """A recording as server-sent events: its bytes in Base64 as they come, then what they amount to."""

    def __init__(self, answer: Response, n_characters: int) -> None:
        """The answer that has the recording, and the length of its text."""
        assert isinstance(answer, Playback)
        self.playback = answer
        self.n_characters = n_characters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; where the recording fails halfway, the last one is missing."""

        async def send_events(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name in ("content-length", "etag"):
                    del headers[name]
                headers.update(
                    {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "Accept-Ranges": "none"}
                )
            else:
                events = [self.delta(message["body"])] if message["body"] else []
                if not message.get("more_body", False):
                    events.append(self.done())
                message = {**message, "body": b"".join(map(encoded, events))}
            await send(message)

        await self.playback(scope, receive, send_events)

    def delta(self, sound: bytes) -> dict[str, Any]:
        """The event of some bytes."""
        return {"type": "speech.audio.delta", "audio": base64.b64encode(sound).decode()}

    def done(self) -> dict[str, Any]:
        """The last event. There are no tokens here: the text counts by characters, the sound by begun seconds."""
        seconds = -int(-float(self.playback.recording.headers["X-Duration"]) // 1)
        usage = {"input_tokens": self.n_characters, "output_tokens": seconds}
        return {"type": "speech.audio.done", "usage": usage | {"total_tokens": self.n_characters + seconds}}


def encoded(event: Mapping[str, object]) -> bytes:
    """An event as it is sent."""
    return b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"


def error_shape(refusal: Refusal) -> Mapping[str, object]:
    """The body of an error as OpenAI's clients read it, with the parameter by its name there."""
    theirs = {ours: name for name, ours in NAMES.items()}
    param = theirs.get(refusal.parameter or "", refusal.parameter)
    message = refusal.message
    if param != refusal.parameter:
        message = message.replace(f"{refusal.parameter} ", f"{param} ", 1)
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": refusal.code}}
