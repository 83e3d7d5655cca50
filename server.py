"""Text to speech over HTTP: VITS voices on a CPU, one window of audio at a time.

    GET  /                       a page to try it
    GET  /speak?text=&speaker=   speech as WAV, MP3, Opus, FLAC or PCM, whole or as it is made (HEAD: its headers alone)
    POST /speak                  the same from a JSON object
    GET  /speakers               who can speak
    GET  /health                 what is loaded and in force; 503 until ready
    POST /v1/audio/speech        as OpenAI's API has it; GET /v1/models and /v1/audio/voices say what it takes
    GET  /voice/vits?text=&id=   as vits-simple-api has it; /voice/speakers lists the ids
    GET  /legado.json?speaker=   a source for the reader Legado; /legado.svg is its QR code
    GET  /metrics                counts and times for Prometheus
    GET  /openapi.json           every route, parameter and answer, for programs; /docs shows it to people

Limits: one process, one inference at a time. Requests take turns window by window, first come, first served; at most
`max_waiting` recordings are made at once, the rest get 503 with Retry-After. Equal requests share one recording, which
is kept while the cache has room; one without readers costs no more than the window under way. Memory is bounded by
`cache_mb` and `max_waiting` recordings of `max_audio_s`, however slowly clients read. Users' text is never logged.
"""

import asyncio
import hashlib
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import numpy
import torch
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service import audio, environment, legado, openai, pages, process, vits_simple_api
from service.access import Key
from service.errors import ErrorAnswers, Refusal
from service.host import VoiceEntry, listed
from service.metrics import Metrics, Stopwatch
from service.middleware import middleware
from service.parameters import Parameters, json_parameters, query_parameters, read_parameters
from service.recordings import (
    EMBEDDABLE,
    LATER,
    Playback,
    Recording,
    Recordings,
    dropped_headers,
    is_known,
    not_modified,
    read_range,
    unless_gone,
    wants_part,
)
from service.settings import ModelSettings as ModelSettings
from service.settings import Settings as Settings
from service.settings import SettingsError as SettingsError
from service.settings import read_settings as read_settings
from vits import Dictionary, NothingToSay, Prepared, VitsError, Voice, load_voice, warm_up
from vits.formats import find_models, speaker_names
from vits.identity import identity
from vits.limits import DEFAULTS, LANGUAGES, MAX_SEED, RANGES
from vits.text.preparation import NO_DICTIONARY

# uvicorn and gunicorn's uvicorn worker both give this logger their handlers.
log = logging.getLogger("uvicorn.error")

Result = TypeVar("Result")
NONE: Mapping[str, object] = {}
LoadVoice = Callable[[Path, Path | None, str], Voice]
"""What loads a checkpoint and its config, if it has one of its own, in a precision."""

PROTOCOLS = (openai, vits_simple_api)
"""The protocols of others with errors of their own: modules with routes, a prefix of paths, and an error's shape."""
SILENCE_S = 0.2
"""How long the silence is that a text without anything to say may become."""
EXIT_START_FAILED, EXIT_OUT_OF_MEMORY = 3, 71
"""uvicorn's own code for an application that could not start, and one after which another start may succeed."""


# The pool


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
    dictionary: Dictionary
    """How its table and the server's say that written forms are spoken."""

    def full_name(self, speaker: str) -> str:
        """What /speakers calls one of its speakers."""
        return f"{self.settings.name}/{speaker}" if len(self.voice.speakers) > 1 else self.settings.name

    @property
    def speakers(self) -> Mapping[str, int]:
        """Its speakers' ids by name; a voice whose config names none has one of the model's own name."""
        return self.voice.speakers or {self.settings.name: 0}

    def name_of(self, number: int) -> str:
        """The name of the speaker of this number."""
        return next(name for name, own in self.speakers.items() if own == number)

    def entry(self, speaker: str, number: int) -> VoiceEntry:
        """One of its speakers, as clients list them."""
        return VoiceEntry(
            id=self.full_name(speaker),
            model=self.settings.name,
            speaker=speaker,
            languages=self.voice.languages_of(number),
            sample_rate_hz=self.voice.sample_rate_hz,
            defaults=self.defaults,
            created_s=self.created_s,
            license=self.voice.license,
            source=self.voice.source,
        )

    def in_force(self) -> dict[str, object]:
        """What /health says of it."""
        return {"megabytes": round(self.voice.parameter_bytes / 1e6, 1), "precision": self.voice.precision}

    def entries(self) -> list[VoiceEntry]:
        """All its speakers, as clients list them."""
        return [self.entry(speaker, number) for speaker, number in self.speakers.items()]


def load_model(
    path: Path,
    settings: ModelSettings,
    precision: str,
    load: LoadVoice = load_voice,
    replacements: Mapping[str, object] = NONE,
) -> LoadedModel:
    """One model of the pool; `path` is models.toml, for messages, and `replacements` its [replace] table."""
    started = time.perf_counter()
    where = f"{path}: [[models]] {settings.name}"
    dictionary = Dictionary.read(settings.replace, f"{where}: replace")
    dictionary = dictionary.over(Dictionary.read(replacements, f"{path}: [replace]"))
    voice = load(settings.checkpoint, settings.config, precision)
    if settings.speaker is not None and settings.speaker not in voice.speakers:
        names = listed(voice.speakers) or "none: the model has a single voice"
        raise SettingsError(f"{where}: speaker = {settings.speaker!r}: expected one of {names}")
    if settings.lang not in (known := ("auto", *voice.languages)):
        raise SettingsError(f"{where}: lang = {settings.lang!r}: expected one of {', '.join(known)}")
    default_speaker = voice.default_speaker if settings.speaker is None else voice.speakers[settings.speaker]
    for warning in voice.warnings:
        log.warning("%s: %s", settings.name, warning)
    if voice.missing_packages:
        log.warning("%s cannot speak yet: .venv/bin/pip install %s", settings.name, " ".join(voice.missing_packages))
    facts = (voice.parameter_bytes / 1e6, max(1, len(voice.speakers)), voice.sample_rate_hz, voice.precision)
    took_s = time.perf_counter() - started
    log.info("Loaded %s: %.1f s, %.0f MB, speakers %d, %d Hz, %s", settings.name, took_s, *facts)
    table = {name: float(getattr(settings, name)) for name in DEFAULTS if getattr(settings, name) is not None}
    return LoadedModel(
        settings=settings,
        voice=voice,
        default_speaker=default_speaker,
        defaults={**DEFAULTS, **voice.defaults, **table},
        identity=identity_of(settings, voice, dictionary),
        created_s=int(voice.files[0].stat().st_mtime),
        dictionary=dictionary,
    )


def identity_of(settings: ModelSettings, voice: Voice, dictionary: Dictionary = NO_DICTIONARY) -> str:
    """A digest of all but the request that a recording's bytes depend on."""
    facts = (voice.precision, torch.get_num_threads(), settings.normalize, dictionary.entries, audio.VERSIONS)
    return identity(facts, (*voice.files, Path(__file__), Path(audio.__file__)))


def discover(settings: Settings) -> tuple[ModelSettings, ...]:
    """The models in the folder of that setting that no [[models]] table lists; a name that is taken is passed over."""
    if settings.discover is None:
        return ()
    found, doubts = find_models(settings.discover)
    for doubt in doubts:
        log.warning("discover: passed over %s", doubt)
    listed_files = {model.checkpoint.resolve() for model in settings.models}
    names = {model.name for model in settings.models}
    models = []
    for model in found:
        if model.checkpoint.resolve() in listed_files:
            continue
        if model.name in names:
            log.warning("discover: passed over %s: a [[models]] table has the name %s", model.checkpoint, model.name)
            continue
        models.append(ModelSettings(model.name, model.checkpoint, model.config))
    return tuple(models)


# Turns


class Turns:
    """The one place where inference runs: a single thread, and a lock that is first come, first served."""

    def __init__(self, threads: int, max_waiting: int) -> None:
        """`threads` for one inference, at most `max_waiting` recordings at once."""
        self.threads = threads
        self.max_waiting = max_waiting
        self.waiting = self.heads = self.taken = 0
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
            raise Refusal("busy", message, headers=LATER)
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @contextmanager
    def admit_head(self) -> Iterator[None]:
        """The same for a request that wants headers alone: these are cheap to send, so they get a few places only."""
        if self.heads >= max(1, self.max_waiting // 4):
            raise Refusal("busy", "Too many HEAD requests are under way; try again soon.", headers=LATER)
        self.heads += 1
        try:
            with self.admit():
                yield
        finally:
            self.heads -= 1

    async def prepare(self, job: Callable[[Callable[[], None]], Result]) -> Result:
        """What `job` returns, computed beside inference: text work, without torch.

        `job` is given a function to call now and then, which raises once its caller was cancelled.
        """
        abandoned = threading.Event()

        def check() -> None:
            if abandoned.is_set():
                raise CancelledError

        try:
            return await asyncio.get_running_loop().run_in_executor(self._preparation, job, check)
        finally:
            abandoned.set()

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
                del future  # Where the job failed it holds the error, whose traceback holds this frame: a circle.

    async def close(self) -> None:
        """Let cancelled requests come to the end of their window and be answered, then end the threads."""
        while self.waiting:
            await asyncio.sleep(0.01)
        for threads in (self._preparation, self._encoding, self._inference):
            threads.shutdown(cancel_futures=True)


# The way of a request


@dataclass(frozen=True, slots=True)
class Speech:
    """What is to be said, and how: a request's parameters, with what the model's table and the defaults add."""

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
    """The seed of the noise: the same request with the same seed is the same recording."""
    format: str
    """The answer's format."""
    stream: bool
    """Whether the answer may begin before its end is known."""
    silence: bool
    """Whether a text without anything to say is a short silence."""
    replace: Dictionary
    """The request's own written forms and how they are spoken."""

    @property
    def key(self) -> str:
        """A digest of all that the recording's bytes depend on; equal keys are equal bytes."""
        scales = (self.noise_scale, self.noise_scale_w, self.length_scale)
        # Recordings of nothing are not kept, so this matters while they are made, and for texts like "..." alone.
        silence = self.silence and not any(map(str.isalnum, self.text))
        text = (self.text, self.lang, silence, self.replace.entries)
        parts = (self.model.identity, self.speaker, text, scales, self.seed, self.format)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    @property
    def voice_id(self) -> str:
        """Who speaks, as /speakers calls them."""
        return self.model.full_name(self.model.name_of(self.speaker))

    def recording(self) -> Recording:
        """Its recording, still empty."""
        rate_hz = audio.format_rate(self.format, self.model.voice.sample_rate_hz)
        headers = {"X-Seed": str(self.seed), "X-Sample-Rate": str(rate_hz)}
        return Recording(self.key, audio.media_type(self.format, rate_hz), headers)


class SpeechService:
    """The pool and everything that its requests share. Its methods stand in the order in which a request meets them."""

    def __init__(self, settings: Settings, key: Key, metrics: Metrics, load: LoadVoice) -> None:
        """The service for these settings, with nothing loaded yet."""
        self.settings = settings
        self.max_text_chars = settings.max_text_chars
        self.aliases = settings.aliases
        self.key = key
        self.metrics = metrics
        self.load_voice = load
        self.pool: dict[str, LoadedModel] = {}
        """The loaded models by name, in the file's order."""
        self.unloaded: dict[str, tuple[str, ...]] = {}
        """The speakers of the models that are configured but not loaded, by the model's name."""
        self.turns = Turns(settings.threads, settings.max_waiting)
        self.recordings = Recordings(settings.cache_mb * 1_000_000)
        self.ready = asyncio.Event()
        """Set when every model is loaded and the first is warm."""
        metrics.watch(lambda: self.turns.waiting, lambda: self.recordings.bytes)

    async def speak(self, request: Request) -> Response:
        """GET, HEAD and POST /speak: the text as sound; for HEAD the headers alone, without a synthesis."""
        self.admit(request)
        if request.method == "POST":
            given = await json_parameters(request, self.max_text_chars)
        else:
            given = query_parameters(request.scope["query_string"])
            given.pop("key", None)
        accept = request.headers.get("accept", "")
        return await self.answer(request, read_parameters(given, self.max_text_chars, accept))

    def admit(self, request: Request) -> None:
        """Raise where a key is wanted and the request does not show it, or the models are still loading."""
        self.key.check(request)
        self.require_ready()

    def require_ready(self) -> None:
        """Raise while the models are loading."""
        if not self.ready.is_set():
            raise Refusal("loading", "The models are still loading.", headers=LATER)

    async def answer(
        self, request: Request, parameters: Parameters, headers: Mapping[str, str] | None = None
    ) -> Response:
        """The answer to a request with valid parameters, with headers that belong to this answer alone."""
        speech = self.resolve(parameters)
        response = await self.playback(request, speech)
        response.headers.update({"X-Voice": quote(speech.voice_id, safe="/"), **(headers or {})})
        return response

    async def playback(self, request: Request, speech: Speech) -> Response:
        """The recording of a speech: from what is kept or under way, else made now."""
        recording, x_cache = self.recordings.find(speech.key)
        if request.method != "POST" and is_known(request, speech.key, exists=x_cache == "hit"):
            return not_modified(speech.key)
        if request.method == "HEAD" and x_cache != "hit":
            return await unless_gone(request.receive, self.headers_alone(speech))
        self.metrics.cache.labels(x_cache).inc()
        if recording is None:
            self.recordings.check_room(self.most_held_bytes())
            recording = speech.recording()
            self.recordings.start(recording, self.make(recording, speech))
        self.recordings.join(recording)
        try:
            whole = not speech.stream or request.scope["http_version"] == "1.0" or wants_part(request)
            await unless_gone(request.receive, recording.reaches(None if whole else 1))
            part = read_range(request, recording)
            return Playback(self.recordings, recording, x_cache, part, (Refusal, VitsError))
        except BaseException:
            self.recordings.leave(recording)
            raise

    def most_held_bytes(self) -> int:
        """How much memory recordings may hold that are not kept: as many of the longest as may be made at once."""
        rate_hz = max(model.voice.sample_rate_hz for model in self.pool.values())
        return self.settings.max_waiting * self.settings.max_audio_s * 2 * rate_hz

    def resolve(self, parameters: Parameters) -> Speech:
        """What the parameters mean with this pool: who speaks, and what the model's table adds."""
        model, speaker = self.find(parameters.speaker)
        lang = parameters.lang or model.settings.lang
        if lang not in (known := dict.fromkeys((*LANGUAGES, *model.voice.languages))):
            raise Refusal("bad_request", "lang must be one of " + ", ".join(known), parameter="lang")
        scales = {**model.defaults, **parameters.scales}
        seed = parameters.seed
        if seed is None:
            # All that changes the sound decides the seed: equal requests are one recording.
            sound = (model.settings.name, speaker, parameters.text, lang, *scales.items())
            seed = int.from_bytes(hashlib.sha256(repr(sound).encode()).digest()[:4])
        return Speech(
            model=model,
            speaker=speaker,
            text=parameters.text,
            lang=lang,
            seed=seed,
            format=parameters.format,
            stream=parameters.stream,
            silence=parameters.silence,
            replace=Dictionary.read(parameters.replace),
            **scales,
        )

    def find(self, wanted: str | None) -> tuple[LoadedModel, int]:
        """The model and the speaker's id that a request means, or a 404 that says what there is."""
        pool = self.pool
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
            there_is = listed(model.full_name(wanted) for model in owners)
            message = f"More than one model has a speaker {wanted!r}; there is {there_is}"
            raise Refusal("unknown_speaker", message, parameter="speaker")
        there_is = "there is " + listed(voice.id for voice in self.voices())
        for model_name, speakers in self.unloaded.items():
            if model_name in (wanted, name) or wanted in speakers:
                message = f"{wanted!r} is configured but not loaded (model {model_name!r} has load = false); {there_is}"
                raise Refusal("speaker_not_loaded", message, parameter="speaker")
        raise Refusal("unknown_speaker", f"There is no speaker {wanted!r}; {there_is}", parameter="speaker")

    def voices(self) -> list[VoiceEntry]:
        """All loaded speakers, in the order of models.toml."""
        return [entry for model in self.pool.values() for entry in model.entries()]

    def voice(self, name: str | None) -> VoiceEntry | None:
        """The loaded speaker whom a request means by this name (None: by none at all), if there is one."""
        try:
            model, speaker = self.find(name)
        except Refusal:
            return None
        return model.entry(model.name_of(speaker), speaker)

    async def headers_alone(self, speech: Speech) -> Response:
        """What is known of an answer before its synthesis, which is all but its size."""
        with self.turns.admit_head():
            prepared = await self.prepare(speech)
        recording = speech.recording()
        headers = recording.headers | dropped_headers(prepared.dropped) | EMBEDDABLE | {"X-Cache": "miss"}
        response = Response(headers=headers, media_type=recording.media_type)
        del response.headers["content-length"]
        return response

    async def load(self, model: ModelSettings) -> LoadedModel:
        """A model of the settings, ready to speak."""
        settings = self.settings
        job = partial(load_model, settings.path, model, settings.precision, self.load_voice, settings.replace)
        return await self.turns.infer(job)

    async def make(self, recording: Recording, speech: Speech) -> None:
        """Fill a recording from its first window to its last, and keep it; where that fails, tell its readers."""
        rate_hz, stopwatch = speech.model.voice.sample_rate_hz, Stopwatch()
        try:
            with self.turns.admit():
                prepared = await self.prepare(speech)
                recording.headers |= dropped_headers(prepared.dropped)
                encoder = audio.Encoder(speech.format, rate_hz)
                async for window in self.windows(speech, prepared, stopwatch):
                    sound_s = len(window) / rate_hz
                    self.metrics.audio_s.inc(sound_s)
                    if recording.sound_s + sound_s > self.settings.max_audio_s:
                        limit = f"The recording would be longer than {self.settings.max_audio_s} s."
                        raise Refusal("audio_too_long", limit)
                    recording.add(await self.turns.encode(partial(encoder.encode, window)), sound_s)
                rest, patches = await self.turns.encode(encoder.finish)
                recording.add(rest, 0.0)
                recording.finish(patches)
                self.metrics.rtf.observe(stopwatch.seconds / max(recording.sound_s, 1e-3))
                if prepared.sentences:
                    self.recordings.keep(recording)
                else:
                    self.recordings.forget(recording)
        except BaseException as error:
            self.recordings.forget(recording)
            recording.fail(error)
            if not isinstance(error, Exception):
                raise

    async def prepare(self, speech: Speech) -> Prepared:
        """The text of a request, ready to be spoken."""
        model = speech.model
        dictionary = speech.replace.over(model.dictionary) if speech.replace else model.dictionary

        def job(check: Callable[[], None]) -> Prepared:
            return model.voice.prepare(
                speech.text, speech.lang, model.settings.normalize, speech.speaker, check, dictionary=dictionary
            )

        try:
            return await self.turns.prepare(job)
        except NothingToSay:
            if speech.silence:
                return Prepared((), {})
            raise

    async def windows(self, speech: Speech, prepared: Prepared, stopwatch: Stopwatch) -> AsyncIterator[audio.Pcm]:
        """The speech as 16-bit samples, one window each; every window waits for its turn."""
        voice = speech.model.voice
        if not prepared.sentences:
            yield numpy.zeros(round(SILENCE_S * voice.sample_rate_hz), numpy.int16)
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
            while (samples := await self.turns.infer(window)) is not None:
                yield audio.pcm16(samples)
            if index + 1 < len(prepared.sentences):
                yield numpy.zeros(round(sentence.pause_s * voice.sample_rate_hz), numpy.int16)

    async def speakers(self, request: Request) -> Response:
        """GET /speakers: all who can speak, and who does where a request names no speaker."""
        self.require_ready()
        rows = [voice.row() for voice in self.voices()]
        limits = {"ranges": dict(RANGES), "formats": list(audio.FORMATS), "max_text_chars": self.max_text_chars}
        first, speaker = self.find(None)
        return JSONResponse({"default": first.full_name(first.name_of(speaker)), "speakers": rows, **limits})

    async def health(self, request: Request) -> Response:
        """GET /health: what is loaded and what is in force; 503 until ready."""
        ready = self.ready.is_set()
        report = {
            "status": "ready" if ready else "loading",
            "models": [
                {"name": model.name, "loaded": True, **self.pool[model.name].in_force()}
                if model.name in self.pool
                else {"name": model.name, "loaded": False}
                for model in self.settings.models
            ],
            "waiting": self.turns.waiting,
            "max_waiting": self.settings.max_waiting,
            "turns": self.turns.taken,
            "cache": {"recordings": len(self.recordings.kept), "bytes": self.recordings.bytes},
            "rss_mb": process.resident_mb(),
            **self.in_force(),
        }
        return JSONResponse(report, 200 if ready else 503, {} if ready else LATER)

    def in_force(self) -> dict[str, object]:
        """The allocator, the capacities, the threads and the precision, as the running process has them."""
        precisions = {model.voice.precision for model in self.pool.values()}
        precision = " and ".join(sorted(precisions)) or self.settings.precision
        return {**environment.in_force(), "threads": self.turns.threads, "precision": precision}


# Start and stop


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Load the models while /health already answers, then serve until told to stop."""
    service: SpeechService = app.state.service
    environment.set_cache_capacities()
    loading = asyncio.create_task(load_pool(service))
    try:
        yield
    except asyncio.CancelledError:
        # Where loading failed it ends the process, which cancels everything else; then that needs no traceback.
        if not loading.done():
            raise
    finally:
        loading.cancel()
        await service.turns.close()


async def load_pool(service: SpeechService) -> None:
    """Fill the pool and warm up its first model; where that fails the process ends, with one line saying why."""
    turns = service.turns
    try:
        turns.threads = await turns.infer(torch.get_num_threads)
        await load_models(service)
        check_aliases(service)
        first = next(iter(service.pool.values()))
        await turns.infer(partial(warm_up, first.voice, first.default_speaker))
    except Exception as error:
        foreseen = isinstance(error, SettingsError | VitsError | OSError)
        reason = " ".join(str(error).split()) or type(error).__name__
        log.critical("Cannot start: %s", reason, exc_info=None if foreseen else error)
        raise SystemExit(EXIT_OUT_OF_MEMORY if process.is_out_of_memory(error) else EXIT_START_FAILED) from None
    service.ready.set()
    log.info("In force: %s", ", ".join(f"{name} {value}" for name, value in service.in_force().items()))
    log.info("Ready: %s MB resident", process.resident_mb())


async def load_models(service: SpeechService) -> None:
    """Load the models that are listed, where each must, then those that are discovered, where each may fail."""
    settings = service.settings
    for model in settings.models:
        if model.load:
            service.pool[model.name] = await service.load(model)
        else:
            service.unloaded[model.name] = speaker_names(model.checkpoint, model.config)
    for model in discover(settings):
        try:
            service.pool[model.name] = await service.load(model)
        except (VitsError, OSError) as error:
            log.warning("discover: passed over %s: %s", model.name, " ".join(str(error).split()))
            continue
        service.settings = replace(service.settings, models=(*service.settings.models, model))
    if not service.pool:
        raise SettingsError(f"{settings.path}: [server]: discover = {str(settings.discover)!r}: no model was loaded")


def check_aliases(service: SpeechService) -> None:
    """Raise where [aliases] names a speaker that is not loaded, or hides one that is."""
    for alias, name in service.aliases.items():
        where = f"{service.settings.path}: [aliases]: {alias} = {name!r}"
        try:
            service.find(name)
        except Refusal as error:
            raise SettingsError(f"{where}: expected a loaded speaker: {error}") from None
        if service.voice(alias) is not None:
            raise SettingsError(f"{where}: expected an alias that no speaker has as its name")


def create_app(settings: Settings, api_key: str = "", load_voice: LoadVoice = load_voice) -> Starlette:
    """The service for these settings; the models load in its lifespan. A key that is not empty must be shown."""
    metrics = Metrics()
    service = SpeechService(settings, Key(api_key), metrics, load_voice)
    answers = ErrorAnswers({protocol.PREFIX: protocol.error_shape for protocol in PROTOCOLS})
    app = Starlette(
        routes=[
            *pages.routes(),
            Route("/speak", service.speak, methods=["GET", "POST"]),
            Route("/speakers", service.speakers),
            Route("/health", service.health),
            Route("/metrics", metrics.answer),
            *(route for protocol in PROTOCOLS for route in protocol.routes(service)),
            *legado.routes(service),
        ],
        middleware=middleware(metrics, settings.cors_origins, answers),
        exception_handlers=answers.handlers(VitsError),
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


def create_app_from_environment(load_voice: LoadVoice = load_voice) -> Starlette:
    """The service that the file named by MODELS (default: models.toml beside this file) describes."""
    environment.keep_secrets_out_of_logs()
    try:
        settings = read_settings(Path(os.environ.get("MODELS", Path(__file__).resolve().parent / "models.toml")))
    except SettingsError as error:
        log.critical("Cannot start: %s", error)
        raise SystemExit(EXIT_START_FAILED) from None
    return create_app(settings, environment.api_key(), load_voice)
