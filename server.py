"""Text to speech over HTTP: VITS voices on a CPU, one window of audio at a time.

    GET  /                       a page to try it
    GET  /speak?text=&speaker=   speech as WAV, MP3, Opus, FLAC or PCM, whole or as it is made (HEAD: its headers alone)
    POST /speak                  the same from a JSON object
    GET  /speakers               who can speak
    GET  /health                 what is loaded and in force; 503 until ready
    POST /v1/audio/speech        as OpenAI's API has it; GET /v1/models and /v1/audio/voices say what it takes
    GET  /metrics                counts and times for Prometheus
    GET  /openapi.json           every route, parameter and answer, for programs; /docs shows it to people

Limits: one process, one inference at a time. Requests take turns window by window, first come, first served; at most
`max_waiting` recordings are made at once, the rest get 503 with Retry-After. Equal requests share one recording, which
is kept while the cache has room; one that nobody waits for any more costs no more than the window under way. Memory is
bounded by `cache_mb` and `max_waiting` recordings of `max_audio_s`, however slowly clients read. Users' text is never
logged.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import math
import os
import re
import struct
import time
import tomllib
import traceback
import zlib
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypedDict, TypeVar
from urllib.parse import parse_qsl, quote

import numpy
import numpy.typing
import prometheus_client as prometheus
import soundfile
import soxr
import torch
from prometheus_client.process_collector import ProcessCollector
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import pages
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
PARAMETERS = ("text", "speaker", "lang", *RANGES, "seed", "format", "stream")
CACHE_CAPACITIES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "512", "LRU_CACHE_CAPACITY": "1"}
"""Set where nobody did. Fixed windows need few primitives: a small cache stays flat and always hits, where none at all
would compile every convolution again at every call. Read once each, at torch's first operation."""
RETRY_AFTER_S = 2
MAX_AGE_S = 3600
"""How long a client may play a recording again without asking; asking costs a 304, until another voice is loaded."""
PIECE_BYTES = 64 * 1024
"""The most that a client is handed at once: what one that reads slowly holds besides the shared recording."""
STALL_TIMEOUT_S = 120
"""How long a client may take nothing before it is cut off; what it was reading holds memory."""
ENTRY_BYTES = 2048
"""What a kept recording counts besides its sound."""
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Of every answer that does not say otherwise."""
EMBEDDABLE = {"Cross-Origin-Resource-Policy": "cross-origin"}
"""Of speech: the pages of others may play it by an audio tag, without reading it."""
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
    "X-Sample-Rate",
    "X-Seed",
)
"""What the scripts of other origins may read where cors_origins lets them in."""
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


@dataclass(frozen=True, slots=True)
class Format:
    """One of the formats that an answer can have."""

    media_type: str
    """What an Accept header calls it."""
    container: tuple[str, str] | None = None
    """libsndfile's format and subtype; None: samples as they are, after at most a header."""
    rates_hz: tuple[int, ...] = ()
    """The sample rates that it can have; empty: any."""
    parameters: str = ""
    """Of the media type of an answer; may name the rate."""


FORMATS: Mapping[str, Format] = {
    "wav": Format("audio/wav"),
    "mp3": Format(
        "audio/mpeg", ("MP3", "MPEG_LAYER_III"), (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
    ),
    "opus": Format("audio/ogg", ("OGG", "OPUS"), (8000, 12000, 16000, 24000, 48000), "; codecs=opus"),
    "flac": Format("audio/flac", ("FLAC", "PCM_16")),
    "pcm": Format("audio/pcm", parameters=";rate={};channels=1"),
    "pcm24k": Format("audio/pcm", rates_hz=(24000,), parameters=";rate={};channels=1"),
}
"""By the name that a request gives; the first is the default."""
WAV_HEADER_BYTES = 44
UNKNOWN_SIZE = 0xFFFFFFFF
"""What a WAV header says while the file is still being made."""
MP3_QUALITY = {"bitrate_mode": "CONSTANT", "compression_level": 0.6}
"""64 kbit/s up to 24 kHz, 160 above. A constant rate tells a player the time in a stream, which has no table of it."""
OGG_PAGE_MS = 200.0
"""How much sound an Ogg page holds: libsndfile's own second would keep a first window back until the next is there."""
OGG_SERIAL = b"vits"
"""Of every Ogg stream. libsndfile draws it at random, but one URL is one recording to the last byte."""
SET_OGG_PAGE_LATENCY_MS = 0x1302
"""libsndfile's command of that name, which soundfile does not offer."""
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")
"""The models that OpenAI's clients know by name; where one is asked for, the voice alone decides who speaks."""
OPENAI_NAMES = {"input": "text", "voice": "speaker", "response_format": "format"}
"""What /speak calls a parameter of OpenAI's."""
OPENAI_FORMATS = {"mp3": "mp3", "opus": "opus", "flac": "flac", "wav": "wav", "pcm": "pcm24k"}
"""What /speak calls a format of OpenAI's; the first is the default. Its pcm has 24 kHz, on which its clients rely."""
OPENAI_REQUIRED = ("model", "input", "voice")
OPENAI_PARAMETERS = (
    *(*OPENAI_REQUIRED, "response_format", "speed", "stream_format"),
    *("lang", "noise_scale", "noise_scale_w", "seed"),
)
"""OpenAI's, and those of /speak that it has nothing for (its Python client sends them as extra_body)."""

RTF_BUCKETS = (0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)
FIRST_SOUND_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)

LIBRARY_ERRORS: tuple[tuple[type[Exception], int, str], ...] = (
    (BadRequest, 400, "bad_request"),
    (UnspeakableText, 400, "unspeakable_text"),
    (UnknownLanguage, 400, "unknown_language"),
    (RunawayLength, 422, "runaway_length"),
    (MissingLibrary, 501, "missing_library"),
)
"""What the library refuses, and how that is answered. Its other errors are nobody's request's fault: 500."""
FORESEEN: tuple[type[Exception], ...] = (Refusal, *(kind for kind, _, _ in LIBRARY_ERRORS))
"""The errors of making a recording that have an answer of their own."""
CUTS: tuple[type[Exception], ...] = (TimeoutError, *FORESEEN)
"""The errors that cut an answer which has begun, and need one line in the log."""


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
    """The most recordings under way at once, the one that computes included."""
    max_audio_s: int = 600
    """The longest recording, in seconds of audio: what bounds the memory of one request."""
    cache_mb: int = 64
    """How much memory finished recordings may take, in megabytes (10^6 bytes); 0 keeps none."""
    cors_origins: tuple[str, ...] = ()
    """The origins whose pages may read answers by script; "*" is every one."""


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

    def origins(self, key: str) -> tuple[str, ...]:
        """A list of origins, empty by default."""
        expected = 'a list of origins such as "https://example.org", or ["*"]'
        values: list[object] = self.take(key, list, [], expected)
        for value in values:
            if not isinstance(value, str) or not re.fullmatch(r"\*|[a-z][a-z0-9+.-]*://[^/\s*]+", value):
                self.fail(key, expected)
        return tuple(map(str, values))

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
        max_audio_s=server.integer("max_audio_s", 600, 1, 36_000),
        cache_mb=server.integer("cache_mb", 64, 0, 1_000_000),
        cors_origins=server.origins("cors_origins"),
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
        """`threads` for one inference, at most `max_waiting` recordings at once."""
        self.threads = threads
        self.max_waiting = max_waiting
        self.waiting = 0
        self.taken = 0
        self._lock = asyncio.Lock()
        # One thread, always the same: a cancelled request cannot leave a second inference running beside the next,
        # and torch's pools and per-thread caches exist once.
        self._inference = ThreadPoolExecutor(1, "inference", torch.set_num_threads, (threads,))
        # The front ends' libraries are not safe to share between threads, and may take a second to import.
        self._preparation = ThreadPoolExecutor(1, "preparation")
        self._encoding = ThreadPoolExecutor(1, "encoding")

    @contextmanager
    def admit(self) -> Iterator[None]:
        """A place among those under way, or a refusal where there is none."""
        if self.waiting >= self.max_waiting:
            message = f"{self.waiting} recordings are under way, which is as many as may be; try again soon."
            raise Refusal(503, "busy", message, {"Retry-After": str(RETRY_AFTER_S)})
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def prepare(self, job: Callable[[], Result]) -> Result:
        """What `job` returns, computed beside inference: text work, without torch."""
        return await asyncio.get_running_loop().run_in_executor(self._preparation, job)

    async def encode(self, job: Callable[[], Result]) -> Result:
        """What `job` returns, computed beside inference: samples into a format's bytes."""
        return await asyncio.get_running_loop().run_in_executor(self._encoding, job)

    async def infer(self, job: Callable[[], Result]) -> Result:
        """What `job` returns, computed when its turn has come. A turn is one window of audio."""
        async with self._lock:
            self.taken += 1
            future = asyncio.get_running_loop().run_in_executor(self._inference, job)
            try:
                return await asyncio.shield(future)
            finally:
                # A cancelled caller leaves the thread computing: its turn lasts until that is over.
                if not future.done():
                    await asyncio.wait([future])

    async def close(self) -> None:
        """Let cancelled requests come to the end of their window and be answered, then end the threads."""
        while self.waiting:
            await asyncio.sleep(0.01)
        for threads in (self._preparation, self._encoding, self._inference):
            threads.shutdown(cancel_futures=True)


class Metrics:
    """What /metrics tells, in a registry of its own. No label has a value that a client chose."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self.registry = registry = prometheus.CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = prometheus.Counter(
            "speak_requests",
            "Answers, by route, HTTP status and error code; the code of one that was not sent to its end is cut.",
            ("route", "status", "code"),
            registry=registry,
        )
        self.audio_s = prometheus.Counter("speak_audio_seconds", "Sound that was computed.", registry=registry)
        self.rtf = prometheus.Histogram(
            "speak_real_time_factor",
            "Seconds of computing per second of sound, once a recording.",
            buckets=RTF_BUCKETS,
            registry=registry,
        )
        self.first_sound_s = prometheus.Histogram(
            "speak_first_sound_seconds",
            "From a request to the first bytes of its sound, by where the recording came from.",
            ("cache",),
            buckets=FIRST_SOUND_BUCKETS_S,
            registry=registry,
        )
        help = "Requests for sound, by where the recording came from: hit (kept), shared (under way) or miss (made)."
        self.cache = prometheus.Counter("speak_cache_requests", help, ("result",), registry=registry)
        for result in ("hit", "shared", "miss"):
            self.cache.labels(result)
        self.waiting = prometheus.Gauge("speak_waiting", "Recordings under way.", registry=registry)
        self.cache_bytes = prometheus.Gauge("speak_cache_bytes", "Memory of the kept recordings.", registry=registry)

    def watch(self, turns: Turns, recordings: "Recordings") -> None:
        """Read the gauges from these whenever they are asked for."""
        self.waiting.set_function(lambda: turns.waiting)
        self.cache_bytes.set_function(lambda: recordings.bytes)


class Stopwatch:
    """The time that jobs take in their thread, without their wait for it."""

    def __init__(self) -> None:
        """At zero."""
        self.seconds = 0.0

    def time(self, job: Callable[[], Result]) -> Result:
        """What `job` returns."""
        started = time.perf_counter()
        try:
            return job()
        finally:
            self.seconds += time.perf_counter() - started


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
    identity: str
    """A digest of all but the request that its sound depends on: the files, the libraries, how it computes."""
    created_s: int
    """When its checkpoint was written, in seconds since 1970."""

    def full_name(self, speaker: str) -> str:
        """What /speakers calls one of its speakers."""
        return f"{self.settings.name}/{speaker}" if len(self.voice.speakers) > 1 else self.settings.name

    def full_names(self) -> list[str]:
        """All that /speakers lists of it."""
        return [self.full_name(speaker) for speaker in self.speakers]

    @property
    def speakers(self) -> Mapping[str, int]:
        """Its speakers' ids by name; of a voice whose config names none, its own name."""
        return self.voice.speakers or {self.settings.name: 0}


class State(TypedDict):
    """What the lifespan hands to every request."""

    settings: Settings
    pool: dict[str, LoadedModel]
    """The loaded models by name, in the file's order."""
    unloaded: dict[str, tuple[str, ...]]
    """The speakers of the models that are configured but not loaded, by the model's name."""
    turns: Turns
    recordings: "Recordings"
    api_key: bytes | None
    """What a request for speech must show; None: nothing."""
    metrics: Metrics
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
    created_s = int(settings.checkpoint.stat().st_mtime)
    return LoadedModel(settings, voice, default_speaker, {**DEFAULTS, **table}, identity(settings, voice), created_s)


def identity(settings: ModelSettings, voice: Voice) -> str:
    """A digest of all but the request that a recording's bytes depend on."""
    digest = hashlib.sha256(repr((voice.precision, torch.get_num_threads(), settings.mend)).encode())
    digest.update(repr((torch.__version__, soundfile.__libsndfile_version__, soxr.__version__)).encode())
    for path in (settings.checkpoint, settings.config):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


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


def format_rate(name: str, sample_rate_hz: int) -> int:
    """The sample rate that a voice's sound has in a format: its own, else the next higher one, else the highest."""
    rates = FORMATS[name].rates_hz or (sample_rate_hz,)
    return min((rate for rate in rates if rate >= sample_rate_hz), default=max(rates))


def wav_header(sample_rate_hz: int, sound_bytes: int | None = None) -> bytes:
    """The header of a WAV file of 16-bit samples, one channel; None: of one whose size is not known yet."""
    size = UNKNOWN_SIZE if sound_bytes is None else sound_bytes
    riff_size = UNKNOWN_SIZE if sound_bytes is None else sound_bytes + 36
    layout = (b"RIFF", riff_size, b"WAVE", b"fmt ", 16, 1, 1, sample_rate_hz, 2 * sample_rate_hz, 2, 16, b"data", size)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *layout)


class Tape:
    """A file for libsndfile to write: what comes at its end is taken away again, what is written over is noted.

    It must not raise: cffi would print that and go on.
    """

    def __init__(self) -> None:
        """An empty file."""
        self.position = 0
        self.end = 0
        self.fresh = bytearray()
        self.patches: list[tuple[int, bytes]] = []

    def tell(self) -> int:
        """Where the next bytes go."""
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go there."""
        self.position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.end}[whence]
        return self.position

    def write(self, data: Any) -> int:
        """Add to the end, or note what the file is to have in place of earlier bytes."""
        if self.position == self.end:
            self.fresh += data
            self.end += len(data)
        else:
            self.patches.append((self.position, bytes(data)))
        self.position += len(data)
        return len(data)

    def take(self) -> bytes:
        """What was added since the last time."""
        fresh, self.fresh = bytes(self.fresh), bytearray()
        return fresh


class Encoder:
    """The bytes of one format, as the samples come."""

    def __init__(self, name: str, sample_rate_hz: int) -> None:
        """The format's name, and the rate of the samples to come."""
        self.name = name
        self.sample_rate_hz = format_rate(name, sample_rate_hz)
        self.n_bytes = 0
        self.tape = Tape()
        self.resampler = None
        self.file = None
        if self.sample_rate_hz != sample_rate_hz:
            self.resampler = soxr.ResampleStream(sample_rate_hz, self.sample_rate_hz, 1, dtype="float32")
        if container := FORMATS[name].container:
            form, subtype = container
            quality = MP3_QUALITY if name == "mp3" else {}
            self.file = soundfile.SoundFile(
                self.tape, "w", self.sample_rate_hz, 1, subtype=subtype, format=form, **quality
            )
            if name == "opus":
                latency_ms = soundfile._ffi.new("double *", OGG_PAGE_MS)
                soundfile._snd.sf_command(self.file._file, SET_OGG_PAGE_LATENCY_MS, latency_ms, 8)

    def encode(self, samples: Pcm, *, last: bool = False) -> bytes:
        """What these samples add to the file; some of it may come with the next."""
        sound: numpy.typing.NDArray[Any] = samples
        if self.resampler is not None:
            sound = self.resampler.resample_chunk((samples / 32768).astype(numpy.float32), last=last)
        if self.file is None:
            header = wav_header(self.sample_rate_hz) if self.name == "wav" and not self.n_bytes else b""
            whole = pcm16(sound) if self.resampler is not None else sound
            encoded = header + whole.astype("<i2").tobytes()
        else:
            self.file.write(sound)
            encoded = self.written()
        self.n_bytes += len(encoded)
        return encoded

    def finish(self) -> tuple[bytes, list[tuple[int, bytes]]]:
        """The last bytes, and what the finished file has in place of earlier ones: where, and which."""
        rest = self.encode(numpy.zeros(0, numpy.int16), last=True)
        if self.file is None:
            header = wav_header(self.sample_rate_hz, self.n_bytes - WAV_HEADER_BYTES)
            return rest, [(0, header)] if self.name == "wav" else []
        self.file.close()
        return rest + self.written(), self.tape.patches

    def written(self) -> bytes:
        """What libsndfile has made since the last time."""
        fresh = self.tape.take()
        return with_serial(fresh) if self.name == "opus" else fresh


def with_serial(pages: bytes) -> bytes:
    """Whole Ogg pages with the one serial number that ours have, and the checksums that go with it (RFC 3533)."""
    renumbered = bytearray()
    while pages:
        n_segments = pages[26]
        length = 27 + n_segments + sum(pages[27 : 27 + n_segments])
        page = bytearray(pages[:length])
        page[14:18], page[22:26] = OGG_SERIAL, bytes(4)
        # Ogg's checksum is zlib's with the bits of all bytes and of the result in the other order, and without its
        # inversions.
        reflected = zlib.crc32(page.translate(REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
        page[22:26] = reflected.to_bytes(4, "big").translate(REVERSED_BITS)
        renumbered += page
        pages = pages[length:]
    return bytes(renumbered)


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
    format: str
    """The answer's, one of FORMATS."""
    stream: bool
    """Whether the answer may begin before its end is known."""

    @property
    def key(self) -> str:
        """A digest of all that the recording's bytes depend on; equal keys are equal bytes."""
        scales = (self.noise_scale, self.noise_scale_w, self.length_scale)
        parts = (self.model.identity, self.speaker, self.text, self.lang, scales, self.seed, self.format)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    @property
    def etag(self) -> str:
        """The key as HTTP has it."""
        return f'"{self.key}"'

    @property
    def sample_rate_hz(self) -> int:
        """The answer's."""
        return format_rate(self.format, self.model.voice.sample_rate_hz)


class Recording:
    """One answer while it is made and afterwards: every client that wants it reads the same bytes."""

    def __init__(self, speech: SpeakRequest) -> None:
        """The recording of a request, still empty."""
        self.speech = speech
        self.body: bytes | bytearray = bytearray()
        self.headers = {"X-Seed": str(speech.seed), "X-Sample-Rate": str(speech.sample_rate_hz), "Vary": "Accept"}
        self.finished = False
        self.error: BaseException | None = None
        self.readers = 0
        self.task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    def add(self, encoded: bytes) -> None:
        """Put more bytes at its end."""
        self.body += encoded
        self._tell()

    def finish(self, patches: Iterable[tuple[int, bytes]], duration_s: float) -> None:
        """Give it what only a whole recording has: its size in its head, and its headers."""
        assert isinstance(self.body, bytearray)
        for start, patch in patches:
            self.body[start : start + len(patch)] = patch
        self.body = bytes(self.body)
        self.headers |= {
            "X-Duration": f"{duration_s:.3f}",
            "ETag": self.speech.etag,
            "Accept-Ranges": "bytes",
            "Cache-Control": f"private, max-age={MAX_AGE_S}",
        }
        self.finished = True
        self._tell()

    def fail(self, error: BaseException) -> None:
        """Say to all who wait for it that it will not be."""
        self.error = error
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def reaches(self, n_bytes: int | None) -> None:
        """Return when it has that many bytes or is finished (None: when it is finished); raise where it fails."""
        while not self.finished:
            if self.error is not None:
                raise self.error
            if n_bytes is not None and len(self.body) >= n_bytes:
                return
            await self._news.wait()

    async def pieces(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """Its bytes from `start` to before `end`, as they come."""
        while True:
            await self.reaches(start + 1)
            stop = min(start + PIECE_BYTES, len(self.body) if end is None else end)
            if start >= stop:
                return
            yield bytes(self.body[start:stop])
            start = stop


class Recordings:
    """The recordings under way, and the finished ones that are kept: at most `limit_bytes`, the latest used."""

    def __init__(self, limit_bytes: int) -> None:
        """None yet."""
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self.under_way: dict[str, Recording] = {}
        self.kept: OrderedDict[str, Recording] = OrderedDict()

    def find(self, key: str) -> tuple[Recording | None, str]:
        """The recording of that key, if there is one, and how X-Cache calls where it comes from."""
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key], "hit"
        if key in self.under_way:
            return self.under_way[key], "shared"
        return None, "miss"

    def start(self, recording: Recording, work: Coroutine[Any, Any, None]) -> None:
        """Let `work` make it, until nobody wants it any more."""
        self.under_way[recording.speech.key] = recording
        recording.task = asyncio.create_task(work)

    def keep(self, recording: Recording) -> bool:
        """Whether there is room for a finished one; what is being read makes none for it."""
        size = len(recording.body) + ENTRY_BYTES
        idle = [key for key, kept in self.kept.items() if not kept.readers]
        while idle and self.bytes + size > self.limit_bytes and size <= self.limit_bytes:
            self.bytes -= len(self.kept.pop(idle.pop(0)).body) + ENTRY_BYTES
        if self.bytes + size > self.limit_bytes:
            return False
        self.forget(recording)
        self.kept[recording.speech.key] = recording
        self.bytes += size
        return True

    def forget(self, recording: Recording) -> None:
        """Let nobody else join it."""
        if self.under_way.get(recording.speech.key) is recording:
            del self.under_way[recording.speech.key]

    def leave(self, recording: Recording) -> None:
        """Take one reader from it; without any, it is given up unless it is kept."""
        recording.readers -= 1
        if not recording.readers and self.under_way.get(recording.speech.key) is recording:
            self.forget(recording)
            if recording.task is not None:
                recording.task.cancel()


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
    if set(query_parameters(request.scope["query_string"])) - {"key"}:
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


def refuse_unknown(parameters: Iterable[str], known: tuple[str, ...]) -> None:
    """Raise where there is a parameter that nobody knows."""
    for name in parameters:
        if name not in known:
            message = f"There is no parameter {name!r}; there is " + ", ".join(known)
            raise Refusal(400, "unknown_parameter", message)


def read_request(state: State, parameters: Mapping[str, object], accept: str = "") -> SpeakRequest:
    """The request that the parameters and the Accept header make, or a refusal that says what is wrong with them."""
    refuse_unknown(parameters, PARAMETERS)
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
    return SpeakRequest(
        model,
        speaker,
        text,
        lang,
        seed=read_seed(parameters, default_seed(sound)),
        format=read_format(parameters, accept),
        stream=read_switch(parameters, "stream"),
        **scales,
    )


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
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # To JSON Schema, 1.0 is a whole number.
    try:
        seed = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else -1
    except ValueError:
        seed = -1
    if not 0 <= seed <= MAX_SEED:
        raise Refusal(400, "bad_number", f"seed must be a whole number from 0 to {MAX_SEED}.")
    return seed


def read_switch(parameters: Mapping[str, object], name: str) -> bool:
    """Whether a switch is on; it is off where it is not given."""
    value = parameters.get(name, False)
    if value not in ("true", "false") and not isinstance(value, bool):
        raise Refusal(400, "bad_request", f"{name} must be true or false.")
    return value in (True, "true")


def read_format(parameters: Mapping[str, object], accept: str) -> str:
    """The format that is asked for; else the best of those that Accept names; else the first."""
    name = read_string(parameters, "format")
    if name is None:
        quality = accepted(accept)
        best = max(FORMATS, key=lambda name: quality.get(FORMATS[name].media_type, 0.0))
        return best if quality.get(FORMATS[best].media_type, 0.0) > 0 else next(iter(FORMATS))
    if name not in FORMATS:
        raise Refusal(400, "bad_request", "format must be one of " + ", ".join(FORMATS))
    return name


def accepted(accept: str) -> dict[str, float]:
    """The media types that an Accept header names, each with its quality; "*" names none."""
    qualities = {}
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        weights = [part[2:] for part in parameters if part.startswith("q=")]
        qualities[media_type] = float(weights[0]) if weights and re.fullmatch(r"[01](\.\d{0,3})?", weights[0]) else 1.0
    return qualities


def default_seed(sound: tuple[object, ...]) -> int:
    """The seed of a request that gives none, from all that changes its sound: one URL is one recording."""
    return int.from_bytes(hashlib.sha256(repr(sound).encode()).digest()[:4])


async def windows(turns: Turns, speech: SpeakRequest, prepared: Prepared, stopwatch: Stopwatch) -> AsyncIterator[Pcm]:
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
        window = partial(stopwatch.time, partial(next, stream, None))
        while (samples := await turns.infer(window)) is not None:
            yield pcm16(samples)
        if index + 1 < len(prepared.sentences):
            yield numpy.zeros(round(sentence.pause_s * voice.sample_rate_hz), numpy.int16)


def refuse_until_ready(state: State) -> None:
    """Raise while the models are loading."""
    if not state["ready"].is_set():
        raise Refusal(503, "loading", "The models are still loading.", {"Retry-After": str(RETRY_AFTER_S)})


class Playback(StreamingResponse):
    """A recording, or a part of one, on its way to a client; lets go of it at the end."""

    def __init__(self, recordings: Recordings, recording: Recording, x_cache: str, part: slice | None) -> None:
        """All of it, or the bytes in `part`; what is not finished goes out as it comes."""
        start, end, _ = part.indices(len(recording.body)) if part else (0, None, 1)
        headers = recording.headers | EMBEDDABLE | {"X-Cache": x_cache}
        if recording.finished:
            size = len(recording.body)
            end = size if end is None else end
            headers["Content-Length"] = str(end - start)
            if part:
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        else:
            headers |= {"Accept-Ranges": "none", "Cache-Control": "no-store"}
        media_type = media_type_of(recording.speech)
        super().__init__(recording.pieces(start, end), 206 if part else 200, headers, media_type)
        self.recordings = recordings
        self.recording = recording

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; where that fails halfway the connection is cut, so that no half looks like a whole."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(STALL_TIMEOUT_S):
                await send(message)

        try:
            with suppress(ClientDisconnect):
                await unless_gone(receive, self.stream_response(send_in_time))
        except CUTS as error:
            log.warning("Cut an answer to %s after its first bytes: %s", scope["path"], type(error).__name__)
        finally:
            self.recordings.leave(self.recording)


async def make(state: State, recording: Recording) -> None:
    """Fill a recording from its first window to its last, and keep it; where that fails, tell its readers."""
    turns, recordings, metrics, speech = state["turns"], state["recordings"], state["metrics"], recording.speech
    rate_hz, stopwatch = speech.model.voice.sample_rate_hz, Stopwatch()
    try:
        with turns.admit():
            prepared = await prepare(turns, speech)
            recording.headers |= dropped_headers(prepared)
            encoder = Encoder(speech.format, rate_hz)
            n_samples = 0
            async for window in windows(turns, speech, prepared, stopwatch):
                n_samples += len(window)
                metrics.audio_s.inc(len(window) / rate_hz)
                if n_samples > state["settings"].max_audio_s * rate_hz:
                    limit = f"The recording would be longer than {state['settings'].max_audio_s} s."
                    raise Refusal(422, "audio_too_long", limit)
                recording.add(await turns.encode(partial(encoder.encode, window)))
            rest, patches = await turns.encode(encoder.finish)
            recording.add(rest)
            recording.finish(patches, n_samples / rate_hz)
            metrics.rtf.observe(stopwatch.seconds / max(n_samples / rate_hz, 1e-3))
            if not recordings.keep(recording):
                # Its memory counts as long as somebody reads it, and so does its place; the last to leave cancels this.
                await asyncio.Event().wait()
    except BaseException as error:
        recording.fail(error)
        if not isinstance(error, Exception):
            raise
    finally:
        recordings.forget(recording)


async def prepare(turns: Turns, speech: SpeakRequest) -> Prepared:
    """The text of a request, ready to be spoken."""
    model = speech.model
    return await turns.prepare(
        partial(model.voice.prepare, speech.text, speech.lang, model.settings.mend, speech.speaker)
    )


def dropped_headers(prepared: Prepared) -> dict[str, str]:
    """Which characters could not be spoken, percent-encoded, each with its count."""
    if not prepared.dropped:
        return {}
    most = Counter(prepared.dropped).most_common(CHARACTERS_NAMED)
    named = ", ".join(f"{quote(character, safe='')}={count}" for character, count in most)
    return {"X-Dropped-Count": str(sum(prepared.dropped.values())), "X-Dropped": named}


def media_type_of(speech: SpeakRequest) -> str:
    """The media type of an answer, with its parameters."""
    form = FORMATS[speech.format]
    return form.media_type + form.parameters.format(speech.sample_rate_hz)


def authorize(request: Request[State]) -> None:
    """Raise where a key is wanted and the request does not show it."""
    wanted = request.state["api_key"]
    if wanted is None:
        return
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    shown = token.strip().encode("latin-1") if scheme.lower() == "bearer" else b""
    if not shown:
        shown = dict(parse_qsl(request.scope["query_string"].decode("latin-1"))).get("key", "").encode()
    if not hmac.compare_digest(shown, wanted):
        message = "This needs the server's key: Authorization: Bearer KEY, or ?key=KEY."
        raise Refusal(401, "unauthorized", message, {"WWW-Authenticate": "Bearer"})


async def speak(request: Request[State]) -> Response:
    """The text as sound; for HEAD the headers alone, without a synthesis."""
    authorize(request)
    refuse_until_ready(request.state)
    if request.method == "POST":
        parameters = await json_parameters(request)
    else:
        parameters = query_parameters(request.scope["query_string"])
        parameters.pop("key", None)
    return await spoken(request, read_request(request.state, parameters, request.headers.get("accept", "")))


async def spoken(request: Request[State], speech: SpeakRequest) -> Response:
    """The answer to a valid request: from what is kept or under way, else made now."""
    state, recordings = request.state, request.state["recordings"]
    if request.method != "POST" and is_known(request, speech):
        headers = {"ETag": speech.etag, "Cache-Control": f"private, max-age={MAX_AGE_S}", "Vary": "Accept"}
        return Response(status_code=304, headers=headers | EMBEDDABLE)
    recording, x_cache = recordings.find(speech.key)
    if request.method == "HEAD" and x_cache != "hit":
        return await unless_gone(request.receive, headers_alone(state, speech))
    state["metrics"].cache.labels(x_cache).inc()
    if recording is None:
        recording = Recording(speech)
        recordings.start(recording, make(state, recording))
    recording.readers += 1
    try:
        whole = not speech.stream or request.scope["http_version"] == "1.0" or wants_part(request)
        await unless_gone(request.receive, recording.reaches(None if whole else 1))
        return Playback(recordings, recording, x_cache, read_range(request, recording))
    except BaseException:
        recordings.leave(recording)
        raise


async def headers_alone(state: State, speech: SpeakRequest) -> Response:
    """What is known of an answer before its synthesis, which is all but its size."""
    with state["turns"].admit():
        prepared = await prepare(state["turns"], speech)
    recording = Recording(speech)
    headers = recording.headers | dropped_headers(prepared) | EMBEDDABLE | {"X-Cache": "miss"}
    response = Response(headers=headers, media_type=media_type_of(speech))
    del response.headers["content-length"]
    return response


def is_known(request: Request[State], speech: SpeakRequest) -> bool:
    """Whether the client has this recording already: If-None-Match, which any match fulfils, also a weak one."""
    tags = re.findall(r'\*|"[^"]*"', request.headers.get("if-none-match", ""))
    return "*" in tags or speech.etag in tags


def wants_part(request: Request[State]) -> bool:
    """Whether a range was asked for that is not simply all there is, as browsers ask at first."""
    wanted = request.headers.get("range", "") if request.method == "GET" else ""
    return wanted.replace(" ", "") not in ("", "bytes=0-")


def read_range(request: Request[State], recording: Recording) -> slice | None:
    """The part that Range asks for (RFC 9110, 14.2); None: all, as for several parts or another recording's."""
    wanted = re.fullmatch(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", request.headers.get("range", ""))
    if request.method != "GET" or not recording.finished or not wanted or not any(wanted.groups()):
        return None
    if request.headers.get("if-range", recording.speech.etag) != recording.speech.etag:
        return None
    first, last = wanted.groups()
    size = len(recording.body)
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        headers = {"Content-Range": f"bytes */{size}"}
        raise Refusal(416, "unsatisfiable_range", f"The recording has {size} bytes.", headers)
    return slice(start, end)


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns; it is cancelled as soon as the client is gone."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(client_leaves(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def client_leaves(receive: Receive) -> None:
    """Return when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
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
            "languages": model.voice.languages_of(number),
            "sample_rate_hz": model.voice.sample_rate_hz,
            **model.defaults,
        }
        for model in pool.values()
        for speaker, number in model.speakers.items()
    ]
    first = next(iter(pool.values()))
    names = {number: name for name, number in first.voice.speakers.items()}
    default = first.full_name(names.get(first.default_speaker, first.settings.name))
    limits = {"ranges": RANGES, "formats": list(FORMATS), "max_text_chars": request.state["settings"].max_text_chars}
    return JSONResponse({"default": default, "speakers": rows, **limits})


async def openai_speech(request: Request[State]) -> Response:
    """The text as sound, as OpenAI's clients ask for it; its way is that of every other."""
    authorize(request)
    refuse_until_ready(request.state)
    parameters = from_openai(request.state, await json_parameters(request))
    return await spoken(request, read_request(request.state, parameters))


def from_openai(state: State, body: Mapping[str, object]) -> dict[str, object]:
    """The parameters of /speak that mean the same as OpenAI's."""
    refuse_unknown(body, OPENAI_PARAMETERS)
    for name in OPENAI_REQUIRED:
        if name not in body:
            raise Refusal(400, "missing_text" if name == "input" else "bad_request", f"{name} is missing.")
    parameters = {OPENAI_NAMES.get(name, name): value for name, value in body.items()}
    parameters["speaker"] = openai_speaker(state, read_string(parameters, "model"), parameters["speaker"])
    form = body.get("response_format", next(iter(OPENAI_FORMATS)))
    if not isinstance(form, str) or form not in OPENAI_FORMATS:
        raise Refusal(400, "bad_request", "format must be one of " + ", ".join(OPENAI_FORMATS))
    # A reader of files needs the length that WAV and FLAC have in their heads, and gets it unless it asks for a stream.
    stream = "stream_format" in parameters or form not in ("wav", "flac")
    if parameters.pop("stream_format", "audio") != "audio":
        raise Refusal(400, "bad_request", "stream_format must be audio: the bytes themselves, as they are made.")
    del parameters["model"]
    return {**parameters, "format": OPENAI_FORMATS[form], "stream": stream}


def openai_speaker(state: State, model: str | None, voice: object) -> object:
    """Who speaks, as /speak calls them: a model of ours has its own voices, OpenAI's names leave it to the voice."""
    if isinstance(voice, dict) and set(voice) == {"id"}:
        voice = voice["id"]
    if model in OPENAI_MODELS and model not in state["pool"]:
        return voice
    if model not in state["pool"] and model not in state["unloaded"]:
        there_is = listed((*state["pool"], *OPENAI_MODELS))
        raise Refusal(404, "model_not_found", f"model {model!r} does not exist; there is {there_is}")
    if not isinstance(voice, str) or voice == model or voice.startswith(f"{model}/"):
        return voice
    return f"{model}/{voice}"


async def openai_models(request: Request[State]) -> Response:
    """The loaded models, as OpenAI's clients list them."""
    refuse_until_ready(request.state)
    rows = [
        {"id": name, "object": "model", "created": model.created_s, "owned_by": "vits-speak"}
        for name, model in request.state["pool"].items()
    ]
    return JSONResponse({"object": "list", "data": rows})


async def openai_voices(request: Request[State]) -> Response:
    """Everybody who can speak, as programs list them that let their users choose a voice."""
    refuse_until_ready(request.state)
    rows = [
        {"id": full, "name": full, "model": model.settings.name, "languages": model.voice.languages_of(number)}
        for model in request.state["pool"].values()
        for full, number in zip(model.full_names(), model.speakers.values(), strict=True)
    ]
    return JSONResponse({"voices": rows})


async def metrics(request: Request[State]) -> Response:
    """Counts and times, as Prometheus reads them."""
    report = prometheus.generate_latest(request.state["metrics"].registry)
    return Response(report, headers={"Content-Type": prometheus.CONTENT_TYPE_LATEST, "Cache-Control": "no-store"})


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
        "turns": state["turns"].taken,
        "cache": {"recordings": len(state["recordings"].kept), "bytes": state["recordings"].bytes},
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


def error_response(
    scope: Scope, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The one shape that every error has; under /v1/ with what OpenAI's clients read besides."""
    scope["error_code"] = code
    error: dict[str, object] = {"code": code, "message": message}
    if scope["path"].removeprefix(scope.get("root_path", "")).startswith("/v1/"):
        error = openai_error(status, code, message)
    return JSONResponse({"error": error}, status, {"Cache-Control": "no-store", **(headers or {})})


def openai_error(status: int, code: str, message: str) -> dict[str, object]:
    """An error in OpenAI's shape. A message about one parameter begins with its name, which is put into OpenAI's."""
    name, space, rest = message.partition(" ")
    name = {ours: theirs for theirs, ours in OPENAI_NAMES.items()}.get(name, name)
    param = name if name in OPENAI_PARAMETERS else None
    if code in ("unknown_speaker", "speaker_not_loaded"):
        param = "voice"
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"message": name + space + rest, "type": kind, "param": param, "code": code}


async def answer_error(request: Request, error: Exception) -> Response:
    """The response to an error that was foreseen."""
    if isinstance(error, Refusal):
        return error_response(request.scope, error.status, error.code, error.message, error.headers)
    if isinstance(error, HTTPException):
        code = {404: "unknown_path", 405: "method_not_allowed"}.get(error.status_code, "bad_request")
        return error_response(request.scope, error.status_code, code, error.detail, error.headers)
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)  # Nobody hears it: the connection is closed.
    status, code = next((status, code) for kind, status, code in LIBRARY_ERRORS if isinstance(error, kind))
    return error_response(request.scope, status, code, str(error))


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
                response = error_response(scope, 503, "stopping", "The server is stopping.")
                await response(scope, receive, send)
        except Exception as error:
            # The message of an exception may quote the text, so the log gets its type and its place alone.
            place = "".join(traceback.format_tb(error.__traceback__))
            log.error("%s in %s\n%s", type(error).__name__, scope.get("path"), place)
            if not started:
                message = "Something went wrong here; the log says where."
                response = error_response(scope, 500, "internal_error", message)
                await response(scope, receive, send)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    """Load the models while /health already answers, then serve until told to stop."""
    settings: Settings = app.state.settings
    warn_of_the_environment()
    for name, capacity in CACHE_CAPACITIES.items():
        os.environ.setdefault(name, capacity)
    state = State(
        settings=settings,
        pool={},
        unloaded={},
        turns=Turns(settings.threads, settings.max_waiting),
        recordings=Recordings(settings.cache_mb * 1_000_000),
        api_key=app.state.api_key,
        metrics=app.state.metrics,
        ready=asyncio.Event(),
    )
    state["metrics"].watch(state["turns"], state["recordings"])
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


def warn_of_the_environment() -> None:
    """Log what a start by run.sh would have set; what is missing costs speed or memory."""
    for name, capacity in CACHE_CAPACITIES.items():
        if name not in os.environ:
            log.warning("%s is not set; set it to %s here: start by run.sh, or name it in the unit", name, capacity)
    if allocator() != "jemalloc":
        # gunicorn's raw_env cannot do it: the loader reads the variable when the process starts.
        log.warning("jemalloc is not preloaded: start by run.sh, or put LD_PRELOAD into the unit file's Environment")


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


def create_app(settings: Settings, api_key: str = "") -> Starlette:
    """The service for these settings; the models load in its lifespan. Whoever wants speech must show the key."""
    counters = Metrics()
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_methods=("GET", "HEAD", "POST"),
        allow_headers=("Authorization", "Content-Type", "If-None-Match", "If-Range", "Range"),
        expose_headers=EXPOSED_HEADERS,
    )
    app = Starlette(
        routes=[
            *pages.routes(),
            Route("/speak", speak, methods=["GET", "POST"]),
            Route("/speakers", speakers),
            Route("/health", health),
            Route("/metrics", metrics),
            Route("/v1/audio/speech", openai_speech, methods=["POST"]),
            Route("/v1/audio/voices", openai_voices),
            Route("/v1/models", openai_models),
        ],
        middleware=[
            Middleware(Measured, counters),
            Middleware(SafeHeaders),
            *([cors] if settings.cors_origins else []),
            Middleware(LastResort),
        ],
        exception_handlers=dict.fromkeys((HTTPException, ClientDisconnect, *FORESEEN), answer_error),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.settings = settings
    app.state.api_key = api_key.encode() or None
    app.state.metrics = counters
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
    return create_app(settings, os.environ.get("SPEAK_API_KEY", ""))
