"""Test doubles: a slow voice that counts what it computes, and clients that read slowly or leave."""

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy
import soundfile
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message

import server
from service.connections import ABORT
from vits import (
    Dictionary,
    MissingLibrary,
    NothingToSay,
    PreparationTooLong,
    Prepared,
    RunawayLength,
    Sentence,
    UnspeakableText,
)

WINDOW_S = 0.02
SENTENCE_WINDOWS = 10


class Counters:
    """What the fake voices did."""

    def __init__(self) -> None:
        self.windows: list[str] = []
        self.running = 0
        self.most_running = 0
        self.checks = 0
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
    default_speaker = 0
    defaults: Mapping[str, float] = {}
    warnings: tuple[str, ...] = ()
    missing_packages: tuple[str, ...] = ()
    files: tuple[Path, ...] = (Path(__file__),)
    license = source = ""

    def __init__(self, counters: Counters, *, speakers: dict[str, int]) -> None:
        self.counters = counters
        self.speakers = speakers

    @property
    def profile(self) -> "SlowVoice":
        """What is known of it without its weights."""
        return self

    def settle(self, precision: str) -> Iterator[None]:
        """It has one precision only."""
        return iter(())

    def warm_up(self) -> None:
        """It has nothing to compile."""

    def languages_of(self, speaker: int) -> tuple[str, ...]:
        """The same for all."""
        return self.languages

    def prepare(
        self,
        text: str,
        lang: str = "auto",
        normalize: bool = True,
        speaker: int = 0,
        check: Callable[[], None] | None = None,
        *,
        dictionary: Dictionary,
    ) -> Prepared:
        """Sentences between "|"; some texts fail on purpose."""
        while text.startswith("endless"):
            self.counters.checks += 1
            assert check is not None
            check()
            time.sleep(0.001)
        if text.startswith("tedious"):
            raise PreparationTooLong("it takes too long")
        if text.startswith("crash"):
            raise RuntimeError(text)
        if text.startswith("runaway"):
            raise RunawayLength("too long by far")
        if text.startswith("ponder"):
            assert self.counters.may_go_on.wait(10)
        if text.startswith("missing"):
            raise MissingLibrary("Japanese", ["somepackage==1.0"])
        if text == "...":
            raise NothingToSay("nothing to say")
        if text == "☃":
            raise UnspeakableText("nothing is left")
        dropped = {character: text.count(character) for character in "☃€" if character in text}
        sentences = tuple(Sentence(part, part, part, tuple(map(ord, part)), 0.1) for part in text.split("|"))
        return Prepared(sentences, dropped)

    def stream(self, ids: Sequence[int], **synthesis: object) -> Iterator[Any]:
        """SENTENCE_WINDOWS windows of noise that the arguments decide; some texts fail halfway."""
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


class Client:
    """A client of the app itself, which may read slowly and leave; what it has got so far can be looked at."""

    def __init__(self, app: Starlette, query: str, version: str = "1.1", **headers: str) -> None:
        self.app = app
        self.scope = {
            "type": "http",
            "http_version": version,
            "method": "GET",
            "path": "/speak",
            "query_string": query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "extensions": {ABORT: self.abort},
        }
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.complete = False
        self.unread = True
        self.aborted = False
        self.piece_s = 0.0
        """How long it takes for each part of an answer."""
        self.leaves = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()

    @property
    def content(self) -> bytes:
        """All that it has read."""
        return b"".join(self.pieces)

    def abort(self) -> None:
        """The end of the connection by the server."""
        self.aborted = True

    async def run(self) -> "Client":
        """Itself, when it has read everything or has left."""
        await self.app(self.scope, self.receive, self.send)
        return self

    async def receive(self) -> Message:
        """Its request, then nothing until it leaves."""
        if self.unread:
            self.unread = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a part of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            await self.reads.wait()
            await asyncio.sleep(self.piece_s)
            self.pieces.append(message["body"])
            self.complete = not message.get("more_body", False)


async def get(app: Starlette, text: str, leaving: asyncio.Event | None = None) -> int | None:
    """The status of GET /speak by a client that leaves when told to; None where it left."""
    client = Client(app, f"text={text}")
    client.leaves = leaving or client.leaves
    return (await client.run()).status


@asynccontextmanager
async def running(app: Starlette) -> AsyncIterator[server.SpeechService]:
    """The app's service, its models loaded."""
    async with server.lifespan(app):
        service: server.SpeechService = app.state.service
        await service.ready.wait()
        yield service


def service_of(client: TestClient) -> server.SpeechService:
    """The service that a test client asks."""
    assert isinstance(client.app, Starlette)
    service: server.SpeechService = client.app.state.service
    return service


def recording(content: bytes) -> tuple[Any, int]:
    """The 16-bit samples of a WAV file and their rate."""
    samples, sample_rate_hz = soundfile.read(io.BytesIO(content), dtype="int16")
    return samples, sample_rate_hz
