"""server.py from its settings to its routes: with small real voices, and with a slow fake one where turns matter."""

import asyncio
import io
import json
import logging
import os
import re
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message

import server
from tests.conftest import model_table
from vits import Prepared, RunawayLength, Sentence
from vits.text import MissingLibrary, UnspeakableText

WINDOW_S = 0.02
SENTENCE_WINDOWS = 10


POOL = (
    "[server]\nthreads = 1\nmax_text_chars = 100\n"
    + model_table("trio", "multi_speaker_sdp")
    + model_table("solo", "single_speaker_dp_resblock2")
    + model_table("pair", "speaker_list_sdp")
    + model_table("idle", "multi_speaker_sdp", "load = false")
)


class Counters:
    """What the fake voices did."""

    def __init__(self) -> None:
        self.windows: list[str] = []
        self.running = 0
        self.most_running = 0
        self.lock = threading.Lock()
        self.may_go_on = threading.Event()

    @property
    def texts_in_order(self) -> list[str]:
        """The texts by their windows, in the order of computation."""
        return [text for text in self.windows if text != "warm-up"]


class SlowVoice:
    """A voice whose windows take time and are counted; its ids are its text."""

    sample_rate_hz = 16000
    languages = ("en",)
    precision = "float32"
    parameter_bytes = 1_000_000

    def __init__(self, counters: Counters, *, speakers: dict[str, int]) -> None:
        self.counters = counters
        self.speakers = speakers

    def languages_of(self, speaker: int) -> tuple[str, ...]:
        return self.languages

    def prepare(self, text: str, lang: str = "auto", mend: bool = True, speaker: int = 0) -> Prepared:
        if text.startswith("crash"):
            raise RuntimeError(text)
        if text.startswith("runaway"):
            raise RunawayLength("too long by far")
        if text.startswith("ponder"):
            assert self.counters.may_go_on.wait(10)
        if text.startswith("missing"):
            raise MissingLibrary("Japanese", ["somepackage==1.0"])
        if text == "☃":
            raise UnspeakableText("nothing is left")
        dropped = {character: text.count(character) for character in "☃€" if character in text}
        sentences = tuple(Sentence(part, tuple(map(ord, part)), 0.1) for part in text.split("|"))
        return Prepared(sentences, dropped)

    def stream(self, ids: Sequence[int], **synthesis: object) -> Iterator[Any]:
        text = "".join(map(chr, ids)) if any(ids) else "warm-up"
        rng = numpy.random.default_rng(hash((tuple(ids), tuple(synthesis.values()))) % 2**32)
        for _ in range(SENTENCE_WINDOWS):
            with self.counters.lock:
                self.counters.windows.append(text)
                self.counters.running += 1
                self.counters.most_running = max(self.counters.most_running, self.counters.running)
            time.sleep(WINDOW_S)
            with self.counters.lock:
                self.counters.running -= 1
            if text.startswith(("burst", "snap")) and self.counters.windows.count(text) == 4:
                raise RunawayLength("too long after all") if text.startswith("burst") else RuntimeError(text)
            yield rng.uniform(-1, 1, 160).astype(numpy.float32)


@pytest.fixture
def write_settings(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a models.toml."""

    def write(document: str) -> Path:
        path = tmp_path / "models.toml"
        path.write_text(document)
        return path

    return write


def when_ready(client: TestClient) -> TestClient:
    """The client, once the models are loaded."""
    while client.get("/health").status_code == 503:
        time.sleep(0.01)
    return client


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of the small real voices."""
    path = tmp_path_factory.mktemp("pool") / "models.toml"
    path.write_text(POOL)
    with TestClient(server.create_app(server.read_settings(path)), raise_server_exceptions=False) as client:
        yield when_ready(client)


@pytest.fixture
def counters() -> Counters:
    """Of the fake voices of this test."""
    return Counters()


@pytest.fixture
def slow_app(counters: Counters, monkeypatch: pytest.MonkeyPatch, write_settings: Callable[[str], Path]) -> Starlette:
    """A service of one slow fake voice that lets four requests in."""

    def load(checkpoint: Path, config: Path, precision: str) -> SlowVoice:
        return SlowVoice(counters, speakers={})

    monkeypatch.setattr(server, "load_voice", load)
    path = write_settings("[server]\nthreads = 1\nmax_waiting = 4\n" + model_table("slow", "multi_speaker_sdp"))
    return server.create_app(server.read_settings(path))


@pytest.fixture
def slow_client(slow_app: Starlette) -> Iterator[TestClient]:
    """A client of the slow fake voice."""
    with TestClient(slow_app, raise_server_exceptions=False) as client:
        yield when_ready(client)


@asynccontextmanager
async def running(app: Starlette) -> AsyncIterator[server.State]:
    """The app's state, its models loaded."""
    async with server.lifespan(app) as state:
        await state["ready"].wait()
        yield state


class Client:
    """A client of the app itself, which may read slowly and leave; what it has got so far can be looked at."""

    def __init__(self, app: Starlette, state: server.State, query: str, version: str = "1.1", **headers: str) -> None:
        self.app = app
        self.scope = {
            "type": "http",
            "http_version": version,
            "method": "GET",
            "path": "/speak",
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "state": dict(state),
        }
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.complete = False
        self.unread = True
        self.leaves = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()

    @property
    def content(self) -> bytes:
        """All that it has read."""
        return b"".join(self.pieces)

    async def run(self) -> "Client":
        await self.app(self.scope, self.receive, self.send)
        return self

    async def receive(self) -> Message:
        if self.unread:
            self.unread = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            await self.reads.wait()
            self.pieces.append(message["body"])
            self.complete = not message.get("more_body", False)


async def get(app: Starlette, state: server.State, text: str, leaving: asyncio.Event | None = None) -> int | None:
    """The status of GET /speak by a client that leaves when told to; None where it left."""
    client = Client(app, state, f"text={text}")
    client.leaves = leaving or client.leaves
    return (await client.run()).status


async def until(condition: Callable[[], object]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def recording(content: bytes) -> tuple[Any, int]:
    """The 16-bit samples of a WAV file and their rate."""
    samples, sample_rate_hz = soundfile.read(io.BytesIO(content), dtype="int16")
    return samples, sample_rate_hz


# Settings


MODEL_A = model_table("a", "multi_speaker_sdp")
SETTINGS_THAT_CANNOT_BE = {
    "no TOML": ("[server", "expected a readable TOML file"),
    "no models": ("[server]\nthreads = 1", "at least one model with load = true"),
    "unknown table": (
        MODEL_A + "[cache]\n",
        "top level: cache = {}: expected none: unknown key",
    ),
    "unknown server key": (
        MODEL_A + "[server]\nthread = 1",
        "[server]: thread = 1: expected none",
    ),
    "unknown model key": (
        model_table("a", "multi_speaker_sdp", "loud = true"),
        "[[models]] a: loud = True: expected none",
    ),
    "duplicate": (
        MODEL_A + MODEL_A,
        "[[models]]: name = 'a': expected once, found 2 times",
    ),
    "no name": ("[[models]]\nload = true", "[[models]] number 1: name = (missing): expected a name"),
    "a slash in a name": ('[[models]]\nname = "a/b"', "name = 'a/b': expected a name of letters"),
    "no file": (
        '[[models]]\nname = "a"\ncheckpoint = "no.pth"',
        "[[models]] a: checkpoint = 'no.pth': expected the path",
    ),
    "load is no bool": (model_table("a", "multi_speaker_sdp", "load = 1"), "load = 1: expected true or false"),
    "scale out of range": (
        model_table("a", "multi_speaker_sdp", "length_scale = 9"),
        "[[models]] a: length_scale = 9: expected a number from 0.25 to 4",
    ),
    "scale is nan": (
        model_table("a", "multi_speaker_sdp", "noise_scale = nan"),
        "noise_scale = nan: expected a number",
    ),
    "language": (model_table("a", "multi_speaker_sdp", 'lang = "fr"'), "lang = 'fr': expected one of auto, zh, ja"),
    "threads": (
        MODEL_A + "[server]\nthreads = 0",
        "[server]: threads = 0: expected a whole number from 1",
    ),
    "threads is a bool": (
        MODEL_A + "[server]\nthreads = true",
        "threads = True: expected a whole number",
    ),
    "an origin with a path": (
        MODEL_A + '[server]\ncors_origins = ["https://example.org/"]',
        "cors_origins = ['https://example.org/']: expected a list of origins",
    ),
    "an origin without a list": (
        MODEL_A + '[server]\ncors_origins = "*"',
        "cors_origins = '*': expected a list of origins",
    ),
    "less than no cache": (
        MODEL_A + "[server]\ncache_mb = -1",
        "cache_mb = -1: expected a whole number from 0",
    ),
    "precision": (
        MODEL_A + '[server]\nprecision = "int8"',
        "precision = 'int8': expected one of auto,",
    ),
}


@pytest.mark.parametrize(
    ("document", "message"), SETTINGS_THAT_CANNOT_BE.values(), ids=list(SETTINGS_THAT_CANNOT_BE.keys())
)
def test_settings_that_cannot_be_are_refused_in_one_line(
    document: str, message: str, write_settings: Callable[[str], Path]
) -> None:
    path = write_settings(document)
    with pytest.raises(server.SettingsError) as refusal:
        server.read_settings(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_missing_settings_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(server.SettingsError, match="there is none"):
        server.read_settings(tmp_path / "models.toml")


def test_paths_are_relative_to_the_settings(tmp_path: Path) -> None:
    for name in ("G.pth", "config.json"):
        (tmp_path / name).touch()
    path = tmp_path / "models.toml"
    path.write_text('[[models]]\nname = "a"\ncheckpoint = "G.pth"\nconfig = "config.json"\nnoise_scale = 0\n')
    (model,) = server.read_settings(path).models
    assert model.checkpoint == tmp_path / "G.pth"
    assert model.noise_scale == 0
    assert model.length_scale is None
    assert model.load


def test_threads_are_the_physical_cores_by_default(write_settings: Callable[[str], Path]) -> None:
    settings = server.read_settings(write_settings(MODEL_A))
    assert 1 <= settings.threads <= len(os.sched_getaffinity(0))


def test_the_shipped_settings_can_be_read() -> None:
    settings = server.read_settings(Path(server.__file__).parent / "models.toml")
    assert settings.models[0].name == "slt"


# The pool: who speaks


def test_speakers_lists_everybody_who_is_loaded(client: TestClient) -> None:
    answer = client.get("/speakers").json()
    assert answer["default"] == "trio/alice"
    ids = [row["id"] for row in answer["speakers"]]
    assert ids == ["trio/alice", "trio/bob", "trio/carol", "solo", "pair/left", "pair/right"]
    row = answer["speakers"][1]
    assert (row["model"], row["speaker"], row["sample_rate_hz"]) == ("trio", "bob", 22050)
    assert "en" in row["languages"]
    assert (row["noise_scale"], row["noise_scale_w"], row["length_scale"]) == (0.667, 0.8, 1.0)
    assert answer["ranges"]["speed"] == [0.25, 4.0]
    assert answer["formats"] == ["wav", "mp3", "opus", "flac", "pcm", "pcm24k"]


def test_every_listed_id_speaks(client: TestClient) -> None:
    for row in client.get("/speakers").json()["speakers"]:
        response = client.get("/speak", params={"text": "Hello.", "speaker": row["id"]})
        assert response.status_code == 200, row
        assert recording(response.content)[1] == row["sample_rate_hz"]


@pytest.mark.parametrize(("name", "full_name"), [(None, "trio/alice"), ("trio", "trio/alice"), ("right", "pair/right")])
def test_short_names_mean_the_same_as_full_ones(client: TestClient, name: str | None, full_name: str) -> None:
    short = client.get("/speak", params={"text": "Hello."} | ({"speaker": name} if name else {}))
    full = client.get("/speak", params={"text": "Hello.", "speaker": full_name})
    assert short.content == full.content


def test_a_name_that_two_models_have_needs_the_model(
    write_settings: Callable[[str], Path],
) -> None:
    path = write_settings(
        "[server]\nthreads = 1\n"
        + model_table("one", "multi_speaker_sdp")
        + model_table("two", "multi_speaker_sdp", 'speaker = "carol"')
    )
    with TestClient(server.create_app(server.read_settings(path))) as client:
        when_ready(client)
        response = client.get("/speak", params={"text": "Hello.", "speaker": "bob"})
        assert response.status_code == 404
        assert "one/bob, two/bob" in response.json()["error"]["message"]
        carol = client.get("/speak", params={"text": "Hello.", "speaker": "two/carol", "seed": 1})
        assert client.get("/speak", params={"text": "Hello.", "speaker": "two", "seed": 1}).content == carol.content


@pytest.mark.parametrize("name", ["nobody", "trio/nobody", "nobody/alice", "", "/", "trio/", "solo/solo", "0"])
def test_an_unknown_speaker_gets_a_list_of_those_there_are(client: TestClient, name: str) -> None:
    response = client.get("/speak", params={"text": "Hello.", "speaker": name})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "unknown_speaker")
    assert "trio/alice, trio/bob, trio/carol, solo, pair/left, pair/right" in error["message"]


@pytest.mark.parametrize("name", ["idle", "idle/alice", "idle/nobody"])
def test_a_speaker_that_is_not_loaded_is_said_to_be_so(client: TestClient, name: str) -> None:
    response = client.get("/speak", params={"text": "Hello.", "speaker": name})
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, "speaker_not_loaded")
    assert "configured but not loaded" in error["message"]


# Requests


REFUSALS: dict[str, tuple[dict[str, str], int, str]] = {
    "no text": ({}, 400, "missing_text"),
    "empty text": ({"text": ""}, 400, "empty_text"),
    "blank text": ({"text": " \n\u3000"}, 400, "empty_text"),
    "text too long": ({"text": "x" * 101}, 413, "text_too_long"),
    "unknown parameter": ({"text": "Hi", "pitch": "1"}, 400, "unknown_parameter"),
    "a parameter in capitals": ({"text": "Hi", "Speed": "1"}, 400, "unknown_parameter"),
    "language": ({"text": "Hi", "lang": "fr"}, 400, "bad_request"),
    "no number": ({"text": "Hi", "noise_scale": "much"}, 400, "bad_number"),
    "empty number": ({"text": "Hi", "noise_scale": ""}, 400, "bad_number"),
    "nan": ({"text": "Hi", "noise_scale": "nan"}, 400, "bad_number"),
    "infinity": ({"text": "Hi", "noise_scale_w": "inf"}, 400, "bad_number"),
    "negative": ({"text": "Hi", "noise_scale": "-0.1"}, 400, "bad_number"),
    "too slow": ({"text": "Hi", "length_scale": "4.1"}, 400, "bad_number"),
    "too fast": ({"text": "Hi", "speed": "1e9"}, 400, "bad_number"),
    "speed zero": ({"text": "Hi", "speed": "0"}, 400, "bad_number"),
    "speed and length": ({"text": "Hi", "speed": "1", "length_scale": "1"}, 400, "bad_request"),
    "seed with a fraction": ({"text": "Hi", "seed": "1.5"}, 400, "bad_number"),
    "format": ({"text": "Hi", "format": "aac"}, 400, "bad_request"),
    "format in capitals": ({"text": "Hi", "format": "MP3"}, 400, "bad_request"),
    "switch": ({"text": "Hi", "stream": "yes"}, 400, "bad_request"),
    "empty switch": ({"text": "Hi", "stream": ""}, 400, "bad_request"),
    "negative seed": ({"text": "Hi", "seed": "-1"}, 400, "bad_number"),
    "huge seed": ({"text": "Hi", "seed": "4294967296"}, 400, "bad_number"),
}


@pytest.mark.parametrize(("parameters", "status", "code"), REFUSALS.values(), ids=list(REFUSALS.keys()))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_cannot_be_is_refused(
    client: TestClient, method: str, parameters: dict[str, str], status: int, code: str
) -> None:
    given: dict[str, Any] = {"params": parameters} if method == "GET" else {"json": parameters}
    response = client.request(method, "/speak", **given)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert list(response.json()) == ["error"]
    assert list(error) == ["code", "message"]


@pytest.mark.parametrize("query", ["text=a&text=b", "text=%ff", "text=Hi&speaker=%80"])
def test_a_query_with_two_values_or_no_utf_8_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/speak?{query}").status_code == 400


BODIES: dict[str, tuple[bytes, str, int]] = {
    "no JSON": (b"text=Hi", "application/json", 400),
    "a list": (b'["Hi"]', "application/json", 400),
    "empty": (b"", "application/json", 400),
    "duplicate": (b'{"text": "a", "text": "b"}', "application/json", 400),
    "NaN": (b'{"text": "a", "noise_scale": NaN}', "application/json", 400),
    "overflow": (b'{"text": "a", "noise_scale": 1e999}', "application/json", 400),
    "huge integer": (b'{"text": "a", "noise_scale": 1' + b"0" * 400 + b"}", "application/json", 400),
    "a bool for a number": (b'{"text": "a", "noise_scale": true}', "application/json", 400),
    "null": (b'{"text": "a", "noise_scale": null}', "application/json", 400),
    "a fraction for a seed": (b'{"text": "a", "seed": 1.5}', "application/json", 400),
    "a number for a switch": (b'{"text": "a", "stream": 1}', "application/json", 400),
    "null for a switch": (b'{"text": "a", "stream": null}', "application/json", 400),
    "a key": (b'{"text": "a", "key": "a"}', "application/json", 400),
    "a number for text": (b'{"text": 1}', "application/json", 400),
    "half a character": (b'{"text": "\\ud800"}', "application/json", 400),
    "no UTF-8": (b'{"text": "\xff"}', "application/json", 400),
    "deep": (b'{"text": ' + b"[" * 2500 + b"]" * 2500 + b"}", "application/json", 400),
    "a form": (b"text=Hi", "application/x-www-form-urlencoded", 415),
    "no type": (b'{"text": "Hi"}', "", 415),
    "too large": (b'{"text": "' + b"x" * 10_000 + b'"}', "application/json", 413),
}


@pytest.mark.parametrize(("body", "content_type", "status"), BODIES.values(), ids=list(BODIES.keys()))
def test_a_body_that_cannot_be_is_refused(client: TestClient, body: bytes, content_type: str, status: int) -> None:
    response = client.post("/speak", content=body, headers={"Content-Type": content_type})
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_a_post_with_a_query_is_refused(client: TestClient) -> None:
    assert client.post("/speak?speed=2", json={"text": "Hi"}).status_code == 400


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/nothing", "GET", 404),
        ("/speak/", "GET", 404),
        ("/speak/../../etc/passwd", "GET", 404),
        ("/speak", "DELETE", 405),
        ("/speakers", "POST", 405),
        ("/health", "PUT", 405),
    ],
)
def test_unknown_paths_and_methods_get_a_json_error(client: TestClient, path: str, method: str, status: int) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["code"] in ("unknown_path", "method_not_allowed")


# Formats


FORMATS = [("wav", "WAV"), ("mp3", "MP3"), ("opus", "OGG"), ("flac", "FLAC")]
LONGEST_HEAD = 500
"""What a finished file may have otherwise than its stream: the length in its head."""


@pytest.mark.parametrize("speaker", ["solo", "trio/alice"])
@pytest.mark.parametrize(("name", "container"), FORMATS)
def test_each_format_is_a_whole_file_of_the_same_sound(
    client: TestClient, name: str, container: str, speaker: str
) -> None:
    parameters = {"text": "Hello from two small cores.", "speaker": speaker}
    expected, voice_rate_hz = recording(client.get("/speak", params=parameters).content)
    response = client.get("/speak", params=parameters | {"format": name})
    with soundfile.SoundFile(io.BytesIO(response.content)) as file:
        samples, info = file.read(dtype="int16"), file
        assert info.format == container
    assert int(response.headers["x-sample-rate"]) == info.samplerate
    assert len(samples) == round(len(expected) * info.samplerate / voice_rate_hz)
    assert float(response.headers["x-duration"]) == pytest.approx(len(expected) / voice_rate_hz, abs=0.001)
    if name == "flac":
        assert samples.tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["wav", "mp3", "opus", "flac", "pcm"])
def test_a_stream_is_the_file_but_for_the_sizes_in_its_head(client: TestClient, name: str) -> None:
    parameters = {"text": f"A stream of {name}.", "speaker": "trio", "format": name}
    streamed = client.get("/speak", params=parameters | {"stream": "true"})
    assert (streamed.headers["x-cache"], streamed.headers["accept-ranges"]) == ("miss", "none")
    assert "content-length" not in streamed.headers
    whole = client.get("/speak", params=parameters | {"stream": "true"})
    assert (whole.headers["x-cache"], whole.headers["accept-ranges"]) == ("hit", "bytes")
    assert len(streamed.content) == len(whole.content) == int(whole.headers["content-length"])
    assert streamed.content[LONGEST_HEAD:] == whole.content[LONGEST_HEAD:]
    if name == "wav":
        assert struct.unpack("<4sI4s", streamed.content[:12]) == (b"RIFF", 0xFFFFFFFF, b"WAVE")
        assert struct.unpack("<4sI", streamed.content[36:44]) == (b"data", 0xFFFFFFFF)


@pytest.mark.parametrize(("name", "sample_rate_hz"), [("opus", 22050), ("opus", 44100), ("mp3", 20000), ("mp3", 96000)])
def test_another_rate_keeps_pitch_and_length(name: str, sample_rate_hz: int) -> None:
    seconds, pitch_hz = 2, 440
    times = numpy.arange(seconds * sample_rate_hz) / sample_rate_hz
    sound = server.pcm16(0.5 * numpy.sin(2 * numpy.pi * pitch_hz * times).astype(numpy.float32))
    encoder = server.Encoder(name, sample_rate_hz)
    parts = [encoder.encode(part) for part in numpy.array_split(sound, 7)]
    rest, patches = encoder.finish()
    file = bytearray(b"".join((*parts, rest)))
    for start, patch in patches:
        file[start : start + len(patch)] = patch
    samples, rate_hz = recording(bytes(file))
    assert rate_hz == encoder.sample_rate_hz != sample_rate_hz
    assert len(samples) == seconds * rate_hz
    spectrum = numpy.abs(numpy.fft.rfft(samples))
    assert spectrum.argmax() == seconds * pitch_hz
    near = slice(seconds * pitch_hz - 20, seconds * pitch_hz + 21)
    assert (spectrum[near] ** 2).sum() > 0.99 * (spectrum**2).sum()


def test_pcm_is_the_samples_alone(client: TestClient) -> None:
    parameters = {"text": "Hello.", "speaker": "solo"}
    samples, _ = recording(client.get("/speak", params=parameters).content)
    response = client.get("/speak", params=parameters | {"format": "pcm"})
    assert response.headers["content-type"] == "audio/pcm;rate=16000;channels=1"
    assert response.content == samples.astype("<i2").tobytes()


# Sound


def test_speak_answers_a_whole_wav_file(client: TestClient) -> None:
    response = client.get("/speak", params={"text": "Hello from two small cores.", "speaker": "solo"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "audio/wav"
    assert int(response.headers["content-length"]) == len(response.content)
    samples, sample_rate_hz = recording(response.content)
    assert sample_rate_hz == 16000
    assert len(response.content) == 44 + 2 * len(samples)
    assert numpy.abs(samples).max() > 0


def test_post_speaks_as_get_does(client: TestClient) -> None:
    parameters: dict[str, Any] = {
        "text": "Hello.",
        "speaker": "trio/bob",
        "lang": "en",
        "noise_scale": 0.5,
        "speed": 2,
        "seed": 3,
    }
    assert client.post("/speak", json=parameters).content == client.get("/speak", params=parameters).content


def test_one_url_is_one_recording(client: TestClient) -> None:
    parameters = {"text": "Hello."}
    first = client.get("/speak", params=parameters)
    assert client.get("/speak", params=parameters).content == first.content
    assert client.get("/speak", params=parameters | {"seed": first.headers["x-seed"]}).content == first.content


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"noise_scale": 0.1},
        {"noise_scale_w": 0.1},
        {"length_scale": 2},
        {"speaker": "trio/carol"},
    ],
)
def test_whatever_changes_the_sound_changes_the_recording(client: TestClient, change: dict[str, Any]) -> None:
    first = client.get("/speak", params={"text": "Hello."})
    assert client.get("/speak", params={"text": "Hello."} | change).content != first.content


def test_speed_is_the_inverse_of_length_scale(client: TestClient) -> None:
    slow = client.get("/speak", params={"text": "Hello.", "length_scale": 2, "seed": 1})
    assert client.get("/speak", params={"text": "Hello.", "speed": 0.5, "seed": 1}).content == slow.content


def test_defaults_come_from_the_models_table(client: TestClient, write_settings: Callable[[str], Path]) -> None:
    parameters: dict[str, Any] = {"text": "Hello.", "seed": 1}
    wanted = client.get("/speak", params=parameters | {"length_scale": 2, "noise_scale": 0, "noise_scale_w": 0.5})
    lines = ("length_scale = 2", "noise_scale = 0", "noise_scale_w = 0.5")
    path = write_settings("[server]\nthreads = 1\n" + model_table("trio", "multi_speaker_sdp", *lines))
    with TestClient(server.create_app(server.read_settings(path))) as other:
        assert when_ready(other).get("/speak", params=parameters).content == wanted.content


def test_sentences_are_joined_by_their_pauses(slow_client: TestClient) -> None:
    samples, _ = recording(slow_client.get("/speak", params={"text": "one|two"}).content)
    assert len(samples) == 2 * SENTENCE_WINDOWS * 160 + 1600
    assert not samples[SENTENCE_WINDOWS * 160 :][:1600].any()


def test_loud_samples_do_not_wrap_around() -> None:
    samples = numpy.array([-1.5, -1.0, 0.0, 1.0, 1.5], numpy.float32)
    assert server.pcm16(samples).tolist() == [-32768, -32767, 0, 32767, 32767]


def test_head_answers_headers_without_a_synthesis(slow_client: TestClient, counters: Counters) -> None:
    response = slow_client.head("/speak", params={"text": "one ☃"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "audio/wav"
    assert response.headers["x-dropped-count"] == "1"
    assert "content-length" not in response.headers
    assert response.content == b""
    assert slow_client.head("/speak").status_code == 400
    assert counters.texts_in_order == []


def test_dropped_characters_are_counted_and_named(slow_client: TestClient) -> None:
    headers = slow_client.get("/speak", params={"text": "☃ one € and € two"}).headers
    assert headers["x-dropped-count"] == "3"
    assert headers["x-dropped"] == "%E2%82%AC=2, %E2%98%83=1"
    assert "x-dropped" not in slow_client.get("/speak", params={"text": "one"}).headers


# What is kept


def test_a_recording_is_kept_under_its_url(slow_client: TestClient, counters: Counters) -> None:
    first = slow_client.get("/speak", params={"text": "a ☃"})
    again = slow_client.get("/speak", params={"text": "a ☃"})
    assert [first.headers["x-cache"], again.headers["x-cache"]] == ["miss", "hit"]
    assert again.content == first.content
    assert len(counters.texts_in_order) == SENTENCE_WINDOWS
    for name in ("etag", "x-seed", "x-dropped", "x-dropped-count", "x-duration", "x-sample-rate", "content-length"):
        assert again.headers[name] == first.headers[name]
    assert first.headers["accept-ranges"] == "bytes"
    assert first.headers["cache-control"] == "private, max-age=3600"
    assert first.headers["vary"] == "Accept"
    assert float(first.headers["x-duration"]) == SENTENCE_WINDOWS * 160 / 16000
    cache = slow_client.get("/health").json()["cache"]
    assert cache == {"recordings": 1, "bytes": len(first.content) + server.ENTRY_BYTES}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"noise_scale": 0.1},
        {"noise_scale_w": 0.1},
        {"length_scale": 2},
        {"speaker": "trio/carol"},
        {"lang": "en"},
        {"format": "flac"},
        {"text": "Hello"},
    ],
)
def test_each_recording_has_an_etag_of_its_own(client: TestClient, change: dict[str, Any]) -> None:
    first = client.get("/speak", params={"text": "Hello."})
    other = client.get("/speak", params={"text": "Hello."} | change)
    assert other.headers["etag"] != first.headers["etag"]
    assert other.content != first.content


def test_another_checkpoint_makes_other_etags(tmp_path: Path) -> None:
    voice = SlowVoice(Counters(), speakers={})
    for name in ("G.pth", "config.json"):
        (tmp_path / name).write_text(name)
    settings = server.ModelSettings("a", tmp_path / "G.pth", tmp_path / "config.json")
    first = server.identity(settings, voice)  # type: ignore[arg-type]
    assert server.identity(settings, voice) == first  # type: ignore[arg-type]
    for name in ("G.pth", "config.json"):
        (tmp_path / name).write_text(name.upper())
        assert server.identity(settings, voice) != first  # type: ignore[arg-type]
        (tmp_path / name).write_text(name)


@pytest.mark.parametrize("name", ["wav", "mp3", "opus", "flac", "pcm"])
def test_without_a_cache_a_recording_is_made_again_to_the_last_byte(
    name: str, write_settings: Callable[[str], Path]
) -> None:
    path = write_settings("[server]\nthreads = 1\ncache_mb = 0\n" + model_table("trio", "multi_speaker_sdp"))
    with TestClient(server.create_app(server.read_settings(path))) as client:
        when_ready(client)
        parameters = {"text": "Hello.", "format": name}
        first, again = (client.get("/speak", params=parameters) for _ in range(2))
        part = client.get("/speak", params=parameters, headers={"Range": "bytes=100-199"})
        assert [response.headers["x-cache"] for response in (first, again, part)] == ["miss"] * 3
        assert client.get("/health").json()["cache"] == {"recordings": 0, "bytes": 0}
    assert again.content == first.content
    assert (part.status_code, part.content) == (206, first.content[100:200])


def test_the_latest_used_are_kept(slow_app: Starlette) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:

            async def x_cache(text: str) -> str:
                return (await Client(slow_app, state, f"text={text}").run()).headers["x-cache"]

            one = server.WAV_HEADER_BYTES + 2 * 160 * SENTENCE_WINDOWS + server.ENTRY_BYTES
            state["recordings"].limit_bytes = limit = 5 * one // 2
            assert [await x_cache(text) for text in "abaca"] == ["miss", "miss", "hit", "miss", "hit"]
            assert state["recordings"].bytes == 2 * one
            assert await x_cache("b") == "miss"
            assert await x_cache("b|b") == "miss"  # larger than a half, it takes the place of both
            assert [await x_cache(text) for text in ("b|b", "a")] == ["hit", "miss"]
            assert await x_cache("|".join("bbb")) == "miss"  # larger than all of it, it is not kept
            assert state["recordings"].bytes <= limit
            assert await x_cache("|".join("bbb")) == "miss"

    asyncio.run(scenario())


KNOWN = {
    "the tag": ("{etag}", 304),
    "a weak one": ("W/{etag}", 304),
    "one of several": ('"a", {etag}', 304),
    "any": ("*", 304),
    "another": ('"another"', 200),
    "no tag": ("another", 200),
}


@pytest.mark.parametrize(("tags", "status"), KNOWN.values(), ids=list(KNOWN))
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_client_has_is_not_sent_again(client: TestClient, method: str, tags: str, status: int) -> None:
    first = client.get("/speak", params={"text": "Hello."})
    headers = {"If-None-Match": tags.format(etag=first.headers["etag"])}
    response = client.request(method, "/speak", params={"text": "Hello."}, headers=headers)
    assert response.status_code == status
    for name in ("etag", "cache-control", "vary", "cross-origin-resource-policy"):
        assert response.headers[name] == first.headers[name]
    if status == 304:
        assert response.content == b""
        assert "content-type" not in response.headers


def test_a_304_needs_no_synthesis(slow_client: TestClient, counters: Counters) -> None:
    etag = slow_client.get("/speak", params={"text": "a"}).headers["etag"]
    counters.windows.clear()
    response = slow_client.get("/speak", params={"text": "a", "stream": "true"}, headers={"If-None-Match": etag})
    assert response.status_code == 304
    assert counters.windows == []


RANGES: dict[str, tuple[str, slice]] = {
    "Safari's first": ("bytes=0-1", slice(0, 2)),
    "Chromium's first": ("bytes=0-", slice(0, None)),
    "middle": ("bytes=100-199", slice(100, 200)),
    "one byte": ("bytes=7-7", slice(7, 8)),
    "open end": ("bytes=500-", slice(500, None)),
    "past the end": ("bytes=500-999999999999", slice(500, None)),
    "the last": ("bytes=-10", slice(-10, None)),
    "more than all": ("bytes=-99999999999", slice(0, None)),
}


@pytest.mark.parametrize(("wanted", "part"), RANGES.values(), ids=list(RANGES))
def test_a_range_is_a_part_of_the_recording(client: TestClient, wanted: str, part: slice) -> None:
    whole = client.get("/speak", params={"text": "Hello."}).content
    response = client.get("/speak", params={"text": "Hello."}, headers={"Range": wanted})
    assert response.status_code == 206
    assert response.content == whole[part]
    start, stop, _ = part.indices(len(whole))
    assert response.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(whole)}"
    assert int(response.headers["content-length"]) == stop - start


@pytest.mark.parametrize(
    "wanted",
    ["bytes=0-1,5-6", "bytes=5-4", "bytes=-", "bytes=a-b", "seconds=0-1", "bytes", f"bytes={'9' * 5000}-"],
)
def test_a_range_that_is_none_is_answered_whole(client: TestClient, wanted: str) -> None:
    whole = client.get("/speak", params={"text": "Hello."})
    response = client.get("/speak", params={"text": "Hello."}, headers={"Range": wanted})
    assert (response.status_code, response.content) == (200, whole.content)


@pytest.mark.parametrize("wanted", ["bytes=999999999-", "bytes=999999999-1000000000", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(client: TestClient, wanted: str) -> None:
    size = len(client.get("/speak", params={"text": "Hello."}).content)
    response = client.get("/speak", params={"text": "Hello."}, headers={"Range": wanted})
    assert response.status_code == 416
    assert response.headers["content-range"] == f"bytes */{size}"
    assert response.json()["error"]["code"] == "unsatisfiable_range"


def test_a_range_is_of_the_recording_that_the_client_knows(client: TestClient) -> None:
    whole = client.get("/speak", params={"text": "Hello."})
    for known, status in ((whole.headers["etag"], 206), ('"another"', 200), ("Mon, 23 Nov 2026 12:00:00 GMT", 200)):
        headers = {"Range": "bytes=0-1", "If-Range": known}
        assert client.get("/speak", params={"text": "Hello."}, headers=headers).status_code == status


def test_a_post_has_no_ranges_and_no_conditions(client: TestClient) -> None:
    etag = client.get("/speak", params={"text": "Hello."}).headers["etag"]
    headers = {"Range": "bytes=0-1", "If-None-Match": etag}
    assert client.post("/speak", json={"text": "Hello."}, headers=headers).status_code == 200


@pytest.mark.parametrize("stream", ["true", "false"])
def test_safaris_first_two_bytes_cost_one_synthesis(slow_client: TestClient, counters: Counters, stream: str) -> None:
    parameters = {"text": "a", "stream": stream}
    first = slow_client.get("/speak", params=parameters, headers={"Range": "bytes=0-1"})
    assert (first.status_code, first.content, first.headers["x-cache"]) == (206, b"RI", "miss")
    rest = slow_client.get("/speak", params=parameters, headers={"Range": "bytes=0-"})
    assert (rest.status_code, rest.headers["x-cache"]) == (206, "hit")
    assert len(counters.texts_in_order) == SENTENCE_WINDOWS


def test_chromiums_first_range_does_not_hold_a_stream_back(slow_client: TestClient) -> None:
    response = slow_client.get("/speak", params={"text": "a", "stream": "true"}, headers={"Range": "bytes=0-"})
    assert (response.status_code, response.headers["accept-ranges"]) == (200, "none")


def test_head_knows_the_length_of_what_is_kept(slow_client: TestClient, counters: Counters) -> None:
    whole = slow_client.get("/speak", params={"text": "a"})
    counters.windows.clear()
    head = slow_client.head("/speak", params={"text": "a"})
    assert {**head.headers, "x-cache": "miss"} == dict(whole.headers)
    assert head.content == b""
    assert counters.windows == []


# Streams


def test_a_stream_begins_with_its_first_window(slow_app: Starlette, counters: Counters) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            client = Client(slow_app, state, "text=a&stream=true")
            task = asyncio.create_task(client.run())
            await until(lambda: client.pieces)
            assert counters.windows.count("a") < SENTENCE_WINDOWS
            assert "content-length" not in client.headers
            assert client.content.startswith(server.wav_header(16000))
            await task
            assert client.complete
            assert len(client.content) == server.WAV_HEADER_BYTES + SENTENCE_WINDOWS * 320

    asyncio.run(scenario())


def test_http_1_0_cannot_tell_a_cut_from_an_end_and_gets_no_stream(slow_app: Starlette) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            client = await Client(slow_app, state, "text=a&stream=true", version="1.0").run()
            assert int(client.headers["content-length"]) == len(client.content)

    asyncio.run(scenario())


@pytest.mark.parametrize(("text", "kind"), [("burst", "RunawayLength"), ("snap", "RuntimeError")])
def test_an_error_halfway_cuts_the_stream_and_is_not_kept(
    slow_app: Starlette, counters: Counters, caplog: pytest.LogCaptureFixture, text: str, kind: str
) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            client = await Client(slow_app, state, f"text={text}&stream=true").run()
            assert (client.status, client.complete) == (200, False)
            assert client.content
            assert state["turns"].waiting == 0
            assert not state["recordings"].kept
            assert not state["recordings"].under_way
            counters.windows.clear()
            whole = await Client(slow_app, state, f"text={text}").run()
            assert (whole.status, whole.complete) == (422 if text == "burst" else 500, True)

    asyncio.run(scenario())
    lines = [record.getMessage() for record in caplog.records if kind in record.getMessage()]
    assert lines
    assert not any(text in line for line in lines)


@pytest.mark.parametrize(("text", "status"), [("☃", 400), ("runaway", 422), ("missing", 501), ("crash", 500)])
def test_an_error_before_the_first_byte_of_a_stream_is_json(slow_client: TestClient, text: str, status: int) -> None:
    response = slow_client.get("/speak", params={"text": text, "stream": "true", "format": "mp3"})
    assert response.status_code == status
    assert response.json()["error"]["message"]
    assert response.headers["cache-control"] == "no-store"


def test_a_recording_has_a_longest_length(write_settings: Callable[[str], Path]) -> None:
    path = write_settings("[server]\nthreads = 1\nmax_audio_s = 1\n" + model_table("trio", "multi_speaker_sdp"))
    with TestClient(server.create_app(server.read_settings(path))) as client:
        when_ready(client)
        response = client.get("/speak", params={"text": "Hello. " * 40, "length_scale": 4})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "audio_too_long")


# Who is let in, and what browsers are told


@pytest.fixture(scope="module")
def locked_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a server that wants a key, and lets one origin's scripts in."""
    path = tmp_path_factory.mktemp("locked") / "models.toml"
    lines = '[server]\nthreads = 1\ncors_origins = ["https://example.org"]\n'
    path.write_text(lines + model_table("trio", "multi_speaker_sdp"))
    app = server.create_app(server.read_settings(path), api_key="schlüssel")
    with TestClient(app, raise_server_exceptions=False) as client:
        yield when_ready(client)


SHOWN: dict[str, tuple[str, dict[bytes, bytes], int]] = {
    "nothing": ("", {}, 401),
    "the key in the query": ("&key=schl%C3%BCssel", {}, 200),
    "another in the query": ("&key=schlussel", {}, 401),
    "an empty one": ("&key=", {}, 401),
    "the key": ("", {b"Authorization": "Bearer schlüssel".encode()}, 200),
    "the scheme in small letters": ("", {b"Authorization": "bearer schlüssel".encode()}, 200),
    "another": ("", {b"Authorization": b"Bearer a"}, 401),
    "another and the key in the query": ("&key=schl%C3%BCssel", {b"Authorization": b"Bearer a"}, 401),
    "no scheme": ("", {b"Authorization": "schlüssel".encode()}, 401),
    "another scheme": ("", {b"Authorization": b"Basic c2NobA=="}, 401),
    "bytes that are no text": ("&key=%ff", {b"Authorization": b"Bearer \xff\xfe"}, 401),
}


@pytest.mark.parametrize(("query", "headers", "status"), SHOWN.values(), ids=list(SHOWN))
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_speech_wants_the_key(
    locked_client: TestClient, method: str, query: str, headers: dict[bytes, bytes], status: int
) -> None:
    if method == "POST":
        response = locked_client.post("/speak?" + query[1:], json={"text": "Hello."}, headers=headers)
    else:
        response = locked_client.request(method, "/speak?text=Hello." + query, headers=headers)
    assert response.status_code == status
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        if method != "HEAD":
            assert response.json()["error"]["code"] == "unauthorized"


def test_the_key_is_asked_for_before_anything_else(locked_client: TestClient) -> None:
    assert locked_client.get("/speak").status_code == 401
    assert locked_client.get("/speak?text=%ff&text=a").status_code == 401
    assert locked_client.post("/speak", content=b"x" * 1_000_000).status_code == 401


def test_what_is_no_speech_is_open(locked_client: TestClient) -> None:
    for path in ("/", "/speakers", "/health"):
        assert locked_client.get(path).status_code == 200


def test_the_key_is_no_part_of_a_recordings_name(locked_client: TestClient, client: TestClient) -> None:
    locked = locked_client.get("/speak", params={"text": "Hello.", "key": "schlüssel"})
    free = client.get("/speak", params={"text": "Hello.", "key": "anything"})
    assert locked.headers["etag"] == free.headers["etag"]


def test_scripts_of_an_origin_are_let_in(locked_client: TestClient) -> None:
    origin = {"Origin": "https://example.org"}
    for response in (
        locked_client.get("/speak", params={"text": "Hello.", "key": "schlüssel"}, headers=origin),
        locked_client.get("/speak", params={"text": "Hello."}, headers=origin),
    ):
        assert response.headers["access-control-allow-origin"] == "https://example.org"
        assert "Origin" in response.headers["vary"]
        exposed = response.headers["access-control-expose-headers"]
        assert {"X-Seed", "X-Cache", "ETag", "Content-Length", "Content-Range"} <= {*exposed.split(", ")}
    ask = origin | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert locked_client.options("/speak", headers=ask).status_code == 200
    refused = locked_client.options("/speak", headers=ask | {"Origin": "https://example.com"})
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


def test_scripts_of_other_origins_are_kept_out_by_default(client: TestClient) -> None:
    response = client.get("/speak", params={"text": "Hello."}, headers={"Origin": "https://example.org"})
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("path", ["/", "/speak?text=Hello.", "/speak", "/speakers", "/health", "/nothing"])
def test_every_answer_has_safe_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    speech = path == "/speak?text=Hello."
    assert headers["cross-origin-resource-policy"] == ("cross-origin" if speech else "same-origin")


ACCEPTED = {
    "audio/mpeg": "audio/mpeg",
    "audio/ogg; codecs=opus": "audio/ogg; codecs=opus",
    "audio/flac, audio/mpeg;q=0.9": "audio/flac",
    "audio/flac;q=0.1, audio/mpeg;q=0.9": "audio/mpeg",
    "AUDIO/FLAC": "audio/flac",
    "audio/mpeg;q=0": "audio/wav",
    "audio/aac": "audio/wav",
    "*/*": "audio/wav",
    "audio/webm,audio/ogg,audio/wav,audio/*;q=0.9,*/*;q=0.5": "audio/wav",  # Firefox's
    "": "audio/wav",
    ";;,,q=": "audio/wav",
}


@pytest.mark.parametrize(("accept", "media_type"), ACCEPTED.items())
def test_accept_chooses_the_format_where_nothing_else_does(client: TestClient, accept: str, media_type: str) -> None:
    response = client.get("/speak", params={"text": "Hello."}, headers={"Accept": accept})
    assert response.headers["content-type"] == media_type
    named = client.get("/speak", params={"text": "Hello.", "format": "flac"}, headers={"Accept": accept})
    assert named.headers["content-type"] == "audio/flac"


def test_the_page_lets_nothing_else_in(client: TestClient) -> None:
    response = client.get("/")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(rule.split(" ", 1) for rule in response.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert not re.search(r"<style|<script(?! src=)|\s(style|on\w+)=", response.text)
    known = client.get("/", headers={"If-None-Match": response.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert client.head("/").content == b""


# Errors from below


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("☃", 400, "unspeakable_text"),
        ("runaway", 422, "runaway_length"),
        ("missing", 501, "missing_library"),
        ("crash", 500, "internal_error"),
    ],
)
def test_the_librarys_errors_are_answered_in_json(slow_client: TestClient, text: str, status: int, code: str) -> None:
    response = slow_client.get("/speak", params={"text": text})
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert slow_client.get("/health").json()["waiting"] == 0


def test_a_missing_library_is_named(slow_client: TestClient) -> None:
    message = slow_client.get("/speak", params={"text": "missing"}).json()["error"]["message"]
    assert "pip install somepackage==1.0" in message


def test_the_users_text_is_never_logged(slow_client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for text in ("crash my secret", "runaway my secret", "my secret"):
        response = slow_client.get("/speak", params={"text": text})
        assert "secret" not in response.text
    ours = [record for record in caplog.records if record.name.startswith("uvicorn")]
    assert any("RuntimeError in /speak" in record.getMessage() for record in ours)
    assert not any("secret" in record.getMessage() for record in ours)


def test_the_access_log_holds_no_query() -> None:
    record = logging.LogRecord(
        "uvicorn.access",
        logging.INFO,
        "",
        0,
        '%s - "%s %s HTTP/%s" %d',
        ("127.0.0.1:1", "GET", "/speak?text=secret", "1.1", 200),
        None,
    )
    assert server.PathAlone().filter(record)
    assert record.getMessage() == '127.0.0.1:1 - "GET /speak HTTP/1.1" 200'


# Turns


def test_requests_take_turns_window_by_window(slow_client: TestClient, counters: Counters) -> None:
    with ThreadPoolExecutor(3) as clients:
        responses = list(clients.map(lambda text: slow_client.get("/speak", params={"text": text}), "abc"))
    assert [response.status_code for response in responses] == [200, 200, 200]
    assert counters.most_running == 1
    order = "".join(counters.texts_in_order)
    assert all(order.count(text) == SENTENCE_WINDOWS for text in "abc")
    middle = order[SENTENCE_WINDOWS : 2 * SENTENCE_WINDOWS]
    assert all(len(set(middle[start : start + 3])) == 3 for start in range(0, 6, 3)), order


def test_a_short_request_does_not_wait_for_a_long_one(slow_app: Starlette, counters: Counters) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            long = asyncio.create_task(get(slow_app, state, "|".join("l" * 20)))
            while "l" not in counters.windows:
                await asyncio.sleep(0.001)
            assert await get(slow_app, state, "s") == 200
            assert not long.done()
            assert await long == 200

    asyncio.run(scenario())


def test_a_client_that_leaves_costs_no_more_than_its_window(slow_app: Starlette, counters: Counters) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            leaving = asyncio.Event()
            leaver = asyncio.create_task(get(slow_app, state, "l", leaving))
            other = asyncio.create_task(get(slow_app, state, "o"))
            while counters.windows.count("l") < 2:
                await asyncio.sleep(0.001)
            leaving.set()
            await leaver
            computed = counters.windows.count("l")
            assert computed <= 4
            assert await other == 200
            assert counters.windows.count("l") == computed
            assert state["turns"].waiting == 0
        assert counters.most_running == 1

    asyncio.run(scenario())


def test_cancelled_requests_never_let_two_inferences_run_at_once(slow_app: Starlette, counters: Counters) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            for attempt in range(5):
                tasks = [asyncio.create_task(get(slow_app, state, f"{attempt}{text}")) for text in "abcd"]
                await asyncio.sleep(1.5 * WINDOW_S)
                for task in tasks[:3]:
                    task.cancel()
                await asyncio.gather(*tasks[:3], return_exceptions=True)
                assert await tasks[3] == 200
            assert state["turns"].waiting == 0
        assert counters.most_running == 1

    asyncio.run(scenario())


def test_a_cancelled_turn_lasts_until_the_thread_is_done() -> None:
    async def scenario() -> None:
        turns = server.Turns(threads=1, max_waiting=1)
        events: list[str] = []

        def first() -> None:
            events.append("first begins")
            time.sleep(5 * WINDOW_S)
            events.append("first ends")

        cancelled = asyncio.create_task(turns.infer(first))
        await asyncio.sleep(WINDOW_S)
        cancelled.cancel()
        await turns.infer(lambda: events.append("second"))
        assert events == ["first begins", "first ends", "second"]
        assert cancelled.cancelled()
        await turns.close()

    asyncio.run(scenario())


def test_slow_text_work_keeps_nobody_else_waiting(slow_client: TestClient, counters: Counters) -> None:
    with ThreadPoolExecutor(1) as clients:
        pondering = clients.submit(slow_client.get, "/speak", params={"text": "ponder"})
        while slow_client.get("/health").json()["waiting"] == 0:
            time.sleep(0.001)
        counters.may_go_on.set()
        assert pondering.result().status_code == 200


def test_more_requests_than_may_wait_are_told_to_come_back(slow_client: TestClient) -> None:
    with ThreadPoolExecutor(12) as clients:
        responses = list(clients.map(lambda text: slow_client.get("/speak", params={"text": text}), "abcdefghijkl"))
    statuses = [response.status_code for response in responses]
    assert statuses.count(200) >= 4
    refused = [response for response in responses if response.status_code == 503]
    assert len(refused) == 12 - statuses.count(200)
    assert refused
    for response in refused:
        assert int(response.headers["retry-after"]) > 0
        assert response.json()["error"]["code"] == "busy"
    assert slow_client.get("/speak", params={"text": "a"}).status_code == 200


def test_equal_requests_share_one_synthesis(slow_app: Starlette, counters: Counters) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            first = Client(slow_app, state, "text=a&stream=true")
            tasks = [asyncio.create_task(first.run())]
            await until(lambda: first.pieces)
            others = [Client(slow_app, state, query) for query in ("text=a&stream=true", "text=a")]
            tasks += [asyncio.create_task(client.run()) for client in others]
            await until(lambda: others[0].pieces)
            assert state["turns"].waiting == 1
            await asyncio.gather(*tasks)
            late, whole = others
            assert [client.headers["x-cache"] for client in (first, *others)] == ["miss", "shared", "shared"]
            assert late.content == first.content
            assert whole.content == server.wav_header(16000, 3200) + first.content[server.WAV_HEADER_BYTES :]
            assert counters.windows.count("a") == SENTENCE_WINDOWS

    asyncio.run(scenario())


def test_a_synthesis_goes_on_while_anybody_wants_it(slow_app: Starlette, counters: Counters) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            first = Client(slow_app, state, "text=a&stream=true")
            task = asyncio.create_task(first.run())
            await until(lambda: first.pieces)
            other = asyncio.create_task(Client(slow_app, state, "text=a").run())
            await until(lambda: [one.readers for one in state["recordings"].under_way.values()] == [2])
            first.leaves.set()
            await task
            assert not first.complete
            assert len((await other).content) == server.WAV_HEADER_BYTES + SENTENCE_WINDOWS * 320
            assert counters.windows.count("a") == SENTENCE_WINDOWS

    asyncio.run(scenario())


def test_a_synthesis_ends_when_the_last_leaves(slow_app: Starlette, counters: Counters) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            clients = [Client(slow_app, state, query) for query in ("text=a&stream=true", "text=a")]
            tasks = [asyncio.create_task(client.run()) for client in clients]
            await until(lambda: clients[0].pieces)
            for client in clients:
                client.leaves.set()
            await asyncio.gather(*tasks)
            computed = counters.windows.count("a")
            await until(lambda: state["turns"].waiting == 0)
            assert counters.windows.count("a") <= computed + 1 < SENTENCE_WINDOWS
            assert not state["recordings"].kept
            counters.windows.clear()
            again = await Client(slow_app, state, "text=a").run()
            assert again.headers["x-cache"] == "miss"
            assert counters.windows.count("a") == SENTENCE_WINDOWS

    asyncio.run(scenario())


def test_a_slow_reader_holds_up_nobody_and_little_memory(slow_app: Starlette, counters: Counters) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            slow = Client(slow_app, state, "text=" + "|".join("a" * 30) + "&stream=true")
            slow.reads.clear()
            task = asyncio.create_task(slow.run())
            await until(lambda: slow.status)
            assert await get(slow_app, state, "b") == 200
            await until(lambda: state["turns"].waiting == 0)
            assert not slow.pieces
            slow.reads.set()
            await task
            assert slow.complete
            assert len(slow.content) == server.WAV_HEADER_BYTES + 2 * (30 * SENTENCE_WINDOWS * 160 + 29 * 1600)
            assert max(map(len, slow.pieces)) == server.PIECE_BYTES

    asyncio.run(scenario())


def test_what_is_not_kept_has_a_place_until_it_is_read(slow_app: Starlette) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            state["recordings"].limit_bytes = 0
            clients = [Client(slow_app, state, f"text={text}") for text in "abcd"]
            for client in clients:
                client.reads.clear()
            tasks = [asyncio.create_task(client.run()) for client in clients]
            await until(lambda: all(client.status for client in clients))
            assert state["turns"].waiting == 4
            assert await get(slow_app, state, "e") == 503
            assert (await Client(slow_app, state, "text=a").run()).headers["x-cache"] == "shared"
            for client in clients:
                client.reads.set()
            await asyncio.gather(*tasks)
            await until(lambda: state["turns"].waiting == 0)
            assert await get(slow_app, state, "e") == 200

    asyncio.run(scenario())


def test_what_is_being_read_makes_no_room(slow_app: Starlette) -> None:
    async def scenario() -> None:
        async with running(slow_app) as state:
            slow = Client(slow_app, state, "text=a")
            slow.reads.clear()
            task = asyncio.create_task(slow.run())
            await until(lambda: slow.status)
            state["recordings"].limit_bytes = state["recordings"].bytes
            assert await get(slow_app, state, "b") == 200
            assert [kept.speech.text for kept in state["recordings"].kept.values()] == ["a"]
            slow.reads.set()
            await task
            assert await get(slow_app, state, "c") == 200
            assert [kept.speech.text for kept in state["recordings"].kept.values()] == ["c"]

    asyncio.run(scenario())


def test_a_reader_that_takes_nothing_is_cut_off(
    slow_app: Starlette, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "STALL_TIMEOUT_S", 0.1)

    async def scenario() -> None:
        async with running(slow_app) as state:
            state["recordings"].limit_bytes = 0
            slow = Client(slow_app, state, "text=a")
            slow.reads.clear()
            await slow.run()
            assert (slow.status, slow.complete) == (200, False)
            await until(lambda: state["turns"].waiting == 0)

    asyncio.run(scenario())
    assert "Cut an answer to /speak after its first bytes: TimeoutError" in caplog.text


# Health


def test_a_start_without_run_sh_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "allocator", lambda: "glibc")
    for name in server.CACHE_CAPACITIES:
        monkeypatch.delenv(name, raising=False)
    server.warn_of_the_environment()
    starts = [record.getMessage().split(" is not ")[0] for record in caplog.records]
    assert starts == [*server.CACHE_CAPACITIES, "jemalloc"]
    caplog.clear()
    monkeypatch.setattr(server, "allocator", lambda: "jemalloc")
    for name, capacity in server.CACHE_CAPACITIES.items():
        monkeypatch.setenv(name, capacity)
    server.warn_of_the_environment()
    assert not caplog.records


def test_health_reports_what_is_in_force(client: TestClient) -> None:
    report = client.get("/health").json()
    assert report["status"] == "ready"
    assert [(model["name"], model["loaded"]) for model in report["models"]] == [
        ("trio", True),
        ("solo", True),
        ("pair", True),
        ("idle", False),
    ]
    assert report["models"][0]["megabytes"] > 0
    assert report["models"][0]["precision"] in ("float32", "bfloat16")
    assert report["waiting"] == 0
    assert report["rss_mb"] > 50
    assert report["allocator"] in ("glibc", "jemalloc")
    assert report["threads"] == 1
    assert report["onednn_primitive_cache_capacity"] == "512"
    assert report["lru_cache_capacity"] == "1"
    assert report["precision"] in ("float32", "bfloat16")


def test_nobody_is_served_until_the_models_are_loaded(
    slow_app: Starlette, monkeypatch: pytest.MonkeyPatch, counters: Counters
) -> None:
    may_load = threading.Event()

    def load(checkpoint: Path, config: Path, precision: str) -> SlowVoice:
        assert may_load.wait(10)
        return SlowVoice(counters, speakers={})

    monkeypatch.setattr(server, "load_voice", load)
    with TestClient(slow_app) as client:
        for path in ("/health", "/speakers", "/speak?text=a"):
            response = client.get(path)
            assert response.status_code == 503
            assert "retry-after" in response.headers
        assert client.get("/health").json()["status"] == "loading"
        may_load.set()
        assert when_ready(client).get("/speak?text=a").status_code == 200


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['speaker = "dave"'], "speaker = 'dave': expected one of alice, bob, carol"),
        (['lang = "sa"'], "lang = 'sa': expected one of auto, "),
    ],
)
def test_a_default_that_the_model_does_not_have_ends_the_start(
    lines: list[str], message: str, write_settings: Callable[[str], Path]
) -> None:
    path = write_settings(model_table("trio", "multi_speaker_sdp", *lines))
    (model,) = server.read_settings(path).models
    with pytest.raises(server.SettingsError) as refusal:
        server.load_model(path, model, "float32")
    assert message in str(refusal.value)


def test_signs_are_said_unless_the_models_table_says_not_to(write_settings: Callable[[str], Path]) -> None:
    tables = (
        model_table(f"mend_{mend}", "multi_speaker_sdp", 'lang = "en"', f"mend = {mend}") for mend in ("true", "false")
    )
    app = server.create_app(server.read_settings(write_settings("\n".join(("[server]\nthreads = 1", *tables)))))
    with TestClient(app) as client:
        when_ready(client)
        said = client.head("/speak", params={"text": "12.5%", "speaker": "mend_true"})
        dropped = client.head("/speak", params={"text": "12.5%", "speaker": "mend_false"})
    assert "x-dropped" not in said.headers
    assert dropped.headers["x-dropped"] == "%25=1"


def test_untagged_text_in_three_languages_is_spoken_whole(client: TestClient) -> None:
    response = client.get("/speak", params={"text": "你好，world。これはテストです。"})
    assert response.status_code == 200
    assert "x-dropped" not in response.headers


def test_errors_are_json_that_any_client_can_read(client: TestClient) -> None:
    response = client.get("/speak")
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.content)["error"]["code"] == "missing_text"
