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

Limits: one process, one inference at a time. Requests take turns window by window: the next turn is for the request
whose sound would end first if it were played. At most `max_waiting` recordings are made at once; further requests get
503 with Retry-After. Equal requests share one recording, which is kept while the cache has room. A recording without
readers is given up after its current window. Memory is bounded by `cache_mb` and `max_waiting` recordings of
`max_audio_s`, however slowly clients read. Users' text is never logged.
"""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
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
from service.reloading import on_hangup, watch
from service.residency import Residency
from service.roster import Roster, Speaking
from service.settings import ModelSettings as ModelSettings
from service.settings import Settings as Settings
from service.settings import SettingsError as SettingsError
from service.settings import check_budget, discovered
from service.settings import read_settings as read_settings
from service.turns import Turns as Turns
from vits import Dictionary, NothingToSay, Prepared, Profile, VitsError, Voice, load_voice, warm_up
from vits.formats import find_models, speaker_names
from vits.identity import Stamp, identity, stamp
from vits.limits import DEFAULTS, LANGUAGES, MAX_SEED, RANGES
from vits.text.preparation import NO_DICTIONARY

# uvicorn and gunicorn's uvicorn worker both give this logger their handlers.
log = logging.getLogger("uvicorn.error")

LoadVoice = Callable[[Path, Path | None, str], Voice]
"""Loads a checkpoint, with its config if that is given, in a precision."""
InTurn = Callable[[Callable[[], object]], object]
"""Runs a job in the thread of inference, and returns its result."""

PROTOCOLS = (openai, vits_simple_api)
"""The protocols of others with errors of their own: modules with routes, a prefix of paths, and an error's shape."""
SILENCE_S = 0.2
"""The length of the silence that may answer a text without anything to say."""
FIXED = ("threads", "precision", "cors_origins", "watch")
"""The settings that change at the next start only."""
DONE = object()
EXIT_START_FAILED, EXIT_OUT_OF_MEMORY = 3, 71
"""uvicorn's own code for an application that could not start, and one after which another start may succeed."""


# The pool


class FilesChanged(Refusal):
    """A model's files are not those that it was made from; it has been loaded from what they are now."""


@dataclass(frozen=True, slots=True, eq=False)
class Model(Speaking):
    """One model of the pool: all but its weights, which are in memory or not."""

    settings: ModelSettings
    """Its table in models.toml."""
    voice: Profile
    """Who speaks, and what a text becomes."""
    precision: str
    """What its decoder computes in."""
    parameter_bytes: int
    """The memory of its weights."""
    default_speaker: int
    """The speaker's id where a request names the model alone."""
    defaults: Mapping[str, float]
    """What a request gets that sets no noise_scale, noise_scale_w or length_scale."""
    dictionary: Dictionary
    """How its table and the server's say that written forms are spoken."""
    identity: str
    """A digest of all but the request that its sound depends on: the files, the libraries, how it computes."""
    stamp: Stamp
    """By which it is known whether its files are still those."""
    created_s: int
    """When its checkpoint was written, in seconds since 1970."""

    def is_current(self) -> bool:
        """Whether its files are still those that it was made from."""
        try:
            return stamp(self.voice.files) == self.stamp
        except OSError:
            return False


def load_model(
    settings: Settings, table: ModelSettings, load: LoadVoice = load_voice, in_turn: InTurn = lambda job: job()
) -> tuple[Model, Voice]:
    """One model of the pool, and its weights.

    Whether bfloat16 sounds the same is found out by inference, each step of it `in_turn`.
    """
    started = time.perf_counter()
    voice = load(table.checkpoint, table.config, "float32")
    steps = voice.settle(settings.precision)
    while in_turn(partial(next, steps, DONE)) is not DONE:
        pass
    for warning in voice.warnings:
        log.warning("%s: %s", table.name, warning)
    if voice.missing_packages:
        log.warning("%s cannot speak yet: .venv/bin/pip install %s", table.name, " ".join(voice.missing_packages))
    model = describe(settings, table, voice.profile, voice.precision, voice.parameter_bytes)
    facts = (voice.parameter_bytes / 1e6, max(1, len(voice.speakers)), voice.sample_rate_hz, voice.precision)
    log.info("Loaded %s: %.1f s, %.0f MB, speakers %d, %d Hz, %s", table.name, time.perf_counter() - started, *facts)
    return model, voice


def describe(settings: Settings, table: ModelSettings, voice: Profile, precision: str, parameter_bytes: int) -> Model:
    """What is known of a model beside its weights."""
    where = f"{settings.path}: [[models]] {table.name}"
    dictionary = Dictionary.read(table.replace, f"{where}: replace")
    dictionary = dictionary.over(Dictionary.read(settings.replace, f"{settings.path}: [replace]"))
    if table.speaker is not None and table.speaker not in voice.speakers:
        names = listed(voice.speakers) or "none: the model has a single voice"
        raise SettingsError(f"{where}: speaker = {table.speaker!r}: expected one of {names}")
    if table.lang not in (known := ("auto", *voice.languages)):
        raise SettingsError(f"{where}: lang = {table.lang!r}: expected one of {', '.join(known)}")
    given = {name: float(getattr(table, name)) for name in DEFAULTS if getattr(table, name) is not None}
    files = stamp(voice.files)
    return Model(
        settings=table,
        voice=voice,
        precision=precision,
        parameter_bytes=parameter_bytes,
        default_speaker=voice.default_speaker if table.speaker is None else voice.speakers[table.speaker],
        defaults={**DEFAULTS, **voice.defaults, **given},
        dictionary=dictionary,
        identity=identity_of(settings, table, voice, precision, dictionary),
        stamp=files,
        created_s=int(voice.files[0].stat().st_mtime),
    )


def identity_of(
    settings: Settings, table: ModelSettings, voice: Profile, precision: str, dictionary: Dictionary = NO_DICTIONARY
) -> str:
    """A digest of all but the request that a recording's bytes depend on."""
    facts = (precision, settings.threads, table.normalize, dictionary.entries, audio.VERSIONS)
    return identity(facts, (*voice.files, Path(__file__), Path(audio.__file__)))


# The way of a request


@dataclass(frozen=True, slots=True)
class Speech:
    """What is to be said, and how: a request's parameters, with what the model's table and the defaults add."""

    model: Model
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
        self.key = key
        self.metrics = metrics
        self.load_voice = load
        self.roster = Roster[Model]({})
        """The models that can speak, and the names of their speakers."""
        budget = (settings.memory_mb * 1_000_000, settings.idle_unload_s)
        self.residency = Residency(self.fetch, *budget, self.count_unload)
        """The weights of those that are in memory."""
        self.turns = Turns(settings.threads, settings.max_waiting, set_threads)
        self.recordings = Recordings(settings.cache_mb * 1_000_000)
        self.ready = asyncio.Event()
        """Set when every model is loaded and the first is warm."""
        self.reloading = asyncio.Lock()
        metrics.watch(lambda: self.turns.waiting, lambda: self.recordings.bytes, lambda: self.residency.bytes)

    @property
    def max_text_chars(self) -> int:
        """The longest text of a request."""
        return self.settings.max_text_chars

    @property
    def aliases(self) -> Mapping[str, str]:
        """The further names that models.toml gives to speakers."""
        return self.settings.aliases

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
        if self.residency.state(speech.model) != "loaded" and not speech.model.is_current():
            # Its files changed: what it is now, the load that is needed anyway finds out.
            with self.turns.admit(), suppress(FilesChanged):
                async with self.residency.lease(speech.model):
                    pass
            speech = self.resolve(parameters)
        response = await self.playback(request, speech)
        response.headers.update({"X-Voice": quote(speech.voice_id, safe="/"), **(headers or {})})
        return response

    def resolve(self, parameters: Parameters) -> Speech:
        """What the parameters mean with this pool: who speaks, and what the model's table adds."""
        model, speaker = self.roster.find(parameters.speaker)
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
        rate_hz = max(model.voice.sample_rate_hz for model in self.roster.models.values())
        return self.settings.max_waiting * self.settings.max_audio_s * 2 * rate_hz

    def voices(self) -> list[VoiceEntry]:
        """All speakers of the roster, in the order of models.toml, whether their models are in memory or not."""
        return self.roster.voices

    @property
    def unloaded(self) -> Mapping[str, Sequence[str]]:
        """The speakers of the models that are configured but cannot speak, by the model's name."""
        return self.roster.silent

    def voice(self, name: str | None) -> VoiceEntry | None:
        """The speaker whom a request means by this name (None: by none at all), if there is one."""
        return self.roster.voice(name)

    async def headers_alone(self, speech: Speech) -> Response:
        """What is known of an answer before its synthesis, which is all but its size."""
        with self.turns.admit_head():
            prepared = await self.prepare(speech)
        recording = speech.recording()
        headers = recording.headers | dropped_headers(prepared.dropped) | EMBEDDABLE | {"X-Cache": "miss"}
        response = Response(headers=headers, media_type=recording.media_type)
        del response.headers["content-length"]
        return response

    async def load(self, table: ModelSettings, settings: Settings) -> tuple[Model, Voice]:
        """A model of the settings, and its weights."""
        loop = asyncio.get_running_loop()

        def in_turn(job: Callable[[], object]) -> object:
            return asyncio.run_coroutine_threadsafe(self.turns.infer(job), loop).result()

        with self.metrics.loading():
            return await self.turns.load(partial(load_model, settings, table, self.load_voice, in_turn))

    def kept(self, model: ModelSettings, settings: Settings) -> Callable[[], Model] | None:
        """A function that makes a model of other settings from one of the roster, if that can keep its weights."""
        old = self.roster.models.get(model.name)
        weights = (model.checkpoint, model.config, model.load)
        if old is None or weights != (old.settings.checkpoint, old.settings.config, old.settings.load):
            return None
        if not old.is_current():
            return None
        if model == old.settings and settings.replace == self.settings.replace:
            return lambda: old
        return partial(describe, settings, model, old.voice, old.precision, old.parameter_bytes)

    async def fetch(self, model: Model) -> tuple[Voice, int]:
        """The weights of a model, for the residency; a Refusal if they cannot be loaded, FilesChanged if others are."""
        settings = model.settings
        try:
            if model.is_current():
                job = partial(self.load_voice, settings.checkpoint, settings.config, model.precision)
                with self.metrics.loading():
                    voice = await self.turns.load(job)
                if model.is_current():
                    log.info("Loaded %s: %.0f MB", settings.name, voice.parameter_bytes / 1e6)
                    return voice, voice.parameter_bytes
            new, voice = await self.load(settings, self.settings)
        except Exception as error:
            log.error("Could not load %s: %s", settings.name, one_line(error), exc_info=unforeseen(error))
            code = "out_of_memory" if process.is_out_of_memory(error) else "broken_model"
            refusal = Refusal(code, f"{settings.name} could not be loaded: the server's log says why.", headers=LATER)
        else:
            self.exchange(model, new, voice)
            raise FilesChanged("loading", f"{settings.name} has just changed: please ask again.", headers=LATER)
        raise refusal

    def exchange(self, old: Model, new: Model, voice: Voice) -> None:
        """Put a model in the place of one of the same name, whose files were others."""
        if self.roster.models.get(old.settings.name) is old:
            self.roster = self.roster.renewed(old.settings.name, new)
            self.residency.remove(old)
            self.residency.put(new, voice, new.parameter_bytes)

    def count_unload(self, model: Model, reason: str) -> None:
        """Note that a model's weights were let go."""
        self.metrics.unloads.labels(reason).inc()
        log.info("Unloaded %s: %s", model.settings.name, reason)

    async def make(self, recording: Recording, speech: Speech) -> None:
        """Fill a recording from its first window to its last, and keep it; if that fails, tell its readers."""
        rate_hz, stopwatch = speech.model.voice.sample_rate_hz, Stopwatch()
        try:
            with self.turns.admit():
                prepared = await self.prepare(speech)
                recording.headers |= dropped_headers(prepared.dropped)
                encoder = audio.Encoder(speech.format, rate_hz)
                async with self.residency.lease(speech.model) as voice:
                    async for window in self.windows(recording, speech, voice, prepared, stopwatch):
                        sound_s = len(window) / rate_hz
                        self.metrics.audio_s.inc(sound_s)
                        if recording.sound_s + sound_s > self.settings.max_audio_s:
                            limit = f"The recording would be longer than {self.settings.max_audio_s} s."
                            raise Refusal("audio_too_long", limit)
                        recording.add(await self.turns.encode(partial(encoder.encode, window)), sound_s)
                    del voice
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

    async def windows(
        self, recording: Recording, speech: Speech, voice: Voice, prepared: Prepared, stopwatch: Stopwatch
    ) -> AsyncIterator[audio.Pcm]:
        """The speech as 16-bit samples, one window each; every window waits for its turn."""
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
            while (samples := await self.turns.infer(window, recording.spare_s)) is not None:
                yield audio.pcm16(samples)
            if index + 1 < len(prepared.sentences):
                yield numpy.zeros(round(sentence.pause_s * voice.sample_rate_hz), numpy.int16)

    async def speakers(self, request: Request) -> Response:
        """GET /speakers: all who can speak, and who does where a request names no speaker."""
        self.require_ready()
        states = {name: self.residency.state(model) for name, model in self.roster.models.items()}
        rows = [{**voice.row(), "state": states[voice.model]} for voice in self.voices()]
        limits = {"ranges": dict(RANGES), "formats": list(audio.FORMATS), "max_text_chars": self.max_text_chars}
        first, speaker = self.roster.find(None)
        return JSONResponse({"default": first.full_name(first.name_of(speaker)), "speakers": rows, **limits})

    async def health(self, request: Request) -> Response:
        """GET /health: what is loaded and what is in force; 503 until ready."""
        ready = self.ready.is_set()
        report = {
            "status": "ready" if ready else "loading",
            "models": [self.state_of(model.name) for model in self.settings.models],
            "models_bytes": self.residency.bytes,
            "waiting": self.turns.waiting,
            "max_waiting": self.settings.max_waiting,
            "turns": self.turns.taken,
            "cache": {"recordings": len(self.recordings.kept), "bytes": self.recordings.bytes},
            "rss_mb": process.resident_mb(),
            **self.in_force(),
        }
        return JSONResponse(report, 200 if ready else 503, {} if ready else LATER)

    def state_of(self, name: str) -> dict[str, object]:
        """What /health says of one model."""
        model = self.roster.models.get(name)
        if model is None:
            return {"name": name, "loaded": False, "state": "not loaded"}
        state = self.residency.state(model)
        size = {"megabytes": round(model.parameter_bytes / 1e6, 1), "precision": model.precision}
        return {"name": name, "loaded": state == "loaded", "state": state, **size}

    def in_force(self) -> dict[str, object]:
        """The allocator, the capacities, the threads and the precision, as the running process has them."""
        precisions = {model.precision for model in self.roster.models.values()}
        precision = " and ".join(sorted(precisions)) or self.settings.precision
        return {**environment.in_force(), "threads": self.turns.threads, "precision": precision}


# Start and stop


def set_threads(threads: int) -> None:
    """Let the calling thread compute with so many, itself included, whatever another thread sets afterwards."""
    torch.set_num_threads(threads)
    # torch settles a thread's number when it first needs it, and takes the one that any thread set last. Loading would
    # then start workers of its own, and OpenMP, with more workers than cores, lets those of inference sleep between any
    # two operators: a first sound takes half as long again.
    torch.get_num_threads()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Load the models while /health already answers, then serve until told to stop."""
    service: SpeechService = app.state.service
    environment.set_cache_capacities()
    loading = asyncio.create_task(load_pool(service))
    watching = asyncio.create_task(watch_files(service))
    try:
        with on_hangup(partial(reload, service)):
            yield
    except asyncio.CancelledError:
        # Where loading failed it ends the process, which cancels everything else; then that needs no traceback.
        if not loading.done():
            raise
    finally:
        for task in (loading, watching):
            task.cancel()
        await service.residency.close()
        await service.turns.close()


async def load_pool(service: SpeechService) -> None:
    """Fill the pool and warm up its first model; where that fails the process ends, with one line saying why."""
    turns, residency = service.turns, service.residency
    try:
        await turns.start()
        await take_over(service, service.settings)
        first, speaker = service.roster.find(None)
        if residency.state(first) == "loaded":
            async with residency.lease(first) as voice:
                await turns.infer(partial(warm_up, voice, speaker))
        await turns.load(process.yield_to_others)
    except Exception as error:
        log.critical("Cannot start: %s", one_line(error), exc_info=unforeseen(error))
        raise SystemExit(EXIT_OUT_OF_MEMORY if process.is_out_of_memory(error) else EXIT_START_FAILED) from None
    service.ready.set()
    log.info("In force: %s", ", ".join(f"{name} {value}" for name, value in service.in_force().items()))
    log.info("Ready: %s MB resident", process.resident_mb())


async def take_over(service: SpeechService, settings: Settings) -> None:
    """Give the service the models of these settings; where one of them is unusable, an error, and nothing changes."""
    replace_pool(service, *await load_models(service, settings))


async def load_models(service: SpeechService, settings: Settings) -> tuple[Settings, Roster[Model], dict[str, Voice]]:
    """The settings with the models that they discover, who can speak by them, and weights that are to stay in memory.

    The models that are listed must load. One that is discovered is passed over where it does not.
    """
    models: dict[str, Model] = {}
    silent: dict[str, Sequence[str]] = {}
    weights: dict[str, Voice] = {}
    found = await service.turns.load(partial(discovered, settings, find_models))
    for table in (*settings.models, *found):
        try:
            if not table.load:
                silent[table.name] = speaker_names(table.checkpoint, table.config)
            elif (kept := service.kept(table, settings)) is not None:
                models[table.name] = await service.turns.load(kept)
            else:
                service.residency.spare(table.checkpoint.stat().st_size)
                models[table.name], voice = await service.load(table, settings)
                if table.load is True:
                    weights[table.name] = voice
                del voice  # What is loaded on demand was loaded to be checked and measured.
        except (VitsError, OSError) as error:
            if table not in found:
                raise
            log.warning("discover: passed over %s: %s", table.name, one_line(error))
    tables = tuple(table for table in (*settings.models, *found) if table.name in {*models, *silent})
    settings = replace(settings, models=tables)
    if not models:
        raise SettingsError(f"{settings.path}: [server]: discover = {str(settings.discover)!r}: no model was loaded")
    check_budget(settings, {name: model.parameter_bytes for name, model in models.items()})
    roster = Roster(models, silent, service.roster.numbers)
    roster.check(settings)
    return settings, roster, weights


def replace_pool(
    service: SpeechService, settings: Settings, roster: Roster[Model], weights: Mapping[str, Voice]
) -> None:
    """Put these models in the place of those that the service has.

    Nothing here fails and nothing waits: every request finds either the old models or the new ones.
    """
    residency = service.residency
    old = dict(service.roster.models)
    service.settings, service.roster = settings, roster
    service.turns.max_waiting, service.recordings.limit_bytes = settings.max_waiting, settings.cache_mb * 1_000_000
    for name, model in roster.models.items():
        before = old.pop(name, None)
        if before is not None and before.voice is model.voice:
            residency.rename(before, model)
        elif name in weights:
            residency.put(model, weights[name], model.parameter_bytes, stays=True)
        else:
            residency.add(model, model.parameter_bytes)
        if before is not None and before.voice is not model.voice:
            residency.remove(before)
    for gone in old.values():
        residency.remove(gone)
    residency.change(settings.memory_mb * 1_000_000, settings.idle_unload_s)


async def reload(service: SpeechService) -> None:
    """Take over models.toml as it is now; where something in it is wrong, one line says so and nothing changes."""
    await service.ready.wait()
    async with service.reloading:
        now = service.settings
        try:
            settings = await asyncio.to_thread(read_settings, now.path)
            for name in FIXED:
                if getattr(settings, name) != getattr(now, name):
                    log.warning("%s: [server]: %s changes at the next start", now.path, name)
            await take_over(service, replace(settings, **{name: getattr(now, name) for name in FIXED}))
        except Exception as error:
            log.error("Not reloaded, and nothing changed: %s", one_line(error), exc_info=unforeseen(error))
        else:
            log.info("Reloaded %s: models %s", now.path, ", ".join(service.roster.models))


async def watch_files(service: SpeechService) -> None:
    """Reload whenever models.toml, a model's file or the folder of `discover` changes, if the settings ask for that."""
    await service.ready.wait()
    if not service.settings.watch:
        return

    def files() -> list[Path]:
        of_models = (path for model in service.roster.models.values() for path in model.voice.files)
        return [service.settings.path, *of_models]

    def folders() -> list[Path]:
        found = service.settings.discover
        if found is None or not found.is_dir():
            return []
        return [found, *(path for path in found.iterdir() if path.is_dir())]

    await watch(files, folders, partial(reload, service))


def one_line(error: BaseException) -> str:
    """What an error says, for a line of the log."""
    return " ".join(str(error).split()) or type(error).__name__


def unforeseen(error: Exception) -> Exception | None:
    """An error that is no fault of the settings or the files, so that the log must say where it happened."""
    return None if isinstance(error, SettingsError | VitsError | OSError) else error


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
