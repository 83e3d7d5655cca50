"""A mixed soak: python -m bench.chaos [--clients 16 --minutes 15].

Clients of every sort at once, each of which picks at random what it does next: whole answers, streams, ranges, HEAD and
POST, conditional requests, bad requests, and clients that leave, half-close, dawdle or say nothing (ACTS names them).
The texts are of different lengths, in zh, ja and en, over the five included voices. Equal requests must give equal
bytes, whichever way they were asked for; clients that read too slowly must be cut, slow ones that are fast enough must
not.

The server's memory, descriptors and threads are read every second. The exit status is 1 where memory under load grew by
more than 2 % after the third minute (which is judged only in runs of five minutes or more), where descriptors or
threads are more than at the start once all clients are gone, where there was a 5xx other than 503, or where a client
got wrong bytes or another answer than it must get. Finished recordings are kept in a small cache, so that most are made
again and again.
"""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import h11

from bench.full_size import WORDS, sentence, write_settings
from bench.report import ROOT, arguments, progress, spread, table, write
from bench.serving import Server, serve
from service.audio import FORMATS
from service.recordings import LEAST_PACE, PATIENCE_S

CHARACTERS = (5, 160)
LONG_CHARACTERS = (600, 900)
CJK_SHARE = 4
"""A Chinese or Japanese character sounds as long as this many English ones."""
LONG_SHARE = 8
"""One of so many texts is long enough to be read slowly."""
FORMAT_WEIGHTS = {"wav": 5} | dict.fromkeys(list(FORMATS)[1:], 1)
TIMEOUT_S = 300.0
STREAM_HEAD_BYTES = 1024
"""How much of a file's beginning can differ between a stream and the whole: the headers that hold its size."""

TOO_SLOW = (0.01, LEAST_PACE / 4)
"""Seconds of sound per second, of a reader that must be cut."""
FAST_ENOUGH = 2.0
"""The same, of one that must not be."""
CUT_WITHIN_S = 2.5 * PATIENCE_S
"""A reader of TOO_SLOW is cut by then: after the server's patience, and the sound that it and the kernel have taken."""
LEAST_SOUND_S = 30.0
"""The shortest sound that such a reader has not read by then."""
RECEIVE_BYTES = 8192
SEGMENT_BYTES = 1400
"""Of slow readers' connections. The loopback's own segments of 64 KiB would let the kernel hold megabytes of sound."""

EARLY_S = 180.0
LATE_S = 60.0
"""Memory is the median of so many seconds: those after EARLY_S, and the last."""
MOST_GROWTH_PERCENT = 2.0
SETTLE_S = 60.0
"""How long connections and recordings may take to end after their clients."""


# What is asked for, and what it must give


@dataclass(frozen=True)
class Wish:
    """The parameters of a request; equal ones are equal bytes."""

    speaker: str
    lang: str
    text: str
    format: str
    seed: int

    def target(self, **more: str) -> str:
        """Return the target of a GET."""
        return "/speak?" + urlencode(asdict(self) | more)


def wishes(voices: Sequence[Mapping[str, Any]], count: int, seed: int) -> list[Wish]:
    """Return so many different wishes for the speakers that /speakers lists, the long ones first."""
    source = random.Random(seed)
    able = [(voice["id"], lang) for voice in voices for lang in voice["languages"] if lang in WORDS]
    made = []
    for number in range(count):
        speaker, lang = able[number % len(able)]
        is_long = number < count // LONG_SHARE
        least, most = LONG_CHARACTERS if is_long else CHARACTERS
        characters = round(least * (most / least) ** source.random()) // (1 if lang == "en" else CJK_SHARE)
        (form,) = source.choices(list(FORMAT_WEIGHTS), list(FORMAT_WEIGHTS.values()))
        text = sentence(max(2, characters), source, lang)
        made.append(Wish(speaker, lang, text, "wav" if is_long else form, number))
    return made


@dataclass
class Ledger:
    """What all clients did and were answered."""

    acts: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    compared: int = 0
    """How many bodies were compared with an earlier one of the same wish."""
    unequal: list[str] = field(default_factory=list)
    """Those that were not the same."""
    wrongs: list[str] = field(default_factory=list)
    """What else a client must not get."""
    wholes: dict[Wish, bytes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, act: str) -> None:
        """Count something that a client did."""
        with self._lock:
            self.acts[act] += 1

    def answer(self, status: int) -> None:
        """Count an answer."""
        with self._lock:
            self.statuses[status] += 1

    def wrong(self, what: str) -> None:
        """Note what must not be."""
        with self._lock:
            self.wrongs.append(what)

    def so_far(self) -> tuple[dict[int, int], int]:
        """Return how many answers of every status there were, and how many unequal ones."""
        with self._lock:
            return dict(self.statuses), len(self.unequal)

    def whole(self, wish: Wish, body: bytes) -> None:
        """Compare a whole file with the first of its wish, which it may be."""
        with self._lock:
            known = self.wholes.setdefault(wish, body)
            if known is not body:
                self._compare(f"whole answer to {wish}", body, known)

    def part(self, wish: Wish, body: bytes, start: int = 0) -> None:
        """Compare a part with the same bytes of the whole, where that is known."""
        with self._lock:
            if wish in self.wholes:
                self._compare(f"part from {start} of {wish}", body, self.wholes[wish][start : start + len(body)])

    def stream(self, wish: Wish, body: bytes, *, complete: bool) -> None:
        """Compare a stream with the whole, where that is known, but for the sizes in its header."""
        with self._lock:
            known = self.wholes.get(wish, b"")
            known = known if complete else known[: len(body)]
            if len(known) > STREAM_HEAD_BYTES:
                # A stream that is longer than the whole is unequal, whatever it begins with.
                same_size = len(body) == len(known)
                tail = body[STREAM_HEAD_BYTES:] if same_size else body
                self._compare(f"stream of {wish}", tail, known[STREAM_HEAD_BYTES:])

    def _compare(self, what: str, body: bytes, expected: bytes) -> None:
        self.compared += 1
        if body != expected:
            self.unequal.append(f"{what}: {len(body)} bytes, expected {len(expected)}")


# One client


@dataclass(frozen=True)
class Answer:
    """The head of an answer."""

    status: int
    headers: Mapping[str, str]


class Talk:
    """One connection; small buffers make the server notice how fast it is read."""

    def __init__(self, port: int, *, small_buffers: bool = False) -> None:
        """Connect to the server."""
        self.http = h11.Connection(h11.CLIENT)
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT_S)
        self.read_bytes = RECEIVE_BYTES // 2 if small_buffers else 65536
        if small_buffers:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
        self.socket.connect(("127.0.0.1", port))

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def reset(self) -> None:
        """Make closing it a reset, as of a process that was killed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def send(self, method: str, target: str, headers: Mapping[str, str] = {}, body: bytes = b"") -> None:
        """Send a whole request."""
        if self.http.our_state is h11.DONE:
            self.http.start_next_cycle()
        sizes = {"Content-Length": str(len(body))} if body else {}
        fields = {"Host": "x"} | dict(headers) | sizes
        request = h11.Request(method=method, target=target, headers=list(fields.items()))
        events = (request, h11.Data(data=body), h11.EndOfMessage())
        self.socket.settimeout(TIMEOUT_S)
        self.socket.sendall(b"".join(self.http.send(event) or b"" for event in events))

    def event(self) -> Any:
        """Return the next event of the answer; a ConnectionError or h11.RemoteProtocolError where it is cut."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(self._receive())
        return event

    def _receive(self) -> bytes:
        """Return what comes next; a TimeoutError after TIMEOUT_S, of which a time when all stands still is no part."""
        self.socket.settimeout(1.0)
        for _ in range(int(TIMEOUT_S)):
            with suppress(TimeoutError):
                return self.socket.recv(self.read_bytes)
        raise TimeoutError(f"nothing came for {TIMEOUT_S:g} s")

    def head(self) -> Answer:
        """Return the head of the final answer."""
        while isinstance(event := self.event(), h11.InformationalResponse):
            pass
        if not isinstance(event, h11.Response):
            raise ConnectionError(f"closed without an answer: {event!r}")
        return Answer(event.status_code, {name.decode(): value.decode("latin-1") for name, value in event.headers})

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        while isinstance(event := self.event(), h11.Data):
            yield bytes(event.data)

    def body(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.pieces())


@dataclass
class Client:
    """One of the clients, and its methods: all that it may do."""

    port: int
    source: random.Random
    ledger: Ledger
    wishes: Sequence[Wish]
    ends_s: float
    """When it stops, by the monotonic clock."""

    def keep_acting(self) -> None:
        """Do one thing after the other until the time is over."""
        names = list(ACTS)
        while time.monotonic() < self.ends_s:
            (name,) = self.source.choices(names, [weight for weight, _ in ACTS.values()])
            try:
                ACTS[name][1](self)
            except (OSError, h11.ProtocolError) as error:
                self.ledger.wrong(f"{name}: {error!r}")
            self.ledger.count(name)
            time.sleep(self.source.random() / 2)

    def wish(self) -> Wish:
        """Return one of the wishes that all share."""
        return self.source.choice(self.wishes)

    def fresh(self) -> Wish:
        """Return a long wish that nobody had before, so that it takes a while."""
        wish = self.source.choice(self.wishes[: max(1, len(self.wishes) // LONG_SHARE)])
        return replace(wish, seed=self.source.randrange(2**31, 2**32))

    def begun(self, talk: Talk, *expected: int) -> Answer | None:
        """Return the head of an answer of an expected status; None after one that refuses it for now."""
        answer = talk.head()
        self.ledger.answer(answer.status)
        if answer.status in expected:
            return answer
        body = talk.body()
        if answer.status == 503:
            time.sleep(self.source.random() * int(answer.headers["retry-after"]))
        else:
            self.ledger.wrong(f"{answer.status} {body[:200]!r}, expected {expected} or 503")
        return None

    def get_whole(self, talk: Talk, wish: Wish) -> Answer | None:
        """Return the head of a whole answer to a GET, whose body was compared; None where it was refused for now."""
        talk.send("GET", wish.target())
        answer = self.begun(talk, 200)
        if answer is not None:
            self.ledger.whole(wish, talk.body())
        return answer

    def ask_whole(self) -> None:
        """Ask for up to three whole files on one connection."""
        with Talk(self.port) as talk:
            for _ in range(self.source.randint(1, 3)):
                if self.get_whole(talk, self.wish()) is None:
                    return

    def read_stream(self) -> None:
        """Read a stream to its end."""
        wish = self.wish()
        with Talk(self.port) as talk:
            talk.send("GET", wish.target(stream="true"))
            if self.begun(talk, 200):
                self.ledger.stream(wish, talk.body(), complete=True)

    def cancel_stream(self) -> None:
        """Leave a stream after some bytes."""
        wish, wanted, body = self.wish(), self.source.randint(1, 200_000), b""
        with Talk(self.port) as talk:
            talk.send("GET", wish.target(stream="true"))
            if self.begun(talk, 200):
                for piece in talk.pieces():
                    body += piece
                    if len(body) >= wanted:
                        break
                if self.source.random() < 0.5:
                    talk.reset()
        self.ledger.stream(wish, body, complete=False)

    def leave_early(self) -> None:
        """Leave before the first byte."""
        with Talk(self.port) as talk:
            talk.send("GET", self.fresh().target(stream=self.source.choice(("true", "false"))))
            time.sleep(self.source.random() / 2)
            if self.source.random() < 0.5:
                talk.reset()

    def leave_after_a_byte_ahead(self) -> None:
        """Send the first byte of a further request, and leave before the first answer."""
        with Talk(self.port) as talk:
            talk.send("GET", self.fresh().target())
            talk.socket.sendall(b"G")
            time.sleep(self.source.random() / 2)

    def half_close(self) -> None:
        """Send no more after the request, and read the answer."""
        wish = self.wish()
        with Talk(self.port) as talk:
            talk.send("GET", wish.target())
            talk.socket.shutdown(socket.SHUT_WR)
            if self.begun(talk, 200):
                self.ledger.whole(wish, talk.body())

    def read_slowly(self) -> None:
        """Read at twice the pace of the sound: this client must get everything."""
        wish = self.source.choice(self.wishes[: max(1, len(self.wishes) // LONG_SHARE)])
        with Talk(self.port, small_buffers=True) as talk:
            talk.send("GET", wish.target())
            if answer := self.begun(talk, 200):
                bytes_per_s = int(answer.headers["content-length"]) / float(answer.headers["x-duration"])
                self.ledger.whole(wish, b"".join(at_pace(talk.pieces(), FAST_ENOUGH * bytes_per_s)))

    def read_too_slowly(self) -> None:
        """Read below the least rate: this client must be cut. Near the end of the run there is no time for that."""
        if self.ends_s - time.monotonic() < CUT_WITHIN_S:
            return
        wish, body = self.fresh(), bytearray()
        with Talk(self.port, small_buffers=True) as talk:
            talk.send("GET", wish.target())
            answer = self.begun(talk, 200)
            if answer is None or float(answer.headers["x-duration"]) < LEAST_SOUND_S:
                return
            bytes_per_s = int(answer.headers["content-length"]) / float(answer.headers["x-duration"])
            try:
                for piece in at_pace(talk.pieces(), self.source.choice(TOO_SLOW) * bytes_per_s, CUT_WITHIN_S):
                    body += piece
            except (ConnectionError, h11.RemoteProtocolError):
                self.ledger.count("cut for being slow")
            else:
                self.ledger.wrong(f"a reader that was too slow got all {len(body)} bytes")

    def ask_for_a_range(self) -> None:
        """Ask for a part of a file that was just whole, and so is kept in most cases."""
        wish = self.wish()
        with Talk(self.port) as talk:
            known = self.get_whole(talk, wish)
            if known is None:
                return
            size = int(known.headers["content-length"])
            first, last = sorted(self.source.randrange(size) for _ in range(2))
            start, wanted = self.source.choice(
                ((first, f"{first}-{last}"), (first, f"{first}-"), (size - first - 1, f"-{first + 1}"))
            )
            talk.send("GET", wish.target(), {"Range": f"bytes={wanted}", "If-Range": known.headers["etag"]})
            if answer := self.begun(talk, 206):
                body = talk.body()
                self.ledger.part(wish, body, start)
                if answer.headers["content-range"] != f"bytes {start}-{start + len(body) - 1}/{size}":
                    self.ledger.wrong(f"Range {wanted} of {size}: {answer.headers['content-range']}")

    def ask_whether_it_changed(self) -> None:
        """Ask for what it has already: 304, kept or not."""
        wish = self.wish()
        with Talk(self.port) as talk:
            if known := self.get_whole(talk, wish):
                talk.send("GET", wish.target(), {"If-None-Match": known.headers["etag"]})
                if self.begun(talk, 304):
                    talk.body()

    def ask_for_headers(self) -> None:
        """Send a HEAD."""
        wish = self.wish()
        with Talk(self.port) as talk:
            talk.send("HEAD", wish.target())
            if answer := self.begun(talk, 200):
                size, whole = answer.headers.get("content-length"), self.ledger.wholes.get(wish)
                if size is not None and whole is not None and int(size) != len(whole):
                    self.ledger.wrong(f"HEAD of {wish}: {size} bytes, expected {len(whole)}")

    def post(self) -> None:
        """Send a POST to /speak."""
        wish = self.wish()
        with Talk(self.port) as talk:
            talk.send("POST", "/speak", {"Content-Type": "application/json"}, json.dumps(asdict(wish)).encode())
            if self.begun(talk, 200):
                self.ledger.whole(wish, talk.body())

    def send_a_bad_request(self) -> None:
        """Send what must be refused."""
        with Talk(self.port) as talk:
            talk.http.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
            talk.socket.sendall(self.source.choice(BAD_REQUESTS))
            answer = talk.head()
            self.ledger.answer(answer.status)
            if not 400 <= answer.status < 500:
                self.ledger.wrong(f"a bad request was answered with {answer.status}")

    def say_nothing(self) -> None:
        """Keep a connection idle for a while."""
        with Talk(self.port):
            time.sleep(12 * self.source.random() ** 2)

    def send_half_a_head(self) -> None:
        """Begin a request, and leave after a while; the server may end it before."""
        with Talk(self.port) as talk:
            talk.socket.sendall(b"GET " + self.wish().target().encode())
            time.sleep(12 * self.source.random() ** 2)


def at_pace(pieces: Iterable[bytes], bytes_per_s: float, limit_s: float = TIMEOUT_S) -> Iterator[bytes]:
    """Yield the pieces, no more of them in a second than that; after limit_s as fast as they come."""
    started, taken = time.monotonic(), 0
    for piece in pieces:
        yield piece
        taken += len(piece)
        ahead_s = min(taken / bytes_per_s, limit_s) - (time.monotonic() - started)
        time.sleep(max(0.0, ahead_s))


ACTS: Mapping[str, tuple[int, Callable[[Client], None]]] = {
    "whole": (6, Client.ask_whole),
    "stream": (6, Client.read_stream),
    "cancelled stream": (6, Client.cancel_stream),
    "left before the first byte": (4, Client.leave_early),
    "left after a byte ahead": (2, Client.leave_after_a_byte_ahead),
    "half-closed": (3, Client.half_close),
    "slow reader": (1, Client.read_slowly),
    "too slow reader": (1, Client.read_too_slowly),
    "range": (4, Client.ask_for_a_range),
    "If-None-Match": (3, Client.ask_whether_it_changed),
    "HEAD": (3, Client.ask_for_headers),
    "POST": (4, Client.post),
    "bad request": (4, Client.send_a_bad_request),
    "idle connection": (1, Client.say_nothing),
    "half a head": (1, Client.send_half_a_head),
}
"""What a client does, how often relative to the others."""

JSON_HEAD = b"POST /speak HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BAD_REQUESTS = (
    b"nonsense\r\n\r\n",
    b"GET /speak HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /speak?text=%20 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /speak?text=%ff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /speak?text=a&text=b HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /speak?text=a&speed=nan HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /speak?text=a&speaker=somebody-else HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /speak?text=" + 5000 * b"a" + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /speek?text=a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"DELETE /speak HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /speak HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n{}\n",
    JSON_HEAD + b"Content-Length: 9\r\n\r\n{'text':1",
    JSON_HEAD + b"Transfer-Encoding: chunked\r\n\r\nnot a size\r\n",
    JSON_HEAD.replace(b"/speak", b"/v1/audio/speech") + b"Content-Length: 2\r\n\r\n{}",
)


# The server


@dataclass(frozen=True)
class Sample:
    """The server at one moment, and what clients had been answered by then."""

    at_s: float
    rss_mb: float
    descriptors: int
    threads: int
    waiting: int
    statuses: Mapping[int, int]
    unequal: int

    @property
    def server_errors(self) -> int:
        """Answers that must not be: 5xx other than 503."""
        return sum(count for status, count in self.statuses.items() if status >= 500 and status != 503)


def sample(server: Server, ledger: Ledger, started: float) -> Sample:
    """Return the server as it is now."""
    process = Path(f"/proc/{server.pid}")
    try:
        descriptors, threads = (len(os.listdir(process / name)) for name in ("fd", "task"))
        with urlopen(server.url + "/health", timeout=TIMEOUT_S) as response:
            waiting = int(json.load(response)["waiting"])
    except OSError as error:
        raise SystemExit(f"The server went away: {error!r}") from None
    at_s, rss_mb = time.monotonic() - started, server.resident_mb
    return Sample(at_s, rss_mb, descriptors, threads, waiting, *ledger.so_far())


def warm_up(server: Server, voices: Sequence[Mapping[str, Any]]) -> None:
    """Have every voice, language and format speak once, so that all that is loaded at first use is there."""
    for voice in voices:
        for lang in voice["languages"]:
            server.speak(speaker=voice["id"], lang=lang, text=WORDS.get(lang, WORDS["en"]))
    for form in FORMATS:
        with urlopen(f"{server.url}/speak?text=1&format={form}") as response:
            response.read()


def settled(server: Server, ledger: Ledger, started: float, like: Sample) -> Sample:
    """Return the server when nothing is left of its clients, or after SETTLE_S."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        time.sleep(1)
        now = sample(server, ledger, started)
        is_settled = now.waiting == 0 and now.descriptors <= like.descriptors and now.threads <= like.threads
        if is_settled or time.monotonic() > deadline:
            return now


def soak(server: Server, clients: int, seconds: float, texts: int, seed: int) -> tuple[list[Sample], Sample, Ledger]:
    """Return the samples from the start to the end of the time, the one when all clients are gone, and the ledger."""
    with urlopen(server.url + "/speakers") as response:
        voices = json.load(response)["speakers"]
    warm_up(server, voices)
    time.sleep(1)  # until its connections are closed
    ledger, wanted, started = Ledger(), wishes(voices, texts, seed), time.monotonic()
    samples = [sample(server, ledger, started)]
    with ThreadPoolExecutor(clients) as pool:
        acting = [
            pool.submit(
                Client(server.port, random.Random(f"{seed} {n}"), ledger, wanted, started + seconds).keep_acting
            )
            for n in range(clients)
        ]
        while samples[-1].at_s < seconds:
            time.sleep(min(1.0, max(0.1, started + seconds - time.monotonic())))
            samples.append(sample(server, ledger, started))
            progress(f"{samples[-1].at_s:.0f} of {seconds:.0f} s, {samples[-1].rss_mb:.0f} MB")
        for client in acting:
            client.result()
    return samples, settled(server, ledger, started, samples[0]), ledger


# What came of it


def growth_percent(samples: Sequence[Sample]) -> float | None:
    """Return how much memory grew from after EARLY_S to the end; None where the run is too short to say it."""
    end_s = samples[-1].at_s
    if end_s < EARLY_S + 2 * LATE_S:
        return None
    early, late = (
        spread((sample.rss_mb for sample in samples if first_s < sample.at_s <= first_s + LATE_S), 0.5)
        for first_s in (EARLY_S, end_s - LATE_S)
    )
    return 100 * (late / early - 1)


def failures(samples: Sequence[Sample], end: Sample, ledger: Ledger) -> list[str]:
    """Return what is not as it must be, a line each."""
    start, growth = samples[0], growth_percent(samples)
    found = []
    if growth is not None and growth > MOST_GROWTH_PERCENT:
        found.append(f"Memory grew by {growth:.1f} %, at most {MOST_GROWTH_PERCENT:g} % are allowed")
    for name in ("descriptors", "threads"):
        before, after = getattr(start, name), getattr(end, name)
        if after > before:
            found.append(f"{after} {name} once the clients are gone, {before} at the start")
    if end.waiting:
        found.append(f"{end.waiting} recordings are under way once the clients are gone")
    if end.server_errors:
        found.append(f"{end.server_errors} answers of 5xx other than 503")
    found += [f"Unequal bytes: {line}" for line in ledger.unequal]
    found += [f"Wrong: {line}" for line in ledger.wrongs]
    if not ledger.compared:
        found.append("No two equal requests were answered, so nothing was compared")
    return found


def rows(samples: Sequence[Sample], end: Sample) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the table: the start, every minute, the end, and when the clients are gone."""
    total_s, minute = samples[-1].at_s, 0
    for now in samples:
        last = now is samples[-1]
        if now.at_s < 60 * minute and not last:
            continue
        around = [other.rss_mb for other in samples if now.at_s - LATE_S < other.at_s <= now.at_s]
        yield row(f"{total_s / 60:.3g}" if last else minute, now, spread(around, 0.5))
        minute += 1
    yield row("clients gone", end, end.rss_mb)


def row(when: object, now: Sample, rss_mb: float) -> tuple[object, ...]:
    """Return one row."""
    answers = ", ".join(f"{count} x {status}" for status, count in sorted(now.statuses.items()))
    return when, rss_mb, now.descriptors, now.threads, now.waiting, answers, now.server_errors, now.unequal


def included_voices(folder: Path, threads: int, cache_mb: int) -> Path:
    """Return a models.toml of the voices that come with the server."""
    lines = (ROOT / "models.toml").read_text().replace('"voices/', f'"{ROOT}/voices/').splitlines()
    kept = [line for line in lines if not line.startswith(("cache_mb", "threads"))]
    path = folder / "models.toml"
    server = f"[server]\nthreads = {threads}\ncache_mb = {cache_mb}"
    path.write_text("\n".join(kept).replace("[server]", server, 1) + "\n")
    return path


def main() -> None:
    """Print the table, and fail where something is not as it must be."""
    parser = arguments(__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--texts", type=int, default=120, help="different requests")
    parser.add_argument("--cache-mb", type=int, default=16, help="memory for finished recordings")
    parser.add_argument("--seed", type=int, default=0, help="of all that is picked at random")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.voice is None:
            settings = included_voices(folder, options.threads, options.cache_mb)
        else:
            settings = write_settings(folder, options.threads, 5, voice=options.voice, cache_mb=options.cache_mb)
        with serve(settings) as server:
            samples, end, ledger = soak(server, options.clients, options.minutes * 60, options.texts, options.seed)
    failed, growth = failures(samples, end, ledger), growth_percent(samples)
    columns = ("minutes", "RSS, MB", "descriptors", "threads", "waiting", "answers", "5xx but 503", "unequal bytes")
    print(table(columns, rows(samples, end)))
    print(table(("what clients did", "times"), sorted(ledger.acts.items())))
    print(f"Compared: {ledger.compared}. Memory: " + ("too short a run" if growth is None else f"{growth:+.2f} %"))
    result = {
        "samples": [asdict(now) for now in samples],
        "end": asdict(end),
        "acts": ledger.acts,
        "compared": ledger.compared,
        "growth_percent": growth,
        "failed": failed,
    }
    write("chaos", result, options.out)
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
