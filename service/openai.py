"""OpenAI's speech API (platform.openai.com/docs/api-reference/audio), as far as its clients use it."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.errors import Refusal
from service.host import Host, listed
from service.parameters import json_parameters, read_parameters, read_string, refuse_unknown

PREFIX = "/v1/"
"""The paths of this protocol, whose errors have its shape."""
MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")
"""The models that OpenAI's clients know by name; where one is asked for, the voice alone decides who speaks."""
NAMES = {"input": "text", "voice": "speaker", "response_format": "format"}
"""What /speak calls a parameter of OpenAI's."""
FORMATS = {"mp3": "mp3", "opus": "opus", "flac": "flac", "wav": "wav", "pcm": "pcm24k"}
"""What /speak calls a format of OpenAI's; the first is the default. Its pcm has 24 kHz, on which its clients rely."""
REQUIRED = ("model", "input", "voice")
PARAMETERS = (
    *(*REQUIRED, "response_format", "speed", "stream_format"),
    *("lang", "noise_scale", "noise_scale_w", "seed"),
)
"""OpenAI's, and those of /speak that it has nothing for (its Python client sends them as extra_body)."""


def routes(host: Host) -> list[Route]:
    """The routes of this protocol."""

    async def speech(request: Request) -> Response:
        """The text as sound, by the same way as /speak's."""
        host.admit(request)
        body = await json_parameters(request, host.max_text_chars)
        return await host.answer(request, read_parameters(translated(host, body), host.max_text_chars))

    async def models(request: Request) -> Response:
        """The loaded models."""
        host.require_ready()
        created_s = {voice.model: voice.created_s for voice in host.voices()}
        rows = [
            {"id": model, "object": "model", "created": created, "owned_by": "vits-speak"}
            for model, created in created_s.items()
        ]
        return JSONResponse({"object": "list", "data": rows})

    async def voices(request: Request) -> Response:
        """All loaded speakers, as programs list them that let their users choose a voice."""
        host.require_ready()
        rows = [
            {"id": voice.id, "name": voice.id, "model": voice.model, "languages": voice.languages}
            for voice in host.voices()
        ]
        return JSONResponse({"voices": rows})

    return [
        Route("/v1/audio/speech", speech, methods=["POST"]),
        Route("/v1/audio/voices", voices),
        Route("/v1/models", models),
    ]


def translated(host: Host, body: Mapping[str, object]) -> dict[str, object]:
    """The parameters of /speak that mean the same as OpenAI's."""
    refuse_unknown(body, PARAMETERS)
    for name in REQUIRED:
        if name not in body:
            code = "missing_text" if name == "input" else "bad_request"
            raise Refusal(code, f"{name} is missing.", parameter=NAMES.get(name, name))
    parameters = {NAMES.get(name, name): value for name, value in body.items()}
    parameters["speaker"] = speaker_of(host, read_string(parameters, "model"), parameters["speaker"])
    form = body.get("response_format", next(iter(FORMATS)))
    if not isinstance(form, str) or form not in FORMATS:
        raise Refusal("bad_request", "format must be one of " + ", ".join(FORMATS), parameter="format")
    # WAV and FLAC store their length in the header, so they are sent complete unless a stream is asked for.
    stream = "stream_format" in parameters or form not in ("wav", "flac")
    if parameters.pop("stream_format", "audio") != "audio":
        message = "stream_format must be audio: the bytes themselves, as they are made."
        raise Refusal("bad_request", message, parameter="stream_format")
    del parameters["model"]
    return {**parameters, "format": FORMATS[form], "stream": stream}


def speaker_of(host: Host, model: str | None, voice: object) -> object:
    """Who speaks, as /speak calls them: a model of ours has its own voices, OpenAI's names leave it to the voice."""
    if isinstance(voice, dict) and set(voice) == {"id"}:
        voice = voice["id"]
    loaded = list(dict.fromkeys(entry.model for entry in host.voices()))
    if model in MODELS and model not in loaded:
        return voice
    if model not in loaded and model not in host.unloaded():
        there_is = listed((*loaded, *MODELS))
        raise Refusal("model_not_found", f"model {model!r} does not exist; there is {there_is}", parameter="model")
    if not isinstance(voice, str) or voice == model or voice.startswith(f"{model}/"):
        return voice
    return f"{model}/{voice}"


def error_shape(refusal: Refusal) -> Mapping[str, object]:
    """The body of an error as OpenAI's clients read it, with the parameter by its name there."""
    theirs = {ours: name for name, ours in NAMES.items()}
    param = theirs.get(refusal.parameter or "", refusal.parameter)
    message = refusal.message
    if param != refusal.parameter:
        message = message.replace(f"{refusal.parameter} ", f"{param} ", 1)
    kind = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": refusal.code}}
