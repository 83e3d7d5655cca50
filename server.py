"""Text to speech over HTTP: VITS voices on a CPU, one window of audio at a time.

    GET  /speak?text=&speaker=   a WAV file (HEAD: its headers, without a synthesis)
    POST /speak                  the same from a JSON object
    GET  /speakers               who can speak
    GET  /health                 what is loaded and in force; 503 until ready

Limits: one process, one inference at a time. Requests take turns window by window, first come, first served; at most
`max_waiting` of them are under way at once, the rest get 503 with Retry-After. A client that leaves costs no more than
the window under way. Users' text is never logged.
"""

import asyncio
import hashlib
import io
import json
import logging
import math
import os
import re
import time
import tomllib
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypedDict, TypeVar
from urllib.parse import parse_qsl, quote

import numpy
import numpy.typing
import soundfile
import torch
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vits import BadRequest, Prepared, RunawayLength, VitsError, Voice, load_voice
from vits.text import MissingLibrary, TextError, UnknownLanguage, UnspeakableText

# uvicorn and gunicorn's uvicorn worker both give this logger their handlers.
log = logging.getLogger("uvicorn.error")

Result = TypeVar("Result")
Pcm = numpy.typing.NDArray[numpy.int16]

HERE = Path(__file__).resolve().parent
LANGUAGES = ("auto", "zh", "ja", "en", "ko", "sa")
PRECISIONS = ("auto", "float32", "bfloat16")
MAX_SEED = 2**32 - 1
RANGES: Mapping[str, tuple[float, float]] = {
    "noise_scale": (0.0, 2.0),
    "noise_scale_w": (0.0, 2.0),
    "length_scale": (0.25, 4.0),
    "speed": (0.25, 4.0),
}
"""The numbers a request can set, each with its lowest and its highest value."""
DEFAULTS: Mapping[str, float] = {"noise_scale": 0.667, "noise_scale_w": 0.8, "length_scale": 1.0}
"""What a request gets where neither it nor the model's table says; the values of VITS's own inference."""
PARAMETERS = ("text", "speaker", "lang", *RANGES, "seed")
CACHE_CAPACITIES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256", "LRU_CACHE_CAPACITY": "1"}
"""Set where nobody did. Fixed windows need few primitives: a small cache stays flat and always hits, where none at all
would compile every convolution again at every call. Read once each, at torch's first operation."""
RETRY_AFTER_S = 2
SPEAKERS_LISTED = 20
"""How many names an error message lists; a model may have a thousand."""
CHARACTERS_NAMED = 32
"""How many dropped characters a header names."""
JSON_CHARACTER_BYTES = 12
"""The most that JSON spends on one character: two escapes such as \\ud83d."""
JSON_OVERHEAD_BYTES = 4096
"""Room for everything in a JSON body but the text."""
EXIT_START_FAILED = 3
"""uvicorn's own code for an application that could not start."""


class SettingsError(Exception):
    """A start that cannot be: one line that names the file, the table, the key, the value and what was expected."""


class Refusal(Exception):
    """A request answered with an error: `status` and `code` are those of the README's table."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        """An error for the client; `message` may quote what the client sent, so it is never logged."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


LIBRARY_ERRORS: tuple[tuple[type[Exception], int, str], ...] = (
    (BadRequest, 400, "bad_request"),
    (UnspeakableText, 400, "unspeakable_text"),
    (UnknownLanguage, 400, "unknown_language"),
    (RunawayLength, 422, "runaway_length"),
    (MissingLibrary, 501, "missing_library"),
)
"""What the library refuses, and how that is answered. Its other errors are nobody's request's fault: 500."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One [[models]] table."""

    name: str
    """What requests call it."""
    checkpoint: Path
    """G_*.pth, as training wrote it."""
    config: Path
    """The JSON file that belongs to the checkpoint."""
    load: bool = True
    """Whether it is loaded at start; the others stay configured but cannot speak."""
    speaker: str | None = None
    """Who speaks where a request names the model alone; None: the first of the config."""
    lang: str = "auto"
    """The language of a request that names none."""
    mend: bool = True
    """Whether numbers, units and signs are put into words that the model's own front end would drop or misread."""
    noise_scale: float | None = None
    """How much the voice varies, of a request that does not say; None: DEFAULTS, as for the next two."""
    noise_scale_w: float | None = None
    """How much the rhythm varies, of a request that does not say."""
    length_scale: float | None = None
    """Duration relative to the model's own, of a request that does not say."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All of models.toml: its [server] table and its models."""

    path: Path
    """The file itself, for messages."""
    models: tuple[ModelSettings, ...]
    """In the file's order; the first loaded one speaks where a request names nobody."""
    threads: int
    """Threads of one inference."""
    precision: str = "auto"
    """Of the decoder: float32, bfloat16, or auto (bfloat16 where the CPU has it and it sounds the same)."""
    max_text_chars: int = 2000
    """The longest text of a request, in characters."""
    max_waiting: int = 8
    """The most requests under way at once, the one that computes included."""


class Table:
    """One table of models.toml, read key by key; what is left over is unknown."""

    def __init__(self, path: Path, where: str, values: object) -> None:
        """The table `where` of the file `path`."""
        self.path = path
        self.where = where
        if not isinstance(values, dict):
            raise SettingsError(f"{path}: {where} = {values!r}: expected a table")
        self.values: dict[str, object] = values
        self.known: list[str] = []

    def fail(self, key: str, expected: str) -> NoReturn:
        """Raise the one line about `key`."""
        found = repr(self.values[key]) if key in self.values else "(missing)"
        raise SettingsError(f"{self.path}: {self.where}: {key} = {found}: expected {expected}")

    def take(self, key: str, kind: type, default: object, expected: str) -> Any:
        """The value of `key`, or `default`; a bool is no number."""
        self.known.append(key)
        value = self.values.get(key, default)
        if value is default and key not in self.values:
            return default
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fail(key, expected)
        return value

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        expected = f"a whole number from {low} to {high}"
        value: int = self.take(key, int, default, expected)
        return value if low <= value <= high else self.fail(key, expected)

    def number(self, key: str) -> float | None:
        """A number within the range of the request parameter of that name, or None."""
        low, high = RANGES[key]
        expected = f"a number from {low:g} to {high:g}"
        value: float | None = self.take(key, int | float, None, expected)  # type: ignore[arg-type]
        if value is None or low <= value <= high:
            return value
        self.fail(key, expected)

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """One of `choices`, the first being the default."""
        expected = "one of " + ", ".join(choices)
        value: str = self.take(key, str, choices[0], expected)
        return value if value in choices else self.fail(key, expected)

    def file(self, key: str) -> Path:
        """The path of a file that exists, given relative to models.toml."""
        expected = "the path of a file, relative to " + self.path.name
        value: str | None = self.take(key, str, None, expected)
        if value is None:
            self.fail(key, expected)
        path = self.path.parent / value
        return path if path.is_file() else self.fail(key, f"{expected}; there is none at {path}")

    def end(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self.values:
            if key not in self.known:
                self.fail(key, "none: unknown key; known are " + ", ".join(self.known))


def read_settings(path: Path) -> Settings:
    """What models.toml says; a SettingsError where it cannot be right."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: expected the file that lists the models; there is none") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}: expected a readable TOML file") from None
    top = Table(path, "top level", document)
    server = Table(path, "[server]", top.take("server", dict, {}, "a table"))
    entries = top.take("models", list, [], "[[models]] tables")
    top.end()
    models = tuple(read_model(path, index, entry) for index, entry in enumerate(entries, 1))
    for name, count in Counter(model.name for model in models).items():
        if count > 1:
            raise SettingsError(f"{path}: [[models]]: name = {name!r}: expected once, found {count} times")
    if not any(model.load for model in models):
        raise SettingsError(f"{path}: [[models]]: load: expected at least one model with load = true")
    settings = Settings(
        path=path,
        models=models,
        threads=server.integer("threads", default_threads(), 1, 256),
        precision=server.choice("precision", PRECISIONS),
        max_text_chars=server.integer("max_text_chars", 2000, 1, 100_000),
        max_waiting=server.integer("max_waiting", 8, 1, 10_000),
    )
    server.end()
    return settings


def read_model(path: Path, index: int, entry: object) -> ModelSettings:
    """One [[models]] table, the `index`th of the file."""
    table = Table(path, f"[[models]] number {index}", entry)
    expected = "a name of letters, digits, '.', '_' and '-'"
    name: str = table.take("name", str, "", expected)
    if not re.fullmatch(r"\w[\w.-]*", name):
        table.fail("name", expected)
    table.where = f"[[models]] {name}"
    model = ModelSettings(
        name=name,
        checkpoint=table.file("checkpoint"),
        config=table.file("config"),
        load=table.take("load", bool, True, "true or false"),
        speaker=table.take("speaker", str, None, "a speaker's name"),
        lang=table.choice("lang", LANGUAGES),
        mend=table.take("mend", bool, True, "true or false"),
        noise_scale=table.number("noise_scale"),
        noise_scale_w=table.number("noise_scale_w"),
        length_scale=table.number("length_scale"),
    )
    table.end()
    return model


def default_threads() -> int:
    """How many physical cores this process may use; two hyperthreads of one core only get in each other's way."""
    usable = os.sched_getaffinity(0)
    siblings = Path("/sys/devices/system/cpu")
    try:
        cores = {(siblings / f"cpu{cpu}/topology/thread_siblings_list").read_text() for cpu in usable}
    except OSError:
        return len(usable)
    return len(cores)


class Turns:
    """The one place where inference runs: a single thread, and a lock that is first come, first served."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        """`threads` for one inference, at most `max_waiting` requests at once."""
        self.threads = threads
        self.max_waiting = max_waiting
        self.waiting = 0
        self._lock = asyncio.Lock()
        # One thread, always the same: a cancelled request cannot leave a second inference running beside the next,
        # and torch's pools and per-thread caches exist once.
        self._inference = ThreadPoolExecutor(1, "inference", torch.set_num_threads, (threads,))
        # The front ends' libraries are not safe to share between threads, and may take a second to import.
        self._preparation = ThreadPoolExecutor(1, "preparation")

    @contextmanager
    def admit(self) -> Iterator[None]:
        """A place among those under way, or a refusal where there is none."""
        if self.waiting >= self.max_waiting:
            message = f"{self.waiting} requests are under way, which is as many as may be; try again soon."
            raise Refusal(503, "busy", message, {"Retry-After": str(RETRY_AFTER_S)})
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def prepare(self, job: Callable[[], Result]) -> Result:
        """What `job` returns, computed beside inference: text work, without torch."""
        return await asyncio.get_running_loop().run_in_executor(self._preparation, job)

    async def infer(self, job: Callable[[], Result]) -> Result:
        """What `job` returns, computed when its turn has come. A turn is one window of audio."""
        async with self._lock:
            future = asyncio.get_running_loop().run_in_executor(self._inference, job)
            try:
                return await asyncio.shield(future)
            finally:
                # A cancelled caller leaves the thread computing: its turn lasts until that is over.
                if not future.done():
                    await asyncio.wait([future])

    async def close(self) -> None:
        """Let cancelled requests come to the end of their window and be answered, then end both threads."""
        while self.waiting:
            await asyncio.sleep(0.01)
        self._preparation.shutdown(cancel_futures=True)
        self._inference.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model of the pool, ready to speak."""

    settings: ModelSettings
    """Its table in models.toml."""
    voice: Voice
    """The model itself."""
    default_speaker: int
    """The speaker's id where a request names the model alone."""
    defaults: Mapping[str, float]
    """What a request gets that sets no noise_scale, noise_scale_w or length_scale."""

    def full_name(self, speaker: str) -> str:
        """What /speakers calls one of its speakers."""
        return f"{self.settings.name}/{speaker}" if len(self.voice.speakers) > 1 else self.settings.name

    def full_names(self) -> list[str]:
        """All that /speakers lists of it."""
        return [self.full_name(speaker) for speaker in self.voice.speakers] or [self.settings.name]


class State(TypedDict):
    """What the lifespan hands to every request."""

    settings: Settings
    pool: dict[str, LoadedModel]
    """The loaded models by name, in the file's order."""
    unloaded: dict[str, tuple[str, ...]]
    """The speakers of the models that are configured but not loaded, by the model's name."""
    turns: Turns
    ready: asyncio.Event
    """Set when every model is loaded and the first is warm."""


def load_model(path: Path, settings: ModelSettings, precision: str) -> LoadedModel:
    """One model of the pool; `path` is models.toml, for messages."""
    started = time.perf_counter()
    voice = load_voice(settings.checkpoint, settings.config, precision)
    where = f"{path}: [[models]] {settings.name}"
    if settings.speaker is not None and settings.speaker not in voice.speakers:
        names = listed(voice.speakers) or "none: the model has a single voice"
        raise SettingsError(f"{where}: speaker = {settings.speaker!r}: expected one of {names}")
    if settings.lang not in ("auto", *voice.languages):
        known = ", ".join(("auto", *voice.languages))
        raise SettingsError(f"{where}: lang = {settings.lang!r}: expected one of {known}")
    first = min(voice.speakers.values(), default=0)
    default_speaker = first if settings.speaker is None else voice.speakers[settings.speaker]
    log.info(
        "Loaded %s: %.1f s, %.0f MB, speakers %d, %d Hz, %s",
        settings.name,
        time.perf_counter() - started,
        voice.parameter_bytes / 1e6,
        max(1, len(voice.speakers)),
        voice.sample_rate_hz,
        voice.precision,
    )
    table = {name: float(getattr(settings, name)) for name in DEFAULTS if getattr(settings, name) is not None}
    return LoadedModel(settings, voice, default_speaker, {**DEFAULTS, **table})


def warm_up(model: LoadedModel) -> None:
    """Compile and page in what a first request would otherwise wait for: some blanks, long enough for every window."""
    try:
        for _ in model.voice.stream([0] * 64, speaker=model.default_speaker, noise_scale_w=0.0, length_scale=4.0):
            pass
    except RunawayLength as error:
        log.warning("%s is not warmed up: %s", model.settings.name, error)


def configured_speakers(settings: ModelSettings) -> tuple[str, ...]:
    """The names of a model's speakers, from its config alone."""
    try:
        config = json.loads(settings.config.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{settings.config}: {error}: expected a readable JSON file") from None
    speakers = config.get("speakers", ()) if isinstance(config, dict) else ()
    return tuple(map(str, speakers)) if isinstance(speakers, dict | list) else ()


def listed(names: Iterable[str]) -> str:
    """The names, as a message can hold them: the first few, and how many more there are."""
    every = list(names)
    rest = len(every) - SPEAKERS_LISTED
    return ", ".join(every[:SPEAKERS_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def find_speaker(state: State, wanted: str | None) -> tuple[LoadedModel, int]:
    """The model and the speaker's id that a request means, or a 404 that says what there is."""
    pool = state["pool"]
    if wanted is None:
        wanted = next(iter(pool))
    if wanted in pool:
        return pool[wanted], pool[wanted].default_speaker
    name, _, speaker = wanted.partition("/")
    if name in pool and speaker in pool[name].voice.speakers:
        return pool[name], pool[name].voice.speakers[speaker]
    owners = [model for model in pool.values() if wanted in model.voice.speakers]
    if len(owners) == 1:
        return owners[0], owners[0].voice.speakers[wanted]
    if owners:
        message = f"More than one model has a speaker {wanted!r}; there is "
        raise Refusal(404, "unknown_speaker", message + listed(model.full_name(wanted) for model in owners))
    there_is = "there is " + listed(full for model in pool.values() for full in model.full_names())
    for model_name, speakers in state["unloaded"].items():
        if model_name in (wanted, name) or wanted in speakers:
            message = f"{wanted!r} is configured but not loaded (model {model_name!r} has load = false); {there_is}"
            raise Refusal(404, "speaker_not_loaded", message)
    raise Refusal(404, "unknown_speaker", f"There is no speaker {wanted!r}; {there_is}")


def pcm16(samples: numpy.typing.NDArray[numpy.float32]) -> Pcm:
    """Samples in [-1, 1] as 16-bit ones."""
    return (samples * 32767).round().clip(-32768, 32767).astype(numpy.int16)


def wav(samples: Pcm, sample_rate_hz: int) -> bytes:
    """A WAV file of 16-bit samples, one channel."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()


@dataclass(frozen=True, slots=True)
class SpeakRequest:
    """One request, complete and within its ranges."""

    model: LoadedModel
    """The model that speaks."""
    speaker: int
    """The speaker's id in it."""
    text: str
    """What it says."""
    lang: str
    """The text's language, or auto."""
    noise_scale: float
    """How much the voice varies."""
    noise_scale_w: float
    """How much the rhythm varies."""
    length_scale: float
    """Duration relative to the model's own."""
    seed: int
    """Of the noise: the same request with the same seed is the same recording."""


def query_parameters(query: bytes) -> dict[str, object]:
    """The parameters of a query string, each given once and in UTF-8."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise Refusal(400, "bad_request", "The query must be percent-encoded UTF-8.") from None
    return without_duplicates(pairs)


async def json_parameters(request: Request[State]) -> dict[str, object]:
    """The parameters of a JSON object in the body, each given once."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "unsupported_media_type", "The body must be a JSON object: Content-Type: application/json.")
    if request.scope["query_string"]:
        raise Refusal(400, "bad_request", "A POST takes its parameters from the JSON body, not from the query.")
    max_chars = request.state["settings"].max_text_chars
    body = await limited_body(request, JSON_CHARACTER_BYTES * max_chars + JSON_OVERHEAD_BYTES)
    try:
        parameters = json.loads(body, object_pairs_hook=without_duplicates, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "bad_request", "The body is not valid JSON in UTF-8.") from None
    if not isinstance(parameters, dict):
        raise Refusal(400, "bad_request", "The body must be a JSON object.")
    return parameters


async def limited_body(request: Request[State], limit_bytes: int) -> bytes:
    """The body, read no further than `limit_bytes`."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise Refusal(413, "body_too_large", f"The body must not exceed {limit_bytes} bytes.")
    return body


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, object]:
    """The pairs as a dict; which of two values would count is nobody's guess."""
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1:
            raise Refusal(400, "bad_request", f"{name!r} is given {count} times.")
    return dict(pairs)


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python would read and JSON does not know."""
    raise ValueError(name)


def read_request(state: State, parameters: Mapping[str, object]) -> SpeakRequest:
    """The request that the parameters make, or a refusal that says what is wrong with them."""
    for name in parameters:
        if name not in PARAMETERS:
            message = f"There is no parameter {name!r}; there is " + ", ".join(PARAMETERS)
            raise Refusal(400, "unknown_parameter", message)
    text = read_text(parameters, state["settings"].max_text_chars)
    model, speaker = find_speaker(state, read_string(parameters, "speaker"))
    lang = read_string(parameters, "lang")
    if lang is None:
        lang = model.settings.lang
    elif lang not in LANGUAGES:
        raise Refusal(400, "bad_request", "lang must be one of " + ", ".join(LANGUAGES))
    scales = {name: read_number(parameters, name, default) for name, default in model.defaults.items()}
    if "speed" in parameters:
        if "length_scale" in parameters:
            raise Refusal(400, "bad_request", "speed is the inverse of length_scale: give one of them.")
        scales["length_scale"] = 1 / read_number(parameters, "speed", 1.0)
    sound = (model.settings.name, speaker, text, lang, *scales.items())
    seed = read_seed(parameters, default_seed(sound))
    return SpeakRequest(model, speaker, text, lang, seed=seed, **scales)


def read_text(parameters: Mapping[str, object], max_chars: int) -> str:
    """The text, neither missing nor empty nor too long."""
    text = read_string(parameters, "text")
    if text is None:
        raise Refusal(400, "missing_text", "text is missing.")
    if len(text) > max_chars:
        raise Refusal(413, "text_too_long", f"text has {len(text)} characters; at most {max_chars} are allowed.")
    if not text.strip():
        raise Refusal(400, "empty_text", "text is empty.")
    return text


def read_string(parameters: Mapping[str, object], name: str) -> str | None:
    """A string of whole characters, or None where it is not given."""
    if name not in parameters:
        return None
    value = parameters[name]
    if not isinstance(value, str):
        raise Refusal(400, "bad_request", f"{name} must be a string.")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise Refusal(400, "bad_request", f"{name} holds half a character (a lone surrogate).")
    return value


def read_number(parameters: Mapping[str, object], name: str, default: float) -> float:
    """A finite number within the range of its name."""
    if name not in parameters:
        return default
    low, high = RANGES[name]
    value = parameters[name]
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high:
        raise Refusal(400, "bad_number", f"{name} must be a number from {low:g} to {high:g}.")
    return number


def read_seed(parameters: Mapping[str, object], default: int) -> int:
    """A whole number that fits 32 bits."""
    if "seed" not in parameters:
        return default
    value = parameters["seed"]
    try:
        seed = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else -1
    except ValueError:
        seed = -1
    if not 0 <= seed <= MAX_SEED:
        raise Refusal(400, "bad_number", f"seed must be a whole number from 0 to {MAX_SEED}.")
    return seed


def default_seed(sound: tuple[object, ...]) -> int:
    """The seed of a request that gives none, from all that changes its sound: one URL is one recording."""
    return int.from_bytes(hashlib.sha256(repr(sound).encode()).digest()[:4])


async def windows(turns: Turns, speech: SpeakRequest, prepared: Prepared) -> AsyncIterator[Pcm]:
    """The speech as 16-bit samples, one window each; every window waits for its turn."""
    voice = speech.model.voice
    for index, sentence in enumerate(prepared.sentences):
        stream = voice.stream(
            sentence.ids,
            speaker=speech.speaker,
            noise_scale=speech.noise_scale,
            noise_scale_w=speech.noise_scale_w,
            length_scale=speech.length_scale,
            seed=(speech.seed + index) % (MAX_SEED + 1),
        )
        while (samples := await turns.infer(partial(next, stream, None))) is not None:
            yield pcm16(samples)
        if index + 1 < len(prepared.sentences):
            yield numpy.zeros(round(sentence.pause_s * voice.sample_rate_hz), numpy.int16)


def refuse_until_ready(state: State) -> None:
    """Raise while the models are loading."""
    if not state["ready"].is_set():
        raise Refusal(503, "loading", "The models are still loading.", {"Retry-After": str(RETRY_AFTER_S)})


async def speak(request: Request[State]) -> Response:
    """The text as a WAV file; for HEAD its headers alone, without a synthesis."""
    state = request.state
    refuse_until_ready(state)
    is_post = request.method == "POST"
    parameters = await json_parameters(request) if is_post else query_parameters(request.scope["query_string"])
    speech = read_request(state, parameters)
    with state["turns"].admit():
        return await unless_gone(request, answer(state["turns"], speech, with_sound=request.method != "HEAD"))


async def answer(turns: Turns, speech: SpeakRequest, *, with_sound: bool) -> Response:
    """The response to a valid request."""
    voice = speech.model.voice
    prepared = await turns.prepare(partial(voice.prepare, speech.text, speech.lang, speech.model.settings.mend))
    response = Response(media_type="audio/wav", headers=speech_headers(speech, prepared))
    if not with_sound:
        del response.headers["content-length"]  # Only the synthesis knows it.
        return response
    samples = numpy.concatenate([window async for window in windows(turns, speech, prepared)])
    response.body = wav(samples, voice.sample_rate_hz)
    response.headers["content-length"] = str(len(response.body))
    return response


def speech_headers(speech: SpeakRequest, prepared: Prepared) -> dict[str, str]:
    """The seed in force, and which characters could not be spoken, percent-encoded, each with its count."""
    headers = {"X-Seed": str(speech.seed)}
    if prepared.dropped:
        most = Counter(prepared.dropped).most_common(CHARACTERS_NAMED)
        headers["X-Dropped-Count"] = str(sum(prepared.dropped.values()))
        headers["X-Dropped"] = ", ".join(f"{quote(character, safe='')}={count}" for character, count in most)
    return headers


async def unless_gone(request: Request[State], work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns; it is cancelled as soon as the client is gone."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(client_leaves(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def client_leaves(request: Request[State]) -> None:
    """Return when the client has closed its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def speakers(request: Request[State]) -> Response:
    """Everybody who can speak, and who does where a request names nobody."""
    refuse_until_ready(request.state)
    pool = request.state["pool"]
    rows = [
        {
            "id": model.full_name(speaker),
            "model": model.settings.name,
            "speaker": speaker,
            "languages": model.voice.languages,
            "sample_rate_hz": model.voice.sample_rate_hz,
        }
        for model in pool.values()
        for speaker in model.voice.speakers or (model.settings.name,)
    ]
    first = next(iter(pool.values()))
    names = {number: name for name, number in first.voice.speakers.items()}
    default = first.full_name(names.get(first.default_speaker, first.settings.name))
    return JSONResponse({"default": default, "speakers": rows})


async def health(request: Request[State]) -> Response:
    """What is loaded and what is in force; 503 until ready."""
    state = request.state
    ready = state["ready"].is_set()
    loaded = state["pool"]
    report = {
        "status": "ready" if ready else "loading",
        "models": [
            {"name": model.name, "loaded": model.name in loaded, **voice_in_force(loaded.get(model.name))}
            for model in state["settings"].models
        ],
        "waiting": state["turns"].waiting,
        "max_waiting": state["settings"].max_waiting,
        "rss_mb": round(resident_bytes() / 1e6, 1),
        **in_force(state),
    }
    headers = {} if ready else {"Retry-After": str(RETRY_AFTER_S)}
    return JSONResponse(report, 200 if ready else 503, headers)


def voice_in_force(model: LoadedModel | None) -> dict[str, object]:
    """What /health says of one model."""
    if model is None:
        return {}
    return {"megabytes": round(model.voice.parameter_bytes / 1e6, 1), "precision": model.voice.precision}


def in_force(state: State) -> dict[str, object]:
    """The allocator, the capacities, the threads and the precision, as the running process has them."""
    precisions = {model.voice.precision for model in state["pool"].values()}
    return {
        "allocator": allocator(),
        **{name.lower(): os.environ.get(name) for name in CACHE_CAPACITIES},
        "threads": state["turns"].threads,
        "precision": " and ".join(sorted(precisions)) or state["settings"].precision,
    }


def allocator() -> str:
    """The allocator in this process, from the libraries that are mapped into it."""
    maps = Path("/proc/self/maps").read_text()
    return next((name for name in ("jemalloc", "tcmalloc", "mimalloc") if f"lib{name}" in maps), "glibc")


def resident_bytes() -> int:
    """How much memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def error_response(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The one shape that every error has."""
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def answer_error(request: Request, error: Exception) -> Response:
    """The response to an error that was foreseen."""
    if isinstance(error, Refusal):
        return error_response(error.status, error.code, error.message, error.headers)
    if isinstance(error, HTTPException):
        code = {404: "unknown_path", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        return error_response(error.status_code, code, error.detail, error.headers)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # Nobody hears it: the connection is closed.
    status, code = next((status, code) for kind, status, code in LIBRARY_ERRORS if isinstance(error, kind))
    return error_response(status, code, str(error))


class LastResort:
    """Middleware that answers what nobody foresaw with a 500, and logs where it happened but not what was said."""

    def __init__(self, app: ASGIApp) -> None:
        """Around `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except asyncio.CancelledError:
            # The time that a stop gives to requests under way is over.
            if not started:
                await error_response(503, "stopping", "The server is stopping.")(scope, receive, send)
        except Exception as error:
            # The message of an exception may quote the text, so the log gets its type and its place alone.
            place = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s in %s\n%s", type(error).__name__, scope.get("path"), place)
            if not started:
                response = error_response(500, "internal_error", "Something went wrong here; the log says where.")
                await response(scope, receive, send)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    """Load the models while /health already answers, then serve until told to stop."""
    settings: Settings = app.state.settings
    for name, capacity in CACHE_CAPACITIES.items():
        os.environ.setdefault(name, capacity)
    state = State(
        settings=settings,
        pool={},
        unloaded={},
        turns=Turns(settings.threads, settings.max_waiting),
        ready=asyncio.Event(),
    )
    loading = asyncio.create_task(load_pool(state))
    try:
        yield state
    except asyncio.CancelledError:
        # Where loading failed it ends the process, which cancels everything else; then that needs no traceback.
        if not loading.done():
            raise
    finally:
        loading.cancel()
        await state["turns"].close()


async def load_pool(state: State) -> None:
    """Fill the pool and warm up its first model; where that fails the process ends, with one line saying why."""
    settings, turns = state["settings"], state["turns"]
    try:
        turns.threads = await turns.infer(torch.get_num_threads)
        for model in settings.models:
            if model.load:
                job = partial(load_model, settings.path, model, settings.precision)
                state["pool"][model.name] = await turns.infer(job)
            else:
                state["unloaded"][model.name] = configured_speakers(model)
        await turns.infer(partial(warm_up, next(iter(state["pool"].values()))))
    except (SettingsError, VitsError, TextError, OSError) as error:
        log.critical("Cannot start: %s", " ".join(str(error).split()))
        raise SystemExit(EXIT_START_FAILED) from None
    except Exception:
        log.exception("Cannot start")
        raise SystemExit(EXIT_START_FAILED) from None
    state["ready"].set()
    log.info("In force: %s", ", ".join(f"{name} {value}" for name, value in in_force(state).items()))
    log.info("Ready: %.0f MB resident", resident_bytes() / 1e6)


def create_app(settings: Settings) -> Starlette:
    """The service for these settings; the models load in its lifespan."""
    app = Starlette(
        routes=[
            Route("/speak", speak, methods=["GET", "POST"]),
            Route("/speakers", speakers),
            Route("/health", health),
        ],
        middleware=[Middleware(LastResort)],
        exception_handlers=dict.fromkeys(
            (Refusal, HTTPException, ClientDisconnect, *(kind for kind, _, _ in LIBRARY_ERRORS)), answer_error
        ),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.settings = settings
    return app


class PathAlone(logging.Filter):
    """Takes the query, which holds users' text, out of uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, cut after the path."""
        if isinstance(record.args, tuple):
            record.args = tuple(arg.partition("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True


def create_app_from_environment() -> Starlette:
    """The service that the file named by MODELS (default: models.toml beside this file) describes."""
    logging.getLogger("uvicorn.access").addFilter(PathAlone())
    try:
        settings = read_settings(Path(os.environ.get("MODELS", HERE / "models.toml")))
    except SettingsError as error:
        log.critical("Cannot start: %s", error)
        raise SystemExit(EXIT_START_FAILED) from None
    return create_app(settings)
